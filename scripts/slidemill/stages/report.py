"""Render the report of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slidemill.core.csv_tables import read_cohort_table, read_table
from slidemill.core.outcomes import read_outcome
from slidemill.core.results_layout import ESTIMATE_TABLE
from slidemill.core.specs import SplitSpec
from slidemill.report.html_report import Pictures, ReportData, render
from slidemill.report.plots import read_plot
from slidemill.report.split_summary import summarize_splits
from slidemill.report.versions import Run, this_run
from slidemill.stages.job import Job

if TYPE_CHECKING:
    from slidemill.report.feature_summary import FeatureSummary


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportJob:
    """Inputs and output of the job that renders the report.

    Parameters
    ----------
    page
        The report.
    slides, stores, validation, unreadable
        The cohort's tables.
    labelled, overlays, montages
        The outcomes of write_metadata, and the pictures, of the same slides in the same order.
    label_map
        Names of labels to integers.
    run
        Parameters and versions.
    benchmark, candidates, plot
        The benchmark's tables and plot; None in a run without stores or benchmark.
    estimate
        The table of ``slidemill estimate``; None without one.
    features, metadata
        The tables of features and of patches; None in a run without models.
    splits, columnar, spec
        The table of folds, the cohort's metadata as Parquet, and how slides were split; None without folds.
    """

    page: Path
    slides: Path
    stores: Path
    validation: Path
    unreadable: Path
    labelled: Sequence[Path]
    overlays: Sequence[Path]
    montages: Sequence[Path]
    label_map: Mapping[str, int]
    run: Run
    benchmark: Path | None = None
    candidates: Path | None = None
    plot: Path | None = None
    estimate: Path | None = None
    splits: Path | None = None
    columnar: Path | None = None
    spec: SplitSpec | None = None
    features: Path | None = None
    metadata: Path | None = None

    @classmethod
    def from_job(cls, job: Job) -> ReportJob:
        """Return the inputs and output of the rule render_report."""
        parameters = dict(job.params["parameters"])
        files: dict[str, Any] = {**job.inputs, **job.input_lists, **job.outputs}
        return cls(
            label_map=parameters["labels"]["map"],
            run=this_run(parameters, job.command, job.params["warnings"]),
            # No input, since a run does not make it.
            estimate=Path(ESTIMATE_TABLE) if job.params["estimate"] else None,
            spec=SplitSpec(**parameters["splits"]) if parameters["splits"] else None,
            **files,
        )


def render_report(job: ReportJob) -> None:
    """Publish the report.

    Raises
    ------
    SlidemillError
        When a table or an outcome is damaged.
    """
    outcomes = [read_outcome(path) for path in job.labelled]
    pictures = map(Pictures, job.overlays, job.montages)
    slides = list(read_cohort_table(job.slides))
    splits = None
    if job.splits and job.columnar and job.spec:
        splits = summarize_splits(job.splits, job.spec, slides, metadata=job.columnar)
    data = ReportData(
        slides=slides,
        stored=list(read_cohort_table(job.stores)),
        validation=list(read_cohort_table(job.validation)),
        measured=list(read_cohort_table(job.benchmark)) if job.benchmark else [],
        outcomes=outcomes,
        label_map=job.label_map,
        pictures=dict(zip((outcome.slide for outcome in outcomes), pictures, strict=True)),
        run=job.run,
        unreadable=list(read_cohort_table(job.unreadable)),
        splits=splits,
        candidates=list(read_table(job.candidates)) if job.candidates else [],
        features=_summaries(job),
        plot=read_plot(job.plot) if job.plot else "",
        estimate=list(read_cohort_table(job.estimate)) if job.estimate else [],
    )
    render(job.page, data)


def _summaries(job: ReportJob) -> list[FeatureSummary]:
    if not (job.features and job.metadata):
        return []
    from slidemill.report.feature_summary import summarize_features  # most runs have no features

    return summarize_features(job.features, job.metadata, job.label_map)
