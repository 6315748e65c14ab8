"""What the report says first: whether all is well, in words, and what to look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from slidemill.core.text import format_count

Rows = Sequence[Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Concern:
    """Something to look at: its kind (``bad`` or ``warn``), what it is, and the section that tells more."""

    kind: str
    text: str
    section: str


@dataclass(frozen=True, slots=True)
class ConcernCounts:
    """How many there are of what a reader should look at.

    Parameters
    ----------
    wrong
        Checks of the validation that failed.
    unreadable
        Patches that cannot be read.
    unannotated
        Slides without an annotation.
    unmapped
        Names that the map of labels lacks.
    doubtful
        Slides with a note on their quality.
    leaks
        Leaks between the folds of the splits.
    lonely
        Labels that only one fold has.
    untrusted
        Names of labels that the map lacks, where the run fails for them.
    """

    wrong: int = 0
    unreadable: int = 0
    unannotated: int = 0
    unmapped: int = 0
    doubtful: int = 0
    leaks: int = 0
    lonely: int = 0
    untrusted: int = 0


def verdict(validation: Rows) -> str:
    """Return what the validation found, in a sentence."""
    wrong = [row for row in validation if row["status"] == "failed"]
    if not validation:
        return "No store was checked."
    if not wrong:
        return f"All {format_count(len(validation), 'check')} of the stores passed."
    slides = len({row["slide"] for row in wrong})
    return f"{len(wrong):,} of {format_count(len(validation), 'check')} failed, in {format_count(slides, 'slide')}."


def concerns(slides: Rows, counts: ConcernCounts) -> list[Concern]:
    """Return what a reader should look at, the worst first; `slides` are the rows of the table of slides."""
    failed = sum(row["status"] == "failed" for row in slides)
    unfinished = sum(row["status"] == "unfinished" for row in slides)
    empty = sum(row["status"] == "empty" for row in slides)
    found = [
        (failed, "bad", f"{format_count(failed, 'slide')} failed", "slides"),
        (unfinished, "bad", f"{format_count(unfinished, 'slide')} did not come to an end", "slides"),
        (counts.wrong, "bad", f"{format_count(counts.wrong, 'check')} of the stores failed", "validation"),
        (counts.untrusted, "bad", "the labels cannot be trusted", "audit"),
        (counts.leaks, "bad", f"{format_count(counts.leaks, 'leak')} between the folds of the splits", "splits"),
        (empty, "warn", f"{format_count(empty, 'slide')} gave no patch", "slides"),
        (counts.unreadable, "warn", f"{format_count(counts.unreadable, 'patch', 'patches')} cannot be read", "slides"),
        (counts.unmapped, "warn", f"{format_count(counts.unmapped, 'name')} of labels not in labels.map", "audit"),
        (counts.unannotated, "warn", f"{format_count(counts.unannotated, 'slide')} without an annotation", "audit"),
        (counts.lonely, "warn", f"{format_count(counts.lonely, 'label')} of one fold only", "splits"),
        (
            counts.doubtful,
            "warn",
            f"{format_count(counts.doubtful, 'slide')} with a note on sharpness or ink",
            "quality",
        ),
    ]
    return [Concern(kind, text, section) for number, kind, text, section in found if number]
