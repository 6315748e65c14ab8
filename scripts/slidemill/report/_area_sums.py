"""Sums of pixels over rectangles whose edges may lie within pixels.

They come from a summed-area table: F. Crow, "Summed-area tables for texture mapping", SIGGRAPH 1984.
"""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from slidemill.core.encodings import Pixels


def pixel_edges(begin: float, scale: float, count: int, *, end: int) -> tuple[int, npt.NDArray[np.float64]]:
    """Return the first pixel that a patch touches, and the edges of all its pixels.

    Edges are in pixels of the patch.

    Parameters
    ----------
    begin
        Where the patch begins, in pixels of the picture.
    scale, count
        Length of a pixel of the patch in pixels of the picture, and the number of pixels.
    end
        Where the picture ends, in pixels.
    """
    first = math.floor(begin)
    edges = np.arange(first, min(math.ceil(begin + scale * count), end) + 1)
    return first, np.clip((edges - begin) / scale, 0, count)


def sum_pieces(pixels: Pixels, down: npt.NDArray[np.float64], across: npt.NDArray[np.float64]) -> Any:
    """Return the sums of the pixels between successive edges.

    Parameters
    ----------
    pixels
        ``uint8 (height, width)`` or ``(height, width, 3)``.
    down, across
        ``float64 (rows + 1,)`` and ``(columns + 1,)``: the edges in pixels, which may lie within a pixel.

    Returns
    -------
    numpy.ndarray
        ``float64 (rows, columns)`` or ``(rows, columns, 3)``.
    """
    # 1. The table holds the sum of all pixels above and left of each corner (Crow 1984).
    corners = cv2.integral(np.ascontiguousarray(pixels), sdepth=cv2.CV_64F)
    # 2. Between corners that sum is bilinear, so that parts of pixels count exactly; the axes are separable.
    #    The difference of the sums at two edges is the sum between them.
    rows = np.diff(_interpolate(corners, down), axis=0).swapaxes(0, 1)
    return np.diff(_interpolate(rows, across), axis=0).swapaxes(0, 1)


def _interpolate(values: npt.NDArray[Any], places: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Interpolate values linearly along the first axis."""
    before = np.minimum(places.astype(np.intp), len(values) - 2)
    part = (places - before).reshape(-1, *[1] * (values.ndim - 1))
    found: npt.NDArray[np.float64] = values[before] * (1 - part) + values[before + 1] * part
    return found
