"""Check a slide's stores, also against each other and the slide."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from slidemill.core.child_process import ChildProcess
from slidemill.core.columns import VALIDATION_COLUMNS
from slidemill.core.csv_tables import read_table, write_table
from slidemill.core.encodings import Pixels
from slidemill.core.job_log import LOG
from slidemill.core.outcomes import Outcome, add_seals, find_seal, read_outcome, write_outcome
from slidemill.core.patch import PatchRef
from slidemill.core.pyramid import SlideInfo
from slidemill.core.results_layout import store_path
from slidemill.core.seals import Seal
from slidemill.core.specs import GridSpec, ValidationSpec
from slidemill.errors import SlideError, StoreError
from slidemill.slides.discovery import slide_path
from slidemill.slides.fingerprint import check_unchanged
from slidemill.slides.icc import IGNORED, build_conversion, colour_state
from slidemill.slides.openslide_reader import PatchReader
from slidemill.slides.patch_table import SlidePatches, patches_of, sampled_grid
from slidemill.slides.slide_info import open_slide
from slidemill.stages.job import Job
from slidemill.stages.store import STAGE as STORED
from slidemill.stores.checks import (
    EVERY_STORE,
    Expected,
    Finding,
    StoreCheck,
    check_agreement,
    check_in_child,
    check_store,
    format_messages,
)
from slidemill.stores.registry import open_store

STAGE = "validate_stores"

HELD = 64 * 1024 * 1024
"""Bytes of the slide's pixels in memory, which are compared with all stores."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidateJob:
    """Inputs and outputs of a job that checks a slide's stores.

    Parameters
    ----------
    root
        The folder of the slides.
    patches, stored
        The slide's table of patches, and the outcomes of store_patches.
    stores
        The store of each backend.
    grid, icc
        The grid of the patches, and how colours are converted, as the configuration names it.
    spec, seed
        Number of patches to compare with the slide, required PSNR of JPEG in dB, and the seed of the choice.
    threads
        Threads that decode patches.
    table, outcome
        The table of findings, and the outcome with its seal; or None.
    """

    root: Path
    patches: Path
    stored: Sequence[Path]
    stores: Mapping[str, Path]
    grid: GridSpec
    spec: ValidationSpec
    seed: int
    threads: int
    table: Path
    outcome: Path | None = None
    icc: str = "ignore"

    @classmethod
    def from_job(cls, job: Job) -> ValidateJob:
        """Return the inputs and outputs of a job of the rule validate_stores."""
        params = job.params
        return cls(
            root=job.roots.slides,
            patches=job.inputs["table"],
            stored=job.input_lists["stored"],
            stores={backend: store_path(backend, job.wildcards["slide"]) for backend in params["backends"]},
            grid=GridSpec(**params["grid"]),
            spec=ValidationSpec(**params["validation"]),
            seed=params["seed"],
            threads=job.threads,
            icc=params["icc"],
            **job.outputs,
        )


@dataclass(frozen=True, slots=True)
class SlideStores:
    """A slide's stores and their expected content.

    Parameters
    ----------
    slide
        The slide's id.
    stores
        The path of each backend's store.
    grid, patches
        The grid, and the patches of each store.
    icc
        How colours are converted, as the stores' manifests name it.
    source, info
        The slide's file and facts; None where the slide could not be opened.
    """

    slide: str
    stores: Mapping[str, Path]
    grid: GridSpec
    patches: Sequence[PatchRef]
    icc: str = IGNORED
    source: Path | None = None
    info: SlideInfo | None = None


def validate_stores(job: ValidateJob) -> None:
    """Publish the findings of all checks, passed ones included, and an outcome.

    Raises
    ------
    SlidemillError
        When the slide has changed since the run was planned, or the table of patches is damaged.
    """
    outcomes = [read_outcome(path) for path in job.stored]
    found = outcomes[0]
    # A slide without the requested level has facts but no grid.
    grid = sampled_grid(found, job.grid)
    sampled = not any(outcome.failed and outcome.stage != STORED for outcome in outcomes)
    info = found.info if sampled else None
    source = slide_path(job.root, found.path) if sampled else None
    unreadable = {patch.patch_id for outcome in outcomes if outcome.store for patch in outcome.store.unreadable}
    wanted = patches_of(read_table(job.patches, seal=find_seal(outcomes, "patches")), info, grid) if info else []
    wanted = [patch for patch in wanted if patch.patch_id not in unreadable]
    # The stores of a slide that failed name these colours too.
    colours = colour_state(job.icc, found.facts.info.icc if found.facts else "")
    own = SlideStores(found.slide, job.stores, grid, wanted, colours, source, info)
    # A damaged store may end the process that reads it.
    with ChildProcess() as process:
        findings = validate_slide(own, job.spec, job.seed, threads=job.threads, check=partial(check_in_child, process))
    if source:
        check_unchanged(source, found.fingerprint)
    write_findings(found.slide, findings, job.table, outcome=job.outcome)


