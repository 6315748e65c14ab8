"""Open slides, and read what OpenSlide reports about them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import openslide

from slidemill.core.pyramid import SlideInfo
from slidemill.core.text import format_digits
from slidemill.errors import CRAMPED, SlideError, machine_error
from slidemill.slides._opening import check_claim, claimed_sizes, refusal
from slidemill.slides._resolution import are_square, contradiction, is_plausible
from slidemill.slides.icc import profile_of


@contextmanager
def open_slide(path: Path) -> Iterator[openslide.OpenSlide]:
    """Open the slide at `path`, and close it when the block ends.

    Raises
    ------
    SlideError
        When there is no such file, it may not be read, claims more pixels than any slide has, or OpenSlide cannot read
        it.
    """
    try:
        if path.exists() and not path.is_file():
            raise SlideError(f"{path.name}: is not a file: remove it, or put the slide in its place")
        with path.open("rb"):
            pass
        if path.suffix.lower() == ".mrxs" and not path.with_suffix("").is_dir():
            raise SlideError(f"{path.name}: its folder {path.stem} is missing: put it next to the file")
        for size in claimed_sizes(path):
            check_claim(path.name, size)
        slide = openslide.OpenSlide(path)
    except OSError as error:
        if error.errno in CRAMPED:
            raise machine_error(error, path) or error from None
        raise SlideError(f"{path.name}: {error.strerror}: check that the file is there and may be read") from None
    except openslide.OpenSlideUnsupportedFormatError:
        raise SlideError(refusal(path, "")) from None
    except openslide.OpenSlideError as error:
        if fault := machine_error(error, path):
            raise fault from None
        raise SlideError(refusal(path, str(error))) from None
    with slide:
        check_claim(path.name, slide.dimensions)
        yield slide


def slide_info(slide: openslide.OpenSlide) -> SlideInfo:
    """Return what OpenSlide reports about an open slide."""
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
        icc=profile_of(slide),
    )


def choose_mpp(info: SlideInfo, own: float | None, assumed: float | None) -> tuple[SlideInfo, str, list[str]]:
    """Return a slide's facts with the effective mpp, the mpp's source, and notes.

    Parameters
    ----------
    info
        What OpenSlide reports.
    own
        Micrometres per level-0 pixel from the sample sheet, which count before those of the slide; or None.
    assumed
        Those of slides that state none, or impossible ones, or whose pixels are not square; or None.

    Returns
    -------
    SlideInfo, str, list of str
        The source is ``"sheet"``, ``"slide"``, ``"assumed"``, or nothing where they are unknown.
    """
    said, notes = info.mpp, []
    if said is not None and not is_plausible(said):
        notes.append(f"the slide states {format_digits(said, 4)} µm per pixel, which no slide has")
        said = None
    elif info.mpp_x and info.mpp_y and not are_square(info.mpp_x, info.mpp_y):
        notes.append(f"its pixels are not square: {info.mpp_x:.4g} x {info.mpp_y:.4g} µm")
        said = None if assumed else said
    note = contradiction(own or said, info.objective_power)
    if note:
        notes.append(note)
    if own is None and said is not None:
        return info, "slide", notes
    given = own or assumed
    return replace(info, mpp_x=given, mpp_y=given), "sheet" if own else "assumed" if assumed else "", notes


def _positive(text: str | None) -> float | None:
    """Return a property's number, or None if it is not positive and finite."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if 0 < value < float("inf") else None


def _bounds(properties: Mapping[str, str], dimensions: tuple[int, int]) -> tuple[int, int, int, int] | None:
    """Return the slide's bounds, or None if it has none.

    Missing values are completed as by DeepZoomGenerator.
    """
    names = (
        openslide.PROPERTY_NAME_BOUNDS_X,
        openslide.PROPERTY_NAME_BOUNDS_Y,
        openslide.PROPERTY_NAME_BOUNDS_WIDTH,
        openslide.PROPERTY_NAME_BOUNDS_HEIGHT,
    )
    if not any(name in properties for name in names):
        return None
    defaults = (0, 0, *dimensions)
    x, y, width, height = (int(properties.get(name, default)) for name, default in zip(names, defaults, strict=True))
    return x, y, width, height
