"""The patches of one slide, read from the slide itself with the pixels that a store would hold."""

from __future__ import annotations

import threading
import weakref
from contextlib import ExitStack, suppress
from pathlib import Path

import numpy as np
import openslide

from slidemill.core.encodings import Pixels, Shape
from slidemill.core.job_log import LOG
from slidemill.core.patch import PatchRef, parse_patch_id
from slidemill.core.stage_facts import ReaderFacts
from slidemill.datasets.slide_records import SlideRecord
from slidemill.errors import SlideError, UnreadablePatchError
from slidemill.slides.fingerprint import fingerprint
from slidemill.slides.grid import Grid
from slidemill.slides.icc import CONVERTED, Convert, build_conversion
from slidemill.slides.openslide_reader import PatchReader
from slidemill.slides.readers import TileReader
from slidemill.slides.slide_info import open_slide
from slidemill.stores.arrays import output_array, turn_into
from slidemill.stores.tile_cuts import CACHE, TileOwner
from slidemill.stores.tile_grid import Place
from slidemill.tiles.levels import open_level
from slidemill.tiles.tiled_level import CopyPart, Rectangle, TiledLevel


class SlideSource:
    """An open slide, from whose tiles patches are cut, or which OpenSlide reads.

    Threads may share it. After a fork, a child opens the slide again: handles of OpenSlide share a place in the file.

    Parameters
    ----------
    path, record
        The slide's file, and how its patches are read.
    reading
        The reader that gives OpenSlide's pixels.
    cache
        OpenSlide's cache of decoded tiles, for all slides of this process.

    Raises
    ------
    SlideError
        When the slide is missing, has changed, or cannot be opened.
    """

    def __init__(
        self, path: Path, record: SlideRecord, *, reading: ReaderFacts, cache: openslide.OpenSlideCache
    ) -> None:
        self.path = path
        self._record, self._cache = record, cache
        self._state = _file_state(path)
        check_slide(path, record.fingerprint)
        side = record.grid.patch_size
        self._shape: Shape = (side, side, 3)
        self._grid = Grid(record.info.pyramid, record.grid)
        self._lock, self._stack = threading.Lock(), ExitStack()
        # Closed with the last reference, since another thread may be reading when the pool drops it.
        weakref.finalize(self, self._stack.close).atexit = False
        self._convert: Convert | None = None
        if record.colours == CONVERTED:
            with open_slide(path) as slide:
                self._convert = build_conversion(slide, record.colours)
        self._tiles: tuple[TileReader, CopyPart] | None = None
        self._slow: PatchReader | None = None
        if reading.reader == TileReader.name:
            try:
                level = self._stack.enter_context(open_level(path, record.info, self._grid.level))
                tiles = TileReader(level, record.info, record.grid)
                owner = TileOwner(level.shape)
                self._stack.callback(CACHE.drop, owner)
                self._tiles = tiles, _kept_tiles(level, owner)
            except SlideError as error:
                self._fall_back(error)

    @property
    def shape(self) -> Shape:
        """``(height, width, 3)`` of every patch."""
        return self._shape

    @property
    def reader(self) -> str:
        """The name of the reader: ``"tiles"`` or ``"openslide"``."""
        return "openslide" if self._tiles is None else TileReader.name

    def read_into(self, patch_id: str, out: Pixels, symmetry: int = 0) -> None:
        """Write a patch's pixels to an array, ``uint8 (height, width, 3)``, RGB.

        Parameters
        ----------
        patch_id
            The patch.
        out
            The array, writable and C-contiguous.
        symmetry
            How the patch is turned, see `slidemill.stores.arrays`.

        Raises
        ------
        SlideError
            When the slide's grid has no such patch, OpenSlide cannot read it, or reads a slide that has changed.
        StoreError
            When `out` is not such an array.
        """
        output_array(out, self._shape)
        try:
            patch = self._grid.patch(*parse_patch_id(patch_id))
        except (IndexError, ValueError):
            raise SlideError(
                f"{self.path}: has no patch {patch_id!r} in its grid of {self._grid.shape}: run the workflow again"
            ) from None
        target = np.empty(self._shape, np.uint8) if symmetry else out
        try:
            self._read(patch, target)
        finally:
            self._check_again()
        if self._convert:
            target[:] = self._convert(target)
        if symmetry:
            turn_into(target, symmetry, out)

    def close(self) -> None:
        """Close the slide; closing it twice is allowed."""
        self._slow = None
        self._stack.close()

    def _read(self, patch: PatchRef, out: Pixels) -> None:
        if (kept := self._tiles) is not None:  # another thread may fall back meanwhile
            tiles, copy = kept
            try:
                tiles.cut(patch, copy, out)
                return
            except SlideError as error:
                self._fall_back(error)
        out[:] = self._by_openslide(patch)

    def _check_again(self) -> None:
        """Check the slide's content again if its file was written or replaced: OpenSlide reopens it while it reads."""
        state = _file_state(self.path)
        if state != self._state:
            check_slide(self.path, self._record.fingerprint)
            self._state = state

    def _by_openslide(self, patch: PatchRef) -> Pixels:
        with self._lock:
            if self._slow is None:
                stack = ExitStack()
                slide = stack.enter_context(open_slide(self.path))
                slide.set_cache(self._cache)
                self._slow = PatchReader(slide, self._record.info, self._record.grid)
                # The last thread that drops the reader closes it: closing it under another would end the process.
                weakref.finalize(self._slow, stack.close).atexit = False
            reader = self._slow
        try:
            return reader.read(patch)
        except UnreadablePatchError:
            # OpenSlide reads nothing more from that handle, and another thread's patch may have ended it.
            with self._lock:
                self._slow = None if self._slow is reader else self._slow
            with open_slide(self.path) as slide:
                return PatchReader(slide, self._record.info, self._record.grid).read(patch)

    def _fall_back(self, error: SlideError) -> None:
        LOG.warning("%s: its tiles cannot be read (%s): OpenSlide reads it", self.path, error)
        self._tiles = None


def check_slide(path: Path, expected: str) -> None:
    """Check that a slide is there, and has the content that its patches were sampled from.

    Raises
    ------
    SlideError
        When it is missing, or has another fingerprint than `expected`.
    """
    if not path.exists():
        raise SlideError(
            f"{path}: the slide does not exist: restore it, or name the folder that it has moved to, "
            "open_dataset(..., slides=FOLDER)"
        )
    found = fingerprint(path)
    if found != expected:
        raise SlideError(
            f"{path}: is not the slide that was sampled (its fingerprint is {found}, and was {expected}): restore it, "
            "or run the workflow again"
        )


def _file_state(path: Path) -> tuple[int, int, int] | None:
    """Return what changes when a file is written or replaced; None if there is none."""
    with suppress(OSError):
        status = path.stat()
        return status.st_ino, status.st_size, status.st_mtime_ns
    return None


def _kept_tiles(level: TiledLevel, owner: TileOwner) -> CopyPart:
    """Return a function that copies parts of a level's tiles, which this process keeps."""

    def decode(place: Place, memory: Pixels) -> Pixels:
        number = place[1]
        return level.pixels(number, next(level.data([number])), memory)

    def copy(number: int, part: Rectangle, out: Pixels) -> None:
        CACHE.copy(owner, (0, number), decode, part=part, out=out)

    return copy
