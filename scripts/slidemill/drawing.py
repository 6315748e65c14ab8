"""Pictures of a slide: its patches by label over a thumbnail, and a sample of them."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from slidemill.files import replacing
from slidemill.regions import Annotation, polygons
from slidemill.stores.protocol import Store
from slidemill.stores.registry import open_store
from slidemill.tables import read_table

PALETTE = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#B8A800", "#6A3D9A")
"""Colours of labels 0, 1, ...; Okabe and Ito's, which most readers tell apart, and two more."""

UNMAPPED_COLOUR = "#555555"
LONGEST = 1000
"""Pixels of the longer side of an overlay."""

CELL = 144
COLUMNS = 6
MOST_PATCHES = 24

Row = Mapping[str, str]


def label_colour(label: int) -> str:
    """Return a label's colour in all pictures, as six hex digits after ``#``."""
    return UNMAPPED_COLOUR if label < 0 else PALETTE[label % len(PALETTE)]


def draw_overlay(thumbnail: Image.Image, width0: int, rows: Iterable[Row], annotation: Annotation) -> Image.Image:
    """Return a thumbnail with the patches' squares in their labels' colours, the annotation, and a legend.

    Parameters
    ----------
    thumbnail
        The whole slide, RGB.
    width0
        The slide's width in level-0 pixels.
    rows
        Rows of the metadata table, one after another: a million are more than memory should hold.
    annotation
        Its outlines are drawn in black and white, its holes too.
    """
    scale = thumbnail.width / width0
    veil = Image.new("RGBA", thumbnail.size)
    pen = ImageDraw.Draw(veil)
    counts: Counter[tuple[int, str]] = Counter()
    for row in rows:
        counts[int(row["label"]), row["label_name"]] += 1
        left, top = float(row["x0"]) * scale, float(row["y0"]) * scale
        right, bottom = left + float(row["width0"]) * scale, top + float(row["height0"]) * scale
        colour = label_colour(int(row["label"]))
        pen.rectangle((left, top, right, bottom), fill=f"{colour}20", outline=f"{colour}D0")
    for region in annotation.regions:
        for polygon in polygons(region.shape):
            for ring in (polygon.exterior, *polygon.interiors):
                line = [(x * scale, y * scale) for x, y in ring.coords]
                pen.line(line, fill="#FFFFFFFF", width=4)
                pen.line(line, fill="#000000FF", width=2)
    picture = Image.alpha_composite(thumbnail.convert("RGBA"), veil).convert("RGB")
    return _with_legend(picture, counts)


def draw_montage(store: Store, chosen: Sequence[Row]) -> Image.Image:
    """Return patches of a store, those of rows of the metadata table, each with its label below."""
    font = _font(13)
    lines = max(-(-len(chosen) // COLUMNS), 1)
    canvas = Image.new("RGB", (COLUMNS * CELL, lines * (CELL + 20)), "white")
    pen = ImageDraw.Draw(canvas)
    for place, row in enumerate(chosen):
        left, top = place % COLUMNS * CELL, place // COLUMNS * (CELL + 20)
        pixels = Image.fromarray(store.read(row["patch_id"])).resize((CELL - 6, CELL - 6), Image.Resampling.LANCZOS)
        colour = label_colour(int(row["label"]))
        pen.rectangle((left, top, left + CELL - 1, top + CELL - 1), fill=colour)
        canvas.paste(pixels, (left + 3, top + 3))
        pen.text((left + 4, top + CELL + 1), _shortened(row["label_name"], 20), fill="black", font=font)
    if not chosen:
        pen.text((8, 8), "no patch", fill="black", font=font)
    return canvas


def draw_sample(path: Path, metadata: Path, seed: int) -> Image.Image:
    """Return a montage of some of the patches that a slide's metadata table and its store at `path` have."""
    with open_store(path) as store:
        return draw_montage(store, sample(metadata, store, seed))


def draw_message(message: str) -> Image.Image:
    """Return a picture that holds a message, in place of one that cannot be drawn."""
    canvas = Image.new("RGB", (600, 60), "white")
    ImageDraw.Draw(canvas).text((10, 20), _shortened(message, 80), fill="black", font=_font(14))
    return canvas


def save_picture(picture: Image.Image, path: Path) -> None:
    """Publish a picture as JPEG, a tenth of PNG's bytes for tissue."""
    with replacing(path) as aside:
        picture.save(aside, format="jpeg", quality=85)


def _with_legend(picture: Image.Image, counts: Mapping[tuple[int, str], int]) -> Image.Image:
    font = _font(20)
    canvas = Image.new("RGB", (max(picture.width, 320), picture.height + 30 * len(counts) + 8), "white")
    canvas.paste(picture, (0, 0))
    pen = ImageDraw.Draw(canvas)
    for place, ((label, name), count) in enumerate(sorted(counts.items())):
        top = picture.height + 8 + 30 * place
        pen.rectangle((4, top + 2, 24, top + 22), fill=label_colour(label))
        unmapped = " (not in labels.map)" if label < 0 else ""
        pen.text(
            (34, top),
            f"{label}  {_shortened(name, 40)}{unmapped}: {count:,} patches",
            fill="black",
            font=font,
        )
    return canvas


def sample(metadata: Path, stored: Container[str], seed: int) -> list[Row]:
    """Return rows of the table at `metadata` chosen by `seed`, as many of each label as there is room for, by label.

    Only patches that are `stored` count. The table is read twice, so that no more than the chosen rows are held.
    """
    by_label: dict[str, list[int]] = defaultdict(list)
    for place, row in enumerate(read_table(metadata)):
        if row["patch_id"] in stored:
            by_label[row["label_name"]].append(place)
    generator = random.Random(seed)  # noqa: S311
    chosen: set[int] = set()
    for number, (_, places) in enumerate(sorted(by_label.items(), key=lambda item: len(item[1]))):
        share = (MOST_PATCHES - len(chosen)) // (len(by_label) - number)
        chosen.update(generator.sample(places, min(len(places), share)))
    rows = (row for place, row in enumerate(read_table(metadata)) if place in chosen)
    return sorted(rows, key=lambda row: int(row["label"]))


def _shortened(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
