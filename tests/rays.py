"""Which points a shape holds, slowly and obviously: edge by edge, of one point exactly or of many at once."""

import itertools
from fractions import Fraction

import numpy as np
import shapely


def in_fractions(shape, x, y):
    """Return whether a shape holds a point: of a ray to the right that runs just below it, odd crossings."""
    odd, (x, y) = False, (Fraction(x), Fraction(y))
    for ring in shapely.get_rings(shapely.get_parts(shape)):
        places = [tuple(map(Fraction, place)) for place in shapely.get_coordinates(ring).tolist()]
        for (x0, y0), (x1, y1) in itertools.pairwise(places):
            if (y0 > y) != (y1 > y) and x0 + (x1 - x0) * (y - y0) / (y1 - y0) > x:
                odd = not odd
    return odd


def in_floats(shape, x, y):
    """Return which points of two arrays a shape holds, by the same rule; points on an edge are those of rounding."""
    odd = np.zeros(np.shape(x), bool)
    for ring in shapely.get_rings(shapely.get_parts(shape)):
        for (x0, y0), (x1, y1) in itertools.pairwise(shapely.get_coordinates(ring).tolist()):
            if y0 != y1:
                odd ^= ((y0 > y) != (y1 > y)) & (x0 + (x1 - x0) * (y - y0) / (y1 - y0) > x)
    return odd
