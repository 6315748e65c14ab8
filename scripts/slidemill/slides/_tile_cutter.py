"""Cut patches out of tiles, and decode each tile once.

Each thread decodes a tile into one small array, and copies its pixels to every patch that the tile touches, while they
are in the processor's cache. A patch is complete after its last tile. Tiles are decoded in the order in which patches,
row by row, first need them, so that about one row of patches is under way at a time.
"""

from __future__ import annotations

import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Generic, NamedTuple, Protocol, TypeVar

import numpy as np

from slidemill.core.encodings import Pixels
from slidemill.core.ordered_threads import Step
from slidemill.core.pyramid import Size
from slidemill.tiles.tiled_level import CopyPart, TiledLevel

Result = TypeVar("Result")

TILES_A_STEP = 4
"""Tiles that a thread decodes per step; with fewer, threads wait for each other more often."""

PLACES_A_STEP = 8
"""The most places from the first to the last tile of a step, which holds them in addition to the window."""


class Region(NamedTuple):
    """A rectangle of a level, in pixels of the level."""

    left: int
    top: int
    width: int
    height: int


class Tiles(Protocol):
    """The tiles that regions are cut out of, as `TiledLevel` has them."""

    @property
    def tile(self) -> Size:
        """``(width, height)`` of a tile."""

    @property
    def across(self) -> int:
        """Tiles in a row."""

    def data(self, numbers: Sequence[int]) -> Iterator[bytes]:
        """Yield the bytes of tiles."""

    def pixels(self, number: int, data: bytes, buffer: Pixels) -> Pixels:
        """Return a tile's pixels, which may be in `buffer`."""

    def buffer(self) -> Pixels:
        """Return a new array for `pixels`."""


