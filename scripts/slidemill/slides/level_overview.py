"""Show a slide's levels and resolutions in a table and a picture, to choose one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from slidemill.core.pyramid import SlideInfo
from slidemill.core.specs import GridSpec
from slidemill.errors import SlideError, UnreadablePatchError
from slidemill.slides._resolution import are_square
from slidemill.slides.grid import Grid
from slidemill.slides.openslide_reader import PatchReader
from slidemill.slides.slide_info import open_slide

CELL = 256
CAPTION = 44
COLUMNS = 6

SMALLEST = 64
"""Pixels of the longer side of the smallest levels that are listed."""

MPPS: tuple[float, ...] = (0.25, 0.5, 1, 2)
MAGNIFICATIONS: tuple[float, ...] = (40, 20, 10, 5)


@dataclass(frozen=True, slots=True)
class Level:
    """A level or a resolution that can be sampled.

    It has its key and value in the configuration, and the grid over it.
    """

    key: str
    number: float
    grid: Grid


@dataclass(frozen=True, slots=True)
class Unavailable:
    """A resolution that the slide does not give: its key and value, and the reason."""

    key: str
    number: float
    reason: str


def resolutions_of(info: SlideInfo, spec: GridSpec) -> list[Level | Unavailable]:
    """Return the usual resolutions, finest first."""
    free = replace(spec, level=None, deepzoom_level=None)
    wanted = [("mpp", mpp, replace(free, mpp=mpp)) for mpp in MPPS]
    wanted += [("magnification", power, replace(free, magnification=power)) for power in MAGNIFICATIONS]
    found: list[Level | Unavailable] = []
    for key, number, own in wanted:
        try:
            found.append(Level(key, number, Grid(info.pyramid, own)))
        except SlideError as error:
            found.append(Unavailable(key, number, str(error)))
    return found


def levels_of(info: SlideInfo, spec: GridSpec) -> list[Level]:
    """Return the native and the DeepZoom levels of a slide, finest first.

    Levels of less than `SMALLEST` pixels are omitted, except level 0.
    """
    native = [
        Level("level", number, Grid(info.pyramid, replace(spec, level=number, deepzoom_level=None)))
        for number in range(len(info.dimensions))
    ]
    deepzoom = [
        Level("deepzoom_level", number, Grid(info.pyramid, replace(spec, level=None, deepzoom_level=number)))
        for number in reversed(range(info.deepzoom_levels(spec.limit_bounds)))
    ]
    return native[:1] + [one for one in native[1:] + deepzoom if max(one.grid.size) >= SMALLEST]


def describe(path: Path, info: SlideInfo, levels: Sequence[Level | Unavailable]) -> str:
    """Return a table of a slide's levels and resolutions.

    Its columns are the key of the configuration, the size in pixels, the patches of the grid (with those at the edges)
    and the full ones, the downsample, µm per pixel, and the native level that is read.
    """
    power = f"{info.objective_power:g}x" if info.objective_power else "power unknown"
    mpp = f"{info.mpp:.4g} µm per pixel" if info.mpp else "mpp unknown"
    if info.mpp_x and info.mpp_y and not are_square(info.mpp_x, info.mpp_y):
        mpp = f"{info.mpp_x:.4g} x {info.mpp_y:.4g} µm per pixel, which is not square"
    profile = f", ICC profile {info.icc}" if info.icc else ""
    size = next(level.grid.spec.patch_size for level in levels if isinstance(level, Level))
    row = "{:>18}  {:>17}  {:>16}  {:>12}  {:>10}  {:>6}  {}"
    lines = [
        f"{path.name}: {info.vendor}, {power}, {mpp}{profile}",
        row.format("sampling key", "pixels", f"grid of {size} px", "full patches", "downsample", "mpp", "reads"),
    ]
    for level in levels:
        key = f"{level.key}: {level.number:g}"
        if isinstance(level, Unavailable):
            lines.append(f"{key:>18}  not available: {level.reason}")
            continue
        grid = level.grid
        lines.append(
            row.format(
                key,
                f"{grid.size[0]} x {grid.size[1]}",
                f"{grid.shape[0]} x {grid.shape[1]}",
                grid.count,
                f"{grid.downsample:.6g}",
                f"{info.mpp * grid.downsample:.4g}" if info.mpp else "-",
                f"level {grid.level}",
            )
        )
    return "\n".join(lines)


def contact_sheet(path: Path, info: SlideInfo, levels: Sequence[Level]) -> tuple[Image.Image, list[str]]:
    """Return a picture of each level's middle patch, and the reading errors.

    The picture is RGB, and shows each level's key and mpp.

    Of the levels that a single patch covers, only the first is shown. A patch that cannot be read is grey.
    """
    faults = []
    shown = [level for level in levels if level.grid.shape != (1, 1)]
    shown += [level for level in levels if level.grid.shape == (1, 1)][:1]
    font = ImageFont.load_default(15)
    rows = -(-len(shown) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * (CELL + 8), rows * (CELL + CAPTION)), "white")
    pen = ImageDraw.Draw(sheet)
    for place, level in enumerate(shown):
        left, top = place % COLUMNS * (CELL + 8), place // COLUMNS * (CELL + CAPTION)
        columns, grid_rows = level.grid.shape
        middle = level.grid.patch((columns - 1) // 2, (grid_rows - 1) // 2)
        try:
            # After an error OpenSlide reads nothing more from a handle.
            with open_slide(path) as slide:
                patch = Image.fromarray(PatchReader(slide, info, level.grid.spec).read(middle))
        except UnreadablePatchError as error:
            faults.append(f"{path.name}: {level.key} {level.number}: {error}")
            patch = Image.new("RGB", (CELL, CELL), "#999999")
        patch.thumbnail((CELL, CELL))
        sheet.paste(patch, (left, top))
        pen.rectangle((left, top, left + CELL - 1, top + CELL - 1), outline="#999999")
        mpp = f", {info.mpp * level.grid.downsample:.3g} mpp" if info.mpp else ""
        pen.text((left + 4, top + CELL + 4), f"{level.key}: {level.number}{mpp}", fill="black", font=font)
    return sheet, faults
