"""Patches cut out of a slide's own tiles, each of which a store holds once."""

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


class TileCache:
    """Decoded tiles of this process, least recently used ones dropped first; threads may share it."""

    def __init__(self, most: int = CACHE_BYTES) -> None:
        self._most = most
        self.renew()

    def renew(self) -> None:
        """Drop all tiles, and the lock, which another thread may have held during a fork."""
        self._lock = threading.Lock()
        self._tiles: OrderedDict[tuple[object, Place], Pixels] = OrderedDict()
        self._bytes = 0

    def get(self, owner: object, tile: Place, decode: Callable[[Place], Pixels]) -> Pixels:
        """Return a tile of an owner, decoded if it is not kept; not to be written to."""
        key = (owner, tile)
        with self._lock:
            pixels = self._tiles.get(key)
            if pixels is not None:
                self._tiles.move_to_end(key)
                return pixels
        pixels = decode(tile)
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
