"""Which patches of a grid are kept: steps that look at rows of the patch table, one after the other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from slidemill.core.columns import DROPPED_COLUMNS, PATCH_COLUMNS
from slidemill.core.csv_tables import writing_table

BLOCK = 20_000
"""Rows that are in memory at once."""

Row = dict[str, Any]

Step = Callable[[Sequence[Row]], Sequence[str]]
"""Fills in its own columns of the rows, and returns why each is dropped: a word, or nothing for one that is kept."""


def filter_rows(rows: Iterable[Row], steps: Sequence[Step]) -> Iterator[tuple[Row, str]]:
    """Yield each row with the reason for which it is dropped, an empty one where it is kept, in the rows' order.

    A step sees only what those before it kept.
    """
    waiting = iter(rows)
    while block := list(islice(waiting, BLOCK)):
        reasons = [""] * len(block)
        for step in steps:
            kept = [place for place, reason in enumerate(reasons) if not reason]
            for place, reason in zip(kept, step([block[place] for place in kept]) if kept else (), strict=True):
                reasons[place] = reason
        yield from zip(block, reasons, strict=True)


def write_filtered(rows: Iterable[Row], steps: Sequence[Step], kept: Path, dropped: Path) -> Counter[str]:
    """Publish the rows that are kept, and those that are dropped with their reasons; return how many each has.

    The reason of the kept ones is empty. Memory holds `BLOCK` rows.
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
