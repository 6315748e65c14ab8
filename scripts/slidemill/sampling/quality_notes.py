"""Notes from comparing all slides: ink, focus, misplaced annotations.

Copied annotations are found too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median

from slidemill.core.outcomes import Outcome
from slidemill.core.stage_facts import QualitySummary
from slidemill.core.text import format_digits, format_list

INKED_SHARE = 0.01
"""Slides with a larger share of marked patches give a note."""

FOCUS_SLIDES, FOCUS_PATCHES = 3, 20
"""The least number of slides, and of patches with tissue per slide, to compare focus."""

FOCUS_SHARE = 0.25
"""Slides whose median blur is a smaller share of the cohort's median give a note.

A Gaussian blur with a standard deviation of one pixel left 8 to 15 % of the measure to patches of OpenSlide's
CMU-1-Small-Region at 0.5 µm per pixel, and one of 0.7 pixels 21 to 31 %. Other tissue differs too, by an unknown
amount: nothing is dropped."""


CORNERS = ((4, 0.5, "half"), (1, 0.25, "quarter"))
"""The least number of slides, the part of width and height that has all of their regions, and its name."""


def annotation_warnings(outcomes: Sequence[Outcome]) -> dict[str, list[str]]:
    """Return warnings by slide: annotations that are copies or only in a corner."""
    found: dict[str, list[str]] = {}
    for texts in (corner_warnings(outcomes), copy_warnings(outcomes)):
        for slide, text in texts.items():
            found.setdefault(slide, []).append(text)
    return found


def copy_warnings(outcomes: Iterable[Outcome]) -> dict[str, str]:
    """Return a warning per slide whose annotation equals another slide's.

    Annotations without regions give no warning.
    """
    owners: dict[str, list[str]] = {}
    for outcome in outcomes:
        own = None if outcome.failed else outcome.labels
        if own and own.regions and own.annotation_fingerprint:
            owners.setdefault(own.annotation_fingerprint, []).append(outcome.slide)
    return {
        slide: f"its annotation is the same as that of {format_list(own[:2], len(own))}: is one of them a copy?"
        for own in owners.values()
        if len(own) > 1
        for slide in own
    }


def corner_warnings(outcomes: Iterable[Outcome]) -> dict[str, str]:
    """Return a warning per slide if all regions of all slides are near a corner.

    So are coordinates in µm, in percent, or in pixels of a coarser level. By chance, one slide's regions are within the
    first quarter of width and height once in 16 slides, and those of four slides within the first half once in 256.
    """
    reached = {}
    for outcome in outcomes:
        if not outcome.failed and outcome.labels and outcome.labels.reach:
            left, top, wide, high = outcome.info.bounds or (0, 0, *outcome.info.size)
            right, bottom = outcome.labels.reach
            reached[outcome.slide] = max((right - left) / wide, (bottom - top) / high)
    for least, share, name in CORNERS:
        if len(reached) >= least and max(reached.values()) <= share:
            text = f"all regions are in the first {name} of width and height: coordinates are level-0 pixels, not µm"
            return dict.fromkeys(reached, f"{text} or another level's")
    return {}


def ink_notes(summary: QualitySummary) -> list[str]:
    """Return a note on the ink of a slide, if there is enough of it."""
    marked, patches = summary.marked, summary.measured
    if not marked or marked <= INKED_SHARE * patches:
        return []
    return [f"pen: {marked} of {patches} patches have colours of felt pens on them, which some stains have too"]


def focus_notes(outcomes: Iterable[Outcome]) -> dict[str, str]:
    """Return a note per slide that is less sharp than the others."""
    focus = {
        slide: own.focus
        for slide, own in summaries(outcomes).items()
        if own.focus is not None and own.focus_patches >= FOCUS_PATCHES
    }
    if len(focus) < FOCUS_SLIDES:
        return {}
    usual = median(focus.values())
    over = f"{format_digits(usual, 3)} over the slides: check whether it is sharp"
    return {
        slide: f"focus: its median blur is {format_digits(own, 3)}, and {over}"
        for slide, own in focus.items()
        if own < FOCUS_SHARE * usual
    }


def all_counts(outcomes: Iterable[Outcome]) -> dict[str, list[int]]:
    """Return the histogram of each measure over the patches of all slides."""
    sums: dict[str, list[int]] = {}
    for summary in summaries(outcomes).values():
        for name, own in summary.counts.items():
            sums[name] = [one + other for one, other in zip(sums.get(name, [0] * len(own)), own, strict=True)]
    return sums


def summaries(outcomes: Iterable[Outcome]) -> dict[str, QualitySummary]:
    """Return the quality summary of each slide that was measured without failing."""
    known = {outcome.slide: outcome.sample for outcome in outcomes if not outcome.failed}
    return {slide: own.quality for slide, own in known.items() if own and own.quality}
