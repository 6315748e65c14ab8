"""Draw a slide's patches by label over its thumbnail, and a sample of patches."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont

from slidemill.annotations.label_image import Places
from slidemill.annotations.regions import Annotation, polygons
from slidemill.core.csv_tables import read_table
from slidemill.core.encodings import Pixels
from slidemill.core.files import replacing
from slidemill.core.text import format_count
from slidemill.sampling.tissue_mask import Mask
from slidemill.stores.registry import open_store

PALETTE = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#B8A800", "#6A3D9A")
"""Colours of labels 0, 1, ...: those of Okabe and Ito, which colour-blind readers can tell apart, and two more."""

UNMAPPED_COLOUR = "#555555"
DROPPED_COLOURS = {"tissue": "#808080", "label": "#7A5230"}
DROPPED_COLOUR = "#B0007A"
"""Colour of patches that were dropped for their quality."""
TISSUE_COLOUR = "#00B050"
INK_COLOUR = "#FFE000"
LONGEST = 1000
"""Pixels of the longer side of an overlay."""

CELL = 144
COLUMNS = 6
MOST_PATCHES = 24

Row = Mapping[str, Any]


def label_colour(label: int) -> str:
    """Return a label's colour in all pictures, in the form ``#rrggbb``."""
    return UNMAPPED_COLOUR if label < 0 else PALETTE[label % len(PALETTE)]


def draw_overlay(
    thumbnail: Image.Image,
    width0: float,
    rows: Iterable[Row],
    *,
    annotation: Annotation,
    dropped: Iterable[Row] = (),
    tissue: Mask | None = None,
) -> Image.Image:
    """Draw patches over a thumbnail in their labels' colours, with a legend.

    Parameters
    ----------
    thumbnail
        The whole slide, RGB.
    width0
        Its width in level-0 pixels.
    rows
        Rows of the metadata table; a million of them would not fit into memory at once.
    annotation
        Outlines of its regions and their holes, or of the labels of its image, are drawn in black and white.
    dropped
        Rows of the table of dropped patches, which are crossed out in a colour per reason.
    tissue
        The mask of tissue, of which the edge and the ink are drawn; or None.
    """
    scale = thumbnail.width / width0
    veil = Image.new("RGBA", thumbnail.size)
    pen = ImageDraw.Draw(veil)
    reasons: Counter[str] = Counter()
    for row in dropped:
        reasons[row["reason"]] += 1
        left, top, right, bottom = _square(row, scale)
        colour = DROPPED_COLOURS.get(row["reason"], DROPPED_COLOUR)
        pen.rectangle((left, top, right, bottom), outline=f"{colour}70")
        pen.line((left, bottom, right, top), fill=f"{colour}70")
    counts: Counter[tuple[int, str]] = Counter()
    for row in rows:
        counts[int(row["label"]), row["label_name"]] += 1
        colour = label_colour(int(row["label"]))
        pen.rectangle(_square(row, scale), fill=f"{colour}20", outline=f"{colour}D0")
    if tissue is not None:
        veil.paste(TISSUE_COLOUR, mask=_edge(tissue, veil.size))
        if tissue.ink is not None:
            veil.paste(INK_COLOUR, mask=_resize_mask(tissue.ink, veil.size))
    for region in annotation.regions:
        for polygon in polygons(region.shape):
            for ring in (polygon.exterior, *polygon.interiors):
                line = [(x * scale, y * scale) for x, y in ring.coords]
                pen.line(line, fill="#FFFFFFFF", width=4)
                pen.line(line, fill="#000000FF", width=2)
    if annotation.image:
        edges = _borders(annotation.image.sampled(thumbnail.size))
        veil.paste("#FFFFFFFF", mask=edges.filter(ImageFilter.MaxFilter(3)))
        veil.paste("#000000FF", mask=edges)
    picture = Image.alpha_composite(thumbnail.convert("RGBA"), veil).convert("RGB")
    return _add_legend(picture, counts, reasons, tissue=tissue)


def _borders(labels: Places) -> Image.Image:
    """Return the pixels of a label image that touch a pixel of another label."""
    edges = np.zeros(labels.shape, bool)
    across, down = labels[:, 1:] != labels[:, :-1], labels[1:] != labels[:-1]
    edges[:, 1:] |= across
    edges[1:] |= down
    edges[:, :-1] |= across
    edges[:-1] |= down
    return Image.fromarray(edges.astype(np.uint8) * 255)


