"""Compare the squares that other programs read with those of the patches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from slidemill.core.specs import LANCZOS
from slidemill.errors import SlidemillError
from slidemill.exchange.exported_slide import ExportedSlide

CLOSE = 0.5
"""Level-0 pixels: squares whose sides differ by less are the same, since sides are rounded to whole pixels."""

NEARBY = 64
"""How much larger or smaller a patch size may be that is suggested."""

LevelRead = Callable[[ExportedSlide], tuple[int, int]]
"""From a slide to the native level that a program reads for its patches, and their side in pixels of that level."""


def require_same_square(own: ExportedSlide, reader: str, read: LevelRead) -> None:
    """Check that a program that reads whole pixels of a level reads the squares of the patches.

    Parameters
    ----------
    own
        The slide with its patches.
    reader
        The program's name.
    read
        How it reads.

    Raises
    ------
    SlidemillError
        When it would read another square; the message has both, and settings with which they agree.
    """
    level, pixels = read(own)
    if _agrees(own, read):
        return
    x, y = own.coords[0].tolist() if len(own.table) else (0, 0)
    first = str(own.table["patch_id"].iloc[0]) if len(own.table) else "each patch"
    raise SlidemillError(
        f"{own.slide}: {reader} would read another square (of {first}: {pixels * own.info.downsamples[level]:.10g} "
        f"level-0 pixels from x {x}, y {y}, which are {pixels} pixels of level {level}; the patch: {own.side}); sample "
        f"with settings that agree: {', or '.join(_find_agreeing(own, read))}"
    )


def _agrees(own: ExportedSlide, read: LevelRead) -> bool:
    level, pixels = read(own)
    return abs(pixels * own.info.downsamples[level] - own.side) < CLOSE


def _find_agreeing(own: ExportedSlide, read: LevelRead) -> Iterator[str]:
    """Yield settings of `sampling` with which the squares agree: one per kind of setting."""
    spec, size, mpp = own.spec, own.spec.patch_size, own.info.mpp

    def agrees(**changes: Any) -> bool:
        changed = replace(own, spec=replace(spec, **changes))
        # Impossible sizes are not suggested.
        return changed.spec.step > 0 and _agrees(changed, read)

    if spec.mpp is not None and mpp:
        downsample = own.info.downsamples[read(own)[0]]
        text = f"{max(round(own.side / downsample), 1) * downsample * mpp / size:.6g}"
        if agrees(mpp=float(text)):
            yield f"patch_size: {size}, mpp: {text}"
    sizes = (size + sign * step for step in range(1, NEARBY) for sign in (1, -1))
    if near := next((other for other in sizes if other > 0 and agrees(patch_size=other)), None):
        yield f"patch_size: {near} at the same resolution"
    by_level = {"mpp": None, "magnification": None, "deepzoom_level": None, "filter": LANCZOS}
    levels = sorted(range(len(own.info.downsamples)), key=lambda level: abs(level - own.grid.level))
    if found := [level for level in levels if agrees(**by_level, level=level)]:
        yield f"patch_size: {size}, level: {found[0]}"
