"""Opening slides and reading patches through OpenSlide."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import openslide
from PIL import Image

from slidemill.errors import SlideError
from slidemill.geometry import GridSpec, PatchRef, Pyramid, halvings

STRIP_PIXELS = 8_000_000
"""At most this many pixels are read at once when a patch is shrunk from many (32 MB of RGBA)."""

Pixels = npt.NDArray[np.uint8]
"""``uint8 (height, width, 3)``, RGB."""


@dataclass(frozen=True, slots=True)
class SlideInfo:
    """What OpenSlide says of a slide.

    Parameters
    ----------
    vendor
        OpenSlide's name of the format, such as ``"aperio"``.
    dimensions, downsamples, bounds
        As in `slidemill.geometry.Pyramid`.
    mpp_x, mpp_y
        Micrometres a level-0 pixel, or None where the slide does not say.
    objective_power
        Nominal magnification of the scan, or None where the slide does not say.
    background
        Colour, six hex digits, that transparent pixels are laid over.
    """

    vendor: str
    dimensions: tuple[tuple[int, int], ...]
    downsamples: tuple[float, ...]
    bounds: tuple[int, int, int, int] | None
    mpp_x: float | None
    mpp_y: float | None
    objective_power: float | None
    background: str

    @property
    def pyramid(self) -> Pyramid:
        """The slide's levels, for the grid."""
        return Pyramid(self.dimensions, self.downsamples, self.bounds)

    @property
    def mpp(self) -> float | None:
        """Micrometres a level-0 pixel, the mean of both axes."""
        return None if self.mpp_x is None or self.mpp_y is None else (self.mpp_x + self.mpp_y) / 2

    def deepzoom_levels(self, limit_bounds: bool) -> int:
        """Return how many DeepZoom levels the slide has."""
        whole = self.bounds[2:] if limit_bounds and self.bounds else self.dimensions[0]
        return len(halvings(whole))

    def to_json(self) -> dict[str, Any]:
        """Return the facts as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> SlideInfo:
        """Return the facts that `to_json` gave."""
        return cls(
            **{
                **value,
                "dimensions": tuple((int(w), int(h)) for w, h in value["dimensions"]),
                "downsamples": tuple(value["downsamples"]),
                "bounds": tuple(value["bounds"]) if value["bounds"] else None,
            }
        )


@contextmanager
def opened(path: Path) -> Iterator[openslide.OpenSlide]:
    """Open the slide at `path`, and close it when the block ends.

    Raises
    ------
    SlideError
        When there is no such file, it may not be read, or OpenSlide cannot read it.
    """
    try:
        with path.open("rb"):
            pass
        slide = openslide.OpenSlide(path)
    except OSError as error:
        raise SlideError(f"{path.name}: {error.strerror}: see that the file is there and may be read") from None
    except openslide.OpenSlideUnsupportedFormatError:
        raise SlideError(
            f"{path.name}: OpenSlide knows no format that this file has: see whether it is whole, and a slide"
        ) from None
    except openslide.OpenSlideError as error:
        raise SlideError(f"{path.name}: OpenSlide cannot open it ({error}): see whether it is whole") from None
    with slide:
        yield slide


def slide_info(slide: openslide.OpenSlide) -> SlideInfo:
    """Return what OpenSlide says of an open slide."""
    properties = slide.properties
    background = properties.get(openslide.PROPERTY_NAME_BACKGROUND_COLOR, "ffffff")
    return SlideInfo(
        vendor=properties.get(openslide.PROPERTY_NAME_VENDOR, ""),
        dimensions=tuple(slide.level_dimensions),
        downsamples=tuple(slide.level_downsamples),
        bounds=_bounds(properties, slide.dimensions),
        mpp_x=_positive(properties.get(openslide.PROPERTY_NAME_MPP_X)),
        mpp_y=_positive(properties.get(openslide.PROPERTY_NAME_MPP_Y)),
        objective_power=_positive(properties.get(openslide.PROPERTY_NAME_OBJECTIVE_POWER)),
        background=background if re.fullmatch("[0-9A-Fa-f]{6}", background) else "ffffff",
    )


class PatchReader:
    """Reads patches of an open slide, with OpenSlide's own pixels.

    Parameters
    ----------
    slide
        The open slide.
    info
        What `slide_info` says of it.
    spec
        The grid that the patches belong to.
    """

    def __init__(self, slide: openslide.OpenSlide, info: SlideInfo, spec: GridSpec) -> None:
        self._slide = slide
        self._background = f"#{info.background}"
        self._patch_size = spec.patch_size

    def read(self, patch: PatchRef) -> Pixels:
        """Return the patch's pixels, ``uint8 (patch_size, patch_size, 3)``.

        Transparent pixels are laid over the slide's background, and what a padded patch has beyond the slide
        is background.

        Raises
        ------
        SlideError
            When OpenSlide cannot read them. OpenSlide reads nothing more from this handle then.
        """
        try:
            image = self._fit(patch) if min(patch.size) else None
        except openslide.OpenSlideError as error:
            raise SlideError(
                f"patch {patch.patch_id} at ({patch.x0}, {patch.y0}) of level 0 cannot be read ({error}): "
                "see whether the slide is whole"
            ) from None
        full = (self._patch_size, self._patch_size)
        if image is None or image.size != full:
            canvas = Image.new("RGB", full, self._background)
            if image is not None:
                canvas.paste(image, patch.offset)
            image = canvas
        return np.asarray(image)

    def _fit(self, patch: PatchRef) -> Image.Image:
        """Return the patch's part of the slide, shrunk as DeepZoomGenerator shrinks it."""
        place = (patch.read_x0, patch.read_y0)
        return _shrunk(self._slide, patch.level, place, patch.read_size, patch.size, self._background)


