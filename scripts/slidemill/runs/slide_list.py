"""The slides of a run, listed and checked before any job."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from slidemill.core.columns import METADATA_COLUMNS
from slidemill.core.specs import SplitSpec
from slidemill.core.text import format_count as counted_noun
from slidemill.datasets.slide_groups import PATIENT, SLIDE, check_groups, find_shared
from slidemill.errors import ConfigError, SplitError
from slidemill.runs._annotation_check import PlanRemarks, check_annotations
from slidemill.runs.config import Config, is_sheet
from slidemill.slides.discovery import Found, SlideFile, search_slides
from slidemill.slides.sample_sheet import read_sheet


def list_slides(config: Config, sheet_schema: Mapping[str, Any]) -> tuple[list[SlideFile], PlanRemarks]:
    """Return the slides that the configuration names, from its folder or its sheet, and remarks; open none.

    Raises
    ------
    ConfigError
        When there is none, the sheet is wrong, annotations fit no slide, or `labels.unannotated` is missing.
    """
    if is_sheet(config.slides):
        found = Found(read_sheet(config.slides, sheet_schema, frozenset(METADATA_COLUMNS)))
    else:
        found = search_slides(config.slides, config.annotations, config.results, config.tissue_masks)
    return found.slides, check_annotations(found, config)


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
    if lines := find_shared(groups, by, fingerprints={}, patients=patients):
        raise ConfigError("\n".join(f"splits.by is {by}: {line}" for line in lines))
