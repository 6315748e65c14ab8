"""Digests of the settings that made a slide's tables, to detect other runs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xxhash

from slidemill.core.results_layout import COHORT_SEALS, PLAN, outcome_file
from slidemill.core.seals import read_sealed
from slidemill.core.text import format_list
from slidemill.errors import SlidemillError
from slidemill.runs.run_plan import read_plan

if TYPE_CHECKING:
    from slidemill.core.outcomes import Outcome

STAGES = ("discover_slides", "sample_patches", "write_metadata")
"""The stages that decide which patches exist and how they are labelled, in their order."""
FOREIGN = "was made with other settings or of other files than this run has; remove it and run again"

Settings = Mapping[str, str]
"""By stage, the digest of its settings."""


def settings_digest(parameters: Mapping[str, Any]) -> str:
    """Return a digest of a rule's parameters without that of its code."""
    own = {name: value for name, value in parameters.items() if name != "code"}
    return xxhash.xxh3_128_hexdigest(json.dumps(own, sort_keys=True).encode())


def with_settings(outcome: Outcome, stage: str, digest: str | None) -> Outcome:
    """Return the outcome with the digest of its stage's settings added.

    Digests of earlier stages are kept. Without a digest, the outcome is returned unchanged.
    """
    return replace(outcome, settings={**outcome.settings, stage: digest}) if digest else outcome


def foreign_stage(outcomes: Mapping[str, Outcome], expected: Settings) -> str | None:
    """Return the first stage whose outcome was made with other settings.

    None if all outcomes match.

    Parameters
    ----------
    outcomes
        Of one slide, by stage in their order. Outcomes of stages that are not in `STAGES`, such as
        ``store_patches/lmdb``, have only the digests of the stages before them.
    expected
        The slide's settings; if they are not known, nothing is foreign.
    """
    for stage, outcome in outcomes.items():
        # Labels do not change how patches are stored.
        last = STAGES.index(stage) if stage in STAGES else STAGES.index("sample_patches")
        if any(outcome.settings.get(one) != expected.get(one) for one in STAGES[: last + 1] if expected):
            return stage
    return None


def foreign_file(results: Path, outcomes: Mapping[str, Outcome], expected: Settings) -> str | None:
    """Return the first outcome file of a slide that was made with other settings.

    The path is relative to the results; None if all outcomes match.

    Parameters
    ----------
    results
        The folder of results.
    outcomes, expected
        As of `foreign_stage`. Those of stages before them are read only where one of these does not fit.
    """
    if foreign_stage(outcomes, expected) is None:
        return None
    from slidemill.core.outcomes import read_outcome  # no job that reads the Snakefile needs it

    slide = next(iter(outcomes.values())).slide
    read = {stage: results / outcome_file(stage, slide) for stage in STAGES if stage not in outcomes}
    every = {stage: read_outcome(path) for stage, path in read.items() if path.exists()} | dict(outcomes)
    stage = foreign_stage(dict(sorted(every.items(), key=lambda item: _order(item[0]))), expected)
    return outcome_file(stage, slide) if stage else None


def check_cohort_settings(
    results: Path, outcomes: Mapping[str, Mapping[str, Outcome]], expected: Mapping[str, Settings]
) -> None:
    """Check, by slide, that outcomes are of this run and not of another.

    Raises
    ------
    SlidemillError
        When some are of another run.
    """
    checked = (foreign_file(results, own, expected.get(slide, {})) for slide, own in outcomes.items())
    if foreign := [file for file in checked if file]:
        raise SlidemillError(f"{format_list(foreign)}: {FOREIGN}")


def gathered_settings(results: Path) -> Mapping[str, Settings]:
    """Return, by slide, the settings of the run that gathered the cohort's tables.

    The results keep the plan of the run that was started last. If that is another run, or there is no plan, the
    settings are not known, and the mapping is empty.
    """
    try:
        seals, _ = read_sealed(results / COHORT_SEALS)
        settings = read_plan(results / PLAN).settings
    except (SlidemillError, OSError, ValueError):
        return {}
    return settings if isinstance(seals, dict) and seals.get("settings") == cohort_digest(settings) else {}


def _order(stage: str) -> int:
    return STAGES.index(stage) if stage in STAGES else len(STAGES)


def cohort_digest(settings: Mapping[str, Settings]) -> str:
    """Return one digest of the settings of all slides.

    It identifies the plan that finished tables were made with.
    """
    return xxhash.xxh3_128_hexdigest(json.dumps(settings, sort_keys=True).encode())
