"""Label patches by the region at a point, or by the most covering regions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely

from slidemill.annotations.containment import holds
from slidemill.annotations.coverage import Floats, Places, covered_areas
from slidemill.annotations.regions import Annotation
from slidemill.core.specs import LabelSpec

UNMAPPED = -1
"""The label of names that the map lacks."""

SMALLEST_LAST = "smallest_last"
"""A value of `LabelSpec.overlap`: the smallest region first, of equal ones the last in the file."""

EXACT = 9
"""Decimals to which fractions are compared; smaller differences are rounding."""

Names = npt.NDArray[np.object_]
Rows = Sequence[Mapping[str, Any]]
Labeller = Callable[[Rows], tuple[Names, Floats | None]]
Parts = tuple[Places, Places, Floats]
"""The covered parts of boxes: places of boxes, places of regions, and areas."""


def labeller(annotation: Annotation, spec: LabelSpec, reached: set[int] | None = None) -> Labeller:
    """Return a function from patches to label names, and to fractions for areas.

    Parameters
    ----------
    annotation
        The regions, or the label image.
    spec
        The rule, and the priority of overlapping regions.
    reached
        Places, in the annotation's names, of regions that have labelled a patch; they are added to it.
    """
    order, names = _ordered(annotation, spec), np.array(annotation.names, dtype=object)
    reached = set() if reached is None else reached
    if spec.rule == "area":
        return partial(_named_by_area, of_region=names, cover=_coverer(annotation, order), spec=spec, reached=reached)

    def decide(rows: Rows) -> tuple[Names, None]:
        region = region_at(annotation, reference_points(rows, spec.rule), order)
        reached.update(np.unique(region[region >= 0]).tolist())
        return np.append(names, np.array([spec.outside], dtype=object))[region], None

    return decide


def region_at(annotation: Annotation, points: Floats, order: Sequence[int] | None = None) -> Places:
    """Return the index of the first region that contains each point, or -1.

    The result is ``intp (n,)``.

    Parameters
    ----------
    annotation
        The regions, or the label image.
    points
        ``float64 (n, 2)``, x and y in level-0 pixels. A region owns its left and top edges, as a pixel does: of two
        touching regions, one contains a point on their border.
    order
        Places of the regions by priority; None takes the order of the file.
    """
    if annotation.image:
        return annotation.image.at(points)
    found = np.full(len(points), -1, np.intp)
    free = np.argsort(
        points[:, 1], kind="stable"
    )  # sorted by y, so that each region finds the points near it by bisection
    x, y = points[free].T
    for place in range(len(annotation.regions)) if order is None else order:
        shape = annotation.regions[place].shape
        left, top, right, bottom = shape.bounds
        rows = slice(np.searchsorted(y, top), np.searchsorted(y, bottom, "right"))
        if len(near := rows.start + np.flatnonzero((x[rows] >= left) & (x[rows] <= right))):
            inside = near[holds(shape, x[near], y[near])]
            found[free[inside]] = place
            free, x, y = np.delete(free, inside), np.delete(x, inside), np.delete(y, inside)
    return found


def reference_points(rows: Rows, rule: str) -> Floats:
    """Return the point of each patch that decides its label.

    The result is ``float64 (n, 2)``, x and y in level-0 pixels.

    Parameters
    ----------
    rows
        Patches with ``x0, y0, width0, height0``.
    rule
        ``"centre"`` or ``"top_left"``.
    """
    corner = _columns(rows, "x0", "y0")
    return corner if rule == "top_left" else corner + _columns(rows, "width0", "height0") / 2


def fractions_within(annotation: Annotation) -> Callable[[Rows], Floats]:
    """Return a function from patches to their fraction within any region."""
    cover = _coverer(annotation, range(len(annotation.regions)))

    def fractions(rows: Rows) -> Floats:
        low, extent = _columns(rows, "x0", "y0"), _columns(rows, "width0", "height0")
        patch, _, area = cover(np.hstack([low, low + extent]))
        share = np.bincount(patch, area, len(rows)) / np.prod(extent, axis=1)
        return np.asarray(np.clip(share, 0, 1), np.float64)

    return fractions


def _columns(rows: Rows, first: str, second: str) -> Floats:
    return np.array([[float(row[first]), float(row[second])] for row in rows]).reshape(-1, 2)


def _ordered(annotation: Annotation, spec: LabelSpec) -> list[int]:
    """Return the indices of the regions by priority where they overlap."""
    order = list(range(len(annotation.regions)))
    areas = [region.shape.area for region in annotation.regions]
    if spec.overlap == "smallest":
        order.sort(key=areas.__getitem__)
    elif spec.overlap == SMALLEST_LAST:
        order.sort(key=lambda place: (areas[place], -place))
    return order


def _coverer(annotation: Annotation, order: Sequence[int]) -> Callable[[Floats], Parts]:
    """Return a function from boxes to the area that each region covers first."""
    if annotation.image:
        return annotation.image.covered
    regions = [annotation.regions[place] for place in order]
    tree, places = shapely.STRtree([region.shape for region in regions]), np.array(order, np.intp)

    def cover(bounds: Floats) -> Parts:
        boxes = np.asarray(shapely.box(*bounds.T)).reshape(-1)
        box, region, area = covered_areas(regions, tree, boxes)
        return box, places[region], area

    return cover


def _named_by_area(
    rows: Rows, *, of_region: Names, cover: Callable[[Floats], Parts], spec: LabelSpec, reached: set[int]
) -> tuple[Names, Floats]:
    """Return the label that covers most of each patch, and its fraction."""
    # The covered fraction of each pair of patch and region.
    low = _columns(rows, "x0", "y0")
    extent = _columns(rows, "width0", "height0")
    patch, region, area = cover(np.hstack([low, low + extent]))
    fraction = area / np.prod(extent, axis=1)[patch]
    # Labels by their rank of preference: the order of the map, then the name.
    known = list(spec.map)
    ranked = sorted(set(of_region), key=lambda name: (known.index(name) if name in spec.map else len(known), name))
    rank = {name: place for place, name in enumerate(ranked)}
    ranks = np.array([rank[name] for name in of_region], np.intp)
    # Sum over the regions of a label: one number stands for a pair of patch and rank.
    pairs, place = np.unique(patch * max(len(ranked), 1) + ranks[region], return_inverse=True)
    share = np.round(np.bincount(place, fraction, len(pairs)), EXACT)
    owner, label = np.divmod(pairs, max(len(ranked), 1))
    fractions = np.clip(1 - np.bincount(owner, share, len(rows)), 0, 1)
    # Of each patch, the largest share, and of equal ones the lowest rank, if it covers enough.
    best = np.lexsort((label, -share, owner))
    best = best[np.unique(owner[best], return_index=True)[1]]
    best = best[share[best] >= max(round(spec.min_fraction, EXACT), 10**-EXACT)]
    chosen = np.full(len(rows), -1)
    chosen[owner[best]] = label[best]
    fractions[owner[best]] = np.minimum(share[best], 1)
    reached.update(np.unique(region[ranks[region] == chosen[patch]]).tolist())
    return np.array([*ranked, spec.outside], dtype=object)[chosen], np.asarray(fractions, np.float64)
