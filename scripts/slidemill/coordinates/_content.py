"""The content of a file of coordinates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from slidemill.core.pyramid import Size, SlideInfo
from slidemill.errors import SlideError

Places = npt.NDArray[np.int64]

TOO_MANY = "has {count:,} places, and sampling.max_patches is {most:,}: allow more"
"""The message on files with more places than patches are allowed."""


@dataclass(frozen=True, slots=True)
class Square:
    """The square of a file's patches.

    Parameters
    ----------
    side
        Pixels of a patch's side as the file has it.
    side0
        Level-0 pixels of the side; None where the level says how many.
    level
        The native level that has `side` pixels; None where `side0` is known.
    """

    side: int
    side0: int | None = None
    level: int | None = None

    def level0_side(self, info: SlideInfo) -> int:
        """Return the side in level-0 pixels; `SlideError` if the slide lacks the level."""
        if self.side0 is not None:
            return self.side0
        level = self.level or 0
        if level >= len(info.downsamples):
            raise SlideError(
                f"patch_level is {level}, and the slide has levels 0 to {len(info.downsamples) - 1}: check whether the "
                "file is this slide's"
            )
        return round(self.side * info.downsamples[level])

    def __str__(self) -> str:
        if self.level is not None:
            return f"{self.side} x {self.side} pixels of level {self.level}"
        return f"{self.side} x {self.side} pixels, of {self.side0} x {self.side0} level-0 pixels"


@dataclass(frozen=True, slots=True, eq=False)
class CoordinateFile:
    """The content of a file of coordinates.

    Parameters
    ----------
    places
        ``int64 (n, 2)``: x and y of the top left corners in level-0 pixels, in the file's order.
    square
        The square of all patches; None if the file does not say.
    name
        The slide's name in the file, or None.
    sizes
        By native level, ``(width, height)`` that the file gives for it.
    """

    places: Places
    square: Square | None = None
    name: str | None = None
    sizes: Mapping[int, Size] | None = None
