"""Count overlaps between two sets of squares without comparing all pairs."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.int64]


def count_overlaps(rectangles: Numbers, others: Numbers) -> Numbers:
    """Return how many of `rectangles` overlap each of `others`.

    Two rectangles overlap if they share a pixel.

    In one dimension, these are the rectangles that begin before its end, less those that end before its beginning. In
    two dimensions, the product of both differences is a sum of four counts of points in quadrants.

    Parameters
    ----------
    rectangles, others
        ``int64 (n, 4)``: x0, y0, and the first x and y behind the rectangle, which has at least one pixel.

    Returns
    -------
    numpy.ndarray
        ``int64 (others,)``.
    """
    began, ended = rectangles[:, :2], rectangles[:, 2:]
    count = np.zeros(len(others), np.int64)
    for x, before_x, sign_x in ((began[:, 0], others[:, 2], 1), (ended[:, 0], others[:, 0] + 1, -1)):
        for y, before_y, sign_y in ((began[:, 1], others[:, 3], 1), (ended[:, 1], others[:, 1] + 1, -1)):
            count += sign_x * sign_y * count_points_before(x, y, before_x, before_y=before_y)
    return count


def count_points_before(x: Numbers, y: Numbers, before_x: Numbers, *, before_y: Numbers) -> Numbers:
    """Return the number of points below each pair of limits, ``int64 (limits,)``.

    This is a wavelet matrix (F. Claude, G. Navarro and A. Ordóñez, "The wavelet matrix", Information Systems 47, 2015).

    Parameters
    ----------
    x, y
        ``int64 (points,)``.
    before_x, before_y
        ``int64 (limits,)``.
    """
    # Sort by x, so that a limit in x is a length of the list; replace y by its rank.
    order = np.argsort(x, kind="stable")
    values, ranks = np.unique(y[order], return_inverse=True)
    limit = np.searchsorted(values, before_y)
    first, last = np.zeros(len(limit), np.int64), np.searchsorted(x[order], before_x)
    count = np.zeros(len(limit), np.int64)
    # Go through the bits of the ranks from the highest. A stable partition moves those without the bit to the front, so
    # that the range of each limit stays in one piece. Where the limit has the bit, points without it count.
    for bit in reversed(range(len(values).bit_length())):
        without = (ranks >> bit & 1) == 0
        places = np.concatenate(([0], np.cumsum(without)))
        first_without, last_without = places[first], places[last]
        beyond = (limit >> bit & 1) == 1
        count += np.where(beyond, last_without - first_without, 0)
        first = np.where(beyond, first - first_without + places[-1], first_without)
        last = np.where(beyond, last - last_without + places[-1], last_without)
        ranks = np.concatenate((ranks[without], ranks[~without]))
    return count
