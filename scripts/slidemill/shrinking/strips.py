"""Read large parts of a level strip by strip, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable

from PIL import Image

from slidemill.core.pyramid import Size

STRIP_PIXELS = 8_000_000
"""At most this many pixels are read at once when a patch is shrunk from many (32 MB of RGBA)."""

ReadRegion = Callable[[tuple[int, int], Size], Image.Image]
"""Returns a region of a level, RGB, from a place in level-0 pixels and a size in pixels of the level."""


def rows_at_once(size: Size, downsample: float) -> int:
    """Return how many rows of a part of a level are read at once.

    Parameters
    ----------
    size
        ``(width, height)`` of the part, in pixels of the level.
    downsample
        Level-0 pixels per pixel of the level.
    """
    width, height = size
    # OpenSlide interpolates between the pixels of a level whose downsample is a fraction, and strips would differ from
    # the whole: such a part is read in one piece unless it is too large.
    most = STRIP_PIXELS if downsample.is_integer() else 2 * STRIP_PIXELS
    return height if width * height <= most else max(STRIP_PIXELS // width, 1)
