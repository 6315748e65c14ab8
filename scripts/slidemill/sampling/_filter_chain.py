"""Filter a grid's patches by steps; write tables of kept and dropped patches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from slidemill.core.columns import DROPPED_COLUMNS, PATCH_COLUMNS
from slidemill.core.csv_tables import writing_table

BLOCK = 20_000
"""Rows in memory at once."""

Row = dict[str, Any]

Step = Callable[[Sequence[Row]], Sequence[str]]
"""Fills in its columns of the rows, and returns the reason to drop each; an empty one keeps it."""


def filter_rows(rows: Iterable[Row], steps: Sequence[Step]) -> Iterator[tuple[Row, str]]:
    """Yield each row with the reason to drop it, empty for kept rows.

    A step sees only the rows that previous steps kept.
    """
    waiting = iter(rows)
    while block := list(islice(waiting, BLOCK)):
        reasons = [""] * len(block)
        for step in steps:
            kept = [place for place, reason in enumerate(reasons) if not reason]
            for place, reason in zip(kept, step([block[place] for place in kept]) if kept else (), strict=True):
                reasons[place] = reason
        yield from zip(block, reasons, strict=True)


def write_filtered(rows: Iterable[Row], steps: Sequence[Step], *, kept: Path, dropped: Path) -> Counter[str]:
    """Write the tables of kept and dropped rows; return a count per reason.

    The reason of kept rows is empty.

    Parameters
    ----------
    rows, steps
        The rows of the grid, and the steps that filter them.
    kept, dropped
        The files of the two tables.
    """
    reasons: Counter[str] = Counter()
    with writing_table(kept, PATCH_COLUMNS) as keep, writing_table(dropped, DROPPED_COLUMNS) as drop:
        for row, reason in filter_rows(rows, steps):
            reasons[reason] += 1
            if reason:
                drop({**row, "reason": reason})
            else:
                keep(row)
    return reasons
