"""What is worth a look at a slide whose patches' quality was measured: ink on it, and whether it is out of focus."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from statistics import median
from typing import Any

from slidemill.outcomes import Outcome
from slidemill.wording import in_digits

INKED_SHARE = 0.01
"""A slide with a larger share of marked patches has been written on."""

FOCUS_SLIDES, FOCUS_PATCHES = 3, 20
"""Slides that a cohort must have, and patches with tissue that each must have, to be compared in focus."""

FOCUS_SHARE = 0.25
"""A slide is doubted whose patches have less than this of the blur measure that the cohort's slides have at the median.

A Gaussian blur of one pixel's standard deviation left 8 to 15 % of it to the patches of OpenSlide's CMU-1-Small-Region,
at 0.5 micrometres a pixel, and one of 0.7 pixels 21 to 31 %. The cohort's median stays as it is while more than half
of the slides are sharp. Other tissue differs too, by how much is not known: hence a note, and nothing is dropped."""


def ink_notes(summary: Mapping[str, Any]) -> list[str]:
    """Return what to say of ink on a slide, by the summary of its `slidemill.measuring.QualityStep`."""
    marked, patches = summary["marked"], summary["measured"]
    if not marked or marked <= INKED_SHARE * patches:
        return []
    return [f"pen: {marked} of {patches} patches have colours of felt pens on them, which some stains have too"]


def focus_notes(outcomes: Iterable[Outcome]) -> dict[str, str]:
    """Return what to say of slides that are less sharp than the others, by slide."""
    focus = {
        outcome.slide: outcome.details["quality"]["focus"]
        for outcome in outcomes
        if not outcome.failed and outcome.details.get("quality", {}).get("focus_patches", 0) >= FOCUS_PATCHES
    }
    if len(focus) < FOCUS_SLIDES:
        return {}
    usual = median(focus.values())
    over = f"{in_digits(usual, 3)} over the slides: see whether it is sharp"
    return {
        slide: f"focus: its median blur is {in_digits(own, 3)}, and {over}"
        for slide, own in focus.items()
        if own < FOCUS_SHARE * usual
    }


def all_counts(outcomes: Iterable[Outcome]) -> dict[str, list[int]]:
    """Return how many patches of all slides lie in each bin, by measure; nothing where none was measured."""
    sums: dict[str, list[int]] = {}
    for outcome in outcomes:
        if not outcome.failed:
            for name, own in outcome.details.get("quality", {}).get("counts", {}).items():
                sums[name] = [one + other for one, other in zip(sums.get(name, [0] * len(own)), own, strict=True)]
    return sums
