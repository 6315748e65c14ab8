"""Arrays that stores write to, or give of their own memory."""

from __future__ import annotations

import numpy as np

from slidemill.core.encodings import Pixels
from slidemill.errors import StoreError


def output_array(out: Pixels | None, shape: tuple[int, ...]) -> Pixels:
    """Return `out` if pixels can be written to it, or a new array for None.

    Raises
    ------
    StoreError
        When `out` is not a writable, C-contiguous array, ``uint8`` of `shape`.
    """
    if out is None:
        return np.empty(shape, np.uint8)
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
