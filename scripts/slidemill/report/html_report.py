"""Render the report of a run as one HTML page."""

from __future__ import annotations

import base64
import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from slidemill.core.files import replacing
from slidemill.core.outcomes import Outcome
from slidemill.core.quality_measures import MEASURES
from slidemill.core.run_warnings import collect_warnings
from slidemill.core.text import format_count, format_digits, format_duration, format_size
from slidemill.features.rows import BACKEND
from slidemill.report._advice import advice, claim, recommendation, unmeasured
from slidemill.report._embedded_images import embed_pictures, relative_url
from slidemill.report._label_tables import alt_text, audits, label_table, quality_rows, unmapped_names
from slidemill.report._summary import (
    NO_STORES,
    NOT_COMPARED,
    STORE_LATER,
    ConcernCounts,
    concerns,
    tissue_note,
    verdict,
)
from slidemill.report.estimate_table import HEADS, show_candidates
from slidemill.report.plots import as_svg, inline_svg, quality_figure
from slidemill.report.split_summary import SplitSummary
from slidemill.report.versions import Run
from slidemill.sampling.label_faults import label_faults
from slidemill.sampling.quality_notes import all_counts

if TYPE_CHECKING:
    from jinja2 import Environment

    from slidemill.report.feature_summary import FeatureSummary

TEMPLATE = "report.html"
UNANNOTATED = "unannotated"
"""Reason of patches that are dropped because ``labels.unannotated`` is ``skip``."""

NOT_MEASURED = "The stores are measured once all of them are made."
SWITCHED_OFF = "The speed of the stores was not measured, since benchmark is false."
PLOT = "Patches per second by store and way of reading, and sizes of the stores; the tables below have the figures"
CHECK_TERMS = {
    "opens": "The store opens and is complete.",
    "ids": "It holds every patch, and no other.",
    "manifest": "It belongs to this slide, backend, patch size, sampling and colours.",
    "index": "Each patch is listed once, at its place in the slide.",
    "decodes": "Every patch gives an image of the right size.",
    "digests": "Bytes and pixels are those that were written.",
    "stores agree": "All lossless stores hold the same pixels.",
    "count": "The features have a row for each stored patch, in the order of the patches.",
    "finite": "No value of the features is NaN or infinite.",
    "coordinates": "The features are at the places of their patches.",
    "embedded again": "A random sample, read and embedded again, gives the same features.",
    "equals slide": "A random sample, read again from the slide by OpenSlide, is the same.",
}
"""What each check of the validation means."""

FACT_TERMS = {"bytes": "size on disk", "write": "time to write", "write memory": "memory to write"}
"""What the report calls measures of the benchmark that are not rates."""

MOST_LISTED = 100
"""Slides whose audit has examples, some kilobytes each."""

