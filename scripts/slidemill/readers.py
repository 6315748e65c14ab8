"""Reading all patches of a slide in order, by several threads: tile by tile, or through OpenSlide.

Whether a slide's tiles are read here is decided slide by slide, when it is opened: they must be of a structure
that is known, and parts of them, edges and the last tile among them, must be what OpenSlide reads.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import ClassVar, Protocol, TypeVar

import numpy as np
import openslide
from PIL import Image

from slidemill.cutting import Cutter, Region
from slidemill.encodings import Pixels
from slidemill.errors import SlideError, UnreadablePatchError
from slidemill.geometry import Grid, GridSpec
from slidemill.patches import PatchRef
from slidemill.pipeline import Step, in_order
from slidemill.reading import PatchReader, placed, shrunk
from slidemill.slides import SlideInfo, opened
from slidemill.tiff import TiledLevel, TilesError, opened_level

Result = TypeVar("Result")

OPENSLIDE_CACHE = 96 * 1024 * 1024
"""Bytes of decoded tiles that OpenSlide keeps for all threads: two rows of tiles of most slides."""

PATCHES_UNDER_WAY = 64 * 1024 * 1024
"""Bytes of patches that tiles are cut into at a time: a row of patches of 256 pixels, of slides up to 87,000 wide."""

AHEAD = 32
"""Patches for each thread that may be complete, or under way, before they are taken."""

COMPARED = 4
"""Patches chosen by chance that are compared, beside those at the edges."""
LARGEST_COMPARED = 512
"""Width and height in pixels of what is compared of a patch or a tile."""


class Reader(Protocol):
    """Reads patches of one slide."""

    name: ClassVar[str]

    def read(
        self, patches: Sequence[PatchRef], finish: Callable[[Pixels], Result], threads: int
    ) -> Generator[tuple[PatchRef, Result]]:
        """Yield every patch, in the order given, with what `finish` made of its pixels.

        Parameters
        ----------
        patches
            Patches of the slide's grid, in raster order.
        finish
            Takes pixels, ``uint8 (patch_size, patch_size, 3)``, and runs on the thread that read them. What it
            returns may lie in their memory, which is used for another patch when the next one is asked for.
        threads
            How many threads read, the caller's included. They end with the generator: close it before the slide.

        Raises
        ------
        SlideError
            When a patch cannot be read.
        """
        ...


class OpenSlideReader:
    """Reads through OpenSlide, whose handle and cache all threads share."""

    name: ClassVar[str] = "openslide"

    def __init__(self, slide: openslide.OpenSlide, info: SlideInfo, spec: GridSpec) -> None:
        slide.set_cache(openslide.OpenSlideCache(OPENSLIDE_CACHE))
        self._reader = PatchReader(slide, info, spec)

    def read(
        self, patches: Sequence[PatchRef], finish: Callable[[Pixels], Result], threads: int
    ) -> Generator[tuple[PatchRef, Result]]:
        """Yield patches as `Reader.read` says."""

        def read(place: int) -> list[tuple[int, Result]]:
            return [(place, finish(self._reader.read(patches[place])))]

        ahead = _fitting(patches, AHEAD * threads)
        steps = (Step(place, partial(read, place)) for place in range(len(patches)))
        with closing(in_order(steps, len(patches), min(threads, ahead), ahead)) as results:
            yield from zip(patches, results, strict=True)


class TileReader:
    """Decodes each tile of a TIFF once, and cuts the patches out of them.

    Raises
    ------
    TilesError
        When the patches are no whole pixels of the level.
    """

    name: ClassVar[str] = "tiles"

    def __init__(self, level: TiledLevel, info: SlideInfo, spec: GridSpec) -> None:
        self.number = Grid(info.pyramid, spec).level
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
        """Return what is read for a patch, in pixels of the level.

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

    def read(
        self, patches: Sequence[PatchRef], finish: Callable[[Pixels], Result], threads: int
    ) -> Generator[tuple[PatchRef, Result]]:
        """Yield patches as `Reader.read` says."""
        window = _fitting(patches, len(patches))
        cutter = Cutter(
            self.level,
            lambda place: self.region(patches[place]),
            len(patches),
            window,
            lambda place, pixels: finish(self._whole(patches[place], pixels)),
        )
        with closing(in_order(cutter.steps(), len(patches), threads, min(AHEAD * threads, window))) as results:
            for patch, (pixels, result) in zip(patches, results, strict=True):
                yield patch, result
                cutter.give_back(pixels)

    def pixels(self, region: Region) -> Pixels:
        """Return a region's pixels, ``uint8 (height, width, 3)``."""
        cutter = Cutter(self.level, lambda _: region, 1, 1, lambda _, pixels: pixels)
        pixels, _ = next(in_order(cutter.steps(), 1, 1, 1))
        assert pixels is not None
        return pixels

    def _whole(self, patch: PatchRef, pixels: Pixels | None) -> Pixels:
        """Return the patch as OpenSlide gives it: shrunk, and at its place in what may lie beyond the slide."""
        if pixels is not None and pixels.shape[:2] == (self._patch_size, self._patch_size) == patch.size:
            return pixels
        image = None if pixels is None or not min(patch.size) else shrunk(Image.fromarray(pixels), patch.size)
        return np.asarray(placed(image, patch, self._patch_size, self._background))


