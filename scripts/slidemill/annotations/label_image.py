"""Look up points and boxes in label images, whose integers are labels.

A label image is laid over a slide; 0 is outside of all labels.

At most one band of rows is in memory at a time. Rows are compared as runs of one integer. A label image has few, so
that the number of labels costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from slidemill.core.pyramid import Size

AT_ONCE = 2**20
"""Pixels that are compared in one step, so that memory is bounded."""

Integers = npt.NDArray[np.integer]
Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.intp]
Bands = Callable[[int, int], Iterator[tuple[int, Integers]]]
"""From the first row and the one after the last to bands that hold them: each band's first row, and its pixels."""


@dataclass(frozen=True, slots=True)
class LabelImage:
    """A label image laid over the whole canvas of a slide, or over its bounds.

    Parameters
    ----------
    size
        ``(width, height)`` in its own pixels.
    canvas
        ``(width, height)`` of the area that it covers, in level-0 pixels.
    values
        The integers in it, sorted, without 0.
    bounds
        Of each, the left, top, right and bottom of its pixels, in level-0 pixels.
    bands
        Reads its rows.
    corner, slide
        The first pixel of that area, and ``(width, height)`` of the slide if the area is only the bounds.
    """

    size: Size
    canvas: Size
    values: tuple[int, ...]
    bounds: tuple[tuple[float, ...], ...]
    bands: Bands
    corner: Size = (0, 0)
    slide: Size | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The labels' names: each integer as text."""
        return tuple(map(str, self.values))

    def at(self, points: Floats) -> Places:
        """Return the label at each point, as an index of `values`; -1 for none.

        Parameters
        ----------
        points
            ``float64 (n, 2)``, x and y in level-0 pixels. A pixel holds its left and its top edge.
        """
        column, row = np.floor((points - self.corner) * self.size / self.canvas).astype(np.intp).T
        found = np.full(len(points), -1, np.intp)
        within = np.flatnonzero((column >= 0) & (column < self.size[0]) & (row >= 0) & (row < self.size[1]))
        order = within[np.argsort(row[within], kind="stable")]
        sorted_rows = row[order]
        for top, block in steps(self.bands, sorted_rows[0], sorted_rows[-1] + 1) if len(order) else ():
            here = order[slice(*np.searchsorted(sorted_rows, (top, top + len(block))))]
            found[here] = self._place(block[row[here] - top, column[here]])
        return found

    def covered(self, boxes: Floats) -> tuple[Places, Places, Floats]:
        """Return the exact area of each box that each label's pixels cover.

        Parameters
        ----------
        boxes
            ``float64 (n, 4)``: left, top, right and bottom in level-0 pixels.

        Returns
        -------
        tuple
            Indices of boxes, indices of `values`, and areas in square pixels of level 0, all above 0.
        """
        # 1. Bring the boxes into the image's pixels, and group those of one row of patches, sorted by their left edges.
        scaled = np.clip((boxes - self.corner * 2) * (self.size * 2) / (self.canvas * 2), 0, self.size * 2)
        lines, line = np.unique(scaled[:, [1, 3]], axis=0, return_inverse=True)
        order = np.lexsort((scaled[:, 0], line.reshape(-1)))
        members = np.split(order, np.flatnonzero(np.diff(line.reshape(-1)[order])) + 1)
        keys: list[Places] = [np.empty(0, np.intp)]
        areas: list[Floats] = [np.empty(0)]
        first, last = (int(np.floor(lines.min())), int(np.ceil(lines.max()))) if len(boxes) else (0, 0)
        for top, block in steps(self.bands, first, last):
            # 2. Per band and row of patches, sum the areas in which runs of one integer meet boxes.
            for number in np.flatnonzero((lines[:, 0] < top + len(block)) & (lines[:, 1] > top)):
                begin = max(int(lines[number, 0]) - top, 0)
                part = block[begin : int(np.ceil(lines[number, 1])) - top]
                own = members[number]
                box, value, area = _overlaps(part, top + begin, scaled[own])
                found, place = np.unique(own[box] * len(self.values) + self._place(value), return_inverse=True)
                keys.append(found)
                areas.append(np.asarray(np.bincount(place, area, len(found)), np.float64))
        # 3. Add up the bands, and scale to pixels of level 0.
        pairs, place = np.unique(np.concatenate(keys), return_inverse=True)
        total = np.bincount(place, np.concatenate(areas), len(pairs))
        pixel = self.canvas[0] / self.size[0] * self.canvas[1] / self.size[1]
        box, label = np.divmod(pairs, max(len(self.values), 1))
        return box, np.asarray(label, np.intp), np.asarray(total * pixel, np.float64)

    def sampled(self, size: Size) -> Places:
        """Return the label at the middle of each pixel of a picture of the slide.

        The picture shows the whole slide. Labels are indices as in `at`.
        """
        slide = self.slide or self.canvas
        x, y = ((np.arange(own) + 0.5) / own * whole for own, whole in zip(size, slide, strict=True))
        return self.at(np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)).reshape(size[1], size[0])

    def _place(self, values: Integers) -> Places:
        """Return the indices of integers in `values`; -1 for 0."""
        return np.searchsorted(np.array((0, *self.values)), values) - 1


def steps(bands: Bands, first: int, last: int) -> Iterator[tuple[int, Integers]]:
    """Yield `bands` in blocks of at most `AT_ONCE` pixels, or of one row."""
    for top, band in bands(first, last):
        most = max(AT_ONCE // band.shape[1], 1)
        begin = max(first - top, 0)
        for start in range(begin, min(last - top, len(band)), most):
            yield top + start, band[start : start + most]


def runs(block: Integers) -> tuple[Places, Places, Places, Integers]:
    """Return the runs of equal integers in each row, except runs of 0.

    They are rows, first columns, ends (excluded), and integers.
    """
    begins = np.ones(block.shape, bool)
    np.not_equal(block[:, 1:], block[:, :-1], out=begins[:, 1:])
    start = np.flatnonzero(begins)
    value = block.reshape(-1)[start]
    end = np.append(start[1:], block.size)[value != 0]
    start, value = start[value != 0], value[value != 0]
    row, left = np.divmod(start, block.shape[1])
    return row, left, end - row * block.shape[1], value


def _overlaps(block: Integers, top: int, boxes: Floats) -> tuple[Places, Integers, Floats]:
    """Return the areas in which runs of equal integers in some rows cover boxes.

    They are indices of boxes, integers, and areas.

    The boxes have one top and one bottom, and are sorted by their left edges.
    """
    row, left, right, value = runs(block)
    height = np.minimum(boxes[0, 3], top + row + 1) - np.maximum(boxes[0, 1], top + row)
    # Boxes that begin later may end earlier, so the search is over the farthest end so far, which is sorted; pairs that
    # do not meet are left out below.
    first = np.searchsorted(np.maximum.accumulate(boxes[:, 2]), left, "right")
    count = np.maximum(np.searchsorted(boxes[:, 0], right, "left") - first, 0)
    run = np.repeat(np.arange(len(row)), count)
    box = np.arange(len(run)) - np.repeat(np.cumsum(count) - count, count) + first[run]
    width = np.minimum(right[run], boxes[box, 2]) - np.maximum(left[run], boxes[box, 0])
    met = width > 0
    return box[met], value[run[met]], (width * height[run])[met]