def psnr(one: Pixels, other: Pixels) -> float:
    """Return the PSNR of two 8-bit images in dB: ``10 log10(255² / MSE)``."""
    error = float(np.mean((one.astype(np.float64) - other) ** 2))
    return float("inf") if error == 0 else 10 * float(np.log10(255**2 / error))


def write_findings(slide: str, findings: Sequence[Finding], table: Path, *, outcome: Path | None) -> None:
    """Publish a slide's findings as a table.

    Parameters
    ----------
    slide, findings
        The slide's id, and its findings.
    table, outcome
        The table, and the outcome with its seal; or None.
    """
    for finding in findings:
        LOG.info("%s, %s: %s %s", finding.backend, finding.check, finding.status, finding.message)
    count = write_table(table, VALIDATION_COLUMNS, (finding.row() for finding in findings))
    if outcome:
        write_outcome(outcome, add_seals(Outcome(slide, STAGE), validation=Seal.of(table, count)))


def validate_slide(
    own: SlideStores,
    spec: ValidationSpec,
    seed: int,
    *,
    threads: int = 1,
    check: Callable[..., StoreCheck] = check_store,
) -> list[Finding]:
    """Check all stores of a slide.

    Parameters
    ----------
    own
        The slide's stores, and what they must hold.
    spec, seed
        Number of patches to compare with the slide, required PSNR of JPEG in dB, and the seed of the choice.
    threads
        Threads that decode patches.
    check
        Checks one store: `slidemill.stores.checks.check_store`, or the same in a child process.
    """
    ids = [patch.patch_id for patch in own.patches]
    checks: dict[str, StoreCheck] = {}
    for backend, path in own.stores.items():
        expected = Expected(own.slide, backend, ids, own.grid.to_json(), icc=own.icc)
        known = [one.decoded for one in checks.values() if one.decoded]
        checks[backend] = check(path, expected, threads=threads, known=known)
    findings = [finding for one in checks.values() for finding in one.findings]
    findings.extend(check_agreement(own.slide, checks))
    if own.source is not None and own.info is not None and spec.sample:
        readable = {backend: path for backend, path in own.stores.items() if checks[backend].is_open}
        count = min(spec.sample, len(own.patches))
        sample = sorted(
            random.Random(f"{seed} {own.slide}").sample(list(own.patches), count),  # noqa: S311
            key=lambda patch: patch.patch_id,
        )
        wanted = SlidePatches(own.source, own.info, own.grid, sample)
        findings.extend(_check_against_slide(own, readable, wanted, min_psnr=spec.min_psnr))
    return findings


def _check_against_slide(
    own: SlideStores, readable: Mapping[str, Path], wanted: SlidePatches, *, min_psnr: float
) -> list[Finding]:
    """Compare patches of all readable stores with OpenSlide's pixels."""
    findings = []
    try:
        with open_slide(wanted.source) as handle:
            reader, convert = PatchReader(handle, wanted.info, own.grid), build_conversion(handle, own.icc)
            held = max(HELD // (3 * own.grid.patch_size**2), 1)
            expected = lru_cache(held)(lambda patch: convert(reader.read(patch)))
            for backend, path in readable.items():
                wrong = _differences(path, wanted.patches, expected, min_psnr=min_psnr)
                findings.append(
                    Finding(own.slide, backend, "equals slide", len(wanted.patches), format_messages(wrong))
                )
    except SlideError as error:
        return [Finding(own.slide, EVERY_STORE, "equals slide", 0, str(error))]
    return findings


def _differences(
    path: Path, sample: Sequence[PatchRef], expected: Callable[[PatchRef], Pixels], *, min_psnr: float
) -> list[str]:
    """Return the differences of a store's patches, and close the store."""
    found = []
    with open_store(path) as store:
        for patch in sample:
            wanted = expected(patch)
            try:
                pixels = store.read(patch.patch_id)
            except StoreError as error:
                found.append(str(error))
                continue
            if store.manifest.codec.lossless:
                if not np.array_equal(pixels, wanted):
                    found.append(f"{patch.patch_id} is not what the slide holds")
            elif (likeness := psnr(pixels, wanted)) < min_psnr:
                found.append(
                    f"{patch.patch_id} is {likeness:.1f} dB like the slide, less than validation.min_psnr "
                    f"({min_psnr:g}): raise the quality, or lower that"
                )
    return found
