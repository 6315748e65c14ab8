"""Patches cut out of a slide's own tiles, each of which a store holds once.

Which tiles a patch touches follows from the grid of patches and the grid of tiles, so that no table relates them.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, NamedTuple

import imagecodecs
import numpy as np
import numpy.typing as npt
import simplejpeg

from slidemill.core import jpeg
from slidemill.core.encodings import Buffer, Pixels
from slidemill.core.patch import format_patch_id, parse_patch_id
from slidemill.core.pyramid import Size
from slidemill.core.text import AGAIN
from slidemill.errors import StoreError

JPEG, JPEG2000 = "jpeg", "jpeg2000"
SMALLEST_TILE, LARGEST_TILE = 16, 4096
"""Least and largest side of a tile, in pixels; TIFF requires multiples of 16 (TIFF 6.0, section 15)."""
MOST_TILES = 1 << 24
"""Tiles of a level, above which a manifest is rejected: a few bytes of it may claim any number."""
CACHE_BYTES = 96 * 1024 * 1024
"""Bytes of decoded tiles that a process keeps: two rows of tiles of most slides, or a window of shuffled blocks."""

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

    @property
    def across(self) -> int:
        """Number of tiles in a row."""
        return -(-self.level[0] // self.tile[0])

    @property
    def down(self) -> int:
        """Number of rows of tiles."""
        return -(-self.level[1] // self.tile[1])

    def extent(self, axis: int, index: int) -> Extent:
        """Return the extent of the patches at `index` along an axis (0 = x, 1 = y).

        This is `slidemill.slides.grid.Grid` where a patch has as many pixels as are read.
        """
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

    def decode(self, data: Buffer) -> Pixels:
        """Return a stored tile's pixels, ``uint8 (height, width, 3)``, RGB.

        Raises
        ------
        StoreError
            When the bytes are broken, or hold an image of another size.
        """
        try:
            if self.form == JPEG2000:
                size, decode = jpeg.jpeg2000_size(data), imagecodecs.jpeg2k_decode
            else:
                data = bytes.fromhex(self.head) + bytes(data)
                height, width, *_ = simplejpeg.decode_jpeg_header(data)
                size, decode = (width, height), simplejpeg.decode_jpeg
            # A few bytes may claim gigabytes.
            if size != self.tile:
                raise ValueError(f"{size[0]} x {size[1]} pixels, not {self.tile[0]} x {self.tile[1]}")
            pixels: Pixels = decode(data)
        except (ValueError, OSError, RuntimeError, TypeError) as error:
            raise StoreError(f"cannot decode {len(data)} bytes as {self.form} ({error}): {AGAIN}") from None
        if pixels.shape != (self.tile[1], self.tile[0], 3) or pixels.dtype != np.uint8:
            raise StoreError(f"expected three bytes a pixel, got {pixels.dtype} {pixels.shape}: {AGAIN}")
        return pixels

    def to_json(self) -> dict[str, Any]:
        """Return the grid as a manifest holds it."""
        return asdict(self)

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
        numbers = (*grid.tile, *grid.level, *grid.origin, *grid.area, *grid.background, grid.patch_size, grid.overlap)
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
        ):
            raise ValueError("its sizes contradict each other")
        return grid


class TileCache:
    """Decoded tiles of this process, least recently used ones dropped first; threads may share it."""

    def __init__(self, most: int = CACHE_BYTES) -> None:
        self._most = most
        self.renew()

    def renew(self) -> None:
        """Drop all tiles, and the lock, which another thread may have held during a fork."""
        self._lock = threading.Lock()
        self._tiles: OrderedDict[tuple[object, str], Pixels] = OrderedDict()
        self._bytes = 0

    def get(self, owner: object, name: str, decode: Callable[[str], Pixels]) -> Pixels:
        """Return a tile of an owner by name, decoded if it is not kept; not to be written to."""
        key = (owner, name)
        with self._lock:
            pixels = self._tiles.get(key)
            if pixels is not None:
                self._tiles.move_to_end(key)
                return pixels
        pixels = decode(name)
        with self._lock:
            if key not in self._tiles:
                self._tiles[key] = pixels
                self._bytes += pixels.nbytes
                while self._bytes > self._most and len(self._tiles) > 1:
                    self._bytes -= self._tiles.popitem(last=False)[1].nbytes
        return pixels

    def drop(self, owner: object) -> None:
        """Drop the tiles of an owner."""
        with self._lock:
            for key in [key for key in self._tiles if key[0] is owner]:
                self._bytes -= self._tiles.pop(key).nbytes


class TileCuts:
    """The patches of a store of tiles, as parts of these."""

    def __init__(self, grid: TileGrid, ids: Sequence[str]) -> None:
        self.grid = grid
        self._ids = ids
        self._parts: tuple[dict[int, list[Part]], dict[int, list[Part]]] = ({}, {})
        self._owner = object()

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the stored tiles, in raster order."""
        return tuple(format_patch_id(column, row) for column, row in self.grid.wanted(self._ids))

    def read_into(self, patch_id: str, out: Pixels, decode: Callable[[str], Pixels]) -> None:
        """Cut a patch out of its tiles.

        Parameters
        ----------
        patch_id
            The patch.
        out
            ``uint8 (patch_size, patch_size, 3)``.
        decode
            From a tile's name to its pixels.
        """
        column, row = parse_patch_id(patch_id)
        across, down = self._along(0, column), self._along(1, row)
        grid = self.grid
        if grid.extent(0, column).length < grid.patch_size or grid.extent(1, row).length < grid.patch_size:
            out[:] = grid.background
        for tile_row, from_y, to_y in down:
            for tile_column, from_x, to_x in across:
                tile = CACHE.get(self._owner, format_patch_id(tile_column, tile_row), decode)
                out[to_y, to_x] = tile[from_y, from_x]

    def close(self) -> None:
        """Drop the decoded tiles."""
        CACHE.drop(self._owner)

    def _along(self, axis: int, index: int) -> list[Part]:
        parts = self._parts[axis].get(index)
        if parts is None:
            parts = self._parts[axis][index] = self.grid.parts(axis, index)
        return parts


CACHE = TileCache()
os.register_at_fork(after_in_child=CACHE.renew)
