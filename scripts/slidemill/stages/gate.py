"""Fail with a table of what is wrong, when more slides failed than may, or folds leak."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from slidemill.core.csv_tables import read_cohort_table
from slidemill.core.job_log import LOG
from slidemill.core.specs import SplitSpec
from slidemill.core.text import format_count
from slidemill.errors import SlidemillError
from slidemill.report.split_summary import split_faults
from slidemill.sampling.label_faults import label_faults
from slidemill.stages.job import Job


@dataclass(frozen=True, slots=True, kw_only=True)
class GateJob:
    """What must hold for a run to succeed.

    Parameters
    ----------
    slides, validation
        The cohort's tables.
    max_failed
        How many slides may fail.
    splits, spec
        The table of folds, and how slides were split; None where they were not, or folds are not asked for.
    unmapped
        What becomes of a run with names that the map of labels lacks, as the configuration has it.
    """

    slides: Path
    validation: Path
    max_failed: int
    splits: Path | None = None
    spec: SplitSpec | None = None
    unmapped: str = "ignore"

    @classmethod
    def from_job(cls, job: Job) -> GateJob:
        """Return what a job of the rule gate is to do."""
        inputs, params = job.inputs, job.params
        return cls(
            slides=inputs["slides"],
            validation=inputs["validation"],
            max_failed=params["max_failed"],
            splits=inputs.get("splits"),
            spec=SplitSpec(**params["splits"]) if params["splits"] else None,
            unmapped=params["unmapped"],
        )


def require_success(job: GateJob) -> None:
    """Check that no more slides failed than may, and that labels and folds can be trusted.

    Raises
    ------
    SlidemillError
        With a line for each slide or check that failed, and each fault of labels and folds.
    """
    faults = _complaints(read_cohort_table(job.slides), read_cohort_table(job.validation))
    lines = [f"  {line}" for own in faults.values() for line in own]
    kept = f"everything else is done and kept in {job.slides.parent.resolve()}"
    told = []
    if len(faults) > job.max_failed:
        allowed = f", and max_failed allows {job.max_failed}" if job.max_failed else ""
        told += [
            f"{format_count(len(faults), 'slide')} failed{allowed}; {kept}:",
            "  slide  stage  what is wrong",
            *lines,
        ]
    if wrong := label_faults(read_cohort_table(job.slides), job.unmapped):
        told += [f"the labels cannot be trusted; {kept}:", *(f"  {line}" for line in wrong)]
    if job.splits and job.spec and (wrong := split_faults(job.splits, job.spec)):
        told += [f"the folds in {job.splits.name} are not to be trusted; {kept}:", *(f"  {line}" for line in wrong)]
    if told:
        raise SlidemillError("\n".join(told))
    for line in lines:
        LOG.warning("allowed by max_failed: %s", line)
    LOG.info("%s failed, %d may", format_count(len(faults), "slide"), job.max_failed)


def _complaints(slides: Iterable[Mapping[str, str]], validation: Iterable[Mapping[str, str]]) -> dict[str, list[str]]:
    """Return, for each slide that failed, a line for what failed and one for each further check that did."""
    lines: dict[str, dict[str, None]] = {}
    for row in slides:
        if row["status"] == "failed":
            lines[row["slide"]] = {f"{row['slide']}  {row['stage']}  {row['message']}": None}
    for row in validation:
        if row["status"] == "failed":
            line = f"{row['slide']}  validate_stores  {row['backend']}, {row['check']}: {row['message']}"
            lines.setdefault(row["slide"], {})[line] = None
    return {slide: list(own) for slide, own in lines.items()}
