"""Render the report of a run."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slidemill.core.csv_tables import read_cohort_table
from slidemill.core.job_log import job_log
from slidemill.core.outcomes import read_outcome
from slidemill.core.specs import SplitSpec
from slidemill.report.html_report import Pictures, render
from slidemill.report.split_summary import told_splits
from slidemill.report.versions import Run, this_run

if TYPE_CHECKING:
    from snakemake.iocontainers import Snakemake

    snakemake: Snakemake


def main(page: Path, inputs: Any, label_map: Mapping[str, int], run: Run, spec: SplitSpec | None = None) -> None:
    """Publish the report; `inputs` are the rule's, by name, and `spec` is how slides were parted into folds."""
    outcomes = [read_outcome(Path(path)) for path in inputs.labelled]
    pictures = {
        outcome.slide: Pictures(Path(overlay), Path(montage))
        for outcome, overlay, montage in zip(outcomes, inputs.overlays, inputs.montages, strict=True)
    }
    slides, validation, measured, unreadable = (
        list(read_cohort_table(Path(table)))
        for table in (inputs.slides, inputs.validation, inputs.benchmark, inputs.unreadable)
    )
    plot = Path(inputs.plot)
    splits = told_splits(Path(inputs.splits), spec, slides, Path(inputs.columnar)) if spec else None
    render(page, slides, validation, measured, outcomes, label_map, plot, pictures, run, unreadable, splits=splits)


if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        params = dict(snakemake.params.parameters)
        main(
            Path(snakemake.output.page),
            snakemake.input,
            params["labels"]["map"],
            this_run(params, snakemake.config["command"], snakemake.params.warnings),
            SplitSpec(**params["splits"]) if params["splits"] else None,
        )