def draw_patches(
    patches: Iterable[Pixels], labels: Sequence[tuple[int, str]], *, columns: int = COLUMNS, cell: int = CELL
) -> Image.Image:
    """Draw patches in a grid, framed in their labels' colours with names below.

    Parameters
    ----------
    patches
        ``uint8 (height, width, 3)`` each.
    labels
        The label and its name of each patch; a name may be empty.
    columns, cell
        Patches per row, and the side of a cell in pixels.
    """
    font = _font(13)
    lines = max(-(-len(labels) // columns), 1)
    canvas = Image.new("RGB", (columns * cell, lines * (cell + 20)), "white")
    pen = ImageDraw.Draw(canvas)
    for place, (one, (label, name)) in enumerate(zip(patches, labels, strict=True)):
        left, top = place % columns * cell, place // columns * (cell + 20)
        pixels = Image.fromarray(one).resize((cell - 6, cell - 6), Image.Resampling.LANCZOS)
        pen.rectangle((left, top, left + cell - 1, top + cell - 1), fill=label_colour(label))
        canvas.paste(pixels, (left + 3, top + 3))
        pen.text((left + 4, top + cell + 1), _shorten(name, max(cell // 7, 1)), fill="black", font=font)
    if not labels:
        pen.text((8, 8), "no patch", fill="black", font=font)
    return canvas


def draw_sample(path: Path, metadata: Path, seed: int) -> Image.Image:
    """Draw a sample of a store's patches, as evenly across labels as possible.

    Parameters
    ----------
    path, metadata
        The store, and the slide's metadata table.
    seed
        Seed of the choice.
    """
    with open_store(path) as store:
        rows = sample_rows(metadata, store, seed)
        labels = [(int(row["label"]), row["label_name"]) for row in rows]
        return draw_patches((store.read(row["patch_id"]) for row in rows), labels)


def sample_rows(metadata: Path, stored: Container[str], seed: int) -> list[Row]:
    """Choose rows of a metadata table, as evenly across labels as possible.

    Parameters
    ----------
    metadata
        The table. It is read twice, so that only the chosen rows are in memory.
    stored
        The patches that count.
    seed
        Seed of the choice.
    """
    by_label: dict[str, list[int]] = defaultdict(list)
    for place, row in enumerate(read_table(metadata)):
        if row["patch_id"] in stored:
            by_label[row["label_name"]].append(place)
    chosen = choose_balanced(by_label, MOST_PATCHES, seed)
    rows = (row for place, row in enumerate(read_table(metadata)) if place in chosen)
    return sorted(rows, key=lambda row: int(row["label"]))


def draw_message(message: str) -> Image.Image:
    """Draw a message, in place of a picture that cannot be drawn."""
    canvas = Image.new("RGB", (600, 60), "white")
    ImageDraw.Draw(canvas).text((10, 20), _shorten(message, 80), fill="black", font=_font(14))
    return canvas


def save_picture(picture: Image.Image, path: Path) -> None:
    """Publish a picture as JPEG, a tenth of the bytes of PNG for tissue."""
    with replacing(path) as aside:
        picture.save(aside, format="jpeg", quality=85)


def _square(row: Row, scale: float) -> tuple[float, float, float, float]:
    """Return the left, top, right and bottom of a patch in the picture."""
    left, top = float(row["x0"]) * scale, float(row["y0"]) * scale
    return left, top, left + float(row["width0"]) * scale, top + float(row["height0"]) * scale


def _edge(mask: Mask, size: tuple[int, int]) -> Image.Image:
    """Return the inner edge of a mask as an opaque picture of `size`."""
    inside = _resize_mask(mask.pixels, size)
    return ImageChops.subtract(inside, inside.filter(ImageFilter.MinFilter(3)))


def _resize_mask(pixels: npt.NDArray[np.uint8], size: tuple[int, int]) -> Image.Image:
    """Return a mask of 0 and 1 as an opaque picture of `size`."""
    return Image.fromarray(pixels * np.uint8(255)).resize(size, Image.Resampling.NEAREST)


def _add_legend(
    picture: Image.Image, counts: Mapping[tuple[int, str], int], reasons: Mapping[str, int], *, tissue: Mask | None
) -> Image.Image:
    lines = [
        (
            label_colour(label),
            f"{label}  {_shorten(name, 40)}{'' if label >= 0 else ' (not in labels.map)'}: "
            f"{format_count(count, 'patch', 'patches')}",
        )
        for (label, name), count in sorted(counts.items())
    ]
    lines += [
        (DROPPED_COLOURS.get(reason, DROPPED_COLOUR), f"dropped, {reason}: {format_count(count, 'patch', 'patches')}")
        for reason, count in reasons.items()
    ]
    if tissue is not None:
        lines.append((TISSUE_COLOUR, f"the edge of the tissue, {tissue.fraction:.0%} of the slide"))
        if tissue.ink_fraction:
            lines.append((INK_COLOUR, f"left out as ink, {tissue.ink_fraction:.1%} of the slide"))
    canvas = Image.new("RGB", (max(picture.width, 320), picture.height + 30 * len(lines) + 8), "white")
    canvas.paste(picture, (0, 0))
    pen = ImageDraw.Draw(canvas)
    for place, (colour, text) in enumerate(lines):
        top = picture.height + 8 + 30 * place
        pen.rectangle((4, top + 2, 24, top + 22), fill=colour)
        pen.text((34, top), text, fill="black", font=_font(20))
    return canvas


def choose_balanced(by_label: Mapping[str, Sequence[int]], most: int, seed: int) -> set[int]:
    """Choose indices of patches, as evenly across labels as possible.

    Parameters
    ----------
    by_label
        The places of the patches of each label.
    most
        Number of places to return, if there are so many.
    seed
        Seed of the choice.
    """
    generator = random.Random(seed)  # noqa: S311
    chosen: set[int] = set()
    for number, (_, places) in enumerate(sorted(by_label.items(), key=lambda item: len(item[1]))):
        share = (most - len(chosen)) // (len(by_label) - number)
        chosen.update(generator.sample(places, min(len(places), share)))
    return chosen


def _shorten(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