def cut_region(level: TiledLevel, region: Region, copy: CopyPart, out: Pixels) -> None:
    """Cut one region out of its tiles.

    Parameters
    ----------
    level
        The tiles.
    region
        A region within the level, at least one pixel.
    copy
        Copies parts of tiles.
    out
        The region is written to it, ``uint8 (height, width, 3)``.

    Raises
    ------
    TilesError
        When a tile cannot be read.
    """
    (width, height), (left, top) = level.tile, region[:2]
    right, bottom = left + region.width, top + region.height
    rows, columns = range(top // height, (bottom - 1) // height + 1), range(left // width, (right - 1) // width + 1)
    if region == (columns[0] * width, rows[0] * height, width, height):
        # A patch that is a tile shares it with no other patch: it is decoded in place.
        number = rows[0] * level.across + columns[0]
        pixels = level.pixels(number, next(level.data([number])), out)
        if not np.may_share_memory(pixels, out):
            out[:] = pixels
        return
    spans = []
    for column in columns:
        before = column * width
        x0, x1 = max(left, before), min(right, before + width)
        spans.append((column, slice(x0 - before, x1 - before), slice(x0 - left, x1 - left)))
    for row in rows:
        above, first = row * height, row * level.across
        y0, y1 = max(top, above), min(bottom, above + height)
        lines, own = slice(y0 - above, y1 - above), out[y0 - top : y1 - top]
        for column, span, place in spans:
            copy(first + column, (lines, span), own[:, place])


@dataclass(slots=True)
class _Cut:
    """A region that is being cut out.

    It has a place in the order, its tiles, the number of missing tiles, and its pixels so far.
    """

    place: int
    region: Region
    tiles: Sequence[int]
    missing: int
    pixels: Pixels | None = None


_Portion = tuple[int | None, list[_Cut]]
"""A tile's number and the regions that it is copied to; None for a region that needs no tile."""


class Cutter(Generic[Result]):
    """Cut regions of a level out of its tiles.

    Parameters
    ----------
    level
        The tiles.
    regions
        ``place -> region``; none reaches beyond the level.
    count
        The number of regions; places count them in the order of the results.
    window
        A tile is copied to the regions that need it up to `window` places from the first; for later ones it is
        decoded again. This bounds memory where a row of patches is longer.
    finish
        ``(place, pixels) -> result``, called on the thread that completes a region. The pixels are ``uint8
        (height, width, 3)``, and None for an empty region; their memory is reused after `give_back`.
    """

    def __init__(
        self,
        level: Tiles,
        regions: Callable[[int], Region],
        count: int,
        *,
        window: int,
        finish: Callable[[int, Pixels | None], Result],
    ) -> None:
        self._level = level
        self._regions = regions
        self._count = count
        self._window = window
        self._finish = finish
        self._lock = threading.Lock()
        self._thread = threading.local()
        self._wanted: defaultdict[int, list[_Cut]] = defaultdict(list)
        self._free: dict[tuple[int, ...], list[Pixels]] = {}

    def steps(self) -> Iterator[Step[tuple[Pixels | None, Result]]]:
        """Yield the steps in the order of places.

        A step's result is a region's pixels and what `finish` returned.
        """
        known: deque[_Cut] = deque()
        places = iter(range(self._count))
        wanted = self._wanted
        first, group = 0, list[_Portion]()
        for place in range(self._count):
            # 1. Look ahead: note which tiles the regions of the window need.
            for later in islice(places, self._window - len(known)):
                known.append(self._want(later))
            # 2. Hand out the tiles collected so far, when they are enough or this place is too far from their first.
            if group and (len(group) >= TILES_A_STEP or place - first >= min(PLACES_A_STEP, self._window)):
                yield Step(first, partial(self._cut, group))
                group = []
            # 3. Collect the tiles of this region that are not under way yet, with all regions that they are copied to.
            first = first if group else place
            cut = known.popleft()
            if not cut.tiles:
                group.append((None, [cut]))
            for tile in cut.tiles:
                targets = wanted.get(tile)
                # Where another region comes first, an earlier step copies the tile to this one.
                if targets and targets[0] is cut:
                    group.append((tile, wanted.pop(tile)))
        if group:
            yield Step(first, partial(self._cut, group))

    def give_back(self, pixels: Pixels | None) -> None:
        """Reuse a region's memory for another one."""
        if pixels is not None:
            self._free[pixels.shape].append(pixels)

    def _want(self, place: int) -> _Cut:
        """Return the region at a place, and register it with the tiles that it needs."""
        region = self._regions(place)
        tiles = self._tiles(region)
        cut = _Cut(place, region, tiles, len(tiles))
        for tile in tiles:
            self._wanted[tile].append(cut)
        return cut

    def _tiles(self, region: Region) -> list[int]:
        """Return the numbers of the tiles that a region touches."""
        if not (region.width and region.height):
            return []
        width, height = self._level.tile
        columns = range(region.left // width, (region.left + region.width - 1) // width + 1)
        rows = range(region.top // height, (region.top + region.height - 1) // height + 1)
        return [row * self._level.across + column for row in rows for column in columns]

    def _array(self, region: Region) -> Pixels:
        shape = (region.height, region.width, 3)
        free = self._free.setdefault(shape, [])
        return free.pop() if free else np.empty(shape, np.uint8)

    def _cut(self, group: Iterable[_Portion]) -> list[tuple[int, tuple[Pixels | None, Result]]]:
        """Decode tiles, and copy each region's part of them.

        Return the regions that are complete.
        """
        # Regions are shared by threads: their arrays are made, and their missing tiles counted, under the lock; the
        # parts that tiles are copied to do not overlap, and need none.
        with self._lock:
            for _, targets in group:
                for cut in targets:
                    if cut.pixels is None and cut.tiles:
                        cut.pixels = self._array(cut.region)
        portions = [(tile, targets) for tile, targets in group if tile is not None]
        stored = self._level.data([tile for tile, _ in portions])
        for (tile, targets), data in zip(portions, stored, strict=True):
            self._scatter(tile, data, targets)
        complete = []
        with self._lock:
            for _, targets in group:
                for cut in targets:
                    cut.missing -= 1
                    if cut.missing <= 0:
                        complete.append(cut)
        return [(cut.place, (cut.pixels, self._finish(cut.place, cut.pixels))) for cut in complete]

    def _scatter(self, tile: int, data: bytes, targets: Sequence[_Cut]) -> None:
        """Decode a tile, and copy its overlap with each target to that target."""
        buffer = getattr(self._thread, "buffer", None)
        if buffer is None:
            buffer = self._thread.buffer = self._level.buffer()
        width, height = self._level.tile
        row, column = divmod(tile, self._level.across)
        left, top = column * width, row * height
        whole = targets[0].pixels if len(targets) == 1 and targets[0].region == (left, top, width, height) else None
        pixels = self._level.pixels(tile, data, buffer if whole is None else whole)
        if whole is not None and pixels.base is whole:
            return  # the region is the tile, decoded in place
        right, bottom = left + width, top + height
        for cut in targets:
            own_left, own_top, own_width, own_height = cut.region
            # Not by min() and max(), which would take a third of this loop.
            x0, x1 = own_left if own_left > left else left, own_left + own_width
            y0, y1 = own_top if own_top > top else top, own_top + own_height
            x1, y1 = x1 if x1 < right else right, y1 if y1 < bottom else bottom
            assert cut.pixels is not None
            cut.pixels[y0 - own_top : y1 - own_top, x0 - own_left : x1 - own_left] = pixels[
                y0 - top : y1 - top, x0 - left : x1 - left
            ]
