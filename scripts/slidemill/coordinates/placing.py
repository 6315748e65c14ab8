"""Turn coordinates from a file into patches of a slide, in raster order.

Where all places are on the grid that the configuration describes, the patches are the grid's, with its ids and pixels.
Otherwise they are free: columns and rows are level-0 pixels, so that ids are unique, sort in raster order, and say
where a patch is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from slidemill.coordinates._content import CoordinateFile, Places, Square
from slidemill.coordinates._read import read_coordinates
from slidemill.core.patch import PatchRef
from slidemill.core.pyramid import SlideInfo
from slidemill.core.specs import AREA, GridSpec
from slidemill.core.text import format_count
from slidemill.errors import SlideError
from slidemill.slides.annotation_matching import fold_name
from slidemill.slides.grid import Grid

PATCH_SIZES = (16, 4096)
"""Least and largest size of a patch in pixels."""

RESOLUTIONS = ("deepzoom_level", "level", "mpp", "magnification")


@dataclass(frozen=True, slots=True)
class PlacedPatches:
    """Patches at the places of a file.

    Parameters
    ----------
    spec
        The grid that they belong to, free where the places are on none.
    patches
        The patches in raster order.
    """

    spec: GridSpec
    patches: Sequence[PatchRef]


def read_patches(
    path: Path, info: SlideInfo, spec: GridSpec, *, stated: Sequence[str], names: Sequence[str], most: int
) -> PlacedPatches:
    """Read a slide's file of at most `most` places; other parameters and errors are those of `place_patches`."""
    try:
        return place_patches(read_coordinates(path, most), info, spec, stated=stated, names=names)
    except SlideError as error:
        raise SlideError(f"the file of coordinates {path.name}: {error}") from None


def place_patches(
    given: CoordinateFile, info: SlideInfo, spec: GridSpec, *, stated: Sequence[str], names: Sequence[str]
) -> PlacedPatches:
    """Return the patches of a file of coordinates.

    Parameters
    ----------
    given
        The content of the file.
    info, spec
        The slide's facts, and the configured grid.
    stated
        The keys of `sampling` that the configuration states; the file's attributes decide what it does not state.
    names
        The names that the slide may have in the file.

    Raises
    ------
    SlideError
        When the file is another slide's, its square contradicts the configuration, or a place is given twice, or is
        beyond the slide.
    """
    _check_slide(given, info, names)
    if given.square:
        spec = _fit_grid(given.square, info, spec, stated)
    _check_unique(given.places)
    found = _on_grid(given.places, Grid(info.pyramid, spec))
    if found is None:
        spec = replace(spec, overlap=0, limit_bounds=False, is_free=True)
        found = _anywhere(given.places, Grid(info.pyramid, spec))
    return PlacedPatches(spec, found)


def _check_slide(given: CoordinateFile, info: SlideInfo, names: Sequence[str]) -> None:
    if given.name is not None and fold_name(given.name) not in map(fold_name, names):
        raise SlideError(
            f"is of the slide {given.name!r} by its attribute name, and this slide is {names[0]}: give each slide its "
            "own file"
        )
    for level, size in (given.sizes or {}).items():
        own = info.dimensions[level] if level < len(info.dimensions) else None
        if size != own:
            raise SlideError(
                f"is of a slide with {size[0]} x {size[1]} pixels at level {level}, and this slide has "
                f"{f'{own[0]} x {own[1]}' if own else 'no such level'}: give each slide its own file"
            )


