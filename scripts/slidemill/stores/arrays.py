"""Arrays of patches: to write to, of a store's own memory, or turned.

For augmentation, patches are turned by the eight symmetries of the square. The bits of a symmetry's number: 4 exchanges
rows and columns, then 1 mirrors left to right, and 2 top to bottom. So 0 is the identity, 3 is half a turn, and 5 and 6
are quarter turns. They are the dihedral group of order 8 (https://en.wikipedia.org/wiki/Dihedral_group).
"""

from __future__ import annotations

import math
from collections import deque

import numpy as np

from slidemill.core.encodings import Pixels
from slidemill.errors import StoreError

SYMMETRIES = 8
"""The number of symmetries."""

LARGEST_KEPT = 16 * 1024 * 1024
"""Bytes of the largest array whose memory is used again."""


class _Loan:
    """Memory of an array, which is used again when the last array that refers to it is gone."""

    __slots__ = ("__array_interface__", "_memory")

    def __init__(self, memory: Pixels) -> None:
        self._memory = memory
        self.__array_interface__ = memory.__array_interface__

    def __del__(self) -> None:
        _RETURNED.append(self._memory)


_RETURNED: deque[Pixels] = deque(maxlen=2)
"""Memory of the latest arrays that are gone. New memory costs a page fault per 4 kB, and 0.1 ms per patch."""


def _new_array(shape: tuple[int, ...]) -> Pixels:
    """Return a new array, ``uint8`` of `shape`, in memory that was used before where there is some of its size."""
    size = math.prod(shape)
    if not 0 < size <= LARGEST_KEPT:
        return np.empty(shape, np.uint8)
    try:
        memory = _RETURNED.pop()
    except IndexError:
        memory = np.empty(shape, np.uint8)
    if memory.size != size:
        memory = np.empty(shape, np.uint8)
    return np.asarray(_Loan(memory.reshape(shape)))


def output_array(out: Pixels | None, shape: tuple[int, ...]) -> Pixels:
    """Return `out` if pixels can be written to it, or a new array for None.

    Raises
    ------
    StoreError
        When `out` is not a writable, C-contiguous array, ``uint8`` of `shape`.
    """
    if out is None:
        return _new_array(shape)
    if not (isinstance(out, np.ndarray) and out.shape == shape and out.dtype == np.uint8):
        found = f"{out.dtype} {out.shape}" if isinstance(out, np.ndarray) else type(out).__name__
        raise StoreError(f"out is {found}: these patches need an array, uint8 {shape}")
    if not out.flags.c_contiguous:
        raise StoreError("out is not contiguous: give an array that is not a slice or a view in another order")
    if not out.flags.writeable:
        raise StoreError("out is read-only: give an array that may be written to")
    return out


class View:
    """Wrapper of an array's memory; an array made of it keeps `keeper` alive."""

    def __init__(self, pixels: Pixels, keeper: object) -> None:
        self.__array_interface__ = pixels.__array_interface__
        self.keeper = (pixels, keeper)


def turn_view(pixels: Pixels, number: int) -> Pixels:
    """Return a view of square patches, transformed by the symmetry `number`, 0 to 7.

    `pixels` is ``uint8 (size, size, channels)`` or ``uint8 (patches, size, size, channels)``.

    Raises
    ------
    ValueError
        When there is no such symmetry.
    """
    if not 0 <= number < SYMMETRIES:
        raise ValueError(f"symmetry {number} does not exist: a square has {SYMMETRIES}, counted from 0")
    view = pixels.swapaxes(-3, -2) if number & 4 else pixels
    return view[..., :: -1 if number & 2 else 1, :: -1 if number & 1 else 1, :]


def turn_into(pixels: Pixels, number: int, out: Pixels) -> None:
    """Write a patch to `out`, transformed by a symmetry of the square.

    Parameters
    ----------
    pixels, out
        C-contiguous ``uint8 (size, size, 3)``.
    number
        The symmetry, 0 to 7.
    """
    # OpenCV writes to the array that it is given; NumPy takes ten times as long to copy a mirrored view.
    # https://docs.opencv.org/4.x/d2/de8/group__core__array.html
    import cv2

    if number == 0:
        np.copyto(out, pixels)
    elif number < 4:
        cv2.flip(pixels, {1: 1, 2: 0, 3: -1}[number], dst=out)
    elif number in (5, 6):
        cv2.rotate(pixels, cv2.ROTATE_90_CLOCKWISE if number == 5 else cv2.ROTATE_90_COUNTERCLOCKWISE, dst=out)
    else:
        cv2.transpose(pixels, dst=out)
        if number == 7:
            cv2.flip(out, -1, dst=out)