Rows = Sequence[Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Pictures:
    """A slide's pictures: its overlay, and the montage of its patches."""

    overlay: Path
    montage: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportData:
    """The content of the report.

    Parameters
    ----------
    slides, stored, validation, measured, unreadable
        Rows of the tables of slides, of stores, of validation, of the benchmark, and of patches that cannot be read.
    outcomes
        The outcomes of write_metadata.
    label_map
        Names of labels to integers.
    pictures
        JPEG files by slide; those that do not fit into the page are linked.
    run
        Parameters and versions.
    unmade
        Files that the run should have made but did not, which the page lists.
    splits
        The folds, if there are any.
    candidates, estimate
        Rows of the tables of candidates: that of the benchmark, and that of ``slidemill estimate``.
    features
        The features of each model.
    plot
        The benchmark's plot, an SVG file's text; empty in a run without benchmark.
    """

    slides: Rows
    stored: Rows
    validation: Rows
    measured: Rows
    outcomes: Sequence[Outcome]
    label_map: Mapping[str, int]
    pictures: Mapping[str, Pictures]
    run: Run
    unreadable: Rows = ()
    unmade: Sequence[str] = ()
    splits: SplitSummary | None = None
    candidates: Rows = ()
    estimate: Rows = ()
    features: Sequence[FeatureSummary] = ()
    plot: str = ""


def render(page: Path, data: ReportData) -> None:
    """Publish the report at `page`."""
    environment = _environment()
    slides, validation, measured, outcomes = data.slides, data.validation, data.measured, data.outcomes
    wrong = [row for row in validation if row["status"] == "failed"]
    labels, audited, quality = label_table(outcomes, data.label_map), audits(outcomes), quality_rows(outcomes)
    counts = all_counts(outcomes)
    distributions = as_svg(quality_figure(counts)) if counts else ""
    unannotated = [row["slide"] for row in slides if row["status"] == "ok" and not row["annotation"]]
    unmapped = unmapped_names(outcomes)
    noted = [slide for slide, own in quality.items() if own["notes"]]
    # Slides with a fault or a note come first, then those with the most doubtful labels.
    first = dict.fromkeys([*(row["slide"] for row in wrong), *noted, *audited, *data.pictures])
    files = {slide: (own.overlay, own.montage) for slide, own in data.pictures.items()}
    held = embed_pictures(files, [slide for slide in first if slide in files], page.parent)
    splits = data.splits
    names = {row["slide"]: row["path"] or row["slide"] for row in slides}
    warnings = collect_warnings(data.run.warnings, slides)
    faults = label_faults(slides, data.run.parameters.get("labels", {}).get("unmapped", "ignore"))
    is_on = data.run.parameters.get("benchmark") is not False
    no_benchmark = SWITCHED_OFF if not is_on else NOT_MEASURED if data.unmade and not measured else ""
    has_stores = data.run.parameters.get("stores") != {}
    method = data.run.parameters.get("tissue", {}).get("method", "")
    masked = sum(bool(one.sample and one.sample.mask_fingerprint) for one in outcomes)
    script = environment.get_template("report.js").render()
    context = {
        "script": script,
        "most_listed": MOST_LISTED,
        "script_digest": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        "slides": slides,
        "names": names,
        "warnings": warnings,
        "stored_bytes": sum(int(row["bytes"] or 0) for row in data.stored),
        "states": {
            state: sum(row["status"] == state for row in slides) for state in ("ok", "empty", "failed", "unfinished")
        },
        "patches": sum(int(row["patches"] or 0) for row in slides if row["status"] == "ok"),
        "checks": len(validation),
        "wrong": wrong,
        "verdict": verdict([row for row in validation if not row["backend"].startswith(BACKEND)])
        if has_stores
        else NO_STORES,
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
        "advice": STORE_LATER if not has_stores else no_benchmark or advice(measured, data.run.memory),
        "recommendation": no_benchmark or recommendation(measured, data.run.memory) if has_stores else NOT_COMPARED,
        "has_benchmark": has_stores and is_on,
        "unmeasured": unmeasured(measured),
        "claim": claim(measured, data.candidates),
        "candidates": show_candidates(data.candidates),
        "estimate": show_candidates(data.estimate),
        "estimate_heads": HEADS,
        "unannotated": unannotated,
        "labels": labels,
        "unmapped": unmapped,
        "audits": audited,
        "anchors": {slide: f"picture-{number}" for number, slide in enumerate(data.pictures, start=1)},
        "notes": {own.slide: own.labels.notes for own in outcomes if own.labels and own.labels.notes},
        "quality": quality,
        "distributions": inline_svg(distributions, f"Patches by {', '.join(counts)}") if counts else "",
        "definitions": {one.column: one.definition for one in MEASURES if one.column in counts},
        "check_terms": CHECK_TERMS,
        "fact_terms": FACT_TERMS,
        "plot": inline_svg(data.plot, PLOT) if data.plot else "",
        "pictures": {slide: (alt_text(slide, names.get(slide, slide), labels), *own) for slide, own in held.items()},
        "linked": {
            slide: [relative_url(file, page.parent) for file in own]
            for slide, own in files.items()
            if slide not in held
        },
        "run": data.run,
        "unreadable": data.unreadable,
        "unmade": data.unmade,
        "splits": splits,
        "features": data.features,
        "split_labels": _ordered_names(splits, data.label_map) if splits else [],
        "split_targets": sorted({value for fold in splits.folds for value in fold.targets}) if splits else [],
    }
    with replacing(page) as aside:
        aside.write_text(environment.get_template(TEMPLATE).render(context), encoding="utf-8")


@cache
def _environment() -> Environment:
    """Return the template environment with its filters; it compiles each template once."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("slidemill.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["size"] = lambda value: format_size(float(value))
    environment.filters["duration"] = format_duration
    environment.filters["count"] = format_count
    environment.filters["thousands"] = lambda value: f"{float(value):,.0f}" if value else ""
    environment.filters["significant"] = lambda value: (
        "" if not value else format_digits(float(value), 3) if abs(float(value)) < 1000 else f"{float(value):,.0f}"
    )
    return environment


def _ordered_names(splits: SplitSummary, label_map: Mapping[str, int]) -> list[str]:
    """Return the names of the folds' labels in the map's order, others last."""
    names = {name for fold in splits.folds for name in fold.labels}
    return [*label_map, *sorted(names - set(label_map))]


def _by_check(validation: Rows) -> dict[str, dict[str, tuple[int, int]]]:
    """Return the numbers of failed patches and slides by check and store."""
    table: dict[str, dict[str, tuple[int, int]]] = defaultdict(dict)
    for row in validation:
        checked, failed = table[row["check"]].get(row["backend"], (0, 0))
        table[row["check"]][row["backend"]] = checked + int(row["checked"]), failed + (row["status"] == "failed")
    return table
