"""The tiles of a level, the patches on them, and strips of tiles as a store holds them.

Which tiles a patch touches follows from the grid of patches and the grid of tiles, so that no table relates them.
Neighbouring tiles of a row are stored together as a strip: LMDB rounds each value up to pages of 4 kB. A strip begins
with the length of each of its tiles, ``uint32`` little-endian, 0 for one that no patch touches; the tiles follow.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import imagecodecs
import numpy as np
import numpy.typing as npt
import simplejpeg

from slidemill.core import jpeg
from slidemill.core.encodings import Buffer, Pixels
from slidemill.core.patch import parse_patch_id
from slidemill.core.pyramid import Size
from slidemill.core.text import AGAIN
from slidemill.errors import StoreError, machine_error

JPEG, JPEG2000 = "jpeg", "jpeg2000"
SMALLEST_TILE, LARGEST_TILE = 16, 4096
"""Least and largest side of a tile, in pixels; TIFF requires multiples of 16 (TIFF 6.0, section 15)."""
STRIP = 8
"""Tiles of a strip; strips begin at multiples of it."""
MOST_OF_A_STRIP = 1024
MOST_TILES = 1 << 24
"""Tiles of a level, above which a manifest is rejected: a few bytes of it may claim any number."""

Place = tuple[int, int]
"""Column and row of a tile."""
Part = tuple[int, slice, slice]
"""Along one axis: a tile's number, the pixels to copy from it, and their place in the patch."""


class Extent(NamedTuple):
    """A patch along one axis: its first pixel in the level, its length, and their offset in the patch."""

    first: int
    length: int
    offset: int


