"""Patches as GeoJSON that QuPath imports: a detection per patch, with its label and measurements.

As QuPath's ``QuPathTypeAdapters.java`` reads it, from version 0.4; ``metadata`` from 0.5.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slidemill.core.text import format_suggestions, suggest
from slidemill.errors import SlidemillError
from slidemill.exchange.exported_slide import ExportedSlide

if TYPE_CHECKING:
    import pandas

BOUNDS, CANVAS = "bounds", "canvas"
ORIGINS = (BOUNDS, CANVAS)
"""Where coordinates start: at the slide's bounds, as in QuPath, or at the whole slide."""

BLOCK = 4096
"""Rows of the table that are converted at once."""


def check_columns(columns: Sequence[str], known: Sequence[str]) -> None:
    """Check that columns exist.

    Raises
    ------
    SlidemillError
        When one does not.
    """
    for name in columns:
        if name not in known:
            near = format_suggestions(suggest(name, known))
            raise SlidemillError(f"--columns: no column is called {name!r}{near}; choose from {', '.join(known)}")


def write(own: ExportedSlide, folder: Path, columns: Sequence[str], origin: str) -> Iterator[int]:
    """Write the patches of a slide, and yield their number block by block; without patches, no file is written.

    Parameters
    ----------
    own
        The slide with its patches.
    folder
        The folder of the file.
    columns
        Columns of the table: numbers become measurements, texts become metadata; unknown values are left out.
    origin
        `BOUNDS` or `CANVAS`.
    """
    if not len(own.table):
        return
    corner = own.info.corner if origin == BOUNDS else (0, 0)
    yield from write_table(folder / f"{own.name}.geojson", own.table, corner, columns=columns)


def write_table(path: Path, table: pandas.DataFrame, corner: tuple[int, int], columns: Sequence[str]) -> Iterator[int]:
    """Write the patches of a table with the columns of metadata.csv; yield their number block by block.

    Parameters
    ----------
    path, table
        The file, and the table.
    corner, columns
        As of `features`.
    """
    with path.open("w", encoding="utf-8") as file:
        file.write('{"type": "FeatureCollection", "features": [')
        for start in range(0, len(table), BLOCK):
            rows: Any = table.iloc[start : start + BLOCK].to_dict("records")
            texts = [json.dumps(feature, ensure_ascii=False) for feature in features(rows, corner, columns)]
            file.write(("," if start else "") + "\n" + ",\n".join(texts))
            yield len(texts)
        file.write("\n]}\n")


def features(
    rows: Iterable[Mapping[str, Any]], corner: tuple[int, int], columns: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """Yield a feature per patch.

    Parameters
    ----------
    rows
        Rows of the table of patches.
    corner
        The level-0 pixel where coordinates start, ``(x, y)``.
    columns
        As of `write`.
    """
    for row in rows:
        x, y = row["x0"] - corner[0], row["y0"] - corner[1]
        right, bottom = x + row["width0"], y + row["height0"]
        properties: dict[str, Any] = {"objectType": "detection", "name": row["patch_id"]}
        if row["label_name"]:
            properties["classification"] = {"name": row["label_name"]}
        # NaN is no JSON, and an empty text says nothing.
        found = {name: row[name] for name in columns if row[name] == row[name] and row[name] != ""}
        numbers = {name: value for name, value in found.items() if not isinstance(value, str)}
        texts = {name: value for name, value in found.items() if isinstance(value, str)}
        properties |= {name: own for name, own in (("measurements", numbers), ("metadata", texts)) if own}
        square = [[x, y], [right, y], [right, bottom], [x, bottom], [x, y]]
        yield {
            "type": "Feature",
            "geometry": {"type": "Polygon", "coordinates": [square]},
            "properties": properties,
        }
