"""Read a whole slide at a low resolution.

Where tiles of the usual level are broken, other levels are read.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import openslide
from PIL import Image

from slidemill.core.pyramid import Size, SlideInfo
from slidemill.core.specs import GridSpec
from slidemill.errors import SlideError
from slidemill.shrinking.lanczos import read_shrunk
from slidemill.slides._tile_cutter import Region
from slidemill.slides.grid import Grid
from slidemill.slides.icc import IGNORED, build_conversion
from slidemill.slides.openslide_reader import over_background, thumbnail, thumbnail_level, thumbnail_size
from slidemill.slides.patch_table import SlidePatches
from slidemill.slides.slide_info import open_slide
from slidemill.tiles.tiled_level import TilesError

COARSEST = 4
"""A level is too coarse where each of its pixels stands for more than this many requested ones, on each axis."""

USUAL_TILE = 256
"""The side of a tile in level-0 pixels, where a slide has no tiles or does not state it."""

LARGE = 8_000_000
"""Pixels of a level from which on it is read tile by tile, if its tiles equal OpenSlide's."""

COMPARED_PATCH = 2048
"""Side of the patches of which parts are compared with OpenSlide."""

MOST_UNREAD = 1000
"""The most unreadable parts of tiles; each costs opening the slide again."""


@dataclass(frozen=True, eq=False)
class LowResolution:
    """A whole slide at a low resolution.

    Parameters
    ----------
    image
        RGB, over the slide's background.
    unread
        ``bool (height, width)``, True where no level could be read.
    notes
        Which levels could not be read, and which was.
    """

    image: Image.Image
    unread: npt.NDArray[np.bool_]
    notes: tuple[str, ...] = ()


def low_resolution(source: Path, info: SlideInfo, longest: int, *, icc: str = IGNORED) -> LowResolution:
    """Return the whole canvas of a slide, `longest` pixels at its longer side.

    Where the best level cannot be read whole, the coarser ones are tried, then the finer ones, and last the readable
    parts of level 0, strip by strip.

    Parameters
    ----------
    source, info
        The slide's file, and what OpenSlide reports about it.
    longest
        Pixels of the longer side.
    icc
        How its pixels are converted, as `slidemill.slides.icc.colour_state` returns it.

    Raises
    ------
    SlideError
        When too much of level 0 cannot be read, or the ICC profile cannot be used.
    """
    size = thumbnail_size(info, longest)
    notes: list[str] = []
    for level in _levels(info, longest):
        # After an error OpenSlide reads nothing more from a handle.
        with open_slide(source) as slide:
            build_conversion(slide, icc)
            try:
                image = thumbnail(slide, info, longest, icc=icc, level=level)
            except SlideError as error:
                notes.append(str(error))
                continue
        return LowResolution(image, np.zeros(size[::-1], np.bool_), _note(notes, f"level {level}"))
    cut = None if notes or len(info.dimensions) > 1 else _by_tiles(source, info, size)
    if cut is not None:
        with open_slide(source) as slide:
            image = Image.fromarray(build_conversion(slide, icc)(np.asarray(cut)))
        return LowResolution(image, np.zeros(size[::-1], np.bool_))
    with _Parts(source, f"#{info.background}") as parts:
        image = read_shrunk(parts, 1.0, (0, 0), read_size=info.size, size=size)
    notes += [f"{len(parts.unread)} places of its level 0 cannot be read"] * bool(parts.unread)
    with open_slide(source) as slide:
        image = Image.fromarray(build_conversion(slide, icc)(np.asarray(image)))
    used = "the rest of level 0" if parts.unread else "level 0"
    return LowResolution(image, parts.mask(info.size, size), _note(notes, used))


def _levels(info: SlideInfo, longest: int) -> list[int]:
    """Return the levels to try whole, in order.

    If all fail, parts of level 0 are read.
    """
    best = thumbnail_level(info, longest)
    coarser = [
        level for level in range(best + 1, len(info.dimensions)) if max(info.dimensions[level]) * COARSEST >= longest
    ]
    levels = [best, *coarser, *range(best - 1, 0, -1)]
    # Where there is no other level, its parts are read in any case.
    return [] if levels == [0] else levels


