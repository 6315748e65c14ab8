"""Render the report of a run as one HTML page."""

from __future__ import annotations

import base64
import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slidemill.core.files import replacing
from slidemill.core.outcomes import Outcome
from slidemill.core.quality_measures import MEASURES
from slidemill.core.run_warnings import collect_warnings
from slidemill.core.text import format_digits
from slidemill.report._embedded_images import embed_bytes, embed_file, embed_pictures, relative_url
from slidemill.report._summary import (
    NO_STORES,
    NOT_COMPARED,
    STORE_LATER,
    ConcernCounts,
    concerns,
    tissue_note,
    verdict,
)
from slidemill.report.palette import css_background
from slidemill.report.plots import advice, claim, plot_quality, recommendation
from slidemill.report.split_summary import SplitSummary
from slidemill.report.versions import Run
from slidemill.sampling.label_faults import label_faults
from slidemill.sampling.quality_notes import all_counts, focus_notes, ink_notes, summaries

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATE = "report.html"
UNANNOTATED = "unannotated"
"""Reason of patches that are dropped because ``labels.unannotated`` is ``skip``."""

NOT_MEASURED = "The stores are measured once all of them are made."
MOST_LISTED = 100
"""Slides whose audit has examples, some kilobytes each."""

Rows = Sequence[Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Pictures:
    """A slide's pictures: its overlay, and the montage of its patches."""

    overlay: Path
    montage: Path


@dataclass(frozen=True, slots=True)
class LabelTable:
    """The number of patches by slide and label.

    Parameters
    ----------
    labels
        (label, name, colour) of each label, sorted.
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
    names = {name for own in counts.values() for name in own}
    labels = sorted((label_map.get(name, -1), name) for name in names)
    rows = {slide: [own.get(name, 0) for _, name in labels] for slide, own in counts.items()}
    totals = [sum(column) for column in zip(*rows.values(), strict=True)]
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


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportData:
    """The content of the report.

    Parameters
    ----------
    slides, validation, measured, unreadable
        Rows of the tables of slides, of validation, of the benchmark, and of patches that cannot be read.
    outcomes
        The outcomes of write_metadata.
    label_map
        Names of labels to integers.
    plot
        The benchmark's plot as PNG; None where nothing was measured.
    pictures
        JPEG files by slide; those that do not fit into the page are linked.
    run
        Parameters and versions.
    unmade
        Files that the run should have made but did not, which the page lists.
    splits
        The folds, if there are any.
    """

    slides: Rows
    validation: Rows
    measured: Rows
    outcomes: Sequence[Outcome]
    label_map: Mapping[str, int]
    plot: Path | None
    pictures: Mapping[str, Pictures]
    run: Run
    unreadable: Rows = ()
    unmade: Sequence[str] = ()
    splits: SplitSummary | None = None


def render(page: Path, data: ReportData) -> None:
    """Publish the report at `page`."""
    environment = _environment()
    slides, validation, measured, outcomes = data.slides, data.validation, data.measured, data.outcomes
    wrong = [row for row in validation if row["status"] == "failed"]
    labels, audited, quality = label_table(outcomes, data.label_map), audits(outcomes), quality_rows(outcomes)
    counts = all_counts(outcomes)
    unannotated = [row["slide"] for row in slides if row["status"] == "ok" and not row["annotation"]]
    unmapped = unmapped_names(outcomes)
    noted = [slide for slide, own in quality.items() if own["notes"]]
    # Slides with a fault or a note come first, then those with the most doubtful labels.
    first = dict.fromkeys([*(row["slide"] for row in wrong), *noted, *audited, *data.pictures])
    files = {slide: (own.overlay, own.montage) for slide, own in data.pictures.items()}
    held = embed_pictures(files, [slide for slide in first if slide in files], page.parent)
    splits = data.splits
    faults = label_faults(slides, data.run.parameters.get("labels", {}).get("unmapped", "ignore"))
    unmeasured = bool(data.unmade) and not measured
    has_stores = data.run.parameters.get("stores") != {}
    method = data.run.parameters.get("tissue", {}).get("method", "")
    masked = sum(bool(one.sample and one.sample.mask_fingerprint) for one in outcomes)
    script = environment.get_template("report.js").render()
    context = {
        "script": script,
        "most_listed": MOST_LISTED,
        "script_digest": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        "slides": slides,
        "warnings": collect_warnings(data.run.warnings, slides),
        "states": {
            state: sum(row["status"] == state for row in slides) for state in ("ok", "empty", "failed", "unfinished")
        },
        "patches": sum(int(row["patches"] or 0) for row in slides if row["status"] == "ok"),
        "checks": len(validation),
        "wrong": wrong,
        "verdict": verdict(validation) if has_stores else NO_STORES,
        "has_stores": has_stores,
        "tissue_note": tissue_note(method, masked, len(outcomes)),
        "concerns": concerns(
            slides,
            ConcernCounts(
                wrong=len(wrong),
                unreadable=len(data.unreadable),
                unannotated=len(unannotated),
                unmapped=len(unmapped),
                doubtful=len(noted),
                leaks=len(splits.leaks) if splits else 0,
                lonely=len(splits.lonely) if splits else 0,
                untrusted=len(faults),
            ),
        ),
        "label_faults": faults,
        "skipped": [row["slide"] for row in slides if row["dropped"].startswith(UNANNOTATED)],
        "validation": _by_check(validation),
        "stores": list(dict.fromkeys(row["backend"] for row in validation)),
        "facts": [row for row in measured if row["unit"] != "patches/s"],
        "rates": [row for row in measured if row["unit"] == "patches/s"],
        "advice": STORE_LATER if not has_stores else NOT_MEASURED if unmeasured else advice(measured),
        "recommendation": NOT_COMPARED if not has_stores else NOT_MEASURED if unmeasured else recommendation(measured),
        "claim": claim(measured),
        "unannotated": unannotated,
        "labels": labels,
        "unmapped": unmapped,
        "audits": audited,
        "anchors": {slide: f"picture-{number}" for number, slide in enumerate(data.pictures, start=1)},
        "notes": {own.slide: own.labels.notes for own in outcomes if own.labels and own.labels.notes},
        "quality": quality,
        "distributions": embed_bytes(plot_quality(counts)) if counts else None,
        "definitions": {one.column: one.definition for one in MEASURES if one.column in counts},
        "plot": embed_file(data.plot) if data.plot else None,
        "pictures": {slide: (alt_text(slide, labels), *own) for slide, own in held.items()},
        "linked": {
            slide: [relative_url(file, page.parent) for file in own]
            for slide, own in files.items()
            if slide not in held
        },
        "run": data.run,
        "unreadable": data.unreadable,
        "unmade": data.unmade,
        "splits": splits,
        "split_labels": sorted({name for fold in splits.folds for name in fold.labels}) if splits else [],
    }
    with replacing(page) as aside:
        aside.write_text(environment.get_template(TEMPLATE).render(context), encoding="utf-8")


def alt_text(slide: str, labels: LabelTable) -> str:
    """Describe in words what a slide's overlay shows."""
    own = labels.rows.get(slide, ())
    named = [f"{count:,} {name}" for count, (_, name, _) in zip(own, labels.labels, strict=False) if count]
    return f"Slide {slide} with its patches by label: {', '.join(named) or 'none'}"


def _environment() -> Environment:
    """Return the template environment with its filters."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("slidemill.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["thousands"] = lambda value: f"{float(value):,.0f}" if value else ""
    environment.filters["significant"] = lambda value: (
        format_digits(float(value), 3) if abs(float(value)) < 1000 else f"{float(value):,.0f}"
    )
    return environment


def _by_check(validation: Rows) -> dict[str, dict[str, tuple[int, int]]]:
    """Return the numbers of failed patches and slides by check and store."""
    table: dict[str, dict[str, tuple[int, int]]] = defaultdict(dict)
    for row in validation:
        checked, failed = table[row["check"]].get(row["backend"], (0, 0))
        table[row["check"]][row["backend"]] = checked + int(row["checked"]), failed + (row["status"] == "failed")
    return table
