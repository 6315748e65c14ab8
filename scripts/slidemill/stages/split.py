"""Folds as a stage of the workflow."""

from __future__ import annotations

from pathlib import Path

from slidemill.core.csv_tables import read_cohort_table, write_table
from slidemill.core.seals import SPLITS_SEAL, seal_tables
from slidemill.core.specs import SplitSpec
from slidemill.datasets.folds import COLUMNS
from slidemill.datasets.slide_groups import SLIDE, counted
from slidemill.datasets.split import split_slides


def write_splits(metadata: Path, slides: Path, spec: SplitSpec, seed: int, table: Path) -> None:
    """Publish the folds of the slides that have patches, and the table's seal; no rows where they are fewer than folds.

    Parameters
    ----------
    metadata
        The cohort's metadata, Parquet.
    slides
        The table of slides.
    spec, seed
        How they are parted.
    table
        Where the folds will stand.

    Raises
    ------
    SlidemillError
        When a table is not what a run writes.
    """
    from slidemill.core.parquet import read_columnar

    wanted = dict.fromkeys((SLIDE, spec.by, spec.stratify or SLIDE))
    found = counted(read_columnar(metadata, list(wanted)), spec.by, spec.stratify)
    prints = {row["slide"]: row["fingerprint"] for row in read_cohort_table(slides, ("slide", "fingerprint"))}
    if len({own.group for own in found.values()}) < spec.folds:
        # The report and the gate come after: what else there is to say is not lost for it.
        count = write_table(table, COLUMNS, ())
    else:
        splits = split_slides(found, prints, spec.folds, spec.by, spec.stratify, seed)
        splits.save(table)
        count = len(splits.slides)
    seal_tables(table.parent, {table.name: count}, SPLITS_SEAL)
