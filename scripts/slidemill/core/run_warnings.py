"""Warnings of a run: reasons why labels or patches may be wrong.

The run passes its checks in spite of them.

Warnings are shown in the terminal, in ``slides.csv`` and at the top of the report; notes only in the table.
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
"""Separates the warnings of a slide in ``slides.csv``."""

PLURALS = {"patch": "patches", "region": "regions", "line": "lines"}
"""The units that a slide's warning may count."""

COUNTED = re.compile(rf"(.*) \[(\d+) ({'|'.join([*PLURALS, *PLURALS.values()])})\]", re.DOTALL)


@dataclass(frozen=True, slots=True)
class RunWarning:
    """A warning and the paths of its slides; without slides, it concerns the whole run."""

    text: str
    slides: tuple[str, ...] = ()

    @property
    def where(self) -> str:
        """The slides in words, such as ``2 slides: a, b``; empty for the whole run."""
        if not self.slides:
            return ""
        return f"{format_count(len(self.slides), 'slide')}: {format_list(self.slides)}"


def add_count(text: str, number: int, unit: str) -> str:
    """Return a slide's warning with a count, which is summed over slides.

    Parameters
    ----------
    text
        The warning, the same for all slides.
    number
        The number for this slide.
    unit
        ``"patch"``, ``"region"`` or ``"line"``.
    """
    return f"{text} [{number} {unit if number == 1 else PLURALS[unit]}]"


def split_count(warning: str) -> tuple[str, str]:
    """Return a slide's warning without its count, and the count with its unit; empty without one."""
    match = COUNTED.fullmatch(warning)
    return (match[1], f"{match[2]} {match[3]}") if match else (warning, "")


def join_warnings(warnings: Iterable[str]) -> str:
    """Return a slide's warnings without duplicates, as a cell of ``slides.csv``."""
    return SEPARATOR.join(dict.fromkeys(warning.replace(SEPARATOR, ", ") for warning in warnings))


def collect_warnings(planned: Sequence[str], slides: Iterable[Mapping[str, str]]) -> list[RunWarning]:
    """Return the `planned` warnings of the run, then those of the slides' rows.

    Warnings that differ only in their number become one, with the sum.
    """
    found: dict[tuple[str, str], list[str]] = {}
    numbers: Counter[tuple[str, str]] = Counter()
    for row in slides:
        for warning in filter(None, (row.get("warnings") or "").split(SEPARATOR)):
            match = COUNTED.fullmatch(warning)
            text, number, unit = match.groups() if match else (warning, "0", "")
            key = text, next((one for one in PLURALS if unit.startswith(one)), "")
            found.setdefault(key, []).append(row.get("path") or row["slide"])
            numbers[key] += int(number)
    about_slides = [
        RunWarning(f"{text}: {format_count(numbers[text, unit], unit, PLURALS[unit])}" if unit else text, tuple(names))
        for (text, unit), names in found.items()
    ]
    return [*map(RunWarning, planned), *about_slides]


def format_warnings(planned: Sequence[str], table: Path) -> list[str]:
    """Return the warnings that the terminal shows after a run, one per line.

    `planned` are the warnings about the whole run; the table of slides may be missing after an unfinished run.
    """
    warnings = collect_warnings(planned, read_table(table) if table.exists() else ())
    if not warnings:
        return []
    return [
        f"slidemill: {format_count(len(warnings), 'warning')}, see the top of the report:\n",
        *(f"  {one.text}{f' ({one.where})' if one.slides else ''}\n" for one in warnings),
    ]
