"""Which label a patch gets: that of the region that a point of it lies in, or that of those that cover most of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely

from slidemill.covering import Floats, covered
from slidemill.regions import Annotation
from slidemill.specs import LabelSpec

UNMAPPED = -1
"""The label of patches whose label's name the map lacks."""

EXACT = 9
"""Decimals to which fractions are compared; what differs less is rounding."""

Names = npt.NDArray[np.object_]
Rows = Sequence[Mapping[str, Any]]
Labeller = Callable[[Rows], tuple[Names, Floats | None]]


def labeller(annotation: Annotation, spec: LabelSpec) -> Labeller:
    """Return a function from patches to their labels' names and, by area, the fraction of each that is of its label.

    Parameters
    ----------
    annotation
        The regions.
    spec
        The rule, and which of overlapping regions comes first.
    """
    regions = annotation.regions
    if spec.overlap == "smallest":
        regions = tuple(sorted(regions, key=lambda region: region.shape.area))
    ordered = Annotation(regions)
    if spec.rule == "area":
        tree = shapely.STRtree([region.shape for region in regions])
        return partial(_named_by_area, ordered, tree, spec)
    return lambda rows: (region_names(ordered, reference_points(rows, spec.rule), spec.outside), None)


def region_names(annotation: Annotation, points: Floats, outside: str) -> Names:
    """Return the label's name of each point: that of the first region that it lies in, or `outside`.

    Parameters
    ----------
    annotation
        The regions.
    points
        ``float64 (n, 2)``, x and y in level-0 pixels. A point on an outline lies in no region.
    outside
        The name of points in no region.

    Returns
    -------
    numpy.ndarray
        ``object (n,)`` of strings.
    """
    names = np.full(len(points), outside, dtype=object)
    free = np.argsort(points[:, 1], kind="stable")  # so that each of many regions finds those near it
    x, y = points[free].T
    for region in annotation.regions:
        left, top, right, bottom = region.shape.bounds
        rows = slice(np.searchsorted(y, top), np.searchsorted(y, bottom, "right"))
        if len(near := rows.start + np.flatnonzero((x[rows] >= left) & (x[rows] <= right))):
            shapely.prepare(region.shape)
            inside = near[shapely.contains_xy(region.shape, x[near], y[near])]
            names[free[inside]] = region.name
            free, x, y = np.delete(free, inside), np.delete(x, inside), np.delete(y, inside)
    return names


def reference_points(rows: Rows, rule: str) -> Floats:
    """Return the point of each patch that decides its label, ``float64 (n, 2)`` in level-0 pixels.

    Parameters
    ----------
    rows
        Patches with ``x0, y0, width0, height0``.
    rule
        ``"centre"`` or ``"top_left"``.
    """
    corner = _columns(rows, "x0", "y0")
    return corner if rule == "top_left" else corner + _columns(rows, "width0", "height0") / 2


def _columns(rows: Rows, first: str, second: str) -> Floats:
    return np.array([[float(row[first]), float(row[second])] for row in rows]).reshape(-1, 2)


def _named_by_area(annotation: Annotation, tree: shapely.STRtree, spec: LabelSpec, rows: Rows) -> tuple[Names, Floats]:
    """Return the name of each patch's largest label, and how much of the patch that covers."""
    low = _columns(rows, "x0", "y0")
    extent = _columns(rows, "width0", "height0")
    boxes = np.asarray(shapely.box(*low.T, *(low + extent).T)).reshape(-1)
    patch, region, area = covered(annotation.regions, tree, boxes)
    fraction = area / np.prod(extent, axis=1)[patch]
    known = list(spec.map)
    ranked = sorted(
        {one.name for one in annotation.regions},
        key=lambda name: (known.index(name) if name in spec.map else len(known), name),
    )
    rank = {name: place for place, name in enumerate(ranked)}
    of_region = np.array([rank[one.name] for one in annotation.regions], np.intp)
    pairs, place = np.unique(patch * max(len(ranked), 1) + of_region[region], return_inverse=True)
    share = np.round(np.bincount(place, fraction, len(pairs)), EXACT)
    owner, label = np.divmod(pairs, max(len(ranked), 1))
    names = np.full(len(rows), spec.outside, dtype=object)
    fractions = np.clip(1 - np.bincount(owner, share, len(rows)), 0, 1)
    best = np.lexsort((label, -share, owner))
    best = best[np.unique(owner[best], return_index=True)[1]]
    best = best[share[best] >= max(round(spec.min_fraction, EXACT), 10**-EXACT)]
    names[owner[best]] = np.array(ranked, dtype=object)[label[best]]
    fractions[owner[best]] = np.minimum(share[best], 1)
    return names, np.asarray(fractions, np.float64)
