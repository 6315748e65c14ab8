"""Split the slides of a run into folds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from slidemill.core.columns import SLIDE
from slidemill.core.csv_tables import read_cohort_table, write_table
from slidemill.core.job_log import LOG
from slidemill.core.results_layout import SPLITS_SEAL
from slidemill.core.seals import seal_tables
from slidemill.core.specs import SplitSpec
from slidemill.datasets.folds import COLUMNS
from slidemill.datasets.slide_groups import count_patches
from slidemill.datasets.split import split_slides
from slidemill.report.split_summary import split_faults
from slidemill.stages.job import Job


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitJob:
    """Inputs and output of the job that splits slides into folds.

    Parameters
    ----------
    metadata, slides
        The cohort's metadata as Parquet, and the table of slides.
    spec, seed
        How slides are split.
    table
        The table of folds.
    """

    metadata: Path
    slides: Path
    spec: SplitSpec
    seed: int
    table: Path

    @classmethod
    def from_job(cls, job: Job) -> SplitJob:
        """Return the inputs and output of the rule split_slides."""
        spec = SplitSpec(**job.params["splits"])
        return cls(spec=spec, seed=job.params["seed"], table=job.outputs["table"], **job.inputs)


def write_splits(job: SplitJob) -> None:
    """Publish the folds of all slides with patches, and the seal of the table.

    If there are fewer groups than folds, the table is empty. Faults of the folds are logged; the gate fails for them.

    Raises
    ------
    SlidemillError
        When a table is damaged.
    """
    from slidemill.core.parquet import read_parquet

    spec, table = job.spec, job.table
    wanted = dict.fromkeys((SLIDE, spec.by, spec.stratify or SLIDE))
    rows = list(read_cohort_table(job.slides, ("slide", "path", "fingerprint")))
    paths, prints = ({row["slide"]: row[name] for row in rows} for name in ("path", "fingerprint"))
    found = count_patches(read_parquet(job.metadata, list(wanted)), spec.by, spec.stratify, paths=paths)
    if len({own.group for own in found.values()}) < spec.folds:
        # The report and the gate still run.
        count = write_table(table, COLUMNS, ())
    else:
        splits = split_slides(found, prints, spec, seed=job.seed)
        splits.save(table)
        count = len(splits.slides)
    seal_tables(table.parent, {table.name: count}, SPLITS_SEAL)
    for fault in split_faults(table, spec, paths):
        LOG.warning("%s", fault)
