"""Checking the stores of a slide: each by itself, against each other, and against the slide."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path

import numpy as np

from slidemill.core.columns import VALIDATION_COLUMNS
from slidemill.core.csv_tables import write_table
from slidemill.core.encodings import Pixels
from slidemill.core.job_log import LOG
from slidemill.core.outcomes import Outcome, with_seals, write_outcome
from slidemill.core.patch import PatchRef
from slidemill.core.seals import Seal
from slidemill.core.specs import ValidationSpec
from slidemill.errors import SlideError, StoreError
from slidemill.slides.grid import GridSpec
from slidemill.slides.icc import IGNORED, conversion
from slidemill.slides.openslide_reader import PatchReader
from slidemill.slides.slide_info import SlideInfo, opened
from slidemill.stores.base import Store
from slidemill.stores.checks import EVERY_STORE, Expected, Finding, StoreCheck, check_agreement, check_store, named
from slidemill.stores.registry import open_store

STAGE = "validate_stores"

HELD = 64 * 1024 * 1024
"""Bytes of the slide's pixels that are kept for the next store."""


def psnr(one: Pixels, other: Pixels) -> float:
    """Return the peak signal-to-noise ratio of two 8-bit images in dB: ``10 log10(255² / MSE)``."""
    error = float(np.mean((one.astype(np.float64) - other) ** 2))
    return float("inf") if error == 0 else 10 * float(np.log10(255**2 / error))


def write_findings(slide: str, findings: Sequence[Finding], table: Path, outcome: Path | None) -> None:
    """Publish a slide's findings as a table, and the table's seal in an outcome next to it."""
    for finding in findings:
        LOG.info("%s, %s: %s %s", finding.backend, finding.check, finding.status, finding.message)
    count = write_table(table, VALIDATION_COLUMNS, (finding.row() for finding in findings))
    if outcome:
        write_outcome(outcome, with_seals(Outcome(slide, STAGE), validation=Seal.of(table, count)))


def validate_slide(
    slide: str,
    stores: Mapping[str, Path],
    source: Path | None,
    info: SlideInfo | None,
    grid: GridSpec,
    patches: Sequence[PatchRef],
    spec: ValidationSpec,
    seed: int,
    threads: int = 1,
    check: Callable[[Path, Expected, int], StoreCheck] = check_store,
    icc: str = IGNORED,
) -> list[Finding]:
    """Check all stores of a slide.

    Parameters
    ----------
    slide
        The slide's id.
    stores
        The path of each backend's store.
    source, info
        The slide's file and facts, to read patches again from; None where the slide could not be opened.
    grid, patches
        The grid, and the patches that every store must have, no others.
    spec, seed
        How many patches are read again from the slide, what JPEG must reach, and the seed of the choice.
    threads
        How many threads decode the stores' patches.
    check
        What checks one store by itself: `slidemill.stores.checks.check_store`, or the same in another process.
    icc
        What is done to the slide's colours, as `slidemill.slides.icc.stated` says it.
    """
    ids = [patch.patch_id for patch in patches]
    checks = {
        backend: check(path, Expected(slide, backend, ids, asdict(grid), icc=icc), threads)
        for backend, path in stores.items()
    }
    findings = [finding for one in checks.values() for finding in one.findings]
    findings.extend(check_agreement(slide, checks))
    readable = {backend: path for backend, path in stores.items() if checks[backend].opened}
    if source is not None and info is not None and spec.sample:
        count = min(spec.sample, len(patches))
        sample = sorted(
            random.Random(f"{seed} {slide}").sample(list(patches), count),  # noqa: S311
            key=lambda patch: patch.patch_id,
        )
        findings.extend(_check_against_slide(slide, readable, source, info, grid, sample, spec, icc))
    return findings


def _check_against_slide(
    slide: str,
    stores: Mapping[str, Path],
    source: Path,
    info: SlideInfo,
    grid: GridSpec,
    sample: Sequence[PatchRef],
    spec: ValidationSpec,
    icc: str,
) -> list[Finding]:
    """Check a sample of every store's patches against the slide's pixels, read anew through OpenSlide."""
    findings = []
    try:
        with opened(source) as handle:
            reader, convert = PatchReader(handle, info, grid), conversion(handle, icc)
            expected = lru_cache(max(HELD // (3 * grid.patch_size**2), 1))(lambda patch: convert(reader.read(patch)))
            for backend, path in stores.items():
                wrong = _all_differences(path, sample, expected, spec.min_psnr)
                findings.append(Finding(slide, backend, "equals slide", len(sample), named(wrong)))
    except SlideError as error:
        return [Finding(slide, EVERY_STORE, "equals slide", 0, str(error))]
    return findings


def _all_differences(
    path: Path, sample: Sequence[PatchRef], expected: Callable[[PatchRef], Pixels], min_psnr: float
) -> list[str]:
    """Return what is wrong with a store's patches; the store is in memory no longer then, with all that it knows."""
    with open_store(path) as store:
        return [one for patch in sample for one in _differences(store, patch.patch_id, expected(patch), min_psnr)]


def _differences(store: Store, patch_id: str, expected: Pixels, min_psnr: float) -> Iterator[str]:
    try:
        pixels = store.read(patch_id)
    except StoreError as error:
        yield str(error)
        return
    if store.manifest.codec.lossless:
        if not np.array_equal(pixels, expected):
            yield f"{patch_id} is not what the slide holds"
    elif (likeness := psnr(pixels, expected)) < min_psnr:
        yield (
            f"{patch_id} is {likeness:.1f} dB like the slide, less than validation.min_psnr ({min_psnr:g}): "
            "raise the quality, or lower that"
        )
