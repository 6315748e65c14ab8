"""Warnings of a run: what may make labels or patches wrong although every check has passed.

A note is merely good to know; a warning is shown in the terminal, in ``slides.csv`` and at the top of the report.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from slidemill.tables import read_table

SEPARATOR = "; "
"""What stands between several warnings of a slide in ``slides.csv``."""

MOST_NAMED = 10
"""Slides that are named for one warning; all are counted."""


@dataclass(frozen=True, slots=True)
class RunWarning:
    """A warning, and the slides that it is about; none where it is about the whole run."""

    text: str
    slides: tuple[str, ...] = ()

    @property
    def where(self) -> str:
        """The slides in words, such as ``2 slides: a, b``, or nothing where it is about the whole run."""
        if not self.slides:
            return ""
        named = ", ".join(self.slides[:MOST_NAMED])
        more = len(self.slides) - MOST_NAMED
        count = "1 slide" if len(self.slides) == 1 else f"{len(self.slides):,} slides"
        return f"{count}: {named}{f' and {more:,} more' if more > 0 else ''}"


def join_warnings(warnings: Iterable[str]) -> str:
    """Return a slide's warnings, each once, as its cell in ``slides.csv`` holds them."""
    return SEPARATOR.join(dict.fromkeys(warning.replace(SEPARATOR, ", ") for warning in warnings))


def collect_warnings(planned: Sequence[str], slides: Iterable[Mapping[str, str]]) -> list[RunWarning]:
    """Return the warnings of a run: those found while planning, then those of slides, equal ones together.

    Parameters
    ----------
    planned
        Warnings about the whole run.
    slides
        Rows of the table of slides.
    """
    found: dict[str, list[str]] = {}
    for row in slides:
        for text in filter(None, (row.get("warnings") or "").split(SEPARATOR)):
            found.setdefault(text, []).append(row["slide"])
    return [*map(RunWarning, planned), *(RunWarning(text, tuple(names)) for text, names in found.items())]


def warning_lines(planned: Sequence[str], table: Path) -> list[str]:
    """Return what the terminal says at the end of a run, a line a warning.

    Parameters
    ----------
    planned
        Warnings about the whole run.
    table
        The table of slides; it may be missing where a run did not finish.
    """
    warnings = collect_warnings(planned, read_table(table) if table.exists() else ())
    if not warnings:
        return []
    head = "1 warning" if len(warnings) == 1 else f"{len(warnings):,} warnings"
    return [
        f"slidemill: {head}, see the top of the report:\n",
        *(f"  {one.text}{f' ({one.where})' if one.slides else ''}\n" for one in warnings),
    ]
