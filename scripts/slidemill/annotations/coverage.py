"""Compute the exact area of a patch that each region covers.

Areas are summed over the outlines' edges. Cutting a shape for each patch takes five times as long, and GEOS's quick
way (``clip_by_rect``) is wrong for some valid shapes. Shapes are cut only where several regions meet in a patch.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import shapely
from shapely.geometry import MultiPolygon

from slidemill.annotations.regions import Region, polygons

AT_ONCE = 2_000_000
"""Pairs of an edge and a box that are compared in one step, so that memory is bounded."""

Shapes = npt.NDArray[np.object_]
Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.intp]


def covered_areas(regions: Sequence[Region], tree: shapely.STRtree, boxes: Shapes) -> tuple[Places, Places, Floats]:
    """Return the area of each box that each region covers and no region before it.

    Parameters
    ----------
    regions
        The first of them owns ground that several cover.
    tree
        Of the regions' shapes.
    boxes
        ``object (n,)`` of boxes.

    Returns
    -------
    tuple
        Three arrays ``(m,)``: indices of boxes, ``intp``, indices of regions, ``intp``, and areas in square pixels of
        level 0, ``float64``, all above 0.
    """
    # 1. Pair boxes and regions whose bounding boxes meet, in the regions' order.
    box, region = tree.query(boxes)
    order = np.argsort(region, kind="stable")
    box, region = box[order], region[order]
    shapes = np.array([one.shape for one in regions], dtype=object)
    bounds, extents = shapely.bounds(boxes), shapely.bounds(shapes).reshape(-1, 4)
    # 2. A region within one box, as most cells are, covers its own area of it.
    within = (bounds[box, :2] <= extents[region, :2]) & (extents[region, 2:] <= bounds[box, 2:])
    part = np.asarray(within.all(axis=1), bool)
    area, whole = np.where(part, shapely.area(shapes)[region], 0.0), np.zeros(len(box), bool)
    # 3. Of the other pairs, find those in which the region covers all of the box, and those in which the two meet.
    crossing = np.flatnonzero(~part)
    groups = np.split(crossing, np.flatnonzero(np.diff(region[crossing])) + 1) if len(crossing) else []
    for pairs in groups:
        shape = regions[region[pairs[0]]].shape
        shapely.prepare(shape)
        whole[pairs] = shapely.covers(shape, boxes[box[pairs]])
        rest = pairs[~whole[pairs]]
        part[rest] = shapely.intersects(shape, boxes[box[rest]])
    # 4. The first region that covers all of a box leaves nothing of it to later ones.
    last = np.full(len(boxes), len(regions))
    np.minimum.at(last, box[whole], region[whole])
    part &= region < last[box]
    whole &= region == last[box]
    for pairs in groups:
        if len(rest := pairs[part[pairs]]):
            area[rest] = areas_within(regions[region[rest[0]]].shape, bounds[box[rest]])
    part &= area > 0
    area[~part] = 0
    # 5. Where several regions meet in a box, cut them, and take from each what earlier ones cover.
    several = np.flatnonzero(part & (np.bincount(box[part], minlength=len(boxes))[box] > 1))
    pieces = shapely.intersection(shapes[region[several]], boxes[box[several]])
    later, unowned = _find_unowned(box[several], pieces)
    area[several[later]] = unowned
    # 6. The region that covers all of a box owns what is left of it.
    left = shapely.area(boxes) - np.bincount(box, area, len(boxes))
    area[whole] = left[box[whole]]
    some = area > 0
    return box[some], region[some], area[some]


def areas_within(shape: MultiPolygon, bounds: Floats) -> Floats:
    """Return the area of a shape within each of many boxes.

    The area of a polygon is the sum of the signed trapezoids between its edges and a line (the shoelace formula, in its
    trapezoid form). The line is the top of the box here, and each trapezoid is cut to the box, in closed form.

    Parameters
    ----------
    shape
        A valid shape.
    bounds
        ``float64 (n, 4)``: the boxes' left, top, right and bottom, in level-0 pixels.

    Returns
    -------
    numpy.ndarray
        ``float64 (n,)``, square pixels of level 0.
    """
    # 1. Orient the rings, outlines against holes, so that edges to the right add area and edges to the left remove it.
    rings, polygon = shapely.get_rings(shapely.get_parts(shape), return_index=True)
    outer = np.diff(polygon, prepend=-1) > 0
    rings = np.where(shapely.is_ccw(rings) == outer, shapely.reverse(rings), rings)
    # 2. Split them into edges, from one vertex of a ring to the next.
    vertices, ring = shapely.get_coordinates(rings, return_index=True)
    same = ring[:-1] == ring[1:]
    x, y, x_end, y_end = np.column_stack([vertices[:-1][same], vertices[1:][same]]).T
    slope = np.divide(y_end - y, x_end - x, out=np.zeros(len(x)), where=x_end != x)
    first, last, lowest = np.minimum(x, x_end), np.maximum(x, x_end), np.maximum(y, y_end)
    areas = np.zeros(len(bounds))
    step = max(AT_ONCE // len(x), 1)
    for start in range(0, len(bounds), step):
        # 3. Pair each box with the edges that cross its columns and reach below its top; y points down.
        left, top, right, _ = bounds[start : start + step, :, None].transpose(1, 0, 2)
        box, edge = np.nonzero((first < right) & (last > left) & (lowest > top))
        left, top, right, bottom = bounds[start + box].T
        # 4. Cut each edge at the box's left and right, and measure its ends' depths below the box's top.
        begin, end = np.clip(x[edge], left, right), np.clip(x_end[edge], left, right)
        height = bottom - top
        low = y[edge] + slope[edge] * (begin - x[edge]) - top
        high = y[edge] + slope[edge] * (end - x[edge]) - top
        rise = high - low
        # 5. Take the mean depth along the edge, with 0 above the box and its height below: the share of the edge that
        # runs within the box, times the mean depth of that share, and the height for the share that runs below.
        inside_low, inside_high = np.clip(low, 0, height), np.clip(high, 0, height)
        below = np.maximum(high, height) - np.maximum(low, height)
        sloping = rise != 0
        share = np.divide(inside_high - inside_low, rise, out=np.ones(len(rise)), where=sloping)
        mean = share * (inside_low + inside_high) / 2
        mean += height * np.divide(below, rise, out=np.zeros(len(rise)), where=sloping)
        # 6. Sum the trapezoids, mean depth times signed width, per box.
        areas[start : start + step] = np.bincount(box, mean * (end - begin), len(areas[start : start + step]))
    # Rounding may leave a little less than nothing.
    return np.maximum(areas, 0)


def _find_unowned(box: Places, pieces: Shapes) -> tuple[Places, Floats]:
    """Return pieces that meet earlier ones of their box, and their uncovered areas.

    Parameters
    ----------
    box
        ``intp (n,)``: the box of each piece.
    pieces
        ``object (n,)``: the parts of regions in their boxes, in the regions' order.
    """
    # 1. Keep only the polygons: an intersection may also hold points and lines.
    pieces = np.array([one if one.geom_type == "Polygon" else MultiPolygon(polygons(one)) for one in pieces], object)
    # 2. Find the pairs of pieces of one box that meet, each from its later piece.
    later, earlier = shapely.STRtree(pieces).query(pieces)
    both = (box[later] == box[earlier]) & (earlier < later)
    later, earlier = later[both], earlier[both]
    both = np.asarray(shapely.intersects(pieces[later], pieces[earlier]), bool)
    later, earlier = later[both], earlier[both]
    # 3. Unite the earlier pieces that each later one meets, and subtract them from it.
    order = np.argsort(later, kind="stable")
    later, earlier = later[order], earlier[order]
    starts = np.flatnonzero(np.diff(later, prepend=-1))
    before = [one[0] if len(one) == 1 else shapely.union_all(one) for one in np.split(pieces[earlier], starts)[1:]]
    later = later[starts]
    return later, shapely.area(shapely.difference(pieces[later], np.array(before, dtype=object)))
