"""What is told of a run's folds: by the gate, where they are not to be trusted, and in the report."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from slidemill.core.csv_tables import read_cohort_table
from slidemill.core.specs import SplitSpec
from slidemill.core.text import format_list
from slidemill.datasets.folds import COLUMNS, read_splits
from slidemill.datasets.slide_groups import SLIDE, counted
from slidemill.datasets.split import split_leaks

LABEL_NAME = "label_name"


def split_faults(table: Path, spec: SplitSpec) -> list[str]:
    """Return a line for whatever is wrong with the folds at `table`: too few groups, or a content in several."""
    if next(read_cohort_table(table, COLUMNS), None) is None:
        return [
            f"splits.folds is {spec.folds}, and fewer values of {spec.by} have patches: give fewer folds, or see why "
            "slides have failed or are empty"
        ]
    return split_leaks(read_splits(table), {})


def told_splits(table: Path, spec: SplitSpec, slides: Iterable[Mapping[str, str]], *, metadata: Path) -> dict[str, Any]:
    """Return what the report shows of the folds.

    Parameters
    ----------
    table
        The folds.
    spec
        How slides were parted.
    slides
        Rows of the table of slides.
    metadata
        The cohort's metadata, Parquet.

    Returns
    -------
    dict
        ``by``; ``folds``, each with its name, its numbers of slides, groups and patches, and ``labels``, how many
        patches have each; ``verdict``, in words; ``leaks``, a line for each; ``lonely``, labels that only one fold has.
    """
    from slidemill.core.parquet import read_parquet

    labels = counted(read_parquet(metadata, [SLIDE, LABEL_NAME]), SLIDE, LABEL_NAME)
    leaks = split_faults(table, spec)
    parted = read_splits(table).slides if next(read_cohort_table(table), None) else ()
    folds: list[dict[str, Any]] = []
    for number in range(1 + max((row.fold for row in parted), default=-1)):
        own = [row for row in parted if row.fold == number]
        counts: Counter[str] = Counter()
        for row in own:
            counts.update(labels[row.slide].strata)
        folds.append(
            {
                "fold": str(number),
                "slides": len(own),
                "groups": len({row.group for row in own}),
                "patches": sum(row.patches for row in own),
                "labels": dict(sorted(counts.items())),
            }
        )
    named = "" if spec.by == SLIDE else f"{spec.by} and no "
    verdict = f"No {named}slide's content is in more than one fold."
    if leaks:
        verdict = "These folds are not to be trusted."
    # Not those that are in no fold: where groups are too few, slides that have patches are in none either.
    if left_out := {row["slide"] for row in slides} - labels.keys():
        verdict += f" Without patches, and so in no fold: {format_list(sorted(left_out))}."
    holders: dict[str, list[str]] = defaultdict(list)
    for fold in folds:
        for name in fold["labels"]:
            holders[name].append(fold["fold"])
    lonely = [f"{name} (fold {own[0]})" for name, own in holders.items() if len(own) == 1]
    return {"by": spec.by, "folds": folds, "verdict": verdict, "leaks": leaks, "lonely": lonely}
