"""Legend of an overlay: each class with its number of patches, and what else is drawn."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageColor, ImageDraw, ImageFont

from slidemill.core.encodings import Pixels
from slidemill.core.text import format_count
from slidemill.report._palette import STYLES, is_dashed, label_colour
from slidemill.report._strokes import HATCHES, OTHER_HATCH, PERIOD, dashes, dots, hatch
from slidemill.sampling.tissue_mask import Mask

COLUMN = 330
"""The least width of a column in pixels."""

LINE, MARGIN, SWATCH = 28, 8, 20
FONT = 17

Swatch = Callable[[Pixels], None]
"""Draws into ``uint8 (SWATCH, SWATCH, 3)``, which is white."""


@dataclass(frozen=True, slots=True)
class Classes:
    """The classes that patches may have.

    Parameters
    ----------
    map
        Names to labels, in the order of the legend.
    outside
        The name of patches that no region labels, or None; their outline is thin.
    """

    map: Mapping[str, int]
    outside: str | None = None


@dataclass(frozen=True, slots=True)
class Legend:
    """What an overlay shows.

    Parameters
    ----------
    counts
        Number of patches by label and name.
    reasons
        Number of dropped patches by reason.
    has_annotation
        Whether an annotation is outlined.
    tissue
        The mask of tissue, or None.
    """

    counts: Mapping[tuple[int, str], int]
    reasons: Mapping[str, int]
    has_annotation: bool
    tissue: Mask | None


def add_legend(picture: Image.Image, classes: Classes, legend: Legend) -> Image.Image:
    """Return the picture with its legend below, in as many columns as fit."""
    entries = _entries(classes, legend)
    width = max(picture.width, COLUMN)
    columns = max(min(width // COLUMN, len(entries)), 1)
    lines = -(-len(entries) // columns)
    canvas = Image.new("RGB", (width, picture.height + MARGIN + LINE * lines), "white")
    canvas.paste(picture, (0, 0))
    pen, font = ImageDraw.Draw(canvas), ImageFont.load_default(FONT)
    room = width // columns - SWATCH - 3 * MARGIN
    for place, (swatch, name, count) in enumerate(entries):
        # Down the columns, as one reads a list.
        left, top = width // columns * (place // lines), picture.height + MARGIN + LINE * (place % lines)
        pixels = np.full((SWATCH, SWATCH, 3), 255, np.uint8)
        swatch(pixels)
        canvas.paste(Image.fromarray(pixels), (left + MARGIN, top))
        length = len(name)
        while font.getlength(shorten(name, length) + count) > room and length > 8:
            length -= 1
        pen.text((left + SWATCH + 2 * MARGIN, top - 1), shorten(name, length) + count, fill="black", font=font)
    return canvas


def shorten(text: str, length: int) -> str:
    """Return a text of at most `length` characters."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _entries(classes: Classes, legend: Legend) -> list[tuple[Swatch, str, str]]:
    """Return the swatch, the name and the count of each entry."""
    known = {(label, name): legend.counts.get((label, name), 0) for name, label in classes.map.items()}
    known |= {key: count for key, count in sorted(legend.counts.items()) if key not in known}
    entries = []
    for (label, name), count in known.items():
        note = " (outside)" if name == classes.outside else ", not in labels.map" if label < 0 else ""
        text = f": {format_count(count, 'patch', 'patches')}{note}"
        entries.append((_frame(label, 1 if name == classes.outside else 4), f"{label}  {name}", text))
    for reason, count in legend.reasons.items():
        text = f": {format_count(count, 'patch', 'patches')}"
        entries.append((_draw_hatching(HATCHES.get(reason, OTHER_HATCH)), f"dropped, {reason}", text))
    if legend.has_annotation:
        entries.append((_line(SWATCH), "outlines of the annotation", ""))
    if legend.tissue is not None:
        entries.append((_line(PERIOD), f"edge of the tissue, {legend.tissue.fraction:.0%} of the slide", ""))
        if share := legend.tissue.ink_fraction:
            entries.append((_draw_dots, f"excluded as ink, {share:.1%} of the slide", ""))
    if max((label for label, _ in known), default=0) >= STYLES:
        entries.append((lambda _: None, f"colours repeat every {STYLES} labels", ""))
    return entries


def _frame(label: int, width: int) -> Swatch:
    def draw(pixels: Pixels) -> None:
        border = np.ones(pixels.shape[:2], bool)
        border[width:-width, width:-width] = False
        if is_dashed(label):
            border &= ~dashes((SWATCH, SWATCH))
        pixels[border] = ImageColor.getrgb(label_colour(label))

    return draw


def _draw_hatching(pattern: str) -> Swatch:
    def draw(pixels: Pixels) -> None:
        hatch(pixels, np.ones(pixels.shape[:2], bool), pattern)

    return draw


def _line(dash: int) -> Swatch:
    def draw(pixels: Pixels) -> None:
        middle = len(pixels) // 2
        black = np.arange(len(pixels)) // dash % 2 == 0
        pixels[middle - 1 : middle + 1, black] = 0

    return draw


def _draw_dots(pixels: Pixels) -> None:
    dots(pixels, np.ones(pixels.shape[:2], bool))
