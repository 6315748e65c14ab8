"""Fail if too many slides failed, or labels or folds have faults."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from slidemill.core.csv_tables import read_cohort_table
from slidemill.core.job_log import LOG
from slidemill.core.specs import SplitSpec
from slidemill.core.text import format_count, name_slide
from slidemill.errors import SlidemillError
from slidemill.features.rows import checked_in
from slidemill.report.split_summary import split_faults
from slidemill.sampling.label_faults import label_faults
from slidemill.stages.job import Job


@dataclass(frozen=True, slots=True, kw_only=True)
class GateJob:
    """Inputs and requirements of the gate.

    Parameters
    ----------
    slides, validation
        The cohort's tables.
    max_failed
        Number of slides that may fail.
    splits, spec
        The table of folds, and how slides were split; None without folds.
    unmapped
        The configuration's key ``labels.unmapped``.
    """

    slides: Path
    validation: Path
    max_failed: int
    splits: Path | None = None
    spec: SplitSpec | None = None
    unmapped: str = "ignore"

    @classmethod
    def from_job(cls, job: Job) -> GateJob:
        """Return the inputs and requirements of the rule gate."""
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
    """Fail if too many slides failed, or if labels or folds have faults.

    Raises
    ------
    SlidemillError
        When they do not, with a line per failed slide or check and per fault of labels and folds.
    """
    faults = _complaints(read_cohort_table(job.slides), read_cohort_table(job.validation))
    lines = [f"  {line}" for own in faults.values() for line in own]
    kept = f"everything else is done and kept in {job.slides.parent.resolve()}"
    message = []
    if len(faults) > job.max_failed:
        allowed = f", and max_failed allows {job.max_failed}" if job.max_failed else ""
        message += [
            f"{format_count(len(faults), 'slide')} failed{allowed}; {kept}:",
            "  slide  stage  what is wrong",
            *lines,
        ]
    if wrong := label_faults(read_cohort_table(job.slides), job.unmapped):
        message += [f"the labels cannot be trusted; {kept}:", *(f"  {line}" for line in wrong)]
    paths = {row["slide"]: row["path"] for row in read_cohort_table(job.slides)}
    if job.splits and job.spec and (wrong := split_faults(job.splits, job.spec, paths)):
        message += [f"the folds in {job.splits.name} are not to be trusted; {kept}:", *(f"  {line}" for line in wrong)]
    if message:
        raise SlidemillError("\n".join(message))
    for line in lines:
        LOG.warning("allowed by max_failed: %s", line)
    LOG.info("%s failed, %d may", format_count(len(faults), "slide"), job.max_failed)


def _complaints(slides: Iterable[Mapping[str, str]], validation: Iterable[Mapping[str, str]]) -> dict[str, list[str]]:
    """Return a line per failed stage or check of each failed slide."""
    lines: dict[str, dict[str, None]] = {}
    names: dict[str, str] = {}
    for row in slides:
        name = names[row["slide"]] = name_slide(row["slide"], row["path"])
        if row["status"] == "failed":
            lines[row["slide"]] = {f"{name}  {row['stage']}  {row['message']}": None}
    for row in validation:
        if row["status"] == "failed":
            name = names.get(row["slide"], row["slide"])
            line = f"{name}  {checked_in(row)}  {row['backend']}, {row['check']}: {row['message']}"
            lines.setdefault(row["slide"], {})[line] = None
    return {slide: list(own) for slide, own in lines.items()}
