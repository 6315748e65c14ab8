"""Whether outlines lie in each other: what is a hole, and what may be meant as one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import shapely
from shapely.geometry import Polygon


def lie_in_each_other(parts: Sequence[Sequence[Polygon]]) -> bool:
    """Return whether an outline lies within what another part encloses: it may be meant as its hole."""
    shapes = [Polygon(outer.exterior, [hole.exterior for hole in holes]) for outer, *holes in parts]
    shapely.prepare(shapes)
    one, other = shapely.STRtree(shapes).query(shapes)
    low, high = np.hsplit(shapely.bounds(shapes), 2)
    within = (one != other) & (low[one] >= low[other]).all(axis=1) & (high[one] <= high[other]).all(axis=1)
    for inner, around in zip(one[within], other[within], strict=True):
        places = shapely.get_coordinates(shapes[inner].exterior)
        if shapely.intersects_xy(shapes[around], *places[0]) and shapely.intersects_xy(shapes[around], places).all():
            return True
    return False


def meet(hole: Polygon, outer: Polygon) -> bool:
    """Return whether a hole and what its outline goes round have more in common than the edges of their boxes."""
    left, top, right, bottom = hole.bounds
    low_x, low_y, high_x, high_y = outer.bounds
    if min(right, high_x) <= max(left, low_x) or min(bottom, high_y) <= max(top, low_y):
        return False
    shapely.prepare(outer)  # there may be thousands of holes
    return bool(shapely.intersects(outer, hole))