@dataclass(frozen=True, slots=True)
class TileGrid:
    """The tiles of one level of a slide, and the grid of patches on it.

    Parameters
    ----------
    form
        `JPEG` or `JPEG2000`.
    head
        The bytes in front of every stored JPEG tile that make it a complete stream, in hex.
    tile, level
        ``(width, height)`` of a tile and of the level, in level pixels.
    origin, area
        ``(x, y)`` and ``(width, height)`` of the sampled area, in level pixels.
    patch_size, overlap
        As in `slidemill.core.specs.GridSpec`; a patch has as many level pixels.
    background
        The colour beyond the sampled area, ``(red, green, blue)``.
    strip
        Number of tiles in a strip.
    apart
        Level-0 pixels per level pixel, if patches begin at any place and their ids count level-0 pixels; 0 for a grid.
    """

    form: str
    head: str
    tile: Size
    level: Size
    origin: Size
    area: Size
    patch_size: int
    overlap: int
    background: tuple[int, int, int]
    strip: int = STRIP
    apart: int = 0

    @property
    def across(self) -> int:
        """Number of tiles in a row."""
        return -(-self.level[0] // self.tile[0])

    @property
    def down(self) -> int:
        """Number of rows of tiles."""
        return -(-self.level[1] // self.tile[1])

    @property
    def head_bytes(self) -> int:
        """Bytes of a strip in front of its tiles."""
        return 4 * self.strip

    def extent(self, axis: int, index: int) -> Extent:
        """Return the extent of the patches at `index` along an axis (0 = x, 1 = y).

        This is `slidemill.slides.grid.Grid` where a patch has as many pixels as are read.
        """
        if self.apart:
            begin = index // self.apart
            return Extent(begin, max(min(self.patch_size, self.level[axis] - begin), 0), 0)
        step, size = self.patch_size - 2 * self.overlap, self.area[axis]
        before = self.overlap if index > 0 else 0
        after = self.overlap if index < -(-size // step) - 1 else 0
        begin = step * index - before
        length = min(min(step, size - step * index) + before + after, size - begin)
        return Extent(self.origin[axis] + begin, max(length, 0), self.overlap - before)

    def parts(self, axis: int, index: int) -> list[Part]:
        """Return what the patches at `index` along an axis take from which tiles."""
        first, length, offset = self.extent(axis, index)
        side, parts = self.tile[axis], []
        for number in range(first // side, -(-(first + length) // side)) if length else ():
            begin, end = max(first, number * side), min(first + length, (number + 1) * side)
            shift = offset - first
            parts.append((number, slice(begin - number * side, end - number * side), slice(begin + shift, end + shift)))
        return parts

    def wanted(self, ids: Sequence[str]) -> list[tuple[int, int]]:
        """Return the tiles that patches touch, ``(column, row)``, in raster order."""
        places = np.array([parse_patch_id(patch_id) for patch_id in ids], np.int64).reshape(-1, 2)
        ranges: list[npt.NDArray[np.int64]] = []
        for axis in (0, 1):
            indices, inverse = np.unique(places[:, axis], return_inverse=True)
            parts = [self.parts(axis, index) for index in indices.tolist()]
            ends = [(own[0][0], own[-1][0] + 1) if own else (0, 0) for own in parts]
            ranges.append(np.array(ends, np.int64).reshape(-1, 2)[inverse])
        # Sums of differences: each patch adds 1 to the tiles of its rectangle.
        counts = np.zeros((self.down + 1, self.across + 1), np.int32)
        columns, rows = ranges
        for x, y, sign in ((0, 0, 1), (0, 1, -1), (1, 0, -1), (1, 1, 1)):
            np.add.at(counts, (rows[:, y], columns[:, x]), sign)
        touched = np.argwhere(counts.cumsum(0).cumsum(1)[:-1, :-1] > 0)
        return [(column, row) for row, column in touched.tolist()]

    def strips(self, ids: Sequence[str]) -> dict[tuple[int, int], list[int]]:
        """Return the strips that patches touch, ``(column, row)``, in raster order, and the columns of their tiles."""
        strips: dict[tuple[int, int], list[int]] = {}
        for column, row in self.wanted(ids):
            strips.setdefault((column // self.strip, row), []).append(column)
        return strips

    def pack(self, tiles: Mapping[int, bytes]) -> bytes:
        """Return a strip of tiles by column."""
        lengths = [0] * self.strip
        for column, data in tiles.items():
            lengths[column % self.strip] = len(data)
        return struct.pack(f"<{self.strip}I", *lengths) + b"".join(tiles.values())

    def unpack(self, data: Buffer, column: int) -> Buffer:
        """Return the bytes of one tile of a strip; none where the strip is cut off."""
        head, place = self.head_bytes, column % self.strip
        if len(data) < head:
            return b""
        lengths = struct.unpack_from(f"<{self.strip}I", data)
        start = head + sum(lengths[:place])
        return data[start : start + lengths[place]]

    def decode(self, data: Buffer, memory: Pixels | None = None) -> Pixels:
        """Return a stored tile's pixels, ``uint8 (height, width, 3)``, RGB; they may be in `memory`.

        Raises
        ------
        StoreError
            When the bytes are broken, or hold an image of another size.
        """
        try:
            # A few bytes may claim gigabytes.
            if self.form == JPEG2000:
                if (size := jpeg.jpeg2000_size(data)) != self.tile:
                    raise ValueError(f"{size[0]} x {size[1]} pixels, not {self.tile[0]} x {self.tile[1]}")
                pixels: Pixels = imagecodecs.jpeg2k_decode(bytes(data))
            else:
                if memory is None:
                    memory = np.empty((self.tile[1], self.tile[0], 3), np.uint8)
                pixels = simplejpeg.decode_jpeg(bytes.fromhex(self.head) + bytes(data), "RGB", buffer=memory)
        except (ValueError, OSError, RuntimeError, TypeError) as error:
            fault = StoreError(f"cannot decode {len(data)} bytes as {self.form} ({error}): {AGAIN}")
            raise machine_error(error, f"a {self.form} tile") or fault from None
        if pixels.shape != (self.tile[1], self.tile[0], 3) or pixels.dtype != np.uint8:
            raise StoreError(f"expected three bytes a pixel, got {pixels.dtype} {pixels.shape}: {AGAIN}")
        return pixels

    def to_json(self) -> dict[str, Any]:
        """Return the grid as a manifest holds it, without an `apart` of 0, which earlier versions do not have."""
        return {name: value for name, value in asdict(self).items() if name != "apart" or value}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> TileGrid:
        """Return the grid that `to_json` gave.

        Raises
        ------
        ValueError
            When the values are not those of a grid.
        """
        pairs = {name: tuple(values[name]) for name in ("tile", "level", "origin", "area", "background")}
        grid = cls(**{**values, **pairs})
        sizes = (grid.patch_size, grid.overlap, grid.strip, grid.apart)
        numbers = (*grid.tile, *grid.level, *grid.origin, *grid.area, *grid.background, *sizes)
        lengths = [len(own) for own in pairs.values()]
        if lengths != [2, 2, 2, 2, 3] or not all(type(number) is int and number >= 0 for number in numbers):
            raise ValueError("it holds what is not a number of pixels")
        bytes.fromhex(grid.head)
        ends = [(grid.origin[axis] + grid.area[axis], grid.level[axis]) for axis in (0, 1)]
        if not (
            grid.form in (JPEG, JPEG2000)
            and all(SMALLEST_TILE <= side <= LARGEST_TILE for side in grid.tile)
            and grid.patch_size - 2 * grid.overlap > 0
            and all(grid.patch_size - 3 * grid.overlap + begin >= 0 for begin in grid.origin)
            and all(end <= most for end, most in ends)
            and grid.across * grid.down <= MOST_TILES
            and max(grid.background) <= 255
            and 1 <= grid.strip <= MOST_OF_A_STRIP
        ):
            raise ValueError("its sizes contradict each other")
        return grid
