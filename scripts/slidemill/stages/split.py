"""Folds as a stage of the workflow: what is seen before any job, and what the stage writes."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from slidemill.core.csv_tables import read_cohort_table, write_table
from slidemill.core.seals import SPLITS_SEAL, seal_tables
from slidemill.core.specs import SplitSpec
from slidemill.core.text import counted as counted_noun
from slidemill.datasets.folds import COLUMNS
from slidemill.datasets.slide_groups import PATIENT, SLIDE, check_groups, counted, shared_patients
from slidemill.datasets.split import split_slides
from slidemill.errors import ConfigError, SplitError
from slidemill.slides.discovery import SlideFile


def check_sheet(spec: SplitSpec | None, slides: Collection[SlideFile]) -> None:
    """See, before any job, that the slides can be parted as the configuration wants it, if it does.

    Raises
    ------
    ConfigError
        When a slide has no group, there are fewer groups than folds, or a patient's slides are in several groups.
    """
    if spec is None:
        return
    by = spec.by
    known = dict.fromkeys(name for slide in slides for name in slide.columns)
    if by != SLIDE and by not in known:
        there = f"there are {', '.join(known)}" if known else "there are none"
        raise ConfigError(
            f"splits.by is {by}: slides have such a column in a sheet that lists them, and {there}: add it to the "
            f"sheet, or give by: {SLIDE}"
        )
    groups = {slide.slide: slide.slide if by == SLIDE else slide.columns[by] for slide in slides}
    try:
        check_groups(groups, by)
    except SplitError as error:
        raise ConfigError(f"splits.by is {by}: {error}") from None
    count = len(set(groups.values()))
    if count < spec.folds:
        raise ConfigError(
            f"splits.folds is {spec.folds}: {by} has {counted_noun(count, 'value')}: give no more folds than that"
        )
    patients = {slide.slide: slide.columns.get(PATIENT, "") for slide in slides}
    if lines := shared_patients(groups, patients, by):
        raise ConfigError("\n".join(f"splits.by is {by}: {line}" for line in lines))


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
