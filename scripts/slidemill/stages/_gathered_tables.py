"""Checking the cohort's metadata against the slides' own tables."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from itertools import zip_longest
from pathlib import Path

from slidemill.core.csv_tables import read_table
from slidemill.core.text import AGAIN
from slidemill.stages._table_checks import LABELLED, FileFault, TableCheck


def check_gathered(results: Path, slides: Iterable[str]) -> list[FileFault]:
    """Check that metadata.csv has, slide by slide, the rows of these slides' own tables, but for unreadable patches.

    Parameters
    ----------
    results
        The folder of results.
    slides
        The slides that are ok, in the order of slides.csv.
    """
    check = TableCheck()

    def look(path: Path) -> str | None:
        for own, other in zip_longest(_rows(path), _all_rows(results, slides)):
            if own != other:
                slide = (other or own or [])[1]
                return f"its rows of {slide} are not those of {LABELLED}/{slide}.csv: {AGAIN}"
        return None

    check.attempt(results, "metadata.csv", look)
    return check.faults


def _all_rows(results: Path, slides: Iterable[str]) -> Iterator[list[str]]:
    unreadable = {(row["slide"], row["patch_id"]) for row in read_table(results / "unreadable.csv", ("patch_id",))}
    for slide in slides:
        rows = _rows(results / LABELLED / f"{slide}.csv")
        yield from (row for row in rows if (slide, row[0]) not in unreadable)


def _rows(path: Path) -> Iterator[list[str]]:
    """Yield a metadata table's rows as lists, which begin with the patch's id and the slide's."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.reader(file)
        next(rows, None)
        yield from rows
