"""Find the points in a shape: in its interior, or on its left or top edges.

A point on a border belongs to the shape that it enters when it moves to the right by an infinitesimal amount, and down
by its square. So of polygons that touch, exactly one holds each point, like the pixels of a label image. GEOS finds the
points on the border of a large shape; exact arithmetic decides these, and the points of small shapes.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import numpy.typing as npt
import shapely
from shapely.geometry import MultiPolygon

AT_ONCE = 2_000_000
"""Pairs of a point and an edge that are compared in one step, so that memory is bounded."""

FEW = 1_000
"""Pairs of a point and a vertex up to which arithmetic is as fast as an index of the shape."""

EIGHTHS = 2**25
"""The bound on coordinates in eighths of a pixel, below which products of differences are exact in float64."""

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Places = npt.NDArray[np.intp]


def holds(shape: MultiPolygon, x: Floats, y: Floats) -> Bools:
    """Return which points are in a shape, including those on its left and top edges.

    Parameters
    ----------
    shape
        A valid shape.
    x, y
        ``float64 (n,)``, in level-0 pixels.

    Returns
    -------
    numpy.ndarray
        ``bool (n,)``.
    """
    if shapely.get_num_coordinates(shape) * len(x) <= FEW:
        return _crossed_oddly(shape, x, y)
    shapely.prepare(shape)
    held = np.asarray(shapely.intersects_xy(shape, x, y), bool)
    met = np.flatnonzero(held)
    if len(met):
        edge = met[~shapely.contains_xy(shape, x[met], y[met])]
        if len(edge):
            held[edge] = _crossed_oddly(shape, x[edge], y[edge])
    return held


def _crossed_oddly(shape: MultiPolygon, x: Floats, y: Floats) -> Bools:
    """Return which points have an odd number of edges to their right.

    Edges are half-open, and arithmetic is exact.

    This is the crossing-number test. An edge counts for the heights from its upper end (included) to its lower end
    (excluded), and to the right of a point only where it does not run through it.
    """
    vertices, ring = shapely.get_coordinates(shapely.get_rings(shapely.get_parts(shape)), return_index=True)
    same = ring[:-1] == ring[1:]
    begin, end = vertices[:-1][same], vertices[1:][same]
    upward = begin[:, 1] > end[:, 1]
    begin[upward], end[upward] = end[upward], begin[upward]
    eighths = np.concatenate([vertices.ravel(), x, y]) * 8
    exact = bool((np.abs(eighths) < EIGHTHS).all() and (eighths == np.floor(eighths)).all())
    odd = np.zeros(len(x), bool)
    step = max(AT_ONCE // len(begin), 1)
    for start in range(0, len(x), step):
        across, down = x[start : start + step], y[start : start + step]
        point, edge = np.nonzero((begin[:, 1] <= down[:, None]) & (down[:, None] < end[:, 1]))
        sides = _sides(begin[edge], end[edge], np.column_stack([across, down])[point], exact=exact)
        crossings = np.bincount(point[sides > 0], minlength=len(across))
        odd[start : start + step] = crossings % 2 == 1
    return odd


def _sides(begin: Floats, end: Floats, points: Floats, *, exact: bool) -> Floats:
    """Return the side of its point (1 right, 0 on it, -1 left) that each edge passes."""
    (across, down), (right, below) = (end - begin).T, (points - begin).T
    one, other = across * below, down * right
    sides: Floats = np.sign(one - other)
    if exact:
        return sides
    # The sign of the cross product is unsure near 0: rounding is at most three units in the last place of each product
    # and of each difference in it.
    unsure = np.flatnonzero(np.abs(one - other) <= 8 * np.finfo(float).eps * (np.abs(one) + np.abs(other)))
    for place in unsure.tolist():
        (x, y), (x_end, y_end), (px, py) = (map(Fraction, pair[place].tolist()) for pair in (begin, end, points))
        value = (x_end - x) * (py - y) - (y_end - y) * (px - x)
        sides[place] = (value > 0) - (value < 0)
    return sides
