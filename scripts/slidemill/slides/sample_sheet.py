"""Read sample sheets, which list slides instead of a folder."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slidemill.core.columns import LABEL, SLIDE_LABEL
from slidemill.errors import ConfigError
from slidemill.slides.discovery import SlideFile, check_unique, encode_path

NOTHING = ("", "-", "#n/a", "<na>", "n/a", "na", "nan", "nil", "none", "null")
"""How other programs write a missing value, in lower case; in a sheet it is an empty cell."""

KNOWN = ("slide", "path", "annotation", "mpp", "tissue_mask")
"""Columns with a meaning; all others are copied to metadata.csv."""


def read_sheet(sheet: Path, schema: Mapping[str, Any], reserved: frozenset[str]) -> list[SlideFile]:
    """Return the slides of a sheet (.csv or .tsv), in its order.

    Parameters
    ----------
    sheet
        The file. Its paths are relative to its folder.
    schema
        JSON schema of a row.
    reserved
        Columns of the metadata table, whose names no further column may have; `label` becomes `slide_label`.

    Raises
    ------
    ConfigError
        When the sheet is missing, or a column or a row is wrong.
    """
    try:
        there = sheet.is_file()
    except OSError:  # such as a folder above it that may not be entered
        there = False
    if not there:
        raise ConfigError(f"slides: the sheet {sheet} does not exist: name a .csv or .tsv file, or a folder of slides")
    delimiter = "\t" if sheet.suffix.lower() == ".tsv" else ","
    try:
        with sheet.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, delimiter=delimiter, strict=True)
            header = list(reader.fieldnames or ())
            _check_header(sheet, header, reserved, delimiter=delimiter)
            slides = [_sheet_row(sheet, reader.line_num, row, schema=schema) for row in reader]
    except UnicodeDecodeError as error:
        raise ConfigError(f"{sheet}: not UTF-8 at byte {error.start}: save the sheet as UTF-8") from None
    except OSError as error:
        raise ConfigError(f"{sheet}: the sheet cannot be read ({error.strerror}): see its permissions") from None
    except csv.Error as error:
        raise ConfigError(f"{sheet}: line {reader.reader.line_num}: {error}: fix the line's quotes") from None
    if not slides:
        raise ConfigError(f"{sheet}: the sheet lists no slide: give it a row for each")
    check_unique(slides, f"{sheet}: the id is used twice: give each slide its own (case does not count)")
    return slides


def _check_header(sheet: Path, header: list[str], reserved: frozenset[str], *, delimiter: str) -> None:
    for column in ("slide", "path"):
        if column not in header:
            separator = "tabs" if delimiter == "\t" else "commas"
            raise ConfigError(
                f"{sheet}: the column {column!r} is missing, there are {header}: "
                f"add it, and part columns by {separator}"
            )
    twice = [column for column, count in Counter(header).items() if count > 1 or not column]
    if twice:
        raise ConfigError(f"{sheet}: the column {twice[0]!r} is nameless or used twice: give each its own name")
    if {LABEL, SLIDE_LABEL} <= set(header):
        raise ConfigError(
            f"{sheet}: the columns {LABEL!r} and {SLIDE_LABEL!r} have one name in metadata.csv, {SLIDE_LABEL!r}: "
            "rename one in the sheet"
        )
    clash = sorted(reserved.intersection(header) - {"slide", "mpp", LABEL})
    if clash:
        raise ConfigError(f"{sheet}: the column {clash[0]!r} is one of metadata.csv's own: rename it in the sheet")


def _sheet_row(sheet: Path, line: int, row: Mapping[str, Any], *, schema: Mapping[str, Any]) -> SlideFile:
    import jsonschema  # only runs with a sheet need it, and it takes 0.15 s to load, in each job of a cluster too

    values = {column: value for column, value in row.items() if value not in (None, "")}
    for error in jsonschema.Draft202012Validator(schema).iter_errors(values):
        subject = f"{error.path[0]} is {error.instance!r}" if error.path else "the row is incomplete"
        remedy = schema["properties"].get(error.path[0] if error.path else "", {}).get("description", error.message)
        raise ConfigError(f"{sheet}: line {line}: {subject}: {remedy}")
    if None in row or None in row.values():
        raise ConfigError(f"{sheet}: line {line} has more or fewer fields than the header: correct it")
    if any("\0" in value for value in values.values()):
        raise ConfigError(f"{sheet}: line {line} holds a NUL character, which no name can have: remove it")
    for column in ("annotation", "tissue_mask"):
        if row.get(column) and row[column].strip().casefold() in NOTHING:
            raise ConfigError(
                f"{sheet}: line {line}: {column} is {row[column]!r}: leave the cell empty where there is none; a file "
                f"of that name is ./{row[column]}"
            )
    annotation, mask = (
        encode_path(Path(file)) if (file := row.get(column)) else None for column in ("annotation", "tissue_mask")
    )
    return SlideFile(
        slide=row["slide"],
        path=encode_path(Path(row["path"])),
        annotation=annotation,
        columns={SLIDE_LABEL if name == LABEL else name: value for name, value in row.items() if name not in KNOWN},
        mpp=float(values["mpp"]) if "mpp" in values else None,
        tissue_mask=mask,
    )
