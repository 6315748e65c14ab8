"""A patch as a value, and its id."""

from __future__ import annotations

from dataclasses import dataclass

from slidemill.core.pyramid import Size


@dataclass(frozen=True, slots=True)
class PatchRef:
    """A patch: its place, and the region to read for it.

    Parameters
    ----------
    column, row
        Place in the grid, counted from 0 at the top left; of patches at any place, `x0` and `y0`.
    x0, y0, width0, height0
        The patch's square in level-0 pixels. The origin is rounded down, the size to the nearest pixel.
        Padded patches may begin before 0 and end beyond the slide.
    level
        Native level to read.
    read_x0, read_y0
        Top left of the region to read, in level-0 pixels, as ``OpenSlide.read_region`` takes it.
    read_size
        ``(width, height)`` of the region in level pixels.
    size
        ``(width, height)`` in grid pixels that the region is shrunk to; smaller than the patch at the slide's edges.
    offset
        Place of these pixels in the patch; not ``(0, 0)`` only in padded patches of the first column or row.
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
        """The patch's id, unique within its slide; ids sort in raster order."""
        return format_patch_id(self.column, self.row)


SpanKind = tuple[int, int, int]
"""Level pixels to read along an axis, the grid pixels they are shrunk to, and their offset in the patch."""


@dataclass(frozen=True, slots=True)
class Span:
    """Placement of patches along one axis: origins in level-0 pixels, and kind."""

    origin0: int
    read0: int
    kind: SpanKind


DIGITS = 5
"""Digits of a number in an id. A longer number follows a letter for its length, so that ids still sort as numbers."""

LONGER = "abcd"
"""The letters of numbers with 6 digits, with 7, and so on; they sort behind all digits."""


def format_patch_id(column: int, row: int) -> str:
    """Return the id of the patch at `column` and `row`, such as ``r00012_c00034`` or ``r00012_ca204800``.

    Ids sort in raster order. Numbers have at most 9 digits.
    """
    if column < 10**DIGITS > row:
        return f"r{row:05d}_c{column:05d}"
    return f"r{_sortable(row)}_c{_sortable(column)}"


def parse_patch_id(patch_id: str) -> tuple[int, int]:
    """Return the column and row in an id that `format_patch_id` gave."""
    row, _, column = patch_id.partition("_c")
    return int(column.lstrip(LONGER)), int(row[1:].lstrip(LONGER))


def _sortable(number: int) -> str:
    digits = f"{number:0{DIGITS}d}"
    return digits if len(digits) == DIGITS else f"{LONGER[len(digits) - DIGITS - 1]}{digits}"
