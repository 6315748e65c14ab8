"""Compute a slide's patch table from its grid, without reading pixels."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slidemill.core.outcomes import Outcome
from slidemill.core.patch import PatchRef
from slidemill.core.pyramid import SlideInfo
from slidemill.core.specs import GridSpec
from slidemill.errors import SlidemillError
from slidemill.slides.grid import Grid

SPREAD = 16
"""Patches that `spread_patches` spreads over a table."""


@dataclass(frozen=True, slots=True)
class SlidePatches:
    """Patches of a slide, and the facts needed to read them.

    Parameters
    ----------
    source, info
        The slide's file, and its facts.
    grid
        The grid of the patches.
    patches
        The patches to read, in raster order.
    """

    source: Path
    info: SlideInfo
    grid: GridSpec
    patches: Sequence[PatchRef]


def patch_rows(
    slide: str, info: SlideInfo, spec: GridSpec, patches: Iterable[PatchRef] | None = None
) -> Iterator[dict[str, Any]]:
    """Yield a row of the patch table for patches of the slide, in raster order.

    Parameters
    ----------
    slide, info, spec
        The slide's id and facts, and the grid.
    patches
        The patches; None for all that the grid keeps.

    Raises
    ------
    SlideError
        When the slide lacks the requested level.
    """
    grid = Grid(info.pyramid, spec)
    mpp = "" if info.mpp is None else f"{info.mpp * grid.downsample:.6g}"
    downsample = f"{grid.downsample:.10g}"
    for patch in grid.patches() if patches is None else patches:
        yield {
            "patch_id": patch.patch_id,
            "slide": slide,
            "column": patch.column,
            "row": patch.row,
            "x0": patch.x0,
            "y0": patch.y0,
            "width0": patch.width0,
            "height0": patch.height0,
            "level": patch.level,
            "downsample": downsample,
            "mpp": mpp,
        }


def sampled_grid(found: Outcome, planned: GridSpec) -> GridSpec:
    """Return the grid of a slide's patches: `planned`, unless sample_patches recorded another.

    Patches at the coordinates of a file have their own.
    """
    return found.sample.sampling if found.sample and found.sample.sampling else planned


def patch_side(info: SlideInfo, spec: GridSpec | None) -> float:
    """Return the side of a patch in level-0 pixels.

    It is infinite if the grid is not known.
    """
    return Grid(info.pyramid, spec).extent0 if spec else math.inf


def spread_patches(rows: Iterable[Mapping[str, str]], count: int, info: SlideInfo, spec: GridSpec) -> list[PatchRef]:
    """Return some patches of a patch table in raster order: outermost ones, and others spread evenly.

    Parameters
    ----------
    rows, count
        The rows of the table, and their number, at least 1.
    info, spec
        The slide's facts, and the grid of the patches.

    Raises
    ------
    SlidemillError
        When a row is not of the grid.
    """
    spread = {place * count // SPREAD for place in range(SPREAD)} | {count - 1}
    chosen: dict[int, Mapping[str, str]] = {}
    furthest: dict[str, tuple[int, Mapping[str, str]]] = {}
    for place, row in enumerate(rows):
        for axis in ("column", "row"):
            if place == 0 or int(row[axis]) > int(furthest[axis][1][axis]):
                furthest[axis] = place, row
        if place in spread:
            chosen[place] = row
    found = chosen | dict(furthest.values())
    return patches_of((found[place] for place in sorted(found)), info, spec)


def patches_of(rows: Iterable[Mapping[str, str]], info: SlideInfo, spec: GridSpec) -> list[PatchRef]:
    """Return the patches in the rows of a patch table.

    Raises
    ------
    SlidemillError
        When a row is not of the grid.
    """
    grid = Grid(info.pyramid, spec)
    try:
        return [grid.patch(int(row["column"]), int(row["row"])) for row in rows]
    except (KeyError, ValueError, IndexError) as error:
        raise SlidemillError(f"the table of patches is not this slide's ({error}): remove it and run again") from None


def largest_read(patches: Sequence[PatchRef]) -> int:
    """Return the bytes of the largest region that is read for a patch, at least 1."""
    return max((patch.read_size[0] * patch.read_size[1] * 3 for patch in patches), default=1) or 1
