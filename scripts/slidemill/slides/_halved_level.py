"""Halve a level tile by tile, while a tile's pixels are in the processor's cache.

At a factor of 2, the area filter makes each pixel of two by two pixels of one tile, where tiles and patches begin at
even pixels. Patches are then cut out of halved tiles, and take a quarter of the memory.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import numpy as np

from slidemill.core.encodings import Pixels
from slidemill.shrinking.area import halve_area
from slidemill.slides._tile_cutter import Region
from slidemill.tiles.tiled_level import TiledLevel


class HalvedLevel:
    """A level of half the width and height, which `slidemill.slides._tile_cutter.Cutter` takes for its tiles."""

    def __init__(self, level: TiledLevel) -> None:
        self._level = level
        self._thread = threading.local()
        self.tile = level.tile[0] // 2, level.tile[1] // 2
        self.across = level.across

    def data(self, numbers: Sequence[int]) -> Iterator[bytes]:
        """Yield the bytes of tiles, as `TiledLevel.data` does."""
        return self._level.data(numbers)

    def pixels(self, number: int, data: bytes, buffer: Pixels) -> Pixels:
        """Return a tile's halved pixels, in `buffer`, as `TiledLevel.pixels` does."""
        own = getattr(self._thread, "buffer", None)
        if own is None:
            own = self._thread.buffer = self._level.buffer()
        return halve_area(self._level.pixels(number, data, own), buffer)

    def buffer(self) -> Pixels:
        """Return a new array for `pixels`."""
        return np.empty((self.tile[1], self.tile[0], 3), np.uint8)


def is_halved_by_tiles(level: TiledLevel, regions: Sequence[Region]) -> bool:
    """Return whether halved patches, which read `regions`, consist of halved tiles."""
    is_even = not (level.tile[0] % 2 or level.tile[1] % 2)
    return is_even and bool(regions) and not any(region.left % 2 or region.top % 2 for region in regions)


def halved(region: Region) -> Region:
    """Return a region in pixels of the halved level."""
    return Region(*(side // 2 for side in region))
