"""Read the pixels of patches through OpenSlide."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import openslide
from PIL import Image

from slidemill.core.encodings import Pixels
from slidemill.core.patch import PatchRef
from slidemill.core.pyramid import Size, SlideInfo
from slidemill.core.specs import GridSpec
from slidemill.errors import SlideError, UnreadablePatchError
from slidemill.slides.icc import IGNORED, build_conversion

STRIP_PIXELS = 8_000_000
"""At most this many pixels are read at once when a patch is shrunk from many (32 MB of RGBA)."""


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
        """Return the patch's part of the slide, shrunk as by DeepZoomGenerator."""
        place = (patch.read_x0, patch.read_y0)
        downsample = self._slide.level_downsamples[patch.level]

        def read(own: tuple[int, int], size: Size) -> Image.Image:
            return over_background(self._slide, patch.level, own, size=size, background=self._background)

        return read_shrunk(read, downsample, place, read_size=patch.read_size, size=patch.size)


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


def shrink(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Return an image shrunk to `size`, with the pixels of ``Image.thumbnail``."""
    factor = _factor(image.size, size)
    reduced = image.reduce(factor) if factor != (1, 1) else image
    return _resized(reduced, image.size, factor, size=size)


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


def read_shrunk(
    read: Callable[[tuple[int, int], Size], Image.Image],
    downsample: float,
    place: tuple[int, int],
    *,
    read_size: Size,
    size: Size,
) -> Image.Image:
    """Return part of a level, with the pixels of `shrink`, in bounded memory.

    As ``Image.thumbnail`` does with ``reducing_gap=2``, blocks of pixels are averaged first, and the rest is filtered.
    The averages are computed strip by strip.

    Parameters
    ----------
    read
        From a place in level-0 pixels and a size in pixels of the level to that region, RGB.
    downsample
        The level's.
    place
        The part's first pixel, in level-0 pixels.
    read_size, size
        ``(width, height)`` of the part, in pixels of the level, and of the result.
    """
    width, height = read_size
    factor = _factor(read_size, size)
    reduced = Image.new("RGB", (-(-width // factor[0]), -(-height // factor[1])))
    # OpenSlide interpolates between the pixels of a level whose downsample is a fraction, and strips would differ from
    # the whole: such a part is read in one piece unless it is too large.
    most = STRIP_PIXELS if downsample.is_integer() else 2 * STRIP_PIXELS
    rows = height if width * height <= most else max(STRIP_PIXELS // width // factor[1], 1) * factor[1]
    for top in range(0, height, rows):
        y0 = int(place[1] + top * downsample)
        strip = read((place[0], y0), (width, min(rows, height - top)))
        reduced.paste(strip.reduce(factor) if factor != (1, 1) else strip, (0, top // factor[1]))
    return _resized(reduced, read_size, factor, size=size)


def _factor(whole: tuple[int, int], size: tuple[int, int]) -> tuple[int, int]:
    """Return the size of the blocks of pixels that are averaged before the filter."""
    return int(whole[0] / size[0] / 2.0) or 1, int(whole[1] / size[1] / 2.0) or 1


def _resized(
    reduced: Image.Image, whole: tuple[int, int], factor: tuple[int, int], *, size: tuple[int, int]
) -> Image.Image:
    """Return an averaged image, filtered to `size`.

    It was averaged from `whole` pixels by `factor`.
    """
    if reduced.size == size:
        return reduced
    box = (0.0, 0.0, whole[0] / factor[0], whole[1] / factor[1])
    return reduced.resize(size, Image.Resampling.LANCZOS, box=box)


def over_background(
    slide: openslide.OpenSlide, level: int, place: tuple[int, int], *, size: tuple[int, int], background: str
) -> Image.Image:
    """Return a region of a level, RGB, with background behind transparent pixels."""
    region = slide.read_region(place, level, size)
    image = Image.new("RGB", size, background)
    image.paste(region, mask=region)
    return image
