"""Which slides are trained on and which are tested on: groups of slides, such as a patient's, are never cut."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from numbers import Integral
from typing import Any

from slidemill.core.text import format_count
from slidemill.datasets._balancing import balanced
from slidemill.datasets.folds import DIGITS, D, SlideFold, Splits
from slidemill.datasets.slide_groups import (
    PATIENT,
    SLIDE,
    SlidePatches,
    counted,
    shared_contents,
    shared_patients,
    slides_values,
)
from slidemill.errors import LeakageError, SplitError


def split(dataset: D, folds: int, by: str = PATIENT, stratify: str | None = "label", seed: int = 0) -> Splits[D]:
    """Return the dataset's slides in folds that are as alike as their groups allow.

    Parameters
    ----------
    dataset
        What is parted.
    folds
        How many folds, 2 or more.
    by
        The column of ``dataset.table`` whose values are never cut, such as ``"patient"``; ``"slide"`` for the slides.
    stratify
        The column of which every fold has the same shares; None for patches alone.
    seed
        Of the order among groups that are equally large.

    Raises
    ------
    SplitError
        When a slide has no group or several, or there are fewer groups than folds.
    LeakageError
        When a slide's content, or a patient, is in two groups.
    """
    splits = split_slides(counted(dataset.table, by, stratify), dataset.fingerprints, folds, by, stratify, seed)
    patients = slides_values(dataset.table, PATIENT) if PATIENT in dataset.table else {}
    if lines := split_leaks(splits, patients):
        raise LeakageError("\n".join(lines))
    return Splits(splits.by, splits.stratify, splits.seed, splits.slides, dataset)


def every_kth(dataset: D, total: int) -> Splits[D]:
    """Return the dataset's slides in `total` folds as py-wsi's sets are: of the sorted ids, each that many is in one.

    Neither patients nor copies of a slide are looked at: `slidemill.datasets.leakage.check_leakage` does.

    Raises
    ------
    SplitError
        When there are fewer slides than folds, or fewer than two folds.
    """
    found = counted(dataset.table, SLIDE)
    total = _whole("total", total, 2)
    _check_folds(total, len(found), SLIDE)
    chosen = {slide: place % total for place, slide in enumerate(sorted(found))}
    return Splits(SLIDE, None, 0, _rows(found, dataset.fingerprints, chosen), dataset)


def split_slides(
    slides: Mapping[str, SlidePatches],
    fingerprints: Mapping[str, str],
    folds: int,
    by: str,
    stratify: str | None,
    seed: int,
) -> Splits[Any]:
    """Return folds of slides, as `split` does, by what was counted of them; copies of slides are not looked at.

    Raises
    ------
    SplitError
        When there are fewer groups than folds, or folds and seed are not whole numbers, from 2 and from 0 up.
    """
    folds, seed = _whole("folds", folds, 2), _whole("seed", seed, 0)
    if seed >= 10**DIGITS:
        raise SplitError(f"seed has more than {DIGITS} digits: give a smaller one")
    groups: dict[str, Counter[str]] = defaultdict(Counter)
    for own in slides.values():
        groups[own.group].update(own.strata)
    _check_folds(folds, len(groups), by)
    fold_of = balanced(groups, folds, seed)
    chosen = {slide: fold_of[own.group] for slide, own in slides.items()}
    return Splits(by, stratify, seed, _rows(slides, fingerprints, chosen))


def split_leaks(splits: Splits[Any], patients: Mapping[str, str]) -> list[str]:
    """Return a line for each content, and each patient, that is in several groups, whichever folds these are in.

    `patients` are by slide.
    """
    groups = {row.slide: row.group for row in splits.slides}
    prints = {row.slide: row.fingerprint for row in splits.slides}
    return [*shared_contents(groups, prints, splits.by), *shared_patients(groups, patients, splits.by)]


def _whole(name: str, value: int, least: int) -> int:
    if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
        raise SplitError(f"{name} is {value!r}: give a whole number, {least} or more")
    return int(value)


def _check_folds(folds: int, groups: int, by: str) -> None:
    if groups < folds:
        values = format_count(groups, "value that has patches", "values that have patches")
        raise SplitError(f"{folds} folds are asked for, and {by} has {values}: give fewer folds")


def _rows(
    slides: Mapping[str, SlidePatches], fingerprints: Mapping[str, str], chosen: Mapping[str, int]
) -> tuple[SlideFold, ...]:
    return tuple(
        SlideFold(slide, fingerprints.get(slide, ""), own.group, chosen[slide], sum(own.strata.values()))
        for slide, own in sorted(slides.items())
    )
