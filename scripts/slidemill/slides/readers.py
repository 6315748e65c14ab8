"""Read a slide's patches in order on several threads, by tiles or by OpenSlide."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from functools import partial
from itertools import islice
from typing import ClassVar, Protocol, TypeVar

import numpy as np
import openslide
from PIL import Image

from slidemill.core.encodings import EncodedPatch, Pixels, digest
from slidemill.core.ordered_threads import Step, run_in_order
from slidemill.core.patch import PatchRef
from slidemill.core.pyramid import SlideInfo
from slidemill.core.specs import GridSpec
from slidemill.errors import SlideError
from slidemill.shrinking.area import shrink_area
from slidemill.shrinking.lanczos import shrink
from slidemill.slides._halved_level import HalvedLevel, halved, is_halved_by_tiles
from slidemill.slides._tile_cutter import Cutter, Region, cut_region
from slidemill.slides.grid import Grid
from slidemill.slides.openslide_reader import PatchReader, pad_patch
from slidemill.slides.patch_table import largest_read
from slidemill.tiles.tiled_level import CopyPart, TiledLevel, TilesError

Result = TypeVar("Result")

OPENSLIDE_CACHE = 96 * 1024 * 1024
"""Bytes of decoded tiles that OpenSlide keeps for all threads: two rows of tiles of most slides."""

PATCHES_UNDER_WAY = 64 * 1024 * 1024
"""Bytes of patches under way at a time: a row of 256-pixel patches in slides up to 87,000 pixels wide."""

LARGE = 3_000_000
"""Bytes of a read patch from which on OpenSlide keeps half as many tiles: each thread holds up to 22 MB of it."""

FEW = 8
"""So few patches share few tiles, and take much memory."""

AHEAD = 32
"""Patches per thread that may be complete or under way before they are taken."""


class Reader(Protocol):
    """Reads patches of one slide."""

    name: ClassVar[str]

    def read(
        self, patches: Sequence[PatchRef], finish: Callable[[Pixels], Result], threads: int
    ) -> Generator[tuple[PatchRef, Result]]:
        """Yield every patch, in the given order, with the result of `finish`.

        Parameters
        ----------
        patches
            Patches of the slide's grid, in raster order.
        finish
            Takes pixels, ``uint8 (patch_size, patch_size, 3)``, on the thread that read them. Its result may be in
            their memory, which is reused when the next patch is requested.
        threads
            How many threads read, including the caller's. They end with the generator: close it before the slide.

        Raises
        ------
        SlideError
            When a patch cannot be read.
        """
        ...


class OpenSlideReader:
    """Read through OpenSlide, whose handle and cache all threads share."""

    name: ClassVar[str] = "openslide"

    def __init__(self, slide: openslide.OpenSlide, info: SlideInfo, spec: GridSpec) -> None:
        self._slide = slide
        # Lanczos shrinks in strips that take 100 MB, and averaging in small ones.
        self._most = PATCHES_UNDER_WAY // (1 if Grid(info.pyramid, spec).averages else 2)
        self._reader = PatchReader(slide, info, spec)

    def read(
        self, patches: Sequence[PatchRef], finish: Callable[[Pixels], Result], threads: int
    ) -> Generator[tuple[PatchRef, Result]]:
        """Yield patches as `Reader.read` says."""

        def read(place: int) -> list[tuple[int, Result]]:
            return [(place, finish(self._reader.read(patches[place])))]

        ahead = _fitting(patches, AHEAD * threads, self._most)
        kept = OPENSLIDE_CACHE // (2 if largest_read(patches) >= LARGE else 1)
        self._slide.set_cache(openslide.OpenSlideCache(kept))
        steps = (Step(place, partial(read, place)) for place in range(len(patches)))
        with closing(run_in_order(steps, len(patches), min(threads, ahead), ahead=ahead)) as results:
            yield from zip(patches, results, strict=True)


class TileReader:
    """Decode each of a slide's tiles once, and cut the patches out of the tiles.

    Raises
    ------
    TilesError
        When the patches do not consist of whole pixels of the level.
    """

    name: ClassVar[str] = "tiles"

    def __init__(self, level: TiledLevel, info: SlideInfo, spec: GridSpec) -> None:
        self._grid = Grid(info.pyramid, spec)
        self.number = self._grid.level
        self.level = level
        self._patch_size = spec.patch_size
        self._background = f"#{info.background}"
        downsample = info.downsamples[self.number]
        self.downsample = int(downsample)
        if self.downsample != downsample:
            raise TilesError(
                f"level {self.number} is {downsample:.6g} times as coarse as level 0, and OpenSlide interpolates "
                "between its pixels"
            )

    def region(self, patch: PatchRef) -> Region:
        """Return the region that is read for a patch, in pixels of the level.

        Raises
        ------
        TilesError
            When that is not whole pixels within the level.
        """
        width, height = patch.read_size
        if width <= 0 or height <= 0:
            return Region(0, 0, 0, 0)
        left, beside = divmod(patch.read_x0, self.downsample)
        top, above = divmod(patch.read_y0, self.downsample)
        most = self.level.size
        if beside or above or left < 0 or top < 0 or left + width > most[0] or top + height > most[1]:
            raise TilesError(f"patch {patch.patch_id} begins between the level's pixels, or ends beyond them")
        return Region(left, top, width, height)

    def tile_number(self, patch: PatchRef) -> int:
        """Return the number of the tile at a patch's top left corner."""
        left, top, *_ = self.region(patch)
        return top // self.level.tile[1] * self.level.across + left // self.level.tile[0]

    def read(
        self, patches: Sequence[PatchRef], finish: Callable[[Pixels], Result], threads: int
    ) -> Generator[tuple[PatchRef, Result]]:
        """Yield patches as `Reader.read` says."""
        regions = (own for own in map(self.region, patches) if own.width)
        # All patches of a grid are as far from even pixels as the first.
        aligned = list(regions if self._grid.spec.is_free else islice(regions, 1))
        by_tile = self._grid.averages and self._grid.shrink == 2 and is_halved_by_tiles(self.level, aligned)
        window = _fitting(patches, len(patches), PATCHES_UNDER_WAY * (4 if by_tile else 1))
        ahead = AHEAD * threads
        if window <= FEW:  # patches ahead are held in addition to the window
            ahead = window = max(window // 2, 1)
        cutter = Cutter(
            HalvedLevel(self.level) if by_tile else self.level,
            lambda place: halved(self.region(patches[place])) if by_tile else self.region(patches[place]),
            len(patches),
            window=window,
            finish=lambda place, pixels: finish(self._whole(patches[place], pixels)),
        )
        with closing(run_in_order(cutter.steps(), len(patches), threads, ahead=min(ahead, window))) as results:
            for patch, (pixels, result) in zip(patches, results, strict=True):
                yield patch, result
                cutter.give_back(pixels)

    def pixels(self, region: Region) -> Pixels:
        """Return a region's pixels, ``uint8 (height, width, 3)``."""
        cutter = Cutter(self.level, lambda _: region, 1, window=1, finish=lambda _, pixels: pixels)
        pixels, _ = next(run_in_order(cutter.steps(), 1, 1, ahead=1))
        assert pixels is not None
        return pixels

    def cut(self, patch: PatchRef, copy: CopyPart, out: Pixels) -> None:
        """Cut one patch out of the tiles that it touches.

        Parameters
        ----------
        patch
            A patch of the slide's grid.
        copy, out
            Copies parts of tiles; the patch is written to `out`, ``uint8 (patch_size, patch_size, 3)``.

        Raises
        ------
        TilesError
            When the patch is not whole pixels within the level, or a tile cannot be read.
        """
        region, side = self.region(patch), self._patch_size
        if (region.width, region.height) == (side, side) == patch.size:
            cut_region(self.level, region, copy, out)
            return
        part = np.empty((region.height, region.width, 3), np.uint8) if region.width else None
        if part is not None:
            cut_region(self.level, region, copy, part)
        out[:] = self._whole(patch, part)

    def _whole(self, patch: PatchRef, pixels: Pixels | None) -> Pixels:
        """Return the patch as OpenSlide reads it.

        It is shrunk, and padded where it reaches beyond the slide.
        """
        if pixels is not None and self._grid.averages and pixels.shape[:2] != patch.size[::-1]:
            pixels = shrink_area(pixels, self._grid.shrink, self._grid.start(patch), size=patch.size)
        if pixels is not None and pixels.shape[:2] == (self._patch_size, self._patch_size) == patch.size:
            return pixels
        image = None if pixels is None or not min(patch.size) else shrink(Image.fromarray(pixels), patch.size)
        return np.asarray(pad_patch(image, patch, self._patch_size, background=self._background))


def _fitting(patches: Sequence[PatchRef], most: int, memory: int = PATCHES_UNDER_WAY) -> int:
    """Return how many patches, at least 1, may be under way, to bound memory."""
    return max(1, min(most, memory // largest_read(patches)))


TOGETHER = 64
"""Tiles that are read at once where they are adjacent in the file."""


def copied_patches(
    reader: TileReader, patch_size: int, patches: Sequence[PatchRef], *, checked: bool = False
) -> Generator[tuple[PatchRef, EncodedPatch]]:
    """Yield patches with their tiles' bytes, in the order given.

    The digest of the pixels is left out: it is taken when the store is validated. With `checked`, tiles are
    decoded anyway, so that a broken one is found here.

    Raises
    ------
    SlideError
        When the patches are not the slide's tiles, one for one; the message says which patch size would be.
    TilesError
        When a tile cannot be copied, or decoded where that is asked for.
    """
    # All patches are checked before the first is copied.
    if fault := tile_misfit(reader, patch_size, patches):
        raise SlideError(fault)
    level = reader.level
    numbers = [reader.tile_number(patch) for patch in patches]
    streams = _copied(level, numbers, level.standalone, checked=checked)
    for patch, stream in zip(patches, streams, strict=True):
        yield patch, EncodedPatch(stream, digest(stream))


def copied_tiles(reader: TileReader, tiles: Sequence[tuple[int, int]], *, checked: bool = False) -> Generator[bytes]:
    """Yield the bytes of tiles, ``(column, row)``, without what all of them share.

    With `checked`, they are decoded, so that a broken one is found here.

    Raises
    ------
    TilesError
        When a tile cannot be copied, or decoded where that is asked for.
    """
    level = reader.level
    numbers = [row * level.across + column for column, row in tiles]
    return _copied(level, numbers, level.headless, checked=checked)


def _copied(
    level: TiledLevel, numbers: Sequence[int], convert: Callable[[int, bytes], bytes], *, checked: bool
) -> Generator[bytes]:
    # More threads would not help: copying holds the interpreter.
    buffer = level.buffer()
    for start in range(0, len(numbers), TOGETHER):
        some = numbers[start : start + TOGETHER]
        for number, data in zip(some, level.data(some), strict=True):
            stream = convert(number, data)
            if checked:
                level.pixels(number, data, buffer)
            yield stream


def tile_misfit(reader: TileReader, patch_size: int, patches: Sequence[PatchRef]) -> str:
    """Return why the patches are not the slide's tiles, one for one; empty if they are."""
    width, height = reader.level.tile
    remedy = "store them in lmdb or hdf5, which hold tiles for any grid, or choose another encoding"
    if reader.level.form != "jpeg":
        return f"encoding source copies JPEG tiles to this backend, and this slide's are not: {remedy}"
    if width != height:
        return f"encoding source needs square tiles in this backend, and this slide's are {width} x {height}: {remedy}"
    apart = width * reader.downsample
    for patch in patches:
        is_tile = patch.read_size == patch.size == reader.level.tile and patch_size == width
        if not is_tile or patch.read_x0 % apart or patch.read_y0 % apart:
            return (
                f"encoding source needs patches that are the slide's tiles in this backend, {width} x {height} at "
                f"level {reader.number}, and patch {patch.patch_id} is {patch.read_size[0]} x {patch.read_size[1]} at "
                f"{patch.read_x0}, {patch.read_y0} of level 0: set sampling to {{patch_size: {width}, level: "
                f"{reader.number}}}; {remedy}"
            )
    return ""
