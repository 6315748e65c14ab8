"""Read the pixels of patches through OpenSlide."""

from __future__ import annotations

import math
from collections import deque

import numpy as np
import openslide
from PIL import Image

from slidemill.core.encodings import Pixels
from slidemill.core.patch import PatchRef
from slidemill.core.pyramid import Size, SlideInfo
from slidemill.core.specs import GridSpec
from slidemill.errors import SlideError, UnreadablePatchError
from slidemill.shrinking.area import shrink_area
from slidemill.shrinking.lanczos import read_shrunk
from slidemill.shrinking.strips import ReadRegion, rows_at_once
from slidemill.slides.grid import Grid
from slidemill.slides.icc import IGNORED, build_conversion
from slidemill.slides.patch_table import SlidePatches
from slidemill.slides.slide_info import open_slide

AVERAGED_PIXELS = 2_000_000
"""At most this many pixels are averaged at once: 8 MB as OpenSlide reads them, and 22 MB in all."""


class PatchReader:
    """Read patches of an open slide with OpenSlide's pixels.

    Parameters
    ----------
    slide
        The open slide.
    info
        What `slide_info` returns for it.
    spec
        The grid that the patches belong to.
    """

    def __init__(self, slide: openslide.OpenSlide, info: SlideInfo, spec: GridSpec) -> None:
        self._slide = slide
        self._background = f"#{info.background}"
        self._patch_size = spec.patch_size
        self._grid = Grid(info.pyramid, spec)

    def read(self, patch: PatchRef) -> Pixels:
        """Return the patch's pixels, ``uint8 (patch_size, patch_size, 3)``.

        Transparent pixels are laid over the slide's background, which also fills a padded patch beyond the slide.

        Raises
        ------
        UnreadablePatchError
            When OpenSlide cannot read them. After that, OpenSlide reads nothing more from this handle.
        """
        try:
            image = self._fit(patch) if min(patch.size) else None
        except openslide.OpenSlideError as error:
            raise UnreadablePatchError(
                f"patch {patch.patch_id} at ({patch.x0}, {patch.y0}) of level 0 cannot be read ({error}): "
                "check whether the slide is whole"
            ) from None
        return np.asarray(pad_patch(image, patch, self._patch_size, background=self._background))

    def _fit(self, patch: PatchRef) -> Image.Image:
        """Return the patch's part of the slide, shrunk by the grid's filter."""
        place = (patch.read_x0, patch.read_y0)
        downsample = self._slide.level_downsamples[patch.level]

        def read(own: tuple[int, int], size: Size) -> Image.Image:
            return over_background(self._slide, patch.level, own, size=size, background=self._background)

        if self._grid.averages:
            return Image.fromarray(self._average(read, downsample, patch))
        return read_shrunk(read, downsample, place, read_size=patch.read_size, size=patch.size)

    def _average(self, read: ReadRegion, downsample: float, patch: PatchRef) -> Pixels:
        """Return the patch's part of the slide, shrunk by `shrink_area` in bounded memory."""
        (width, height), (columns, rows) = patch.read_size, patch.size
        shrink, (x, y) = self._grid.shrink, self._grid.start(patch)
        top, result = math.floor(shrink * y), np.empty((rows, columns, 3), np.uint8)
        at_once = rows_at_once(patch.read_size, downsample)
        if downsample.is_integer() and at_once * width > AVERAGED_PIXELS:
            at_once = max(AVERAGED_PIXELS // width, 1)
        step = rows if at_once >= height else max(int(at_once / shrink) - 1, 1)
        for row in range(0, rows, step):
            count = min(step, rows - row)
            # Strips overlap where a border between rows of the grid crosses a pixel of the level.
            first, end = math.floor(shrink * (y + row)), min(math.ceil(shrink * (y + row + count)), top + height)
            place = (patch.read_x0, int(patch.read_y0 + (first - top) * downsample))
            strip = np.asarray(read(place, (width, end - first)))
            result[row : row + count] = shrink_area(strip, shrink, (x, y + row), size=(columns, count))
        return result


def unreadable_patches(asked: SlidePatches) -> dict[str, str]:
    """Return the patches that OpenSlide cannot read, by id, with its reasons."""
    reasons: dict[str, str] = {}
    waiting = deque(asked.patches)
    while waiting:
        with open_slide(asked.source) as slide:
            reader = PatchReader(slide, asked.info, asked.grid)
            while waiting:
                patch = waiting.popleft()
                try:
                    reader.read(patch)
                except UnreadablePatchError as error:
                    # OpenSlide reads nothing more from a handle that failed once: open another.
                    reasons[patch.patch_id] = str(error)
                    break
    return reasons


def pad_patch(image: Image.Image | None, patch: PatchRef, patch_size: int, *, background: str) -> Image.Image:
    """Return a patch with background wherever it extends beyond the slide.

    `image` is the patch's part of the slide, and is placed at the patch's offset. It is None if the whole patch
    is beyond the slide.
    """
    full = (patch_size, patch_size)
    if image is not None and image.size == full:
        return image
    canvas = Image.new("RGB", full, background)
    if image is not None:
        canvas.paste(image, patch.offset)
    return canvas


def thumbnail_size(info: SlideInfo, longest: int) -> Size:
    """Return the ``(width, height)`` of a picture of a whole slide.

    Its longer side has `longest` pixels, but not more than the slide.
    """
    width, height = info.dimensions[0]
    scale = min(longest / max(width, height), 1.0)
    return max(round(width * scale), 1), max(round(height * scale), 1)


def thumbnail_level(info: SlideInfo, longest: int) -> int:
    """Return the coarsest level that is fine enough for a picture of `longest` pixels."""
    return info.pyramid.best_level(1 / min(longest / max(info.size), 1.0))


def thumbnail(
    slide: openslide.OpenSlide, info: SlideInfo, longest: int, *, icc: str = IGNORED, level: int | None = None
) -> Image.Image:
    """Return a picture of a whole slide, `longest` pixels at its longer side.

    It is RGB over the slide's background.

    Parameters
    ----------
    slide, info
        The open slide, and what `slide_info` returns for it.
    longest
        Pixels of the longer side.
    icc
        How its pixels are converted, as `slidemill.slides.icc.colour_state` returns it.
    level
        The level that is read; None for the coarsest that is fine enough.

    Raises
    ------
    SlideError
        When OpenSlide cannot read all of it, or its ICC profile cannot be used.
    """
    size = thumbnail_size(info, longest)
    if level is None:
        level = thumbnail_level(info, longest)
    own, downsample = level, slide.level_downsamples[level]

    def read(place: tuple[int, int], part: Size) -> Image.Image:
        return over_background(slide, own, place, size=part, background=f"#{info.background}")

    try:
        image = read_shrunk(read, downsample, (0, 0), read_size=info.dimensions[level], size=size)
    except openslide.OpenSlideError as error:
        raise SlideError(
            f"the slide's level {level} cannot be read whole ({error}): check whether it is whole"
        ) from None
    return Image.fromarray(build_conversion(slide, icc)(np.asarray(image)))


def over_background(
    slide: openslide.OpenSlide, level: int, place: tuple[int, int], *, size: tuple[int, int], background: str
) -> Image.Image:
    """Return a region of a level, RGB, with background behind transparent pixels."""
    region = slide.read_region(place, level, size)
    image = Image.new("RGB", size, background)
    image.paste(region, mask=region)
    return image
