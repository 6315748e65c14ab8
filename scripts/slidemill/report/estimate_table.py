"""Describe an estimate in words, and as a table for a terminal."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from slidemill.core.csv_tables import read_cohort_table
from slidemill.core.specs import SLIDES
from slidemill.core.text import format_count, format_digits, format_duration, format_size

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
    left_out = _left_out(rows)
    return "\n".join(
        [
            f"slidemill estimate: {patches} of {slides}, measured on a sample of {sample}",
            "",
            *lines,
            "",
            "* in your configuration. Size: disk space of all stores. Time: to write and check them on "
            f"{format_count(int(first['cores']), 'core')}.",
            *([f"Not measured: {'; '.join(left_out)}."] if left_out else []),
            f"Free at {results}: {format_size(shutil.disk_usage(results).free)}.",
            *recommendation_lines(rows),
        ]
    )


@dataclass(frozen=True, slots=True)
class Shown:
    """Candidates as the report shows them.

    Parameters
    ----------
    rows
        Per measured candidate: its cells as `HEADS` names them, and the numbers to sort by.
    patches, slides, sample
        The number of patches and slides of the cohort, and of sampled patches.
    cores
        The number of cores of the run.
    recommendation, line
        The recommendation, and the line of YAML that chooses it.
    left_out
        Candidates that were not measured, with the reason.
    """

    rows: Sequence[Sequence[tuple[str, str]]]
    patches: int
    slides: int
    sample: int
    cores: int
    recommendation: str
    line: str
    left_out: Sequence[str]


def show_candidates(rows: Sequence[Row]) -> Shown | None:
    """Return candidates as the report shows them; None if none was measured."""
    measured = [row for row in rows if row["patch_bytes"]]
    if not measured:
        return None
    keys = ("", "space", "hours", "write", "random", "batches")
    shown = [list(zip(_cells(row), (row.get(key, "") for key in keys), strict=True)) for row in measured]
    first, lines = measured[0], [line.strip() for line in recommendation_lines(rows)]
    return Shown(
        rows=shown,
        patches=int(first["patches"]),
        slides=int(first["slides"]),
        sample=max(int(row["sample"]) for row in measured),
        cores=int(first["cores"]),
        recommendation=lines[0] if lines else "",
        line=lines[1] if lines else "",
        left_out=_left_out(rows),
    )


def _left_out(rows: Sequence[Row]) -> list[str]:
    """Return the candidates that were not measured, with their reasons; those with the same reason together."""
    names: dict[str, list[str]] = {}
    for row in rows:
        if not row["patch_bytes"]:
            reason = row["note"].removeprefix("not measured: ")
            names.setdefault(reason, []).append(f"{row['backend']} {row['encoding']}")
    return [f"{', '.join(own)} ({reason})" for reason, own in names.items()]


def recommendation_lines(rows: Sequence[Row]) -> list[str]:
    """Return the recommendation, and the line of YAML that chooses it."""
    best = next((row for row in rows if row["recommended"]), None)
    if best is None:
        return []
    if best["backend"] == SLIDES:
        return [
            f"Recommended: no store. Reading the slides gives {float(best['batches']):,.0f} patches per second in "
            'shuffled batches: open_dataset(results, "slides").',
            f"  {yaml_line(best)}",
        ]
    raw = next((row for row in rows if (row["backend"], row["encoding"]) == (best["backend"], "raw")), None)
    size = format_size(float(best["space"]))
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
    if row["backend"] == SLIDES:
        return "stores: {}"
    quality = f", quality: {row['quality']}" if row["quality"] else ""
    return f"stores: {{{row['backend']}: {{encoding: {row['encoding']}{quality}}}}}"


def _cells(row: Row) -> tuple[str, ...]:
    name = f"{'*' if row['configured'] else ' '} {row['backend']} {row['encoding']}"
    rates = (f"{float(row[key]):,.0f}" if row[key] else "" for key in ("write", "random", "batches"))
    return (name, format_size(float(row["space"])), format_duration(3600 * float(row["hours"])), *rates)
