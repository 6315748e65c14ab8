"""Render the report of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from slidemill.core.csv_tables import read_cohort_table
from slidemill.core.outcomes import read_outcome
from slidemill.core.specs import SplitSpec
from slidemill.report.html_report import Pictures, ReportData, render
from slidemill.report.split_summary import told_splits
from slidemill.report.versions import Run, this_run
from slidemill.stages.job import Job


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportJob:
    """What the report is made from, and where it goes.

    Parameters
    ----------
    page
        Where the report goes.
    slides, validation, benchmark, unreadable, plot
        The cohort's tables, and the benchmark's plot.
    labelled, overlays, montages
        The outcomes of write_metadata, and the pictures, of the same slides in the same order.
    label_map
        Names of labels to integers.
    run
        Parameters and versions.
    splits, columnar, spec
        The table of folds, the cohort's metadata as Parquet, and how slides were split; None where they were not.
    """

    page: Path
    slides: Path
    validation: Path
    benchmark: Path
    unreadable: Path
    plot: Path
    labelled: Sequence[Path]
    overlays: Sequence[Path]
    montages: Sequence[Path]
    label_map: Mapping[str, int]
    run: Run
    splits: Path | None = None
    columnar: Path | None = None
    spec: SplitSpec | None = None

    @classmethod
    def from_job(cls, job: Job) -> ReportJob:
        """Return what a job of the rule render_report is to do."""
        parameters = dict(job.params["parameters"])
        inputs, lists = job.inputs, job.input_lists
        return cls(
            page=job.outputs["page"],
            slides=inputs["slides"],
            validation=inputs["validation"],
            benchmark=inputs["benchmark"],
            unreadable=inputs["unreadable"],
            plot=inputs["plot"],
            labelled=lists["labelled"],
            overlays=lists["overlays"],
            montages=lists["montages"],
            label_map=parameters["labels"]["map"],
            run=this_run(parameters, job.command, job.params["warnings"]),
            splits=inputs.get("splits"),
            columnar=inputs.get("columnar"),
            spec=SplitSpec(**parameters["splits"]) if parameters["splits"] else None,
        )


def render_report(job: ReportJob) -> None:
    """Publish the report.

    Raises
    ------
    SlidemillError
        When a table or an outcome is damaged.
    """
    outcomes = [read_outcome(path) for path in job.labelled]
    pictures = {
        outcome.slide: Pictures(overlay, montage)
        for outcome, overlay, montage in zip(outcomes, job.overlays, job.montages, strict=True)
    }
    slides, validation, measured, unreadable = (
        list(read_cohort_table(table)) for table in (job.slides, job.validation, job.benchmark, job.unreadable)
    )
    splits = None
    if job.splits and job.columnar and job.spec:
        splits = told_splits(job.splits, job.spec, slides, metadata=job.columnar)
    render(
        job.page,
        ReportData(
            slides=slides,
            validation=validation,
            measured=measured,
            outcomes=outcomes,
            label_map=job.label_map,
            plot=job.plot,
            pictures=pictures,
            run=job.run,
            unreadable=unreadable,
            splits=splits,
        ),
    )
