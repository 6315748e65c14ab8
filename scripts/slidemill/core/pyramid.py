"""Facts and levels of a slide, and the sizes of reduced images."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from slidemill.errors import SlidemillError

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
        Level-0 pixels per level pixel, for each level.
    bounds
        ``(x, y, width, height)`` of the scanned area in level-0 pixels, or None where the slide has no bounds.
    mpp
        Micrometres per level-0 pixel, or None where they are not known.
    power
        Objective power of the scan, or None where it is not known.
    sides
        Micrometres per level-0 pixel along x and y, whose mean is `mpp`; None for square pixels.
    """

    dimensions: tuple[Size, ...]
    downsamples: tuple[float, ...]
    bounds: tuple[int, int, int, int] | None = None
    mpp: float | None = None
    power: float | None = None
    sides: tuple[float, float] | None = None

    def best_level(self, downsample: float) -> int:
        """Return the coarsest native level within `downsample`, as OpenSlide does."""
        finer = [level for level, own in enumerate(self.downsamples) if own <= downsample]
        return max(finer, default=0)


def halve_to_pixel(size: Size) -> list[Size]:
    """Return the sizes of all DeepZoom levels of an image, from one pixel upwards."""
    sizes = [size]
    while sizes[-1] != (1, 1):
        sizes.append((max(1, -(-sizes[-1][0] // 2)), max(1, -(-sizes[-1][1] // 2))))
    return sizes[::-1]


@dataclass(frozen=True, slots=True)
class SlideInfo:
    """The facts that OpenSlide reports of a slide.

    Parameters
    ----------
    vendor
        OpenSlide's name of the format, such as ``"aperio"``.
    dimensions, downsamples, bounds
        As in `Pyramid`.
    mpp_x, mpp_y
        Micrometres per level-0 pixel, or None where the slide does not record them.
    objective_power
        Nominal magnification of the scan, or None where the slide does not record it.
    background
        Colour behind transparent pixels, six hex digits.
    icc
        Description and size of the ICC profile, as `slidemill.slides.icc.profile_of` returns them; empty without one.
    """

    vendor: str
    dimensions: tuple[tuple[int, int], ...]
    downsamples: tuple[float, ...]
    bounds: tuple[int, int, int, int] | None
    mpp_x: float | None
    mpp_y: float | None
    objective_power: float | None
    background: str
    icc: str = ""

    @property
    def pyramid(self) -> Pyramid:
        """The slide's levels, for the grid."""
        sides = (self.mpp_x, self.mpp_y) if self.mpp_x and self.mpp_y else None
        return Pyramid(self.dimensions, self.downsamples, self.bounds, self.mpp, self.objective_power, sides)

    @property
    def mpp(self) -> float | None:
        """Micrometres per level-0 pixel, the mean of both axes."""
        return None if self.mpp_x is None or self.mpp_y is None else (self.mpp_x + self.mpp_y) / 2

    @property
    def size(self) -> Size:
        """``(width, height)`` in level-0 pixels."""
        return self.dimensions[0]

    @property
    def corner(self) -> tuple[int, int]:
        """The first pixel of the slide's bounds, in level-0 pixels."""
        return self.bounds[:2] if self.bounds else (0, 0)

    def deepzoom_levels(self, limit_bounds: bool) -> int:
        """Return the number of DeepZoom levels of the slide."""
        whole = self.bounds[2:] if limit_bounds and self.bounds else self.dimensions[0]
        return len(halve_to_pixel(whole))

    def to_json(self) -> dict[str, Any]:
        """Return the facts as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> SlideInfo:
        """Build the facts from a value that `to_json` returned.

        Raises
        ------
        SlidemillError
            When a value is missing or of another kind.
        """
        try:
            info = cls(
                **{
                    **value,
                    "dimensions": tuple((int(w), int(h)) for w, h in value["dimensions"]),
                    "downsamples": tuple(float(number + 0) for number in value["downsamples"]),
                    "bounds": tuple(value["bounds"]) if value["bounds"] else None,
                }
            )
            numbers = (info.mpp_x, info.mpp_y, info.objective_power, *(info.bounds or ()))
            if not (
                isinstance(info.vendor, str)
                and isinstance(info.icc, str)
                and re.fullmatch("[0-9A-Fa-f]{6}", info.background)
                and all(number is None or isinstance(number, int | float) for number in numbers)
                and len(info.bounds or (0, 0, 0, 0)) == 4
                and 0 < len(info.dimensions) == len(info.downsamples)
            ):
                raise ValueError("a value of another kind")
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise SlidemillError(
                f"the facts of a slide, in results/slides, are not what was written ({error}): remove it and run again"
            ) from None
        return info


def thumbnail_size(size: Size, box: Size) -> Size:
    """Return an image's size after Pillow's ``Image.thumbnail(box)``.

    Images are never enlarged. A `size` without pixels gives ``(0, 0)``.
    """
    (width, height), (box_width, box_height) = size, box
    if min(size) <= 0:
        return 0, 0
    if box_width >= width and box_height >= height:
        return size
    # Pillow's algorithm: the longer side meets the box, and the other is rounded to the neighbour that keeps the aspect
    # ratio best (documentation of Image.thumbnail; tests compare the two).
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
