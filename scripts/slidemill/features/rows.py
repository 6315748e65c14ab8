"""Rows of the cohort's tables about features, from the outcomes of embed_patches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from slidemill.core.columns import FEATURE_COLUMNS
from slidemill.core.outcomes import Outcome

BACKEND = "features/"
"""Begins, before the name of the features, the backend of their rows in the table of validation."""


def feature_rows(outcomes: Iterable[Outcome]) -> Iterator[dict[str, Any]]:
    """Yield the rows of the table of features."""
    for outcome in outcomes:
        if outcome.features:
            yield {"slide": outcome.slide} | {name: getattr(outcome.features, name) for name in FEATURE_COLUMNS[1:]}


def feature_findings(outcomes: Iterable[Outcome]) -> Iterator[dict[str, str]]:
    """Yield the rows of the table of validation about features."""
    for outcome in outcomes:
        for check in outcome.features.checks if outcome.features else ():
            yield {name: str(value) for name, value in check.items()}


def checked_in(finding: Mapping[str, str]) -> str:
    """Return the stage that made a row of the table of validation."""
    return "embed_patches" if finding["backend"].startswith(BACKEND) else "validate_stores"
