"""Shrink by area averaging: a pixel of the grid is the mean of the level's pixels that it covers.

Column ``X`` of the grid covers ``[sX, s(X + 1))`` of the level, for a factor ``s`` of at least 1, and row ``Y``
likewise; both count from the corner of the sampled area. With ``K`` = `BITS`, the level's pixel ``p`` has in column
``X`` the weight ::

    w(X, p) = r(X, p + 1) - r(X, p),    r(X, p) = min(max(floor(2**K * (p / s - X) + 1/2), 0), 2**K)

which is its share of the column in units of ``2**-K``: the border between two pixels is rounded to such a unit, and the
weights of a column sum to ``2**K``. For the level's pixels ``I(q, p)``, each colour by itself, the result is ::

    floor(sum(w(Y, q) * w(X, p) * I(q, p)) / 2**(2 * K) + 1/2)

The borders are computed in IEEE double precision, one operation at a time; all else is integers. So the result depends
neither on the machine, nor on threads, nor on the part of the level that is given: a pixel has the same value in every
patch that shows it. Where ``s`` divides ``2**K``, it is the exact mean, rounded half up.

Averaging over the area is the box filter (Heckbert, "Filtering by repeated integration", SIGGRAPH 1986).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from slidemill.core.encodings import Pixels
from slidemill.core.pyramid import Size

BITS = 8
"""Bits of a weight. With 8, sums over rows fit 16 bits, and sums over both axes 24."""

BAND = 32
"""Rows of the result that are computed at once, so that what is computed stays in the processor's cache."""

HALVED = 1 << 16
"""Most pixels of the result that OpenCV computes without starting threads of its own."""

Numbers = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class _Weights:
    """The weights of one axis.

    Parameters
    ----------
    first
        The level's pixel at which each grid pixel begins, counted in the part, ``intp (count,)``.
    weights
        ``w`` of this and the following pixels, ``uint16 (pixels, count)``.
    """

    first: Numbers
    weights: Numbers


def shrink_area(pixels: Pixels, shrink: float, start: tuple[float, float], *, size: Size) -> Pixels:
    """Return part of the grid, ``uint8 (height, width, 3)``.

    Parameters
    ----------
    pixels
        The level's pixels that it covers, ``uint8 (rows, columns, 3)``, C-contiguous. They begin at row
        ``floor(shrink * y)`` and column ``floor(shrink * x)`` of the sampled area.
    shrink
        Level pixels per grid pixel, at least 1.
    start
        ``(x, y)`` of the part's first pixel, in grid pixels of the sampled area; fractions for patches at any place.
    size
        ``(width, height)`` of the part, in grid pixels.
    """
    width, height = size
    if shrink == 2 and pixels.shape[:2] == (2 * height, 2 * width):
        return halve_area(pixels, np.empty((height, width, 3), np.uint8))
    across, down = _weights(shrink, start[0], width), _weights(shrink, start[1], height)
    result = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, BAND):
        end = min(top + BAND, height)
        rows = _Weights(down.first[top:end] - down.first[top], down.weights[:, top:end])
        result[top:end] = _shrink_band(pixels[down.first[top] : down.first[end - 1] + len(rows.weights)], across, rows)
    return result


@lru_cache(maxsize=256)
def _weights(shrink: float, start: float, count: int) -> _Weights:
    """Return the weights of `count` grid pixels from `start`. Neighbouring patches share them, so some are kept."""
    places = start + np.arange(count, dtype=np.float64)
    first = np.floor(shrink * places)
    # 1. The borders of all pixels that a grid pixel can touch, in units of its own extent.
    borders = first + np.arange(np.ceil(shrink) + 2)[:, None]
    rounded = np.clip(np.floor(2**BITS * (borders / shrink - places) + 0.5), 0, 2**BITS)
    # 2. Weights are the differences of borders; the last ones may be 0 for all.
    weights = np.diff(rounded, axis=0)
    used = int(np.flatnonzero(weights.any(axis=1))[-1]) + 1
    return _Weights((first - first[0]).astype(np.intp), weights[:used].astype(np.uint16))


def _shrink_band(pixels: Pixels, across: _Weights, down: _Weights) -> Pixels:
    """Return a band of the grid, ``uint8 (rows, columns, 3)``."""
    import cv2

    height, width, _ = pixels.shape
    rows, columns = len(down.first), len(across.first)
    # 1. Sums over rows: at most 255 * 2**BITS.
    sums = _weighted_sums(pixels.reshape(height, width * 3).astype(np.uint16), down, np.uint16)
    # 2. The same over columns, as rows of the transposed band: at most 255 * 2**(2 * BITS).
    turned = cv2.transpose(sums.reshape(rows, width, 3)).reshape(width, rows * 3)
    sums = _weighted_sums(turned, across, np.uint32)
    # 3. Division by the sum of all weights, rounded half up.
    sums += 1 << (2 * BITS - 1)
    sums >>= 2 * BITS
    return np.asarray(cv2.transpose(sums.astype(np.uint8).reshape(columns, rows, 3)), np.uint8)


def _weighted_sums(lines: Numbers, axis: _Weights, kind: type[np.unsignedinteger[Any]]) -> Numbers:
    """Return the weighted sums of lines, ``(count, values)``, of `kind`."""
    shape = (len(axis.first), lines.shape[1])
    sums, products, taken = np.empty(shape, kind), np.empty(shape, kind), np.empty(shape, lines.dtype)
    for place, weights in enumerate(axis.weights):
        # Beyond the part are only pixels of weight 0: any other takes their place.
        lines.take(axis.first + place, axis=0, out=taken, mode="clip")
        np.multiply(taken, weights[:, None], out=products if place else sums, dtype=kind)
        if place:
            sums += products
    return sums


def halve_area(pixels: Pixels, out: Pixels) -> Pixels:
    """Write the means of squares of two by two pixels to `out`, and return it.

    OpenCV computes ``(a + b + c + d + 2) >> 2`` for them, which is the definition for ``s = 2``; for other factors it
    rounds otherwise.

    Parameters
    ----------
    pixels
        ``uint8 (2 * height, 2 * width, 3)``.
    out
        ``uint8 (height, width, 3)``, C-contiguous.
    """
    import cv2

    height, width, _ = out.shape
    rows = max(HALVED // width, 1)
    for top in range(0, height, rows):
        part = out[top : top + rows]
        cv2.resize(pixels[2 * top : 2 * (top + len(part))], (width, len(part)), dst=part, interpolation=cv2.INTER_AREA)
    return out
