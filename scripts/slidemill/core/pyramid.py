"""The levels of a slide, and how sizes shrink: pure arithmetic."""

from __future__ import annotations

import math
from dataclasses import dataclass

Size = tuple[int, int]
"""``(width, height)`` in pixels or patches."""


@dataclass(frozen=True, slots=True)
class Pyramid:
    """The levels of a slide.

    Parameters
    ----------
    dimensions
        ``(width, height)`` of every native level in its own pixels, largest first.
    downsamples
        Level-0 pixels a level pixel, one for each level.
    bounds
        ``(x, y, width, height)`` of the scanned area in level-0 pixels, or None where the slide names none.
    mpp
        Micrometres a level-0 pixel, or None where they are not known.
    power
        Objective power of the scan, or None where it is not known.
    sides
        Micrometres along x and along y of a level-0 pixel, of which `mpp` is the mean; None for square pixels.
    """

    dimensions: tuple[Size, ...]
    downsamples: tuple[float, ...]
    bounds: tuple[int, int, int, int] | None = None
    mpp: float | None = None
    power: float | None = None
    sides: tuple[float, float] | None = None

    def best_level(self, downsample: float) -> int:
        """Return the smallest native level that is no coarser than `downsample` (OpenSlide's rule)."""
        finer = [level for level, own in enumerate(self.downsamples) if own <= downsample]
        return max(finer, default=0)


def halvings(size: Size) -> list[Size]:
    """Return the sizes of all DeepZoom levels of an image of `size`, from one pixel to `size` itself."""
    sizes = [size]
    while sizes[-1] != (1, 1):
        sizes.append((max(1, -(-sizes[-1][0] // 2)), max(1, -(-sizes[-1][1] // 2))))
    return sizes[::-1]


def fitted(size: Size, box: Size) -> Size:
    """Return the size of an image of `size` after Pillow's ``Image.thumbnail(box)``, which never enlarges.

    Nothing fits nowhere: a `size` without pixels gives ``(0, 0)``.

    The longer side meets the box; the other is rounded to whichever neighbour keeps the proportions best
    (Pillow's documentation of ``Image.thumbnail``; the tests hold this function against it).
    """
    (width, height), (box_width, box_height) = size, box
    if min(size) <= 0:
        return 0, 0
    if box_width >= width and box_height >= height:
        return size
    aspect = width / height

    def nearest(exact: float, error_of: dict[int, float]) -> int:
        return max(min(error_of, key=error_of.__getitem__), 1)

    if box_width / box_height >= aspect:
        exact = box_height * aspect
        candidates = {n: abs(aspect - n / box_height) for n in (math.floor(exact), math.ceil(exact))}
        return nearest(exact, candidates), box_height
    exact = box_width / aspect
    candidates = {n: abs(aspect - box_width / n) if n else 0.0 for n in (math.floor(exact), math.ceil(exact))}
    return box_width, nearest(exact, candidates)
