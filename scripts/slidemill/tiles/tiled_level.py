"""Read and decode the tiles of one level of a slide from an open file."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import simplejpeg

from slidemill.core import jpeg
from slidemill.core.encodings import Pixels, Shape
from slidemill.core.pyramid import Size
from slidemill.errors import SlideError

LARGEST_TILE = 64 * 1024 * 1024
"""Bytes of a decoded tile; a few bytes of a file may claim gigabytes."""

Decode = Callable[[bytes, Pixels], Pixels]
"""From a tile's bytes and an array to reuse to its pixels, ``uint8 (height, width, 3)``."""


Rectangle = tuple[slice, slice]
"""Rows and columns of a tile."""

CopyPart = Callable[[int, Rectangle, Pixels], None]
"""Copies a part of the tile of a number to an array, ``uint8 (height, width, 3)``."""


class TilesError(SlideError):
    """The tiles of a slide cannot be read here; OpenSlide may be able to read them."""


@dataclass(frozen=True, slots=True)
class TiledLevel:
    """One level of a slide as the tiles of an open file.

    Parameters
    ----------
    size
        ``(width, height)`` of the level in its pixels; the last tiles may reach beyond it.
    tile
        ``(width, height)`` of a tile.
    across
        Tiles in a row; they are numbered row by row from 0 at the top left.
    offsets, counts
        Where each tile's bytes begin in the file, and how many there are.
    jpeg_head
        What `jpeg.complete_tile` puts in front of a tile; empty for other compressions.
    form
        ``"jpeg"`` or ``"jpeg2000"`` for tiles that are image files by themselves; else empty.
    _unwrap
        From the bytes at a tile's offset to those of the tile, or None where they are the same; a ``ValueError`` says
        why they are none.
    """

    size: Size
    tile: Size
    across: int
    offsets: Sequence[int]
    counts: Sequence[int]
    jpeg_head: bytes
    _decode: Decode
    _file: int
    form: str = ""
    _unwrap: Callable[[bytes], bytes] | None = None

    def data(self, numbers: Sequence[int]) -> Iterator[bytes]:
        """Yield the bytes of tiles as they are stored; adjacent tiles are read at once.

        Raises
        ------
        TilesError
            When they cannot be read.
        """
        ends = [self.offsets[number] + self.counts[number] for number in numbers]
        first = 0
        for last, end in enumerate(ends):
            if last + 1 < len(ends) and self.offsets[numbers[last + 1]] == end:
                continue
            start = self.offsets[numbers[first]]
            try:
                block = os.pread(self._file, end - start, start)
            except OSError as error:
                raise TilesError(f"tile {numbers[first]} cannot be read ({error.strerror})") from None
            if len(block) != end - start:
                raise TilesError(f"tile {numbers[first]} or one after it is cut off by the end of the file")
            for place in range(first, last + 1):
                own = block[self.offsets[numbers[place]] - start : ends[place] - start]
                yield own if self._unwrap is None else self._unwrap_tile(numbers[place], own)
            first = last + 1

    def _unwrap_tile(self, number: int, own: bytes) -> bytes:
        assert self._unwrap is not None
        try:
            return self._unwrap(own)
        except ValueError as error:
            raise TilesError(f"tile {number} is not where the slide says ({error})") from None

    def standalone(self, number: int, data: bytes) -> bytes:
        """Return a tile's bytes as a JPEG file, without decoding it.

        Any program decodes it to the slide's pixels.

        Raises
        ------
        TilesError
            When it is a JPEG of another kind than the slide says.
        """
        try:
            return jpeg.complete_tile(self.jpeg_head, data, self.tile)
        except (ValueError, IndexError) as error:
            raise TilesError(f"tile {number} is not what the slide says ({error})") from None

    def headless(self, number: int, data: bytes) -> bytes:
        """Return a tile's bytes without `jpeg_head`; JPEG 2000 tiles as they are.

        Raises
        ------
        TilesError
            When it is of another size or kind than the slide says.
        """
        try:
            if self.jpeg_head:
                return jpeg.complete_tile(b"", data, self.tile)
            if jpeg.jpeg2000_size(data) != self.tile:
                raise ValueError("it has another size")
        except (ValueError, IndexError) as error:
            raise TilesError(f"tile {number} is not what the slide says ({error})") from None
        return data

    def pixels(self, number: int, data: bytes, buffer: Pixels) -> Pixels:
        """Return a tile's pixels, ``uint8 (height, width, 3)``.

        They may be in `buffer`, an array of the same shape.

        Raises
        ------
        TilesError
            When it cannot be decoded.
        """
        try:
            pixels = self._decode(self.standalone(number, data) if self.jpeg_head else data, buffer)
        except (ValueError, RuntimeError, OSError, TypeError) as error:
            raise TilesError(f"tile {number} cannot be decoded ({error})") from None
        if pixels.shape != buffer.shape or pixels.dtype != np.uint8:
            raise TilesError(f"tile {number} is {pixels.dtype} {pixels.shape}, not {buffer.shape}")
        return pixels

    @property
    def shape(self) -> Shape:
        """``(height, width, 3)`` of a tile's pixels."""
        return (self.tile[1], self.tile[0], 3)

    def buffer(self) -> Pixels:
        """Return a new array for `pixels`."""
        return np.empty(self.shape, np.uint8)


def decode_jpeg(data: bytes, out: Pixels) -> Pixels:
    """Return the pixels of a JPEG, decoded into an array of its size."""
    pixels: Pixels = simplejpeg.decode_jpeg(data, "RGB", buffer=out)
    return pixels
