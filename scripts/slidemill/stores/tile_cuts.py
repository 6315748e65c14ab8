"""Patches cut out of a slide's own tiles, and the decoded tiles that a process keeps."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import cached_property

from slidemill.core.encodings import Buffer, Pixels
from slidemill.core.patch import format_patch_id, parse_patch_id
from slidemill.errors import StoreError
from slidemill.stores.tile_grid import Part, Place, TileGrid

CACHE_BYTES = 96 * 1024 * 1024
"""Bytes of decoded tiles that a process keeps: two rows of tiles of most slides, or a window of shuffled blocks."""


ROUND = 1024
"""Decoded tiles after which it is decided again whether to keep all of them."""
ONE_OF = 8
"""One of so many tiles is kept where reads are scattered."""
FEW, MANY = 0.15, 1.0
"""Reads of kept tiles per kept tile, below which reads are scattered, and above which they no longer are."""


class TileCache:
    """Decoded tiles of this process, least recently used ones dropped first; threads may share it.

    Keeping a tile takes a quarter of the time of decoding it, since its memory is in no cache of the processor. Where
    few kept tiles are read again, as in scattered reads of large slides, most tiles are not kept.
    """

    def __init__(self, most: int = CACHE_BYTES) -> None:
        self._most = most
        self.renew()

    def renew(self) -> None:
        """Drop all tiles, and the lock, which another thread may have held during a fork."""
        # Taken again where collecting garbage closes a slide in the middle of `get`.
        self._lock = threading.RLock()
        self._tiles: OrderedDict[tuple[object, Place], Pixels] = OrderedDict()
        self._bytes = 0
        self._is_scattered = False
        self._hits = self._misses = 0

    def get(self, owner: object, tile: Place, decode: Callable[[Place], Pixels]) -> Pixels:
        """Return a tile of an owner, decoded if it is not kept; not to be written to."""
        key = (owner, tile)
        with self._lock:
            pixels = self._tiles.get(key)
            if pixels is not None:
                self._tiles.move_to_end(key)
                self._hits += 1
                return pixels
        pixels = decode(tile)
        with self._lock:
            self._misses += 1
            is_kept = not self._is_scattered or self._misses % ONE_OF == 0
            if self._misses == ROUND:
                self._end_round()
            if is_kept and key not in self._tiles:
                self._tiles[key] = pixels
                self._bytes += pixels.nbytes
                while self._bytes > self._most and len(self._tiles) > 1:
                    self._bytes -= self._tiles.popitem(last=False)[1].nbytes
        return pixels

    def _end_round(self) -> None:
        kept = ROUND // ONE_OF if self._is_scattered else ROUND
        self._is_scattered = self._hits < (MANY if self._is_scattered else FEW) * kept
        self._hits = self._misses = 0

    def drop(self, owner: object) -> None:
        """Drop the tiles of an owner."""
        with self._lock:
            for key in [key for key in list(self._tiles) if key[0] is owner]:
                self._bytes -= self._tiles.pop(key).nbytes


class TileCuts:
    """The patches of a store of tiles, as parts of these."""

    def __init__(self, grid: TileGrid, ids: Sequence[str], subject: object) -> None:
        self.grid = grid
        self._subject = subject
        self._ids = ids
        self._parts: tuple[dict[int, list[Part]], dict[int, list[Part]]] = ({}, {})
        self._owner = object()

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

        def decode(tile: Place) -> Pixels:
            column, row = tile
            data = lend(format_patch_id(column // grid.strip, row))
            try:
                return grid.decode(grid.unpack(data, column))
            except StoreError as error:
                raise StoreError(f"{self._subject}: the tile at column {column}, row {row}: {error}") from None

        column, row = parse_patch_id(patch_id)
        across, down, grid = self._along(0, column), self._along(1, row), self.grid
        if grid.extent(0, column).length < grid.patch_size or grid.extent(1, row).length < grid.patch_size:
            out[:] = grid.background
        for tile_row, from_y, to_y in down:
            for tile_column, from_x, to_x in across:
                tile = CACHE.get(self._owner, (tile_column, tile_row), decode)
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
