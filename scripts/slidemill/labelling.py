"""Which label a patch gets: that of the region that a point of it lies in, or that of those that cover most of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely
from shapely.geometry import MultiPolygon

from slidemill.regions import Annotation, polygons
from slidemill.specs import LabelSpec

UNMAPPED = -1
"""The label of patches whose label's name the map lacks."""

EXACT = 9
"""Decimals to which fractions are compared; what differs less is rounding."""

Names = npt.NDArray[np.object_]
Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.intp]
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
    patch, region, area = covered(annotation, tree, boxes)
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
    best = best[share[best] >= round(spec.min_fraction, EXACT)]
    names[owner[best]] = np.array(ranked, dtype=object)[label[best]]
    fractions[owner[best]] = np.minimum(share[best], 1)
    return names, np.asarray(fractions, np.float64)


def covered(annotation: Annotation, tree: shapely.STRtree, boxes: Names) -> tuple[Places, Places, Floats]:
    """Return how much of each box each region covers that none before it does.

    Parameters
    ----------
    annotation
        The regions, the first of which owns ground that several cover.
    tree
        Of the regions' shapes.
    boxes
        ``object (n,)`` of boxes.

    Returns
    -------
    tuple
        Places of boxes, places of regions, and areas; nothing for what is not covered.
    """
    box, region = tree.query(boxes)
    order = np.argsort(region, kind="stable")
    box, region = box[order], region[order]
    whole, part = np.zeros(len(box), bool), np.zeros(len(box), bool)
    for pairs in np.split(np.arange(len(box)), np.flatnonzero(np.diff(region)) + 1) if len(box) else []:
        shape = annotation.regions[region[pairs[0]]].shape
        shapely.prepare(shape)
        whole[pairs] = shapely.covers(shape, boxes[box[pairs]])
        rest = pairs[~whole[pairs]]
        part[rest] = shapely.intersects(shape, boxes[box[rest]])
    # What comes after a region that covers all of a box gets nothing of it.
    last = np.full(len(boxes), len(annotation.regions))
    np.minimum.at(last, box[whole], region[whole])
    part &= region < last[box]
    whole &= region == last[box]
    shapes = np.array([one.shape for one in annotation.regions], dtype=object)
    pieces = shapely.intersection(shapes[region[part]], boxes[box[part]])
    area = _unowned(box[part], pieces)
    left = shapely.area(boxes) - np.bincount(box[part], area, len(boxes))
    places, owners = np.append(box[part], box[whole]), np.append(region[part], region[whole])
    areas = np.append(area, left[box[whole]])
    some = areas > 0
    return places[some], owners[some], areas[some]


def _unowned(box: Places, pieces: Names) -> Floats:
    """Return the area of each piece of a box that no earlier piece of the same box covers."""
    area = np.asarray(shapely.area(pieces))
    pieces = np.array([one if one.geom_type == "Polygon" else MultiPolygon(polygons(one)) for one in pieces], object)
    later, earlier = shapely.STRtree(pieces).query(pieces)
    both = (box[later] == box[earlier]) & (earlier < later)
    later, earlier = later[both], earlier[both]
    both = np.asarray(shapely.intersects(pieces[later], pieces[earlier]), bool)
    later, earlier = later[both], earlier[both]
    order = np.argsort(later, kind="stable")
    later, earlier = later[order], earlier[order]
    starts = np.flatnonzero(np.diff(later, prepend=-1))
    before = [one[0] if len(one) == 1 else shapely.union_all(one) for one in np.split(pieces[earlier], starts)[1:]]
    area[later[starts]] = shapely.area(shapely.difference(pieces[later[starts]], np.array(before, dtype=object)))
    return area
