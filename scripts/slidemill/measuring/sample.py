"""Read sampled patches of a cohort, and time how its slides are read."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from heapq import nsmallest
from itertools import product

import openslide

from slidemill.core.encodings import EncodedPatch, Pixels
from slidemill.core.job_log import LOG
from slidemill.core.patch import PatchRef
from slidemill.core.pyramid import Size
from slidemill.core.specs import TILE_BACKENDS, GridSpec
from slidemill.errors import SlideError
from slidemill.measuring._tile_sample import TileSample, sample_tiles
from slidemill.measuring.cohort import Cohort, CohortSlide, draw_places
from slidemill.measuring.timing import Clock, Deadline
from slidemill.slides.icc import CONVERTED, Convert, build_conversion, colour_state
from slidemill.slides.patch_table import SlidePatches
from slidemill.slides.reader_choice import open_reader
from slidemill.slides.readers import Reader, TileReader, copied_patches
from slidemill.slides.slide_info import open_slide

MOST_BYTES = 128 * 1024 * 1024
"""Bytes of sampled pixels that are held at once."""

TIMED_SLIDES, TIMED_PATCHES = 8, 512
"""Most slides on which reading is timed, and neighbouring patches that are read of all of them."""

TIMED_SHARE = 0.25
"""Share of the time that is spent on timing."""

FIRST = 8
"""Of so many patches that were drawn of a slide, one is read first, to know how many there is time for."""


@dataclass(frozen=True, slots=True)
class SampleSpec:
    """How patches are sampled and read.

    Parameters
    ----------
    count, seed
        Number of patches, and the seed of their choice.
    reader, icc
        As the configuration names them.
    threads
        Threads that read, as in a job that writes a store.
    seconds
        Time limit; at least an eighth of the patches of one slide is read.
    is_timed
        Whether reading is timed on neighbouring patches.
    """

    count: int
    seed: int
    reader: str = "auto"
    icc: str = "ignore"
    threads: int = 1
    seconds: float = float("inf")
    is_timed: bool = True


@dataclass(slots=True)
class Sample:
    """Sampled patches, and the time that it took to read their slides.

    Parameters
    ----------
    pixels
        ``uint8 (patch_size, patch_size, 3)`` of each patch, RGB.
    slides
        The id of each patch's slide.
    copies, copied_slides
        The slide's own tile of each patch, and the id of its slide, where tiles can be copied.
    no_copies
        Why some or all patches are no tiles that can be copied; empty if all can.
    tiles
        The tiles of each slide whose patches are cut out of them, as LMDB and HDF5 can hold them.
    no_tiles
        Why this is not possible for some slides; empty if it is for all whose patches are no tiles.
    is_whole
        Whether all slides with patches were read.
    opening, reading, copying, scattered
        Times of a slide's first opening, per patch to read neighbours, to copy tiles, and to read scattered patches.
    wanted
        The number of patches that were drawn. Fewer are read if time is up or patches cannot be read.
    """

    pixels: list[Pixels] = field(default_factory=list)
    slides: list[str] = field(default_factory=list)
    copies: list[EncodedPatch] = field(default_factory=list)
    copied_slides: list[str] = field(default_factory=list)
    no_copies: str = ""
    tiles: list[TileSample] = field(default_factory=list)
    no_tiles: str = ""
    is_whole: bool = False
    opening: Clock = field(default_factory=Clock)
    reading: Clock = field(default_factory=Clock)
    copying: Clock = field(default_factory=Clock)
    scattered: Clock = field(default_factory=Clock)
    wanted: int = 0

    def obstacle(self, backend: str) -> str:
        """Return why a backend cannot hold the tiles of some slides; empty if it can hold those of all."""
        return self.no_tiles if backend in TILE_BACKENDS else self.no_copies


def read_sample(cohort: Cohort, spec: SampleSpec) -> Sample:
    """Read patches that are drawn over all slides of a cohort.

    Slides that cannot be read are left out: the jobs that store them report them.

    Parameters
    ----------
    cohort
        The slides.
    spec
        How patches are sampled and read.

    Raises
    ------
    SlidemillError
        When a table of patches is damaged, or the machine is at fault.
    """
    most = max(MOST_BYTES // (3 * cohort.grid.patch_size**2), 1)
    drawn = draw_places([slide.patches for slide in cohort.slides], min(spec.count, most), spec.seed)
    found = Sample(wanted=sum(map(len, drawn.values())), no_copies=_copy_obstacle(cohort.grid, spec))
    deadline = Deadline.after(spec.seconds)
    read = 0
    timed = TIMED_PATCHES // min(max(len(drawn), 1), TIMED_SLIDES) if spec.is_timed else 0
    for place, places in drawn.items():
        if found.pixels and deadline.left < 0:
            break
        own = cohort.slides[place]
        try:
            _SlideSampler(own, own.grid, spec, found, deadline).read(places, timed=timed)
            read += 1
        except SlideError as error:
            LOG.warning("%s: left out of the sample: %s", own.slide, error)
    found.is_whole = read == len(cohort.slides)
    return found


def _copy_obstacle(grid: GridSpec, spec: SampleSpec) -> str:
    """Return which setting prevents copying tiles, or an empty text."""
    is_direct = spec.reader != "openslide"
    fits = {"sampling.overlap": grid.overlap == 0, "sampling.edges": grid.edges == "drop", "reader": is_direct}
    return next((f"{name} does not allow it" for name, own in fits.items() if not own), "")


@dataclass(slots=True)
class _SlideSampler:
    """Adds the patches of a slide to a sample."""

    slide: CohortSlide
    grid: GridSpec
    spec: SampleSpec
    found: Sample
    deadline: Deadline
    reason: str = ""  # of the choice of its reader, once it is open

    def read(self, places: Sequence[int], *, timed: int) -> None:
        """Read the patches at places of the slide's table, and time reading so many neighbours."""
        slide, found = self.slide, self.found
        patches = slide.read_patches()
        wanted = [patches[place] for place in places]
        colours = colour_state(self.spec.icc, slide.info.icc)
        begun = time.perf_counter()
        with open_slide(slide.source) as handle:
            convert = build_conversion(handle, colours)
            tile = _tile_size(handle, wanted[0].level)
        asked = SlidePatches(slide.source, slide.info, self.grid, wanted)
        with open_reader(asked, self.spec.reader, self.spec.seed) as (reader, self.reason):
            # The first time, as in each job, libraries are loaded.
            if not found.opening.work:
                found.opening.add(begun, 1)
            wanted, pixels = self._read_scattered(reader, wanted, convert)
            near: list[PatchRef] = []
            if timed and found.reading.work < TIMED_PATCHES and found.reading.seconds < TIMED_SHARE * self.spec.seconds:
                near = _neighbours(patches, wanted[len(wanted) // 2], timed)
                # Neighbours at the border of this square share tiles with patches that are not read here.
                share = self._tiles(near, tile) * len(patches) / (self._tiles(patches, tile) * len(near))
                self._time(reader, near, convert=convert, share=share)
            is_converted = colours == CONVERTED
            reason = _copy_obstacle(self.grid, self.spec) or self._copy(reader, wanted, converted=is_converted)
            found.no_copies = found.no_copies or reason
            if reason:
                reason = self._copy_tiles(reader, patches, wanted, near=near, converted=is_converted)
                found.no_tiles = found.no_tiles or reason
        found.pixels += pixels
        found.slides += [slide.slide] * len(pixels)

    def _read_scattered(
        self, reader: Reader, wanted: Sequence[PatchRef], convert: Convert
    ) -> tuple[list[PatchRef], list[Pixels]]:
        """Read the patches that were drawn, or as many of them, spread evenly, as there is time for."""
        begun = time.perf_counter()
        done: dict[PatchRef, Pixels] = {}
        # How long the first take says how many there is time for.
        first = wanted[::FIRST]
        for own in (first, [patch for place, patch in enumerate(wanted) if place % FIRST]):
            each = (time.perf_counter() - begun) / max(len(done), 1)
            fitting = len(own) if not each or not done else int(min(max(self.deadline.left, 0) / each, len(own)))
            chosen = own[:: math.ceil(len(own) / fitting)] if fitting else []
            with closing(reader.read(chosen, lambda pixels: convert(pixels).copy(), self.spec.threads)) as read:
                for patch, pixels in read:
                    done[patch] = pixels
                    if self.deadline.left < 0 and own is not first:
                        break
        self.found.scattered.add(begun, len(done))
        kept = [patch for patch in wanted if patch in done]
        return kept, [done[patch] for patch in kept]

    def _time(self, reader: Reader, near: Sequence[PatchRef], *, convert: Convert, share: float) -> None:
        """Time how fast neighbours are read, for a limited time; each stands for `share` patches of the slide."""
        begun, clock, done = time.perf_counter(), self.found.reading, 0
        limit = begun + TIMED_SHARE * self.spec.seconds - clock.seconds
        with closing(reader.read(near, lambda pixels: convert(pixels)[0, 0, 0], self.spec.threads)) as read:
            for done, _ in enumerate(read, start=1):  # noqa: B007
                if time.perf_counter() > limit:
                    break
        clock.add(begun, done * share)

    def _copy(self, reader: Reader, wanted: Sequence[PatchRef], *, converted: bool) -> str:
        """Copy the tiles of patches; return why that is not possible."""
        if fault := self._fault(reader, converted):
            return fault
        assert isinstance(reader, TileReader)
        begun = time.perf_counter()
        try:
            self.found.copies += [data for _, data in copied_patches(reader, self.grid.patch_size, wanted)]
        except SlideError as error:
            return str(error)
        self.found.copying.add(begun, len(wanted))
        self.found.copied_slides += [self.slide.slide] * len(wanted)
        return ""

    def _copy_tiles(
        self,
        reader: Reader,
        patches: Sequence[PatchRef],
        wanted: Sequence[PatchRef],
        *,
        near: Sequence[PatchRef],
        converted: bool,
    ) -> str:
        """Copy the tiles that sampled patches touch; return why that is not possible."""
        if fault := self._fault(reader, converted):
            return fault
        assert isinstance(reader, TileReader)
        try:
            own = sample_tiles(reader, self.slide, self.grid, patches=patches, wanted=wanted, near=near)
        except SlideError as error:
            return str(error)
        self.found.tiles.append(own)
        return ""

    def _fault(self, reader: Reader, converted: bool) -> str:
        """Return why no tile of the slide can be copied; empty if some can."""
        if self.spec.reader == "openslide":
            return "reader does not allow it"
        if converted:
            return "icc converts the slides' colours"
        reason = f"the tiles of {self.slide.source.name} are not read directly ({self.reason})"
        return "" if isinstance(reader, TileReader) else reason

    def _tiles(self, patches: Sequence[PatchRef], tile: Size | None) -> int:
        """Return the number of different tiles that patches touch; 1 per patch if the tiles are not known."""
        if tile is None:
            return len(patches)
        touched: set[tuple[int, int]] = set()
        for patch in patches:
            downsample = self.slide.info.downsamples[patch.level]
            (left, right), (top, bottom) = (
                (int(start / downsample) // side, (int(start / downsample) + max(length, 1) - 1) // side)
                for start, length, side in zip((patch.read_x0, patch.read_y0), patch.read_size, tile, strict=True)
            )
            touched.update(product(range(left, right + 1), range(top, bottom + 1)))
        return len(touched)


def _tile_size(slide: openslide.OpenSlide, level: int) -> Size | None:
    """Return the width and height of a level's tiles, if OpenSlide knows them."""
    width, height = (slide.properties.get(f"openslide.level[{level}].tile-{side}") for side in ("width", "height"))
    return (int(width), int(height)) if width and height else None


def _neighbours(patches: Sequence[PatchRef], centre: PatchRef, count: int) -> list[PatchRef]:
    """Return so many patches next to one, in raster order."""
    column, row = centre.column, centre.row
    near = nsmallest(count, patches, key=lambda patch: max(abs(patch.column - column), abs(patch.row - row)))
    return sorted(near, key=lambda patch: (patch.row, patch.column))
