"""Summarize a run at the top of its report: the verdict and the concerns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from slidemill.core.run_warnings import PLURALS
from slidemill.core.text import format_count

Rows = Sequence[Mapping[str, str]]

NO_STORES = "This run writes no stores (stores: {}), so there is nothing to validate."
STORE_LATER = (
    "To train from these patches, name a backend, such as stores: {lmdb: {encoding: zstd}}, and run again: "
    "nothing is sampled or labelled again."
)
NOT_COMPARED = "This run writes no stores (stores: {}), so there is nothing to benchmark."


@dataclass(frozen=True, slots=True)
class Concern:
    """A concern to check: its kind (``bad``, ``warn``), text and section."""

    kind: str
    text: str
    section: str


@dataclass(frozen=True, slots=True)
class ConcernCounts:
    """Numbers of concerns that a reader should check.

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
        Faults of the labels that fail the run.
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
    """Return the result of the validation as a sentence."""
    wrong = [row for row in validation if row["status"] == "failed"]
    if not validation:
        return "No store was checked."
    if not wrong:
        return f"All {format_count(len(validation), 'check')} of the stores passed."
    slides = len({row["slide"] for row in wrong})
    return f"{len(wrong):,} of {format_count(len(validation), 'check')} failed, in {format_count(slides, 'slide')}."


def tissue_note(method: str, masked: int, slides: int) -> str:
    """Return a sentence if the tissue filter is off for some slides, else nothing.

    Parameters
    ----------
    method
        The configuration's key ``tissue.method``.
    masked, slides
        Number of slides with a custom mask, and of all slides.
    """
    if method != "none" or (slides and masked == slides):
        return ""
    where = f" for {slides - masked:,} of {format_count(slides, 'slide')}" if masked else ""
    return f"The tissue filter is off{where} (tissue.method: none): patches without tissue are kept."


def concerns(slides: Rows, counts: ConcernCounts) -> list[Concern]:
    """Return the concerns, worst first; `slides` are rows of slides.csv."""
    states = Counter(row["status"] for row in slides)
    found = [
        ("bad", states["failed"], "slide", "failed", "slides"),
        ("bad", states["unfinished"], "slide", "unfinished", "slides"),
        ("bad", counts.wrong, "check", "of the stores failed", "validation"),
        ("bad", counts.untrusted, "", "the labels cannot be trusted", "audit"),
        ("bad", counts.leaks, "leak", "between the folds of the splits", "splits"),
        ("warn", states["empty"], "slide", "gave no patch", "slides"),
        ("warn", counts.unreadable, "patch", "cannot be read", "slides"),
        ("warn", counts.unmapped, "name", "in annotations that labels.map lacks", "audit"),
        ("warn", counts.unannotated, "slide", "without an annotation", "audit"),
        ("warn", counts.lonely, "label", "in only one fold", "splits"),
        ("warn", counts.doubtful, "slide", "with a note on sharpness or ink", "quality"),
    ]
    return [
        Concern(kind, f"{format_count(number, unit, PLURALS.get(unit, ''))} {text}" if unit else text, section)
        for kind, number, unit, text, section in found
        if number
    ]