@contextmanager
def opened_reader(
    source: Path, info: SlideInfo, spec: GridSpec, patches: Sequence[PatchRef], choice: str, seed: int
) -> Iterator[tuple[Reader, str]]:
    """Open a slide for reading its patches, and close it when the block ends.

    Parameters
    ----------
    source, info, spec
        The slide's file, its facts, and the grid.
    patches
        Those that will be read.
    choice
        ``"tiles"``, ``"openslide"``, or ``"auto"``: tiles where they can be trusted, else OpenSlide.
    seed
        Of the choice of what is compared.

    Yields
    ------
    Reader, str
        The reader, and why it is this one.

    Raises
    ------
    SlideError
        When OpenSlide cannot open the slide, or `choice` is ``"tiles"`` and they cannot be read.
    """
    with ExitStack() as stack:
        reader: Reader | None = None
        why = "as the configuration says"
        if choice != "openslide":
            try:
                reader, why = _trusted(stack, source, info, spec, patches, seed)
            except TilesError as error:
                if choice == "tiles":
                    raise SlideError(
                        f"{source.name}: its tiles cannot be used ({error}): choose reader auto, and another encoding "
                        "than source"
                    ) from None
                why = str(error)
        if reader is None:
            reader = OpenSlideReader(stack.enter_context(opened(source)), info, spec)
        yield reader, why


def unreadable_patches(source: Path, info: SlideInfo, spec: GridSpec, patches: Sequence[PatchRef]) -> dict[str, str]:
    """Return the patches that OpenSlide cannot read, by id, with its reasons."""
    reasons: dict[str, str] = {}
    waiting = deque(patches)
    while waiting:
        with opened(source) as slide:
            reader = PatchReader(slide, info, spec)
            while waiting:
                patch = waiting.popleft()
                try:
                    reader.read(patch)
                except UnreadablePatchError as error:
                    # OpenSlide reads nothing more from a handle that failed once: open another.
                    reasons[patch.patch_id] = str(error)
                    break
    return reasons


def _largest(patches: Sequence[PatchRef]) -> int:
    """Return the bytes of the largest region that is read for a patch, 1 at least."""
    return max((patch.read_size[0] * patch.read_size[1] * 3 for patch in patches), default=1) or 1


def _fitting(patches: Sequence[PatchRef], most: int) -> int:
    """Return how many patches may be under way at a time, so that memory stays bounded: 1 at least."""
    return max(1, min(most, PATCHES_UNDER_WAY // _largest(patches)))


def _trusted(
    stack: ExitStack, source: Path, info: SlideInfo, spec: GridSpec, patches: Sequence[PatchRef], seed: int
) -> tuple[TileReader, str]:
    """Open a slide's tiles, to be closed by `stack`, and return their reader and why it can be trusted.

    Raises
    ------
    TilesError
        When it cannot.
    """
    if _largest(patches) > PATCHES_UNDER_WAY:
        raise TilesError("its patches are shrunk from more pixels than are held at once")
    reader = TileReader(stack.enter_context(opened_level(source, info, Grid(info.pyramid, spec).level)), info, spec)
    # A handle of its own: OpenSlide reads nothing more from one that failed.
    with opened(source) as slide:
        told = [slide.properties.get(f"openslide.level[{reader.number}].tile-{side}") for side in ("width", "height")]
        if told != [str(side) for side in reader.level.tile]:
            raise TilesError("it has tiles, but OpenSlide does not lay them side by side")
        return reader, f"{_compare(reader, slide, patches, seed)} parts are as OpenSlide reads them"


def _compare(reader: TileReader, slide: openslide.OpenSlide, patches: Sequence[PatchRef], seed: int) -> int:
    """See that parts of the slide are what OpenSlide reads, and return how many were compared.

    Raises
    ------
    TilesError
        When one is not, or a patch is no whole pixels of the level.
    """
    chosen = list(dict.fromkeys(_chosen(reader, patches, seed)))
    for region in chosen:
        size = min(region.width, LARGEST_COMPARED), min(region.height, LARGEST_COMPARED)
        # The far corner: at the edge of the slide, that is where tiles may differ.
        part = Region(region.left + region.width - size[0], region.top + region.height - size[1], *size)
        place = part.left * reader.downsample, part.top * reader.downsample
        try:
            expected = np.asarray(slide.read_region(place, reader.number, size))
        except openslide.OpenSlideError as error:
            raise TilesError(f"OpenSlide cannot read {size} pixels at {place} ({error})") from None
        same = np.array_equal(expected[..., :3], reader.pixels(part))
        if not same or expected[..., 3].min() < 255:
            raise TilesError(f"its pixels at {place} of level {reader.number} are not those that OpenSlide reads")
    return len(chosen)


def _chosen(reader: TileReader, patches: Sequence[PatchRef], seed: int) -> Iterator[Region]:
    """Yield what is compared: the last tile, the patches at the edges, and some chosen by chance."""
    (width, height), (tile_width, tile_height) = reader.level.size, reader.level.tile
    left, top = (width - 1) // tile_width * tile_width, (height - 1) // tile_height * tile_height
    yield Region(left, top, width - left, height - top)
    seen = [patch for patch in patches if min(patch.read_size) > 0]
    if seen:
        edges = (seen[0], max(seen, key=attrgetter("read_x0")), max(seen, key=attrgetter("read_y0")), seen[-1])
        by_chance = random.Random(seed).sample(seen, min(COMPARED, len(seen)))  # noqa: S311
        yield from map(reader.region, (*edges, *by_chance))
