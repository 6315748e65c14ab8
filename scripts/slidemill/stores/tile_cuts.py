"""Patches cut out of a slide's own tiles, and the decoded tiles that a process keeps."""

from __future__ import annotations

import math
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from slidemill.core.encodings import Buffer, Pixels, Shape
from slidemill.core.patch import format_patch_id, parse_patch_id
from slidemill.errors import StoreError
from slidemill.stores.tile_grid import Part, Place, TileGrid
from slidemill.tiles.tiled_level import Rectangle

CACHE_BYTES = 128 * 1024 * 1024
"""Bytes of decoded tiles that a process keeps: two rows of tiles of most slides, or a window of shuffled blocks."""

SLAB = 8 * 1024 * 1024
"""Bytes that are allocated at once for tiles, since the system gives large pages for them, with few page faults."""
ROUND = 1024
"""Decoded tiles after which it is decided again whether to keep all of them."""
ONE_OF = 8
"""One of so many tiles is kept where reads are scattered and the cache is full."""
FEW, MANY = 0.15, 1.0
"""Reads of kept tiles per kept tile, below which reads are scattered, and above which they no longer are."""


@dataclass(frozen=True, slots=True, eq=False)
class TileOwner:
    """A slide or a store in the cache; ``shape`` is ``(height, width, 3)`` of its tiles."""

    shape: Shape


class TileCache:
    """Decoded tiles of this process, least recently used ones dropped first; threads may share it.

    Keeping a tile takes time, since its memory is in no cache of the processor. Where few kept tiles are read again,
    as in scattered reads of large slides, most tiles are decoded into the same memory.
    """

    def __init__(self, most: int = CACHE_BYTES) -> None:
        self._most = most
        self.renew()

    def renew(self) -> None:
        """Drop all tiles, and the lock, which another thread may have held during a fork."""
        # Taken again where collecting garbage closes a slide in the middle of `copy`.
        self._lock = threading.RLock()
        self._tiles: OrderedDict[tuple[TileOwner, Place], Pixels] = OrderedDict()
        self._free: dict[Shape, list[Pixels]] = {}
        self._bytes = 0
        self._is_scattered = False
        self._hits = self._misses = self._kept = 0

    def copy(
        self,
        owner: TileOwner,
        tile: Place,
        decode: Callable[[Place, Pixels], Pixels],
        *,
        part: Rectangle,
        out: Pixels,
    ) -> None:
        """Copy a part of a tile, which is decoded if it is not kept.

        Parameters
        ----------
        owner, tile
            The tile.
        decode
            Returns a tile's pixels, ``uint8`` of the owner's shape, which may be in the array that it is given.
        part
            The part of the tile.
        out
            The part is written to it, ``uint8 (height, width, 3)``.
        """
        key = (owner, tile)
        with self._lock:
            kept = self._tiles.get(key)
            if kept is not None:
                self._tiles.move_to_end(key)
                self._hits += 1
                # Under the lock: another thread that drops the tile decodes the next one into its memory.
                out[:] = kept[part]
                return
            memory = self._memory(owner.shape)
        pixels = decode(tile, memory)
        out[:] = pixels[part]
        with self._lock:
            self._misses += 1
            is_kept = not self._is_scattered or not self._misses % ONE_OF or self._bytes + memory.nbytes <= self._most
            if self._misses == ROUND:
                self._end_round()
            if not is_kept or key in self._tiles:
                self._release(memory)
                return
            if not np.may_share_memory(pixels, memory):
                memory[:] = pixels
            self._kept += 1
            self._tiles[key] = memory
            self._bytes += memory.nbytes
            while self._bytes > self._most and len(self._tiles) > 1:
                dropped = self._tiles.popitem(last=False)[1]
                self._bytes -= dropped.nbytes
                self._release(dropped)

    def _memory(self, shape: Shape) -> Pixels:
        """Return the memory of a tile that has been dropped, the latest first, or new memory."""
        free = self._free.get(shape)
        if not free:
            count = max(SLAB // math.prod(shape), 1)
            free = list(np.empty((count, *shape), np.uint8))
            # What other slides have left is in the way: a slab is freed with the last of its tiles.
            self._free = {shape: free}
        return free.pop()

    def _release(self, memory: Pixels) -> None:
        free = self._free.get(memory.shape)
        if free is not None:
            free.append(memory)

    def _end_round(self) -> None:
        self._is_scattered = self._hits < (MANY if self._is_scattered else FEW) * self._kept
        self._hits = self._misses = self._kept = 0

    def drop(self, owner: TileOwner) -> None:
        """Drop the tiles of an owner, and free memory with the last tile of all."""
        with self._lock:
            for key in [key for key in list(self._tiles) if key[0] is owner]:
                memory = self._tiles.pop(key)
                self._bytes -= memory.nbytes
                self._release(memory)
            if not self._tiles:
                self._free = {}


class TileCuts:
    """The patches of a store of tiles, as parts of these."""

    def __init__(self, grid: TileGrid, ids: Sequence[str], subject: object) -> None:
        self.grid = grid
        self._subject = subject
        self._ids = ids
        self._parts: tuple[dict[int, list[Part]], dict[int, list[Part]]] = ({}, {})
        self._owner = TileOwner((grid.tile[1], grid.tile[0], 3))

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the stored strips, in raster order."""
        return tuple(format_patch_id(column, row) for column, row in self.grid.strips(self._ids))

    def read_into(self, patch_id: str, out: Pixels, lend: Callable[[str], Buffer]) -> None:
        """Cut a patch out of its tiles.

        Parameters
        ----------
        patch_id
            The patch.
        out
            ``uint8 (patch_size, patch_size, 3)``.
        lend
            From a strip's name to its bytes.

        Raises
        ------
        StoreError
            When a tile is broken.
        """

        def decode(tile: Place, memory: Pixels) -> Pixels:
            column, row = tile
            data = lend(format_patch_id(column // grid.strip, row))
            try:
                return grid.decode(grid.unpack(data, column), memory)
            except StoreError as error:
                raise StoreError(f"{self._subject}: the tile at column {column}, row {row}: {error}") from None

        column, row = parse_patch_id(patch_id)
        across, down, grid = self._along(0, column), self._along(1, row), self.grid
        if grid.extent(0, column).length < grid.patch_size or grid.extent(1, row).length < grid.patch_size:
            out[:] = grid.background
        for tile_row, from_y, to_y in down:
            for tile_column, from_x, to_x in across:
                place = (tile_column, tile_row)
                CACHE.copy(self._owner, place, decode, part=(from_y, from_x), out=out[to_y, to_x])

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
