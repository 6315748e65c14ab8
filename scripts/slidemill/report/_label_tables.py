"""Tables of the report about labels and quality, from the outcomes of slides."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from slidemill.core.outcomes import Outcome
from slidemill.report._palette import css_background
from slidemill.sampling.quality_notes import focus_notes, ink_notes, summaries


@dataclass(frozen=True, slots=True)
class LabelTable:
    """The number of patches by slide and label.

    Parameters
    ----------
    labels
        Label, name and CSS background of each, in the order of the map; names that it lacks follow.
    rows
        By slide, the number of patches of each of these labels.
    totals
        The same of all slides.
    """

    labels: Sequence[tuple[int, str, str]]
    rows: Mapping[str, Sequence[int]]
    totals: Sequence[int]


def label_table(outcomes: Iterable[Outcome], label_map: Mapping[str, int]) -> LabelTable:
    """Count patches by slide and label; unmapped labels are -1."""
    counts = {own.slide: own.labels.counts for own in outcomes if own.labels and not own.failed}
    names = [*label_map, *sorted({name for own in counts.values() for name in own} - set(label_map))]
    rows = {slide: [own.get(name, 0) for name in names] for slide, own in counts.items()}
    totals = [sum(column) for column in zip(*rows.values(), strict=True)]
    labels = [(label_map.get(name, -1), name) for name in names]
    return LabelTable([(label, name, css_background(label)) for label, name in labels], rows, totals)


def unmapped_names(outcomes: Iterable[Outcome]) -> dict[str, dict[str, int]]:
    """Return the number of patches by slide for each name the map lacks."""
    found: dict[str, dict[str, int]] = defaultdict(dict)
    for outcome in outcomes:
        if own := outcome.labels:
            for name in own.unmapped:
                found[name][outcome.slide] = own.counts.get(name, 0)
    return dict(sorted(found.items()))


def quality_rows(outcomes: Sequence[Outcome]) -> dict[str, dict[str, Any]]:
    """Return the fields of each slide's `QualitySummary`, and its ``notes``."""
    blurred = focus_notes(outcomes)
    return {
        slide: {**asdict(own), "notes": [*ink_notes(own), *filter(None, [blurred.get(slide)])]}
        for slide, own in summaries(outcomes).items()
    }


def audits(outcomes: Iterable[Outcome]) -> dict[str, Mapping[str, Any]]:
    """Return, by slide, its `LabelAudit` and regions, ``all``, most doubtful first."""
    found = {
        outcome.slide: {**asdict(outcome.labels.audit), "all": outcome.labels.regions}
        for outcome in outcomes
        if outcome.labels and outcome.labels.audit
    }
    return dict(
        sorted(
            found.items(),
            key=lambda item: (item[1]["differing"] / max(item[1]["patches"], 1), item[1]["unreached"]),
            reverse=True,
        )
    )


def alt_text(slide: str, path: str, labels: LabelTable) -> str:
    """Describe in words what a slide's overlay shows."""
    own = labels.rows.get(slide, ())
    named = [f"{count:,} {name}" for count, (_, name, _) in zip(own, labels.labels, strict=False) if count]
    return f"Slide {path} with its patches by label: {', '.join(named) or 'none'}"
