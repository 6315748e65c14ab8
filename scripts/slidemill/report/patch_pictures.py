"""Draw a sample of a slide's patches with their labels."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from slidemill.core.csv_tables import read_table
from slidemill.core.encodings import Pixels
from slidemill.core.files import replacing
from slidemill.report._palette import label_colour
from slidemill.report.legend import shorten
from slidemill.stores.registry import open_store

CELL = 144
COLUMNS = 6
MOST_PATCHES = 24

Row = Mapping[str, Any]


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
        pen.text((left + 4, top + cell + 1), shorten(name, max(cell // 7, 1)), fill="black", font=font)
    if not labels:
        pen.text((8, 8), "no patch", fill="black", font=font)
    return canvas


def draw_sample(path: Path, metadata: Path, seed: int, *, names: Iterable[str] = ()) -> Image.Image:
    """Draw a sample of a store's patches, as evenly across labels as possible.

    Parameters
    ----------
    path, metadata
        The store, and the slide's metadata table.
    seed
        Seed of the choice.
    names
        As of `sample_rows`.
    """
    with open_store(path) as store:
        rows = sample_rows(metadata, store, seed, names=names)
        labels = [(int(row["label"]), row["label_name"]) for row in rows]
        return draw_patches((store.read(row["patch_id"]) for row in rows), labels)


def sample_rows(metadata: Path, stored: Container[str] | None, seed: int, *, names: Iterable[str] = ()) -> list[Row]:
    """Choose rows of a metadata table, as evenly across labels as possible.

    Parameters
    ----------
    metadata
        The table. It is read twice, so that only the chosen rows are in memory.
    stored
        The patches that count; None for all.
    seed
        Seed of the choice.
    names
        Names of labels in the order of the rows; others come first, by label.
    """
    by_label: dict[str, list[int]] = defaultdict(list)
    for place, row in enumerate(read_table(metadata)):
        if stored is None or row["patch_id"] in stored:
            by_label[row["label_name"]].append(place)
    chosen = choose_balanced(by_label, MOST_PATCHES, seed)
    rows = (row for place, row in enumerate(read_table(metadata)) if place in chosen)
    order = {name: place for place, name in enumerate(names)}
    return sorted(rows, key=lambda row: (order.get(row["label_name"], -1), int(row["label"])))


def draw_message(message: str) -> Image.Image:
    """Draw a message, in place of a picture that cannot be drawn."""
    canvas = Image.new("RGB", (600, 60), "white")
    ImageDraw.Draw(canvas).text((10, 20), shorten(message, 80), fill="black", font=_font(14))
    return canvas


def save_picture(picture: Image.Image, path: Path) -> None:
    """Publish a picture as JPEG, a tenth of the bytes of PNG for tissue."""
    with replacing(path) as aside:
        picture.save(aside, format="jpeg", quality=85, optimize=True)


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


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
