"""Masks over a slide: the wanted area, and its fraction in each patch."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.PngImagePlugin import PngImageFile, PngInfo

from slidemill.core.files import replacing
from slidemill.core.pyramid import Size

if TYPE_CHECKING:
    from slidemill.annotations.coverage import Floats

Fractions: TypeAlias = "Callable[[Sequence[Mapping[str, Any]]], Floats]"
"""From patches to the wanted fraction of each, ``float64 (n,)``."""

INK_CHUNK = b"inKM"
"""The PNG chunk of a mask's ink: ancillary, private, unsafe to copy."""

MOST_PIXELS = 36_000_000
"""The largest number of pixels of a mask."""


@dataclass(frozen=True, eq=False)
class Mask:
    """A mask of the wanted area over the whole canvas of a slide.

    Parameters
    ----------
    pixels
        ``uint8 (height, width)``: 1 in the wanted area, else 0.
    size0
        ``(width, height)`` of the slide in level-0 pixels.
    ink
        ``uint8 (height, width)``: 1 where ink was excluded; None if no ink was looked for.
    """

    pixels: npt.NDArray[np.uint8]
    size0: Size
    ink: npt.NDArray[np.uint8] | None = None

    @property
    def fraction(self) -> float:
        """The wanted share of the slide."""
        return float(self.pixels.mean())

    @property
    def ink_fraction(self) -> float | None:
        """The share of the slide that was excluded as ink; None if no ink was looked for."""
        return None if self.ink is None else float(self.ink.mean())

    @cached_property
    def _sums(self) -> npt.NDArray[np.int32]:
        """Sums of the pixels above and left of each corner.

        F. C. Crow, "Summed-area tables for texture mapping", SIGGRAPH 1984.
        """
        import cv2

        return np.asarray(cv2.integral(self.pixels, sdepth=cv2.CV_32S), np.int32)

    def fractions(self, rows: Sequence[Mapping[str, Any]]) -> Floats:
        """Return the exact fraction of each patch that is wanted, ``float64 (n,)``.

        Parameters
        ----------
        rows
            Patches with ``x0, y0, width0, height0`` in level-0 pixels.
        """
        # Squares in pixels of the mask, which need not be whole: sums are bilinear between corners.
        place = np.array([[float(row[key]) for key in ("x0", "y0", "width0", "height0")] for row in rows])
        left, top, width, height = place.reshape(-1, 4).T
        scale_y, scale_x = np.divide(self.pixels.shape, self.size0[::-1])
        xs = np.stack([left, left + width]) * scale_x
        ys = np.stack([top, top + height]) * scale_y
        (upper_left, lower_left), (upper_right, lower_right) = (
            [_interpolated(self._sums, x, y) for y in ys] for x in xs
        )  # fmt: skip
        # Inclusion and exclusion of the four corners.
        covered = lower_right - lower_left - upper_right + upper_left
        return np.asarray(np.clip(covered / (width * scale_x * height * scale_y), 0, 1), np.float64)


@dataclass(frozen=True, eq=False)
class SelectedArea:
    """The wanted area of a slide, with notes and warnings.

    Parameters
    ----------
    fractions
        The wanted fraction of patches; None if the whole slide is wanted.
    mask
        An image of the area.
    notes, warnings
        Facts, and what may have dropped or kept patches wrongly.
    """

    fractions: Fractions | None
    mask: Mask
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


NOTHING = Mask(np.zeros((1, 1), np.uint8), (1, 1))
"""The mask of slides without one: they have failed, or are wanted as a whole."""


def _interpolated(sums: npt.NDArray[np.int32], x: Floats, y: Floats) -> Floats:
    rows, columns = sums.shape
    x, y = np.clip(x, 0, columns - 1), np.clip(y, 0, rows - 1)
    column, row = np.minimum(x.astype(np.intp), columns - 2), np.minimum(y.astype(np.intp), rows - 2)
    right, down = x - column, y - row
    above = sums[row, column] * (1 - right) + sums[row, column + 1] * right
    below = sums[row + 1, column] * (1 - right) + sums[row + 1, column + 1] * right
    return np.asarray(above * (1 - down) + below * down)


def save_mask(mask: Mask, path: Path) -> None:
    """Write a mask as a PNG with one bit per pixel, and its ink in an extra chunk."""
    chunks = PngInfo()
    if mask.ink is not None and mask.ink.any():
        chunks.add(INK_CHUNK, _png(mask.ink))
    with replacing(path) as aside:
        _picture(mask.pixels).save(aside, format="png", optimize=True, pnginfo=chunks)


def load_mask(path: Path, size0: Size) -> Mask | None:
    """Read a mask that `save_mask` wrote; None for `NOTHING`."""
    with PngImageFile(path) as image:
        pixels = np.asarray(image.convert("1"), np.uint8)
        drawn = next((chunk[1] for chunk in image.private_chunks if chunk[0] == INK_CHUNK), None)
    if pixels.size <= 1:
        return None
    if drawn is None:
        return Mask(pixels, size0)
    with PngImageFile(io.BytesIO(drawn)) as image:
        return Mask(pixels, size0, np.asarray(image.convert("1"), np.uint8))


def _png(pixels: npt.NDArray[np.uint8]) -> bytes:
    stream = io.BytesIO()
    _picture(pixels).save(stream, format="png", optimize=True)
    return stream.getvalue()


def _picture(pixels: npt.NDArray[np.uint8]) -> Image.Image:
    return Image.fromarray(pixels * np.uint8(255)).convert("1")
