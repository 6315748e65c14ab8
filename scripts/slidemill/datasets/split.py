"""Split slides into folds that keep groups, such as a patient's slides, whole."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import replace
from numbers import Integral
from typing import Any

from slidemill.core.columns import PATIENT, SLIDE
from slidemill.core.specs import SplitSpec
from slidemill.core.text import format_count
from slidemill.datasets._balancing import balance_groups
from slidemill.datasets.folds import DIGITS, D, SlideFold, Splits
from slidemill.datasets.slide_groups import SlidePatches, count_patches, find_shared
from slidemill.errors import LeakageError, SplitError


def split(dataset: D, folds: int, by: str = PATIENT, *, stratify: str | None = "label", seed: int = 0) -> Splits[D]:
    """Split the slides of a dataset into balanced folds that keep groups whole.

    Parameters
    ----------
    dataset
        The dataset.
    folds
        Number of folds, at least 2.
    by
        The column of ``dataset.table`` whose values stay in one fold, such as ``"patient"``, or ``"slide"``.
    stratify
        The column of which all folds have the same shares as far as possible; None balances only patches.
    seed
        Order of groups of about the same size.

    Raises
    ------
    SplitError
        When a slide has no group or several, or there are fewer groups than folds.
    LeakageError
        When slides of one content, or of one patient, are in two groups.
    """
    table, spec = dataset.table, SplitSpec(folds, by, stratify)
    splits = split_slides(
        count_patches(table, by, stratify, paths=dataset.paths), dataset.fingerprints, spec, seed=seed
    )
    groups, patients = {row.slide: row.group for row in splits.slides}, {}
    if PATIENT in table:
        pairs = table[[SLIDE, PATIENT]].drop_duplicates().astype("object").fillna("").astype(str)
        patients = dict(zip(pairs[SLIDE], pairs[PATIENT], strict=True))
    if lines := find_shared(groups, by, fingerprints=dataset.fingerprints, patients=patients, paths=dataset.paths):
        raise LeakageError("\n".join(lines))
    return replace(splits, dataset=dataset)


def every_kth(dataset: D, total: int) -> Splits[D]:
    """Return py-wsi's sets as folds, each with every `total`-th slide.

    Patients and copies of slides are not checked: `slidemill.datasets.leakage.check_leakage` does that.

    Raises
    ------
    SplitError
        When there are fewer slides than folds, or fewer than two folds.
    """
    found = count_patches(dataset.table, SLIDE)
    total = _whole("total", total, 2)
    _check_folds(total, len(found), SLIDE)
    chosen = {slide: place % total for place, slide in enumerate(sorted(found))}
    return Splits(SLIDE, None, 0, _rows(found, dataset.fingerprints, chosen), dataset)


def split_slides(
    slides: Mapping[str, SlidePatches], fingerprints: Mapping[str, str], spec: SplitSpec, *, seed: int
) -> Splits[Any]:
    """Split slides into folds as `split` does, without checking for copies.

    Parameters
    ----------
    slides, fingerprints
        By slide: its group and patches, and its content's fingerprint.
    spec
        The number of folds, and the columns of groups and strata.
    seed
        Order of groups of about the same size.

    Raises
    ------
    SplitError
        When there are fewer groups than folds, or folds and seed are not whole numbers of at least 2 and 0.
    """
    folds, seed = _whole("folds", spec.folds, 2), _whole("seed", seed, 0)
    if seed >= 10**DIGITS:
        raise SplitError(f"seed has more than {DIGITS} digits: give a smaller one")
    groups: dict[str, Counter[str]] = defaultdict(Counter)
    for own in slides.values():
        groups[own.group].update(own.strata)
    _check_folds(folds, len(groups), spec.by)
    fold_of = balance_groups(groups, folds, seed)
    chosen = {slide: fold_of[own.group] for slide, own in slides.items()}
    return Splits(spec.by, spec.stratify, seed, _rows(slides, fingerprints, chosen))


def _whole(name: str, value: int, least: int) -> int:
    if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
        raise SplitError(f"{name} is {value!r}: give a whole number, {least} or more")
    return int(value)


def _check_folds(folds: int, groups: int, by: str) -> None:
    if groups < folds:
        values = format_count(groups, "value that has patches", "values that have patches")
        raise SplitError(f"{folds} folds are requested, and {by} has {values}: give fewer folds")


def _rows(
    slides: Mapping[str, SlidePatches], fingerprints: Mapping[str, str], chosen: Mapping[str, int]
) -> tuple[SlideFold, ...]:
    return tuple(
        SlideFold(slide, fingerprints.get(slide, ""), own.group, chosen[slide], sum(own.strata.values()))
        for slide, own in sorted(slides.items())
    )