def _by_tiles(source: Path, info: SlideInfo, size: Size) -> Image.Image | None:
    """Return the only level of a large slide, shrunk and read tile by tile; None where that is not OpenSlide's picture.

    OpenSlide takes three to four times as long.
    """
    if info.size[0] * info.size[1] < LARGE:
        return None
    from slidemill.slides.reader_choice import open_reader  # loads decoders, which slides with small levels do not need
    from slidemill.slides.readers import TileReader

    grid = GridSpec(COMPARED_PATCH, level=0, edges="pad")
    compared = SlidePatches(source, info, grid, list(Grid(info.pyramid, grid).patches()))
    with open_reader(compared, "auto", seed=0) as (reader, _):
        if not isinstance(reader, TileReader):
            return None
        tiles = reader

        def read(place: tuple[int, int], part: Size) -> Image.Image:
            return Image.fromarray(tiles.pixels(Region(*place, *part)))

        try:
            return read_shrunk(read, 1.0, (0, 0), read_size=info.size, size=size)
        except TilesError:
            return None  # the readable parts are read by OpenSlide


def _note(notes: list[str], used: str) -> tuple[str, ...]:
    """Return a note on the levels that could not be read.

    It is empty if the first level could be read.
    """
    return (f"{'; '.join(notes)}; {used} was taken in its place",) if notes else ()


class _Parts(ExitStack):
    """Read regions of a slide's level 0.

    Unreadable parts become background, and are recorded in `unread`.
    """

    def __init__(self, source: Path, background: str) -> None:
        super().__init__()
        self._source, self._background = source, background
        self._slide: openslide.OpenSlide | None = None
        self._tile = (USUAL_TILE, USUAL_TILE)
        self.unread: list[tuple[int, int, int, int]] = []

    def __call__(self, place: tuple[int, int], size: Size) -> Image.Image:
        """Return the region at `place`, RGB, of `size`, both in level-0 pixels."""
        if self._slide is None:
            self._slide = self.enter_context(open_slide(self._source))
            sides = (self._slide.properties.get(f"openslide.level[0].tile-{side}", "") for side in ("width", "height"))
            width, height = (int(side) if side.isdecimal() and int(side) else USUAL_TILE for side in sides)
            self._tile = (width, height)
        try:
            return over_background(self._slide, 0, place, size=size, background=self._background)
        except openslide.OpenSlideError as error:
            self.close()
            self._slide = None
            fault = str(error)
        canvas = Image.new("RGB", size, self._background)
        cut = self._cut(place, size)
        if not cut:
            self.unread.append((*place, place[0] + size[0], place[1] + size[1]))
            if len(self.unread) > MOST_UNREAD:
                raise SlideError(
                    f"more than {MOST_UNREAD} places of the slide's level 0 cannot be read ({fault}): check whether it "
                    "is whole"
                )
            return canvas
        axis, begin = cut
        near = (begin, size[1]) if axis == 0 else (size[0], begin)
        far = (size[0] - begin, size[1]) if axis == 0 else (size[0], size[1] - begin)
        offset = (begin, 0) if axis == 0 else (0, begin)
        canvas.paste(self(place, near), (0, 0))
        canvas.paste(self((place[0] + offset[0], place[1] + offset[1]), far), offset)
        return canvas

    def _cut(self, place: tuple[int, int], size: Size) -> tuple[int, int] | None:
        """Return the axis and the offset at which a region is cut between tiles.

        The offset is from `place`. A region within one tile gives None.
        """
        for axis in sorted((0, 1), key=lambda own: -size[own] / self._tile[own]):
            tile, begin, end = self._tile[axis], place[axis], place[axis] + size[axis]
            first, last = begin // tile + 1, -(-end // tile) - 1
            if first <= last:
                return axis, (first + last) // 2 * tile - begin
        return None

    def mask(self, whole: Size, size: Size) -> npt.NDArray[np.bool_]:
        """Return which pixels of a picture of the slide are unread.

        The slide has `whole` level-0 pixels, and the picture has `size`.
        """
        unread = np.zeros(size[::-1], np.bool_)
        scale_x, scale_y = np.divide(size, whole)
        for left, top, right, bottom in self.unread:
            columns = slice(int(left * scale_x), int(np.ceil(right * scale_x)))
            unread[int(top * scale_y) : int(np.ceil(bottom * scale_y)), columns] = True
        return unread