def _fit_grid(square: Square, info: SlideInfo, spec: GridSpec, stated: Sequence[str]) -> GridSpec:
    """Return the grid of patches that are the file's squares.

    Raises
    ------
    SlideError
        When the configuration describes other squares, or the slide cannot be read so.
    """
    side0 = square.level0_side(info)
    has_size = "patch_size" in stated
    if {*RESOLUTIONS} & {*stated}:
        grid = Grid(info.pyramid, spec)
        if not has_size:
            spec = replace(spec, patch_size=max(round(side0 / grid.downsample), 1))
            grid = Grid(info.pyramid, spec)
        if grid.extent0 != side0:
            raise SlideError(
                f"its squares are {square}, {side0} level-0 pixels wide, and those of the configuration are "
                f"{grid.extent0} level-0 pixels wide ({_describe_grid(spec)}): give sampling another patch_size or "
                "resolution, or leave both out to take the file's"
            )
    else:
        if has_size and spec.patch_size != square.side:
            raise SlideError(
                f"its squares are {square}, and sampling.patch_size is {spec.patch_size}: leave it out to take the "
                "file's, or give the resolution of these patches too"
            )
        spec = _with_resolution(replace(spec, patch_size=square.side), square, info, side0)
    if not PATCH_SIZES[0] <= spec.patch_size <= PATCH_SIZES[1]:
        raise SlideError(
            f"its squares are {square}, and patches have {PATCH_SIZES[0]} to {PATCH_SIZES[1]} pixels: choose larger or "
            "smaller squares"
        )
    return spec


def _with_resolution(spec: GridSpec, square: Square, info: SlideInfo, side0: int) -> GridSpec:
    """Return the grid at the file's own resolution: a native level where one has these squares."""
    bare = replace(spec, deepzoom_level=None, level=None, mpp=None, magnification=None)
    if square.level is not None:
        return replace(bare, level=square.level)
    native = [level for level, own in enumerate(info.downsamples) if round(square.side * own) == side0]
    if native:
        return replace(bare, level=native[0])
    if side0 < square.side:
        raise SlideError(
            f"its squares are {square}, finer than the slide: choose a magnification that the slide has, or give "
            "sampling.patch_size and a resolution"
        )
    return replace(bare, downsample=side0 / square.side, filter=AREA)


def _describe_grid(spec: GridSpec) -> str:
    key = next(key for key in RESOLUTIONS if getattr(spec, key) is not None)
    return f"patch_size {spec.patch_size}, {key} {getattr(spec, key):g}"


def _check_unique(places: Places) -> None:
    unique, count = np.unique(places, axis=0, return_counts=True)
    if (count > 1).any():
        x, y = unique[np.argmax(count > 1)].tolist()
        raise SlideError(
            f"has {format_count(int((count > 1).sum()), 'place')} more than once, {x}, {y} the first: keep one of each"
        )


def _on_grid(places: Places, grid: Grid) -> list[PatchRef] | None:
    """Return the patches of a grid at these places; None if one is not on it or not kept by it."""
    found = []
    for axis, origins in enumerate(grid.origins0):
        known: npt.NDArray[np.int64] = np.array(origins, np.int64)
        index = np.minimum(np.searchsorted(known, places[:, axis]), len(known) - 1)
        if (known[index] != places[:, axis]).any():
            return None
        found.append(index)
    columns, rows = (found[0][order := np.lexsort((found[0], found[1]))], found[1][order])
    patches = [grid.patch(column, row) for column, row in zip(columns.tolist(), rows.tolist(), strict=True)]
    return patches if all(grid.keeps(patch.size) for patch in patches) else None


def _anywhere(places: Places, grid: Grid) -> list[PatchRef]:
    """Return free patches in raster order.

    Raises
    ------
    SlideError
        When one begins beyond the slide, or reaches beyond it and patches are not padded.
    """
    outside = ((places < 0) | (places >= grid.shape)).any(axis=1)
    width, height = grid.shape
    if outside.any():
        x, y = places[np.argmax(outside)].tolist()
        raise SlideError(
            f"has {format_count(int(outside.sum()), 'place')} beyond the slide, {x}, {y} the first, and the slide has "
            f"{width} x {height} level-0 pixels: check whether the file is this slide's, and in level-0 pixels"
        )
    ordered = places[np.lexsort((places[:, 0], places[:, 1]))]
    patches = [grid.patch(x, y) for x, y in ordered.tolist()]
    wide = [patch for patch in patches if not (grid.keeps(patch.size) and min(patch.size))]
    if wide:
        first = wide[0]
        raise SlideError(
            f"has {format_count(len(wide), 'square')} partly beyond the slide, "
            f"{first.width0} x {first.height0} level-0 pixels at {first.x0}, {first.y0} the first, and the slide has "
            f"{width} x {height}: leave them out, or set sampling.edges to pad, which fills them with background"
        )
    return patches
