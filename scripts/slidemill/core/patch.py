"""One patch of a grid, as a value, and its name."""

from __future__ import annotations

from dataclasses import dataclass

from slidemill.core.pyramid import Size


@dataclass(frozen=True, slots=True)
class PatchRef:
    """One patch of a grid: where it lies and what has to be read for it.

    Parameters
    ----------
    column, row
        Place in the grid, counted from 0 at the top left.
    x0, y0, width0, height0
        The square that the patch stands for, in level-0 pixels. The origin is rounded down, the size to the
        nearest pixel. Padded patches may begin before 0 and end beyond the slide.
    level
        Native level that is read.
    read_x0, read_y0
        Where reading begins, in level-0 pixels, as ``OpenSlide.read_region`` takes it.
    read_size
        Level pixels to read.
    size
        The grid pixels that these are shrunk to; equal to ``(patch_size, patch_size)`` but at the slide's edges.
    offset
        Where those lie in the patch: ``(0, 0)`` but for padded patches of the first column or row.
    """

    column: int
    row: int
    x0: int
    y0: int
    width0: int
    height0: int
    level: int
    read_x0: int
    read_y0: int
    read_size: Size
    size: Size
    offset: Size

    @property
    def patch_id(self) -> str:
        """The patch's name, unique within its slide; sorting names gives raster order."""
        return format_patch_id(self.column, self.row)


SpanKind = tuple[int, int, int]
"""How much is read along an axis, what that is shrunk to, and where it lies in the patch."""


@dataclass(frozen=True, slots=True)
class Span:
    """A patch's extent along one axis: where it begins in level-0 pixels, where reading begins, and its `SpanKind`."""

    origin0: int
    read0: int
    kind: SpanKind


def format_patch_id(column: int, row: int) -> str:
    """Return the id of the patch at `column` and `row`, such as ``r00012_c00034``."""
    return f"r{row:05d}_c{column:05d}"
