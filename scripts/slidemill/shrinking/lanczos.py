"""Shrink as OpenSlide's DeepZoomGenerator does: Pillow's Lanczos filter after averaging blocks."""

from __future__ import annotations

from PIL import Image

from slidemill.core.pyramid import Size
from slidemill.shrinking.strips import ReadRegion, rows_at_once


def shrink(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Return an image shrunk to `size`, with the pixels of ``Image.thumbnail``."""
    factor = _factor(image.size, size)
    reduced = image.reduce(factor) if factor != (1, 1) else image
    return _resize_averaged(reduced, image.size, factor, size=size)


def read_shrunk(
    read: ReadRegion, downsample: float, place: tuple[int, int], *, read_size: Size, size: Size
) -> Image.Image:
    """Return part of a level, with the pixels of `shrink`, in bounded memory.

    As ``Image.thumbnail`` does with ``reducing_gap=2``, blocks of pixels are averaged first, and the rest is filtered.
    The averages are computed strip by strip.

    Parameters
    ----------
    read, downsample
        The level: reads a region, and its level-0 pixels per pixel.
    place
        The part's first pixel, in level-0 pixels.
    read_size, size
        ``(width, height)`` of the part, in pixels of the level, and of the result.
    """
    width, height = read_size
    factor = _factor(read_size, size)
    reduced = Image.new("RGB", (-(-width // factor[0]), -(-height // factor[1])))
    rows = rows_at_once(read_size, downsample)
    if rows < height:
        rows = max(rows // factor[1], 1) * factor[1]
    for top in range(0, height, rows):
        y0 = int(place[1] + top * downsample)
        strip = read((place[0], y0), (width, min(rows, height - top)))
        reduced.paste(strip.reduce(factor) if factor != (1, 1) else strip, (0, top // factor[1]))
    return _resize_averaged(reduced, read_size, factor, size=size)


def _factor(whole: tuple[int, int], size: tuple[int, int]) -> tuple[int, int]:
    """Return the size of the blocks of pixels that are averaged before the filter."""
    return int(whole[0] / size[0] / 2.0) or 1, int(whole[1] / size[1] / 2.0) or 1


def _resize_averaged(
    reduced: Image.Image, whole: tuple[int, int], factor: tuple[int, int], *, size: tuple[int, int]
) -> Image.Image:
    """Return an averaged image, filtered to `size`.

    It was averaged from `whole` pixels by `factor`.
    """
    if reduced.size == size:
        return reduced
    box = (0.0, 0.0, whole[0] / factor[0], whole[1] / factor[1])
    return reduced.resize(size, Image.Resampling.LANCZOS, box=box)
