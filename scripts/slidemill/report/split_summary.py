"""Summarize a run's folds for the gate and the report."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from slidemill.core.columns import METADATA_COLUMNS, SLIDE
from slidemill.core.csv_tables import read_cohort_table
from slidemill.core.specs import SplitSpec
from slidemill.core.text import format_count, format_list
from slidemill.datasets.folds import COLUMNS, read_splits
from slidemill.datasets.slide_groups import count_patches, find_shared

LABEL_NAME = "label_name"
MISSING = "(missing)"
"""How the report names an empty cell of the target's column."""


@dataclass(frozen=True, slots=True)
class FoldSummary:
    """A fold: its numbers of slides, groups and patches, patches per label, and slides per value of the target."""

    fold: str
    slides: int
    groups: int
    patches: int
    labels: Mapping[str, int]
    targets: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SplitSummary:
    """The folds of a run.

    Parameters
    ----------
    by
        The column whose groups of slides are not split.
    folds
        The folds.
    verdict
        Whether they can be trusted, in words.
    leaks
        A line per fault.
    lonely
        Labels, and values of the target, that only one fold has.
    target
        The sheet's column that the folds are balanced by; empty for none.
    """

    by: str
    folds: Sequence[FoldSummary]
    verdict: str
    leaks: Sequence[str] = ()
    lonely: Sequence[str] = ()
    target: str = ""


def split_faults(table: Path, spec: SplitSpec, paths: Mapping[str, str]) -> list[str]:
    """Return a line per fault of folds: too few groups, or shared content; `paths` are by slide."""
    if next(read_cohort_table(table, COLUMNS), None) is None:
        return [
            f"splits.folds is {spec.folds}, and fewer values of {spec.by} have patches: give fewer folds, or see why "
            "slides have failed or are empty"
        ]
    rows = read_splits(table).slides
    groups, prints = ({row.slide: getattr(row, name) for row in rows} for name in ("group", "fingerprint"))
    return find_shared(groups, spec.by, fingerprints=prints, patients={}, paths=paths)


def summarize_splits(
    table: Path, spec: SplitSpec, slides: Iterable[Mapping[str, str]], *, metadata: Path
) -> SplitSummary:
    """Summarize a run's folds.

    Parameters
    ----------
    table, spec
        The table of folds, and how slides were split.
    slides
        Rows of the table of slides.
    metadata
        The cohort's metadata as Parquet.

    Raises
    ------
    SlidemillError
        When a table is damaged.
    """
    from slidemill.core.parquet import read_parquet

    target = spec.stratify if spec.stratify and spec.stratify not in METADATA_COLUMNS else ""
    frame = read_parquet(metadata, [SLIDE, LABEL_NAME, *filter(None, [target])])
    labels = count_patches(frame, SLIDE, LABEL_NAME)
    values = {slide: next(iter(own.strata)) for slide, own in count_patches(frame, SLIDE, target or None).items()}
    slides = list(slides)
    leaks = split_faults(table, spec, {row["slide"]: row.get("path") or "" for row in slides})
    parted = read_splits(table).slides if next(read_cohort_table(table), None) else ()
    folds: list[FoldSummary] = []
    for number in range(1 + max((row.fold for row in parted), default=-1)):
        own = [row for row in parted if row.fold == number]
        counts = sum((Counter(labels[row.slide].strata) for row in own), Counter[str]())
        groups, patches = len({row.group for row in own}), sum(row.patches for row in own)
        targets = Counter(values[row.slide].strip() or MISSING for row in own) if target else Counter[str]()
        sorted_counts = (dict(sorted(one.items())) for one in (counts, targets))
        folds.append(FoldSummary(str(number), len(own), groups, patches, *sorted_counts))
    named = "" if spec.by == SLIDE else f"{spec.by} and no "
    verdict = f"No {named}slide is in more than one fold, not even as a copy."
    if leaks:
        verdict = "These folds leak or are incomplete."
    # Slides with patches are in no fold either where groups are too few: only those without patches are listed.
    if left_out := sorted(row.get("path") or row["slide"] for row in slides if row["slide"] not in labels):
        count = f"{format_count(len(left_out), 'slide')} without patches {'is' if len(left_out) == 1 else 'are'}"
        verdict += f" {count} in no fold: {format_list(left_out)}."
    holders: dict[str, list[str]] = defaultdict(list)
    for fold in folds:
        for name in (*fold.labels, *(f"{target} {value}" for value in fold.targets)):
            holders[name].append(fold.fold)
    lonely = [f"{name} (fold {own[0]})" for name, own in holders.items() if len(own) == 1]
    return SplitSummary(spec.by, folds, verdict, leaks, lonely, target)
