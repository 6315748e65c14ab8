"""Compute the grid of patches on a slide from its pyramid; opens no slide.

There are three frames. *Level-0 pixels* are the slide's full-resolution pixels. *Level pixels* are those
of one native level, as stored in the slide. *Grid pixels* are those of the sampled resolution: a native
level, or a DeepZoom level, which halves the full resolution repeatedly and may be between native ones.

The DeepZoom arithmetic (the extent of patches, the native level that is read, the rounding of coordinates) is that of
``openslide.deepzoom.DeepZoomGenerator``, as OpenSlide documents it; the tests compare the two patch by patch.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import product

from slidemill.core.patch import PatchRef, Span, SpanKind
from slidemill.core.pyramid import Pyramid, Size, halve_to_pixel, thumbnail_size
from slidemill.core.specs import AREA, GridSpec
from slidemill.errors import SlideError
from slidemill.slides._resolution import wanted_downsample

MOST_ALONG_A_SIDE = 100_000
"""Most columns, and rows, of a grid."""

NOISE = 1e-6
"""Pixels by which a quotient of floats may miss a whole number."""


@dataclass(frozen=True)
class Grid:
    """The grid of a `GridSpec` on a `Pyramid`: number and positions of patches.

    Raises
    ------
    SlideError
        When the slide lacks the requested level, or the grid has more patches than ids can count.
    """

    pyramid: Pyramid
    spec: GridSpec

    def __post_init__(self) -> None:
        _ = self.level  # Raises where the slide lacks it.
        if not self.spec.is_free and max(self.shape) > MOST_ALONG_A_SIDE:
            raise SlideError(
                f"the grid has {self.shape[0]} x {self.shape[1]} patches, and ids count to {MOST_ALONG_A_SIDE} along a "
                "side: choose larger patches, less overlap or a coarser level"
            )

    @cached_property
    def _area(self) -> tuple[int, int, int, int]:
        bounds = self.pyramid.bounds if self.spec.limit_bounds and not self.spec.is_free else None
        return bounds or (0, 0, *self.pyramid.dimensions[0])

    @property
    def origin(self) -> Size:
        """``(x, y)`` of the sampled area in level-0 pixels."""
        return self._area[:2]

    @cached_property
    def _level_sizes(self) -> tuple[Size, ...]:
        """The part of each native level that the grid covers, in level pixels."""
        full_width, full_height = self.pyramid.dimensions[0]
        scale_x, scale_y = self._area[2] / full_width, self._area[3] / full_height
        return tuple((math.ceil(w * scale_x), math.ceil(h * scale_y)) for w, h in self.pyramid.dimensions)

    @cached_property
    def deepzoom_sizes(self) -> list[Size]:
        """Grid pixels of every DeepZoom level, from one pixel to full resolution."""
        return halve_to_pixel(self._level_sizes[0])

    @cached_property
    def downsample(self) -> float:
        """Level-0 pixels per grid pixel."""
        if self.spec.deepzoom_level is not None:
            return float(2 ** (len(self.deepzoom_sizes) - 1 - self.spec.deepzoom_level))
        if self.spec.downsample is not None:
            return self.spec.downsample
        if self.spec.by_resolution:
            return wanted_downsample(self.pyramid, self.spec.mpp, self.spec.magnification)
        return self.pyramid.downsamples[self.level]

    @cached_property
    def level(self) -> int:
        """The native level from which patches are read."""
        if self.spec.by_resolution:
            return self.pyramid.best_level(self.downsample)
        wanted, native = self.spec.deepzoom_level, self.spec.level
        kind, asked, count = ("native", native, len(self.pyramid.dimensions))
        if wanted is not None:
            kind, asked, count = ("DeepZoom", wanted, len(self.deepzoom_sizes))
        if asked is None or not 0 <= asked < count:
            raise SlideError(
                f"{kind} level {asked} does not exist; levels count from 0, so this slide has 0 to {count - 1}: "
                "choose one of them"
            )
        return asked if wanted is None else self.pyramid.best_level(self.downsample)

    @cached_property
    def size(self) -> Size:
        """``(width, height)`` of the sampled area in grid pixels."""
        if self.spec.deepzoom_level is not None:
            return self.deepzoom_sizes[self.spec.deepzoom_level]
        if self._shrinks_freely:
            # No pixel reaches beyond the area.
            width, height = self._level_sizes[self.level]
            return max(int(width / self.shrink), 1), max(int(height / self.shrink), 1)
        return self._level_sizes[self.level]

    @cached_property
    def shrink(self) -> float:
        """Level pixels per grid pixel."""
        return self.downsample / self.pyramid.downsamples[self.level]

    @cached_property
    def _shrinks_freely(self) -> bool:
        """Whether a level is shrunk by a factor that DeepZoom does not have."""
        return self.spec.by_resolution and self.shrink != 1

    @property
    def averages(self) -> bool:
        """Whether patches are shrunk by `slidemill.shrinking.area`."""
        return self._shrinks_freely and self.spec.filter == AREA

    def start(self, patch: PatchRef) -> tuple[float, float]:
        """Return ``(x, y)`` of the patch's first pixel within the sampled area, in grid pixels."""
        if self.spec.is_free:
            return patch.column / self.downsample, patch.row / self.downsample
        step, overlap = self.spec.step, self.spec.overlap
        return step * patch.column - overlap + patch.offset[0], step * patch.row - overlap + patch.offset[1]

    @cached_property
    def shape(self) -> Size:
        """``(columns, rows)`` of the grid, including patches at the edges; level-0 pixels if patches are free."""
        if self.spec.is_free:
            return self.pyramid.dimensions[0]
        return -(-self.size[0] // self.spec.step), -(-self.size[1] // self.spec.step)

    @property
    def origins0(self) -> tuple[list[int], list[int]]:
        """The first level-0 pixel of all columns, and of all rows."""
        across, down = ([span.origin0 for span in spans] for spans in self._spans)
        return across, down

    def patch(self, column: int, row: int) -> PatchRef:
        """Return the patch at `column` and `row`.

        It is returned whether or not `GridSpec.edges` keeps it.

        Raises
        ------
        IndexError
            When the grid has no such place.
        """
        if not (0 <= column < self.shape[0] and 0 <= row < self.shape[1]):
            raise IndexError(f"column {column}, row {row} is outside the grid of {self.shape} patches")
        across, down = self._span_at(0, column), self._span_at(1, row)
        extent0, level = self.extent0, self.level
        place0 = (across.origin0, down.origin0, extent0, extent0)
        return PatchRef(column, row, *place0, level, across.read0, down.read0, *self._sizes(across.kind, down.kind))

    @cached_property
    def count(self) -> int:
        """The number of patches that `patches` yields, computed without making any."""
        across, down = (Counter(span.kind for span in spans) for spans in self._spans)
        kept = (kinds for kinds in product(across, down) if self.keeps(self._sizes(*kinds)[1]))
        return sum(across[one] * down[other] for one, other in kept)

    def keeps(self, size: Size) -> bool:
        """Return whether `GridSpec.edges` keeps patches with pixels of this size within the slide."""
        return self.spec.edges == "pad" or size == (self.spec.patch_size, self.spec.patch_size)

    def patches(self) -> Iterator[PatchRef]:
        """Yield the patches that `GridSpec.edges` keeps, in raster order.

        They come row by row, from left to right.
        """
        columns, rows = self.shape
        for row in range(rows):
            for column in range(columns):
                patch = self.patch(column, row)
                if self.keeps(patch.size):
                    yield patch

    @cached_property
    def extent0(self) -> int:
        """The side of a patch in level-0 pixels."""
        return round(self.spec.patch_size * self.downsample)

    @cached_property
    def _spans(self) -> tuple[list[Span], list[Span]]:
        """The extents of all columns and of all rows.

        Patches share them, so that a million patches fit in memory.
        """
        columns, rows = self.shape
        return [self._span(0, column) for column in range(columns)], [self._span(1, row) for row in range(rows)]

    @cached_property
    def _known_sizes(self) -> dict[tuple[SpanKind, SpanKind], tuple[Size, Size, Size]]:
        return {}

    def _sizes(self, across: SpanKind, down: SpanKind) -> tuple[Size, Size, Size]:
        """Return the size that is read, the size of the result, and its offset.

        Patches share these tuples, since few differ.
        """
        known = self._known_sizes.get((across, down))
        if known is None:
            read_size, fit_size, offset = zip(across, down, strict=True)
            size = fit_size if self._shrinks_freely else thumbnail_size(read_size, fit_size)
            known = self._known_sizes[across, down] = (read_size, size, offset)
        return known

    def _span_at(self, axis: int, index: int) -> Span:
        return self._free_span(axis, index) if self.spec.is_free else self._spans[axis][index]

    def _free_span(self, axis: int, index: int) -> Span:
        """Return the extent, along one axis, of a patch that begins at a level-0 pixel."""
        start, end, shrink = index / self.downsample, self._level_sizes[self.level][axis], self.shrink
        fit_size = min(self.spec.patch_size, max(math.floor(end / shrink - start + NOISE), 0))
        # OpenSlide takes level-0 pixels, and interpolates between pixels of coarser levels.
        read_at, read0 = shrink * start, index
        if self._shrinks_freely:
            read_at = math.floor(read_at)
            read0 = int(self.pyramid.downsamples[self.level] * read_at)
        read_end = math.ceil(read_at - NOISE) + math.ceil(shrink * fit_size - NOISE)
        if self.averages:
            read_end = math.ceil(shrink * (start + fit_size))
        return Span(index, read0, kind=(min(read_end, end) - math.ceil(read_at - NOISE), fit_size, 0))

    def _span(self, axis: int, index: int) -> Span:
        """Return one patch's extent along one axis (0 = x, 1 = y)."""
        step, overlap = self.spec.step, self.spec.overlap
        before = overlap if index > 0 else 0
        after = overlap if index < self.shape[axis] - 1 else 0
        fit_size = min(step, self.size[axis] - step * index) + before + after
        level_downsample = self.pyramid.downsamples[self.level]
        shrink = self.shrink
        read_at = shrink * (step * index - before)
        if self._shrinks_freely:
            # The overlap beyond the area is not part of the patch; elsewhere less is read, and the result is smaller.
            fit_size = min(step + after, self.size[axis] - step * index) + before
            # Whole pixels of the level: tiles have no others, and OpenSlide would interpolate.
            read_at = math.floor(read_at)
        # Rounded as OpenSlide does: the place down, and the size up, but not beyond the level.
        read_size = min(math.ceil(shrink * fit_size), self._level_sizes[self.level][axis] - math.ceil(read_at))
        if self.averages:
            # All pixels that the patch covers, if only in part.
            end = math.ceil(shrink * (step * index - before + fit_size))
            read_size = min(end, self._level_sizes[self.level][axis]) - math.floor(read_at)
        return Span(
            origin0=math.floor(self.downsample * (step * index - overlap)) + self._area[axis],
            read0=int(level_downsample * read_at + self._area[axis]),
            kind=(read_size, fit_size, overlap - before),
        )
