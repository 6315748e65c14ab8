"""Arrays that a store gives: those that pixels are written to, and views of its own memory."""

from __future__ import annotations

import numpy as np

from slidemill.core.encodings import Pixels
from slidemill.errors import StoreError


def output_array(out: Pixels | None, shape: tuple[int, ...]) -> Pixels:
    """Return the array that pixels are written to: `out`, or where it is None a new one.

    Raises
    ------
    StoreError
        When `out` is not an array of that shape, in one piece, that may be written to.
    """
    if out is None:
        return np.empty(shape, np.uint8)
    if not (isinstance(out, np.ndarray) and out.shape == shape and out.dtype == np.uint8):
        found = f"{out.dtype} {out.shape}" if isinstance(out, np.ndarray) else type(out).__name__
        raise StoreError(f"out is {found}: these patches need an array, uint8 {shape}")
    if not out.flags.c_contiguous:
        raise StoreError("out is not in one piece: give an array that is no slice or view of another order")
    if not out.flags.writeable:
        raise StoreError("out is read-only: give an array that may be written to")
    return out


class View:
    """An array's memory by NumPy's array interface: the array that NumPy makes of it keeps this and so `keeper`.

    https://numpy.org/doc/stable/reference/arrays.interface.html
    """

    def __init__(self, pixels: Pixels, keeper: object) -> None:
        self.__array_interface__ = pixels.__array_interface__
        self.keeper = (pixels, keeper)
