"""Describe an estimate in words, and as a table for a terminal."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from slidemill.core.csv_tables import read_cohort_table
from slidemill.core.text import format_count, format_digits

Row = Mapping[str, str]

HEADS = ("store", "size", "time", "patches/s written", "read at random", "read in batches")
NOTHING = "slidemill estimate: no slide has a patch to store: see slides.csv after a run, or the logs of sample_patches"


def print_estimate(path: Path) -> None:
    """Print the table at `path`, the recommendation and the line that chooses it.

    Raises
    ------
    SlidemillError
        When the table is damaged.
    """
    print(describe_estimate(list(read_cohort_table(path)), path.parent.absolute()))


def describe_estimate(rows: Sequence[Row], results: Path) -> str:
    """Return an estimate as text.

    Parameters
    ----------
    rows
        Rows of the table of candidates.
    results
        The results folder.
    """
    if not rows or not int(rows[0]["patches"]):
        return NOTHING
    first = rows[0]
    measured = [row for row in rows if row["patch_bytes"]]
    cells = [HEADS, *map(_cells, measured)]
    widths = [max(len(row[place]) for row in cells) for place in range(len(HEADS))]
    lines = [
        "  ".join(
            [row[0].ljust(widths[0]), *(text.rjust(width) for text, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in cells
    ]
    patches, slides = (
        format_count(int(first["patches"]), "patch", "patches"),
        format_count(int(first["slides"]), "slide"),
    )
    sample = max((int(row["sample"]) for row in measured), default=0)
    left_out = [f"{row['backend']} {row['encoding']} ({row['note']})" for row in rows if not row["patch_bytes"]]
    return "\n".join(
        [
            f"slidemill estimate: {patches} of {slides}, measured on a sample of {sample}",
            "",
            *lines,
            "",
            "* configured. Size: all stores on the disk. Time: until they are written and checked on "
            f"{format_count(int(first['cores']), 'core')}.",
            *([f"Not measured: {', '.join(left_out)}."] if left_out else []),
            f"Free at {results}: {format_size(shutil.disk_usage(results).free)}.",
            *recommendation_lines(rows),
        ]
    )


def recommendation_lines(rows: Sequence[Row]) -> list[str]:
    """Return the recommendation, and the line of YAML that chooses it."""
    best = next((row for row in rows if row["recommended"]), None)
    if best is None:
        return []
    raw = next((row for row in rows if (row["backend"], row["encoding"]) == (best["backend"], "raw")), None)
    size = format_size(best["space"])
    if raw and raw["patch_bytes"] and raw is not best:
        size += f", a factor of {format_digits(float(raw['space']) / float(best['space']), 2)} less than raw"
    text = (
        f"Recommended: {best['backend']} with {best['encoding']}: {size}, and {float(best['batches']):,.0f} patches "
        "per second in shuffled batches."
    )
    if float(best["space"]) > float(best["free"]):
        text += " It does not fit on this disk: choose another disk, a coarser resolution or more tissue per patch."
    return [text, f"  {yaml_line(best)}"]


def yaml_line(row: Row) -> str:
    """Return the line of a configuration that chooses a candidate."""
    quality = f", quality: {row['quality']}" if row["quality"] else ""
    return f"stores: {{{row['backend']}: {{encoding: {row['encoding']}{quality}}}}}"


def format_size(size: float | str) -> str:
    """Return bytes as MB, GB or TB with two digits, and at least 0.1 MB."""
    value, units = max(float(size) / 1e6, 0.1), ["MB", "GB", "TB"]
    while value >= 1000 and len(units) > 1:
        value, units = value / 1000, units[1:]
    return f"{format_digits(value, 3 if value >= 100 else 2)} {units[0]}"


def format_duration(seconds: float) -> str:
    """Return seconds as s, min or h with two digits, and at least 1 s."""
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{format_digits(seconds / length, 2)} {unit}"
    return f"{max(round(seconds), 1)} s"


def _cells(row: Row) -> tuple[str, ...]:
    name = f"{'*' if row['configured'] else ' '} {row['backend']} {row['encoding']}"
    rates = (f"{float(row[key]):,.0f}" for key in ("write", "random", "batches"))
    return (name, format_size(row["space"]), format_duration(3600 * float(row["hours"])), *rates)