def thumbnail(slide: openslide.OpenSlide, info: SlideInfo, longest: int) -> Image.Image:
    """Return the whole canvas of a slide, RGB over its background, `longest` pixels at its longer side.

    Raises
    ------
    SlideError
        When OpenSlide cannot read all of it.
    """
    width, height = info.dimensions[0]
    scale = min(longest / max(width, height), 1.0)
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    level = info.pyramid.best_level(1 / scale)
    try:
        return _shrunk(slide, level, (0, 0), info.dimensions[level], size, f"#{info.background}")
    except openslide.OpenSlideError as error:
        raise SlideError(f"the slide's level {level} cannot be read whole ({error}): see whether it is whole") from None


def _shrunk(
    slide: openslide.OpenSlide,
    level: int,
    place: tuple[int, int],
    read_size: tuple[int, int],
    size: tuple[int, int],
    background: str,
) -> Image.Image:
    """Return part of a level shrunk to `size`, pixel for pixel as Pillow's ``Image.thumbnail`` shrinks it.

    That averages blocks of `factor` pixels first, and filters what is left (``reducing_gap=2``). Averaged strip
    by strip, the same pixels come out of bounded memory.
    """
    (width, height), (fit_width, fit_height) = read_size, size
    factor = (int(width / fit_width / 2.0) or 1, int(height / fit_height / 2.0) or 1)
    if factor == (1, 1):
        image = _over_background(slide, level, place, read_size, background)
        return image if image.size == size else image.resize(size, Image.Resampling.LANCZOS)
    reduced = Image.new("RGB", (-(-width // factor[0]), -(-height // factor[1])))
    rows = max(STRIP_PIXELS // width // factor[1], 1) * factor[1]
    for top in range(0, height, rows):
        y0 = int(place[1] + top * slide.level_downsamples[level])
        strip = _over_background(slide, level, (place[0], y0), (width, min(rows, height - top)), background)
        reduced.paste(strip.reduce(factor), (0, top // factor[1]))
    box = (0.0, 0.0, width / factor[0], height / factor[1])
    return reduced.resize(size, Image.Resampling.LANCZOS, box=box)


def _over_background(
    slide: openslide.OpenSlide, level: int, place: tuple[int, int], size: tuple[int, int], background: str
) -> Image.Image:
    """Return a region of a level, RGB, its transparent pixels laid over the background."""
    region = slide.read_region(place, level, size)
    image = Image.new("RGB", size, background)
    image.paste(region, mask=region)
    return image


def _positive(text: str | None) -> float | None:
    """Return a property's number, or None where it is missing or no positive, finite number."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if 0 < value < float("inf") else None


def _bounds(properties: Mapping[str, str], dimensions: tuple[int, int]) -> tuple[int, int, int, int] | None:
    """Return the slide's bounds, completed as DeepZoomGenerator completes them, or None where it has none."""
    names = (
        openslide.PROPERTY_NAME_BOUNDS_X,
        openslide.PROPERTY_NAME_BOUNDS_Y,
        openslide.PROPERTY_NAME_BOUNDS_WIDTH,
        openslide.PROPERTY_NAME_BOUNDS_HEIGHT,
    )
    if not any(name in properties for name in names):
        return None
    defaults = (0, 0, *dimensions)
    x, y, width, height = (
        int(properties.get(name, default)) for name, default in zip(names, defaults, strict=True)
    )
    return x, y, width, height
