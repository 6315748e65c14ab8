"""Which points a shape holds, slowly and obviously: by rational numbers, edge by edge."""

import itertools
from fractions import Fraction

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
