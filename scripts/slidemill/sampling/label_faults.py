"""Find faults of a run's labels, for which the gate fails the run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from slidemill.core.columns import LABEL_NUMBERS
from slidemill.core.run_warnings import collect_warnings

LACKING = "labels.map lacks"
"""The first words of a slide's warning about names without a label."""

MOST_NAMED = 10
"""Names to list; the report and ``slides.csv`` have more."""


def label_faults(slides: Iterable[Mapping[str, str]], policy: str) -> list[str]:
    """Return the faults of a run's labels, one per line; empty without a fault.

    The names without a label follow in a line each.

    Parameters
    ----------
    slides
        Rows of the table of slides.
    policy
        ``labels.unmapped``: ``"fail_if_most"``, ``"fail"`` or ``"ignore"``.
    """
    rows = list(slides)
    sums = (sum(int(row.get(column) or 0) for row in rows) for column in LABEL_NUMBERS)
    regions, unmapped_regions, patches, unmapped = sums
    if policy == "ignore" or not unmapped_regions:
        return []
    count = f"{unmapped:,} of the {patches:,} patches that regions label have label -1"
    if unmapped_regions == regions:
        problem = "labels.map has none of the names in the annotations"
    elif policy == "fail" or 2 * unmapped > patches:
        problem = f"labels.map lacks the names of {unmapped_regions:,} of {regions:,} regions"
    else:
        return []
    names = [one.text for one in collect_warnings([], rows) if one.text.startswith(LACKING)]
    return [f"{problem}, and {count}: map these names, or give labels.unmapped: ignore", *names[:MOST_NAMED]]
