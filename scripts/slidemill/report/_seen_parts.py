"""Find the parts of patches that earlier patches show too."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Container, Iterator, Sequence
from functools import partial

from slidemill.core.patch import PatchRef
from slidemill.core.specs import GridSpec

Parts = Iterator[tuple[slice, slice]]
"""Rows and columns of a patch's pixels."""


def overlap_finder(places: Sequence[tuple[int, int]], spec: GridSpec, downsample: float) -> Callable[[PatchRef], Parts]:
    """Return a function that yields the parts of a patch that earlier patches in raster order also cover.

    Parameters
    ----------
    places
        ``(column, row)`` of all patches.
    spec, downsample
        The grid of the patches, and its level-0 pixels per pixel.
    """
    if spec.is_free:
        ordered = sorted((row, column) for column, row in places)
        return partial(_free_parts, ordered=ordered, side=spec.patch_size, downsample=downsample)
    return partial(_grid_parts, there=set(places), spec=spec)


def _grid_parts(patch: PatchRef, there: Container[tuple[int, int]], spec: GridSpec) -> Parts:
    # So many neighbours on each side reach into the patch.
    reach = (spec.patch_size - 1) // spec.step
    for down in range(-reach, 1):
        # Rows above count whole; of the patch's own row, only the neighbours to its left.
        for across in range(-reach, reach + 1 if down else 0):
            if (patch.column + across, patch.row + down) in there:
                left, bottom = spec.step * across, spec.step * down + spec.patch_size
                yield slice(bottom), slice(max(left, 0), left + spec.patch_size)


def _free_parts(patch: PatchRef, ordered: Sequence[tuple[int, int]], side: int, downsample: float) -> Parts:
    reach = side * downsample
    first = bisect_right(ordered, (patch.row - reach, float("inf")))
    for row, column in ordered[first : bisect_left(ordered, (patch.row, patch.column))]:
        left, bottom = round((column - patch.column) / downsample), round((row - patch.row) / downsample) + side
        if -side < left < side and bottom > 0:
            yield slice(bottom), slice(max(left, 0), left + side)
