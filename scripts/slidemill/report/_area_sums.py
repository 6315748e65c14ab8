"""Sums of pixels over squares that begin and end between them."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from slidemill.core.encodings import Pixels


def edges(begin: float, scale: float, count: int, end: int) -> tuple[int, npt.NDArray[np.float64]]:
    """Return the first pixel of the picture that some of a patch's touch, and the edges of all such, in the patch's.

    `count` pixels of the patch, each `scale` long, begin at `begin`; the picture ends at `end`.
    """
    first = math.floor(begin)
    found = np.arange(first, min(math.ceil(begin + scale * count), end) + 1)
    return first, np.clip((found - begin) / scale, 0, count)


def summed(pixels: Pixels, down: npt.NDArray[np.float64], across: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the sums of pixels between edges, ``(rows, columns)`` or ``(rows, columns, 3)``.

    The sum of all above and left of a corner is bilinear between corners, so that parts of pixels count exactly.
    """
    corners = cv2.integral(np.ascontiguousarray(pixels), sdepth=cv2.CV_64F)
    rows = np.diff(_between(corners, down), axis=0).swapaxes(0, 1)
    return np.diff(_between(rows, across), axis=0).swapaxes(0, 1)


def _between(values: npt.NDArray[Any], places: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    before = np.minimum(places.astype(np.intp), len(values) - 2)
    part = (places - before).reshape(-1, *[1] * (values.ndim - 1))
    found: npt.NDArray[np.float64] = values[before] * (1 - part) + values[before + 1] * part
    return found
