"""Draw a slide's patches by label over its thumbnail, with a legend."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageColor, ImageDraw

from slidemill.annotations.label_image import Places
from slidemill.annotations.regions import Annotation, polygons
from slidemill.core.encodings import Pixels
from slidemill.report._palette import is_dashed, label_colour
from slidemill.report._strokes import HATCHES, OTHER_HATCH, PERIOD, dashes, dots, hatch
from slidemill.report.legend import Classes, Legend, add_legend
from slidemill.sampling.tissue_mask import Mask

LONGEST = 1000
"""Pixels of the longer side of an overlay."""

FRAMED = 16
"""Patches of this many pixels have a frame each; of smaller ones, blocks of patches of one class share one."""

BLOCK = 30
"""The least side of a full block in pixels."""

NARROWEST, WIDEST = 2, 4
"""Pixels of a line of a class; that of the class outside is 1."""

Row = Mapping[str, Any]
Raster = npt.NDArray[np.uint16]


@dataclass(frozen=True, slots=True)
class Outlines:
    """What is drawn besides patches.

    Parameters
    ----------
    annotation
        The outlines of its regions and their holes, or of the labels of its image.
    tissue
        The mask of tissue, of which the edge and the ink are drawn; or None.
    """

    annotation: Annotation = field(default_factory=lambda: Annotation(()))
    tissue: Mask | None = None


def draw_overlay(
    thumbnail: Image.Image,
    width0: float,
    rows: Iterable[Row],
    *,
    classes: Classes,
    dropped: Iterable[Row] = (),
    outlines: Outlines | None = None,
) -> Image.Image:
    """Outline patches on a thumbnail in their labels' colours, and add a legend.

    Parameters
    ----------
    thumbnail
        The whole slide, RGB.
    width0
        Its width in level-0 pixels.
    rows
        Rows of the metadata table; a million of them would not fit into memory at once.
    classes
        The classes of the legend.
    dropped
        Rows of the table of dropped patches, which are hatched, by reason.
    outlines
        The annotation and the edge of the tissue.
    """
    pixels = np.array(thumbnail.convert("RGB"))
    scale = thumbnail.width / width0
    shown = outlines or Outlines()
    reasons = _hatch_dropped(pixels, dropped, scale)
    counts = _outline_patches(pixels, rows, scale, classes=classes)
    if shown.tissue is not None:
        _draw_tissue(pixels, shown.tissue)
    picture = Image.fromarray(pixels)
    _draw_annotation(picture, shown.annotation, scale)
    legend = Legend(counts, reasons, bool(shown.annotation.regions or shown.annotation.image), shown.tissue)
    return add_legend(picture, classes, legend)


def _hatch_dropped(pixels: Pixels, dropped: Iterable[Row], scale: float) -> Counter[str]:
    """Hatch dropped patches, and return their number by reason."""
    reasons: Counter[str] = Counter()
    areas = {one: np.zeros(pixels.shape[:2], bool) for one in {*HATCHES.values(), OTHER_HATCH}}
    for row in dropped:
        reasons[row["reason"]] += 1
        areas[HATCHES.get(row["reason"], OTHER_HATCH)][_square(row, scale)] = True
    for pattern, area in areas.items():
        hatch(pixels, area, pattern)
    return reasons


def _outline_patches(
    pixels: Pixels, rows: Iterable[Row], scale: float, *, classes: Classes
) -> Counter[tuple[int, str]]:
    """Outline patches, and return their number by label and name."""
    counts: Counter[tuple[int, str]] = Counter()
    numbers: dict[tuple[int, str], int] = {}
    areas, lines = (np.zeros(pixels.shape[:2], np.uint16) for _ in range(2))
    side = 1.0
    for row in rows:
        key = int(row["label"]), str(row["label_name"])
        counts[key] += 1
        number = numbers.setdefault(key, len(numbers) + 1)
        square = _square(row, scale)
        side = float(row["width0"]) * scale
        if side < FRAMED:
            areas[square] = number
        else:
            _frame(lines[square], 1 if key[1] == classes.outside else _line_width(side), number)
    is_thin = np.array([False, *(name == classes.outside for _, name in numbers)])
    for width, chosen in ((NARROWEST, areas * ~is_thin[areas]), (1, areas * is_thin[areas])):
        lines = np.maximum(lines, _block_edges(chosen, side, width))
    _colour(pixels, lines, [label for label, _ in numbers])
    return counts


def _line_width(side: float) -> int:
    """Return the width of a patch's frame by its side, both in pixels."""
    return int(np.clip(side // 12, NARROWEST, WIDEST))


def _frame(square: Raster, width: int, value: int) -> None:
    square[:width] = square[-width:] = value
    square[:, :width] = square[:, -width:] = value


def _block_edges(areas: Raster, side: float, width: int) -> Raster:
    """Return areas without all that is more than `width` inside of a block of patches.

    Parameters
    ----------
    areas
        ``uint16 (height, width)``: the numbers of classes, 0 where there is no patch.
    side
        The side of a patch in pixels.
    width
        Pixels of a line.
    """
    import cv2

    # 1. A whole number of patches is a block, and blocks that touch have different numbers.
    block = side * np.ceil(BLOCK / side)
    down, across = (np.arange(length) // block % 2 for length in areas.shape)
    parity = (2 * down[:, None] + across).astype(np.uint16)
    # 2. The picture's own edge ends a block, too.
    numbers = np.pad(np.where(areas > 0, 4 * areas + parity, 0).astype(np.uint16), width)
    # 3. Within a block, the least and the greatest number of the neighbourhood are equal.
    kernel = np.ones((2 * width + 1, 2 * width + 1), np.uint8)
    is_within = (cv2.erode(numbers, kernel) == cv2.dilate(numbers, kernel))[width:-width, width:-width]
    return np.where(is_within, 0, areas).astype(np.uint16)


def _colour(pixels: Pixels, lines: Raster, labels: Sequence[int]) -> None:
    """Paint lines, whose values are numbers of classes from 1, in the colours of their labels."""
    colours = np.array([(0, 0, 0), *(ImageColor.getrgb(label_colour(label)) for label in labels)], np.uint8)
    dashed = np.array([False, *map(is_dashed, labels)])
    drawn = lines > 0
    values = colours[lines[drawn]]
    values[(dashed[lines] & dashes(lines.shape))[drawn]] = 255
    pixels[drawn] = values


def _draw_tissue(pixels: Pixels, tissue: Mask) -> None:
    """Draw the edge of tissue in black dashes on white, and dots on ink."""
    import cv2

    size = pixels.shape[1], pixels.shape[0]
    inside = _resize_mask(tissue.pixels, size)
    # A frame of glass closes the edge of tissue that reaches the picture's.
    rings, _ = cv2.findContours(np.pad(inside, 1), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE, offset=(-1, -1))
    white, black = (np.zeros(inside.shape, np.uint8) for _ in range(2))
    for ring in rings:
        across, down = ring[:, 0].T
        white[down, across] = 1
        black[down, across] = np.arange(len(ring)) // PERIOD % 2 == 0
    pixels[cv2.dilate(white, np.ones((3, 3), np.uint8)) > 0] = 255
    pixels[cv2.dilate(black, np.ones((2, 2), np.uint8)) > 0] = 0
    if tissue.ink is not None:
        dots(pixels, _resize_mask(tissue.ink, size) > 0)


def _resize_mask(mask: Pixels, size: tuple[int, int]) -> Pixels:
    resized: Pixels = np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST))
    return resized


def _draw_annotation(picture: Image.Image, annotation: Annotation, scale: float) -> None:
    """Draw the outlines of an annotation in black, edged in white."""
    pen = ImageDraw.Draw(picture)
    import cv2

    for region in annotation.regions:
        for polygon in polygons(region.shape):
            for ring in (polygon.exterior, *polygon.interiors):
                line = [(x * scale, y * scale) for x, y in ring.coords]
                pen.line(line, fill="white", width=4)
                pen.line(line, fill="black", width=2)
    if annotation.image:
        edges = _borders(annotation.image.sampled(picture.size))
        picture.paste("white", mask=Image.fromarray(cv2.dilate(edges, np.ones((3, 3), np.uint8))))
        picture.paste("black", mask=Image.fromarray(edges))


def _borders(labels: Places) -> Pixels:
    """Return 255 for the pixels of a label image that touch a pixel of another label."""
    edges = np.zeros(labels.shape, bool)
    across, down = labels[:, 1:] != labels[:, :-1], labels[1:] != labels[:-1]
    edges[:, 1:] |= across
    edges[1:] |= down
    edges[:, :-1] |= across
    edges[:-1] |= down
    return edges.astype(np.uint8) * 255


def _square(row: Row, scale: float) -> tuple[slice, slice]:
    """Return the rows and columns of the picture that a patch covers, at least one of each."""
    ranges = []
    for start, length in (("y0", "height0"), ("x0", "width0")):
        begin = float(row[start]) * scale
        first, last = round(begin), round(begin + float(row[length]) * scale)
        ranges.append(slice(max(first, 0), max(last, first + 1, 1)))
    return ranges[0], ranges[1]
