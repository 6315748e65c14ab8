"""How many squares of one set overlap each of another, counted without comparing them pair by pair."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.int64]


def count_overlaps(rectangles: Numbers, others: Numbers) -> Numbers:
    """Return, for each of `others`, how many of the rectangles share a pixel with it.

    It shares none with those that end before it begins, or begin where it has ended, in x or in y. So what begins
    in time, less what has ended too early, in x and in y alike, is what overlaps: four counts of points in quadrants.

    Parameters
    ----------
    rectangles, others
        ``int64 (n, 4)``: x0, y0, and the first x and y behind it. All have a pixel at least.

    Returns
    -------
    numpy.ndarray
        ``int64 (others,)``.
    """
    began, ended = rectangles[:, :2], rectangles[:, 2:]
    count = np.zeros(len(others), np.int64)
    for x, before_x, sign_x in ((began[:, 0], others[:, 2], 1), (ended[:, 0], others[:, 0] + 1, -1)):
        for y, before_y, sign_y in ((began[:, 1], others[:, 3], 1), (ended[:, 1], others[:, 1] + 1, -1)):
            count += sign_x * sign_y * count_points_before(x, y, before_x, before_y)
    return count


def count_points_before(x: Numbers, y: Numbers, before_x: Numbers, before_y: Numbers) -> Numbers:
    """Return, for each pair of limits, how many points are less in both x and y.

    Points are sorted by x, so that a limit in x is a length of that list. The ranks of their y are looked at bit by
    bit, from the highest: the list is parted each time into those without the bit and those with it, in their order,
    and the part of the list that a pair of limits concerns stays in one piece (a wavelet matrix: F. Claude, G. Navarro
    and A. Ordóñez, The wavelet matrix, Information Systems 47, 2015).
    """
    order = np.argsort(x, kind="stable")
    values, ranks = np.unique(y[order], return_inverse=True)
    limit = np.searchsorted(values, before_y)
    first, last = np.zeros(len(limit), np.int64), np.searchsorted(x[order], before_x)
    count = np.zeros(len(limit), np.int64)
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
