"""Gather the results of all slides into the cohort's tables."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from slidemill.core.columns import (
    FEATURE_COLUMNS,
    LABEL_NUMBERS,
    METADATA_COLUMNS,
    SLIDE_COLUMNS,
    STORE_COLUMNS,
    UNREADABLE_COLUMNS,
    VALIDATION_COLUMNS,
)
from slidemill.core.csv_tables import read_columns, read_table, write_table
from slidemill.core.job_log import LOG
from slidemill.core.outcomes import UNFINISHED, Outcome, find_seal, read_outcome
from slidemill.core.parquet import write_parquet
from slidemill.core.results_layout import PLAN, STORE_STAGES, CohortTables, outcome_file
from slidemill.core.run_warnings import join_warnings
from slidemill.core.seals import seal_tables
from slidemill.core.stage_facts import UnreadablePatch, describe_unreadable
from slidemill.core.text import name_slide
from slidemill.datasets.slide_records import ReadingChoice, SlideRecord, SlideRecords, write_records
from slidemill.features.rows import checked_in, feature_findings, feature_rows
from slidemill.runs.job_settings import Settings, check_cohort_settings, cohort_digest
from slidemill.runs.run_plan import read_plan
from slidemill.sampling.quality_notes import annotation_warnings, focus_notes
from slidemill.slides.discovery import decode_path
from slidemill.stages.job import Job


@dataclass(frozen=True, slots=True)
class SlideResults:
    """A slide's outcomes and tables in a run.

    Parameters
    ----------
    facts
        The outcome of discover_slides or of a later stage.
    later
        The outcomes of the stages after that one, in their order.
    metadata, validation
        The slide's tables; None where an unfinished run has not made them, or there are no stores.
    """

    facts: Outcome
    later: Sequence[Outcome]
    metadata: Path | None = None
    validation: Path | None = None


def slide_row(
    one: SlideResults,
    findings: Sequence[Mapping[str, str]],
    skip_unreadable: bool,
    *,
    notes: Sequence[str] = (),
    warnings: Sequence[str] = (),
) -> dict[str, Any]:
    """Return a slide's row of the table of slides.

    The status is that of the first stage that failed or did not end. Patches that cannot be read and findings of the
    validation fail the slide too.

    Parameters
    ----------
    one
        The slide's results.
    findings
        The slide's rows of the validation table.
    skip_unreadable
        Whether patches that cannot be read do not fail a slide that has others.
    notes, warnings
        Notes and warnings from a comparison of all slides.
    """
    facts, stages = one.facts, [one.facts, *one.later]
    failure = next((outcome for outcome in stages if outcome.status in ("failed", UNFINISHED)), None)
    unreadable = unreadable_patches(stages)
    sample = next((outcome.sample for outcome in stages if outcome.sample), None)
    labels = next((outcome.labels for outcome in stages if outcome.labels), None)
    stores = [outcome.store for outcome in stages if outcome.store]
    patches = stores[-1].patches if stores else sample.patches if sample else 0
    wrong = [finding for finding in findings if finding["status"] == "failed"]
    if failure:
        status, stage, message = failure.status, failure.stage, failure.message
    elif unreadable and not (skip_unreadable and patches):
        status, stage, message = "failed", "store_patches", describe_unreadable(unreadable, patches)
    elif wrong:
        status, stage = "failed", checked_in(wrong[0])
        message = f"{wrong[0]['backend']}, {wrong[0]['check']}: {wrong[0]['message']}"
    else:
        status, stage, message = "empty" if any(outcome.status == "empty" for outcome in stages) else "ok", "", ""
    row: dict[str, Any] = {
        "slide": facts.slide,
        "path": decode_path(facts.path),
        "status": status,
        "stage": stage,
        "message": message,
        "notes": "; ".join([*facts.slide_notes, *filter(None, [_join(store.colour_note for store in stores)]), *notes]),
        "warnings": join_warnings([*(warning for outcome in stages for warning in outcome.warnings), *warnings]),
        "patches": patches,
        "unreadable": len(unreadable),
        "reader": _join(store.reader for store in stores),
        "reader_reason": _join(store.reader_reason for store in stores),
        "fingerprint": facts.fingerprint,
    }
    if sample:
        dropped = "; ".join(f"{reason} {count}" for reason, count in sample.dropped.items())
        row |= {"grid_patches": sample.grid, "ink_fraction": sample.ink_fraction, "dropped": dropped}
    if labels:
        row |= {name: getattr(labels, name) for name in ("annotation", *LABEL_NUMBERS)}
    if known := facts.facts:
        info = known.info
        row |= {name: getattr(info, name) for name in ("vendor", "mpp_x", "mpp_y", "objective_power", "icc")}
        row |= {name: getattr(known, name) for name in ("mpp_source", "deepzoom_levels", "file_size")}
        row |= {"width": info.size[0], "height": info.size[1], "levels": len(info.dimensions)}
        row["level_downsamples"] = ";".join(f"{value:.10g}" for value in info.downsamples)
        row["bounds"] = ";".join(map(str, info.bounds or ()))
    return row


@dataclass(frozen=True, slots=True, kw_only=True)
class GatherJob:
    """Inputs and outputs of the job that gathers results.

    Parameters
    ----------
    labelled, metadata, validation
        The outcomes of write_metadata and two tables, of the same slides in the same order; without stores none.
    stored
        The outcomes of store_patches of all slides.
    skip_unreadable
        Whether patches that cannot be read do not fail a slide that has others.
    tables
        The cohort's tables.
    settings
        By slide, the settings of this run, if they are known; tables of another run are refused.
    reading
        As of `write_cohort`.
    embedded
        The outcomes of embed_patches of all slides and models.
    """

    labelled: Sequence[Path]
    stored: Sequence[Path]
    metadata: Sequence[Path]
    validation: Sequence[Path]
    skip_unreadable: bool
    tables: CohortTables
    settings: Mapping[str, Settings] = field(default_factory=dict)
    reading: ReadingChoice | None = None
    embedded: Sequence[Path] = ()

    @classmethod
    def from_job(cls, job: Job) -> GatherJob:
        """Return the inputs and outputs of the rule gather_results."""
        skip = job.params["unreadable_patches"] == "skip"
        settings = read_plan(PLAN).settings
        reading = ReadingChoice(job.roots.slides, job.params["reader"], job.params["icc"])
        tables = CohortTables(**job.outputs)
        return cls(skip_unreadable=skip, tables=tables, settings=settings, reading=reading, **job.input_lists)


def gather_results(job: GatherJob) -> None:
    """Publish the cohort's tables.

    Raises
    ------
    SlidemillError
        When a table or an outcome is damaged, or of another run.
    """
    outcomes: dict[str, list[Outcome]] = defaultdict(list)
    stages: dict[str, dict[str, Outcome]] = defaultdict(dict)
    for path in job.stored:
        outcome = read_outcome(path)
        outcomes[outcome.slide].append(outcome)
        stages[outcome.slide][STORE_STAGES[path.parent.name]] = outcome
    embedded = defaultdict[str, list[Outcome]](list)
    for path in job.embedded:
        outcome = read_outcome(path)
        embedded[outcome.slide].append(outcome)
    slides = []
    validation: Sequence[Path | None] = job.validation or [None] * len(job.labelled)
    for path, patches, findings in zip(job.labelled, job.metadata, validation, strict=True):
        found = read_outcome(path)
        later = outcomes[found.slide]
        if findings:
            later = [*later, read_outcome(findings.parents[1] / outcome_file("validate_stores", findings.stem))]
        slides.append(SlideResults(found, [*later, *embedded[found.slide]], patches, findings))
    for one in slides:
        stages[one.facts.slide]["write_metadata"] = one.facts
    check_cohort_settings(Path(), stages, job.settings)
    known = cohort_digest(job.settings) if job.settings else ""
    write_cohort(slides, job.skip_unreadable, job.tables, settings=known, reading=job.reading)


def write_cohort(
    slides: Sequence[SlideResults],
    skip_unreadable: bool,
    tables: CohortTables,
    *,
    settings: str = "",
    reading: ReadingChoice | None = None,
) -> None:
    """Publish the cohort's tables; their seals are written last.

    Parameters
    ----------
    slides
        The slides. Their tables are checked by the seals in their outcomes. The metadata has the stored patches of
        those that are ok.
    skip_unreadable
        Whether patches that cannot be read do not fail a slide that has others.
    tables
        The tables.
    settings
        Digest of the settings of all slides, or nothing.
    reading
        How slides are read; None writes no records of it.

    Raises
    ------
    SlidemillError
        When a slide's table is damaged.
    """
    metadata: list[tuple[SlideResults, frozenset[str]]] = []
    unreadable, records = list[dict[str, Any]](), dict[str, SlideRecord]()
    blurred, doubts = focus_notes(one.facts for one in slides), annotation_warnings([one.facts for one in slides])

    def slide_rows() -> Iterator[dict[str, Any]]:
        for one in slides:
            slide = one.facts.slide
            notes = [blurred[slide]] if slide in blurred else []
            row = slide_row(one, list(_findings(one)), skip_unreadable, notes=notes, warnings=doubts.get(slide, ()))
            LOG.info("%s: %s %s", name_slide(slide, str(row["path"])), row["status"], row["message"])
            record = reading.record(one.facts) if reading else None
            if record and record.reading and not row["reader"]:
                row |= {"reader": record.reading.reader, "reader_reason": record.reading.reason}
            left_out = unreadable_patches(one.later)
            unreadable.extend({"slide": slide, **asdict(patch)} for patch in left_out)
            if row["status"] == "ok" and one.metadata:
                records.update({slide: record} if record else {})
                metadata.append((one, frozenset(patch.patch_id for patch in left_out)))
            yield row

    rows = {tables.slides.name: write_table(tables.slides, SLIDE_COLUMNS, slide_rows())}
    header = next((read_columns(one.metadata) for one in slides if one.metadata), METADATA_COLUMNS)
    stored = (row for one, left_out in metadata for row in _metadata_rows(one) if row["patch_id"] not in left_out)
    rows[tables.metadata.name] = rows[tables.columnar.name] = write_table(tables.metadata, header, stored)
    write_parquet(tables.columnar, tables.metadata)
    stores = (
        {"slide": outcome.slide} | {name: getattr(outcome.store, name) for name in STORE_COLUMNS[1:]}
        for one in slides
        for outcome in one.later
        if outcome.store
    )
    rows[tables.stores.name] = write_table(tables.stores, STORE_COLUMNS, stores)
    rows[tables.unreadable.name] = write_table(tables.unreadable, UNREADABLE_COLUMNS, unreadable)
    findings = chain.from_iterable(_findings(one) for one in slides)
    rows[tables.validation.name] = write_table(tables.validation, VALIDATION_COLUMNS, findings)
    if tables.features:
        embedded = feature_rows(chain.from_iterable(one.later for one in slides))
        rows[tables.features.name] = write_table(tables.features, FEATURE_COLUMNS, embedded)
    if reading:
        rows[tables.records.name] = write_records(tables.records, SlideRecords(reading.root, records))
    seal_tables(tables.seals.parent, rows, tables.seals.name, settings=settings)


def _metadata_rows(one: SlideResults) -> Iterator[dict[str, str]]:
    seal = find_seal([one.facts, *one.later], "metadata")
    return read_table(one.metadata, seal=seal) if one.metadata else iter(())


def _findings(one: SlideResults) -> Iterator[dict[str, str]]:
    """Yield the findings on a slide's stores, then those on its features."""
    if one.validation:
        yield from read_table(one.validation, seal=find_seal(one.later, "validation"))
    yield from feature_findings(one.later)


def unreadable_patches(outcomes: Iterable[Outcome]) -> list[UnreadablePatch]:
    """Return a slide's unreadable patches, which no store has, in raster order."""
    found = {patch.patch_id: patch for outcome in outcomes if outcome.store for patch in outcome.store.unreadable}
    return [found[patch_id] for patch_id in sorted(found)]


def _join(texts: Iterable[str | None]) -> str:
    """Join texts without duplicates, since jobs of several backends report the same."""
    return "; ".join(dict.fromkeys(filter(None, texts)))
