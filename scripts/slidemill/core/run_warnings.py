"""Warnings of a run: what may make labels or patches wrong although every check has passed.

A note is merely good to know; a warning is shown in the terminal, in ``slides.csv`` and at the top of the report.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from slidemill.core.csv_tables import read_table
from slidemill.core.text import format_count, format_list

SEPARATOR = "; "
"""What stands between several warnings of a slide in ``slides.csv``."""

PLURALS = {"patch": "patches", "region": "regions", "line": "lines"}
"""What a slide's warning may count."""

COUNTED = re.compile(rf"(.*) \[(\d+) ({'|'.join([*PLURALS, *PLURALS.values()])})\]", re.DOTALL)


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
        return f"{format_count(len(self.slides), 'slide')}: {format_list(self.slides)}"


def add_count(text: str, number: int, unit: str) -> str:
    """Return a slide's warning with how many patches or regions it is about; over slides, they are added up.

    Parameters
    ----------
    text
        The warning, the same for all slides.
    number
        How many, of this slide.
    unit
        ``"patch"``, ``"region"`` or ``"line"``.
    """
    return f"{text} [{number} {unit if number == 1 else PLURALS[unit]}]"


def join_warnings(warnings: Iterable[str]) -> str:
    """Return a slide's warnings, each once, as its cell in ``slides.csv`` holds them."""
    return SEPARATOR.join(dict.fromkeys(warning.replace(SEPARATOR, ", ") for warning in warnings))


def collect_warnings(planned: Sequence[str], slides: Iterable[Mapping[str, str]]) -> list[RunWarning]:
    """Return the warnings of a run: those found while planning, then those of slides, equal ones together.

    Those that differ only in how much they count are equal, and are counted together.

    Parameters
    ----------
    planned
        Warnings about the whole run.
    slides
        Rows of the table of slides.
    """
    found: dict[tuple[str, str], list[str]] = {}
    numbers: Counter[tuple[str, str]] = Counter()
    for row in slides:
        for warning in filter(None, (row.get("warnings") or "").split(SEPARATOR)):
            match = COUNTED.fullmatch(warning)
            text, number, unit = match.groups() if match else (warning, "0", "")
            key = text, next((one for one in PLURALS if unit.startswith(one)), "")
            found.setdefault(key, []).append(row["slide"])
            numbers[key] += int(number)
    about_slides = [
        RunWarning(f"{text}: {format_count(numbers[text, unit], unit, PLURALS[unit])}" if unit else text, tuple(names))
        for (text, unit), names in found.items()
    ]
    return [*map(RunWarning, planned), *about_slides]


def format_warnings(planned: Sequence[str], table: Path) -> list[str]:
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
    return [
        f"slidemill: {format_count(len(warnings), 'warning')}, see the top of the report:\n",
        *(f"  {one.text}{f' ({one.where})' if one.slides else ''}\n" for one in warnings),
    ]
