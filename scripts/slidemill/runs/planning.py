"""The start of a run: checks, slide lists and messages before any job."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import yaml

from slidemill.config.config_file import check_file, check_size
from slidemill.config.configuration import Config, is_sheet, read_config
from slidemill.coordinates.matching import match_coordinates
from slidemill.core.columns import LABEL, METADATA_COLUMNS, PATIENT, SLIDE
from slidemill.core.results_layout import PLAN
from slidemill.core.specs import SplitSpec
from slidemill.core.text import did_you_mean, format_count
from slidemill.datasets.slide_groups import check_groups, find_shared
from slidemill.errors import INTERRUPTED, ConfigError, SlidemillError, SplitError, explain
from slidemill.runs._annotation_check import PlanRemarks, check_annotations
from slidemill.runs.run_lock import unrecorded
from slidemill.runs.run_plan import read_plan
from slidemill.runs.workflow import SCRIPTS, Workflow
from slidemill.slides.discovery import Found, SlideFile, search_slides
from slidemill.slides.file_endings import ignored_warnings
from slidemill.slides.sample_sheet import read_sheet

STARTED_IN = "SLIDEMILL_STARTED_IN"
"""Environment variable with the folder that a run was started in; a cluster's jobs start elsewhere, and inherit it."""

WRONG_CONFIG = "slidemill: the configuration is wrong, and nothing has been run:\n"
NOTHING_RUN = "slidemill: nothing has been run:\n"


@contextmanager
def exits(head: str) -> Iterator[None]:
    """Exit with one message, prefixed by `head`, on a user or machine error.

    Ctrl-C ends in one message too.
    """
    try:
        yield
    except KeyboardInterrupt:
        print("slidemill: interrupted; nothing has been run", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except (SlidemillError, OSError) as error:
        sys.exit(f"{head}{explain(error)}")


def check_files(paths: Iterable[Path]) -> None:
    """Check that the configuration's files can be read; exit if one cannot."""
    with exits(WRONG_CONFIG):
        for path in paths:
            check_file(path)


def plan_workflow(values: Mapping[str, Any], *, is_main: bool) -> Workflow:
    """Return the workflow of a configuration.

    The process exits where the configuration or its slides are wrong.

    A cluster's jobs read the slides that the run has written down, since files may have changed meanwhile.

    Parameters
    ----------
    values
        The configuration as Snakemake read it.
    is_main
        Whether this is the process of the run, not of one of its jobs. Only that one prints notes and warnings.
    """
    # A plan is millions of objects that live to its end: the search for garbage among them took a third of its time.
    gc.freeze()
    gc.set_threshold(1_000_000, 100, 100)
    if is_main:
        os.environ[STARTED_IN] = str(Path.cwd())
    with exits(WRONG_CONFIG):
        check_size(values)
        config = read_config(values, base=Path(os.environ.get(STARTED_IN, Path.cwd())))
        planned = config.results / PLAN
        if not is_main and planned.exists():
            plan = read_plan(planned)
            return Workflow(config, plan.slides, plan.warnings, dict(plan.prints))
        schema = yaml.safe_load((SCRIPTS.parent / "workflow/schemas/slides.schema.yaml").read_text(encoding="utf-8"))
        slides, remarks = list_slides(config, schema)
        warnings = [*ignored_warnings(config.slides, config.results), *remarks.warnings]
        check_sheet(config.splits, slides)
    if is_main:
        for line in [*remarks.notes, *(f"warning: {warning}" for warning in warnings)]:
            print(f"slidemill: {line}", file=sys.stderr)
    return Workflow(config, {slide.slide: slide for slide in slides}, warnings)


def report_unrecorded(run: Workflow) -> None:
    """Print a warning on files that have no Snakemake record.

    The process exits where the records cannot be read.
    """
    with exits(NOTHING_RUN):
        bare = unrecorded(run.config.results, run.job_files)
    if bare:
        print(
            f"slidemill: {run.config.results}: what {format_count(len(bare), 'file')} "
            f"{'was' if len(bare) == 1 else 'were'} made from is not known, {bare[0]} among them: its record is gone, "
            "or the disk was full. If the configuration has changed since, nobody sees it: remove these files "
            "(--forceall makes all files again)",
            file=sys.stderr,
        )


def report_no_stores(run: Workflow, targets: Collection[str]) -> None:
    """Print a warning where stores are asked for and none is configured."""
    if not run.backends and (asked := sorted({"stores", "validated"}.intersection(targets))):
        print(
            f"slidemill: warning: the target {asked[0]} writes and checks no store: stores is {{}} in the "
            "configuration; name a store, such as stores: {lmdb: {}}",
            file=sys.stderr,
        )


def list_slides(config: Config, sheet_schema: Mapping[str, Any]) -> tuple[list[SlideFile], PlanRemarks]:
    """Return the configured slides, and remarks on their annotations and masks.

    No slide is opened.

    Raises
    ------
    ConfigError
        When there is no slide, the sheet is wrong, annotations or coordinates fit no slide, or `labels.unannotated` is
        missing.
    """
    if is_sheet(config.slides):
        found = Found(read_sheet(config.slides, sheet_schema, frozenset(METADATA_COLUMNS)))
    else:
        found = search_slides(config.slides, config.annotations, config.results, masks=config.tissue_masks)
    remarks = check_annotations(found, config)
    if config.coordinates is None:
        return found.slides, remarks
    given = match_coordinates(config.coordinates, found.slides)
    remarks.warnings.extend(given.warnings)
    return given.slides, remarks


def check_sheet(spec: SplitSpec | None, slides: Collection[SlideFile]) -> None:
    """Check, before any job, that slides can be split as configured.

    Raises
    ------
    ConfigError
        When the sheet lacks a column, a slide has no group, there are fewer groups than folds, or a patient's slides
        are in several groups.
    """
    if spec is None:
        return
    by = spec.by
    known = dict.fromkeys(name for slide in slides for name in slide.columns)
    _check_column("by", by, known, other=SLIDE)
    if spec.stratify is not None:
        _check_column("stratify", spec.stratify, known, other=LABEL)
    groups = {slide.slide: slide.slide if by == SLIDE else slide.columns[by] for slide in slides}
    paths = {slide.slide: unquote(slide.path) for slide in slides}
    try:
        check_groups(groups, by, paths=paths)
    except SplitError as error:
        raise ConfigError(f"splits.by is {by}: {error}") from None
    count = len(set(groups.values()))
    if count < spec.folds:
        raise ConfigError(
            f"splits.folds is {spec.folds}: {by} has {format_count(count, 'value')}: give no more folds than that"
        )
    patients = {slide.slide: slide.columns.get(PATIENT, "") for slide in slides}
    if lines := find_shared(groups, by, fingerprints={}, patients=patients, paths=paths):
        raise ConfigError("\n".join(f"splits.by is {by}: {line}" for line in lines))


def _check_column(key: str, column: str, known: Collection[str], *, other: str) -> None:
    """Check that a key of `splits` names a column of the sheet, or the `other` value that needs no sheet."""
    if column == other or column in known:
        return
    there = f"there are {', '.join(known)}" if known else "there are none"
    raise ConfigError(
        f"splits.{key} is {column}{did_you_mean(column, [*known, other])}: slides have such a column in a sheet that "
        f"lists them, and {there}: add it to the sheet, or give {key}: {other}"
    )
