"""Check, before the first store is written, that all stores fit on the disk."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from slidemill.core.files import scratch_folder, write_json
from slidemill.core.job_log import LOG
from slidemill.core.outcomes import Outcome, read_outcome
from slidemill.core.results_layout import STORE_STAGES, outcome_file, store_path
from slidemill.core.specs import GridSpec, StoreSpec
from slidemill.core.text import format_count, format_size
from slidemill.errors import SlidemillError
from slidemill.measuring.bench import Bench
from slidemill.measuring.candidates import Candidate, Measured
from slidemill.measuring.cohort import read_cohort
from slidemill.measuring.sample import Sample, SampleSpec, read_sample
from slidemill.measuring.sample_stores import measure_candidates
from slidemill.stages.job import Job
from slidemill.stores.registry import STORES

SAMPLE = 64
"""Patches whose encoded size is measured."""

MOST_BLANK, MOST_WRITTEN = 256, 32 * 1024 * 1024
"""Most blank patches, and most bytes of them, that are written to measure the size of raw ones."""

PICTURES = 1_000_000
"""Bytes of a slide's overlay and montage."""

TABLES = 500
"""Bytes of a patch in all tables together, and in the one file over all HDF5 stores."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpaceJob:
    """Inputs and output of the job that checks the free space.

    Parameters
    ----------
    root
        The folder of the slides.
    sampled
        The outcomes of sample_patches of all slides.
    stores
        The configured backends, and how they encode.
    grid, icc, reader
        The grid of the patches, how colours are converted, and how slides are read.
    seed
        Seed of the choice of patches.
    space
        The file with what was found.
    force
        Whether the run continues if the stores do not fit.
    scratch
        A folder on a local disk where stores are written first; None for none.
    """

    root: Path
    sampled: Sequence[Path]
    stores: Mapping[str, StoreSpec]
    grid: GridSpec
    seed: int
    space: Path
    icc: str = "ignore"
    reader: str = "auto"
    force: bool = False
    scratch: Path | None = None

    @classmethod
    def from_job(cls, job: Job) -> SpaceJob:
        """Return the inputs and output of the rule check_space."""
        params = job.params
        try:
            scratch = scratch_folder(job.scratch)
        except SlidemillError:
            # On a cluster, only the machines that store have it.
            scratch = None
        return cls(
            root=job.roots.slides,
            sampled=job.input_lists["sampled"],
            stores={name: StoreSpec(**settings) for name, settings in params["stores"].items()},
            grid=GridSpec(**params["grid"]),
            seed=params["seed"],
            icc=params["icc"],
            reader=params["reader"],
            force=job.force,
            scratch=scratch,
            **job.outputs,
        )


@dataclass(frozen=True, slots=True)
class Pending:
    """Stores of a backend that are not written yet.

    Parameters
    ----------
    stores, patches
        Their number, and the number of their patches.
    largest
        Most patches of one of them.
    replaced, most_replaced
        Bytes of the stores that they replace, of all and of the largest.
    """

    stores: int
    patches: int
    largest: int
    replaced: int
    most_replaced: int


def check_space(job: SpaceJob) -> None:
    """Publish the size of all stores that are not written yet, if they fit on the disk.

    Sizes of raw patches are exact; those of encoded ones are estimated from a sample.

    Raises
    ------
    SlidemillError
        When they do not fit and the run is not forced, or an outcome is damaged.
    """
    results = job.space.absolute().parents[1]
    outcomes = [read_outcome(path) for path in job.sampled]
    pending = {backend: _find_pending(outcomes, backend, spec, results=results) for backend, spec in job.stores.items()}
    measured = _measure(job)
    sizes = {backend: measured[backend].space_of(own.stores, own.patches) for backend, own in pending.items()}
    slides = max((own.stores for own in pending.values()), default=0)
    patches = max((own.patches for own in pending.values()), default=0)
    replaced = sum(own.replaced for own in pending.values())
    largest = {name: measured[name].space_of(1, own.largest) for name, own in pending.items() if own.stores}
    # A store is written next to the one that it replaces, and HDF5 collects encoded patches in a second file.
    is_collected = "hdf5" in largest and job.stores["hdf5"].encoding != "raw"
    beside = max((own.most_replaced for own in pending.values()), default=0) + is_collected * largest.get("hdf5", 0)
    needed = sum(sizes.values()) - replaced + beside + patches * TABLES + slides * PICTURES
    free = shutil.disk_usage(results).free
    LOG.info("%s needed, %s free; by backend: %s", format_size(needed), format_size(free), sizes)
    faults = []
    if needed > free:
        each = ", ".join(f"{name} {job.stores[name].encoding} {format_size(size)}" for name, size in sizes.items())
        faults.append(
            f"{results}: the stores of {format_count(patches, 'patch', 'patches')} will not fit: the run needs about "
            f"{format_size(needed)} ({each}), and {format_size(free)} are free"
        )
    most = max(largest.values(), default=0)
    if job.scratch and most > (there := shutil.disk_usage(job.scratch).free):
        faults.append(
            f"scratch is {job.scratch}: the largest store will not fit: it takes about {format_size(most)}, and "
            f"{format_size(there)} are free"
        )
    if faults:
        _refuse(faults, job.force)
    write_json(job.space, {"needed": needed, "free": free, "stores": sizes})


def _refuse(faults: Sequence[str], force: bool) -> None:
    """Raise an error that says what to change, or write a warning in a forced run."""
    text = "; ".join(faults)
    if not force:
        raise SlidemillError(
            f"{text}; no store is written. Make room; or write fewer backends, or a smaller encoding such as zstd or "
            "png (`snakemake estimate` compares them); or sample fewer patches, by a higher tissue.min_fraction or a "
            "coarser sampling.mpp; or continue with force: true (--config force=true)"
        )
    LOG.warning("%s; continued, since force is true", text)


def _find_pending(sampled: Sequence[Outcome], backend: str, spec: StoreSpec, *, results: Path) -> Pending:
    """Return which stores of a backend are missing, or were written of other patches or with another encoding."""
    counts: list[int] = []
    replaced: list[int] = []
    encoding = STORES[backend].encoding(spec.encoding)
    for one in sampled:
        path, outcome = store_path(backend, one.slide), outcome_file(STORE_STAGES[backend], one.slide)
        is_there = (results / path).exists() and (results / outcome).exists()
        written = read_outcome(results / outcome) if is_there else None
        old = written.store if written else None
        if written and old and old.encoding == encoding and written.tables.get("patches") == one.tables.get("patches"):
            continue
        counts.append(one.sample.patches if one.sample and not one.failed else 0)
        replaced.append((old.bytes or 0) if old else 0)
    return Pending(len(counts), sum(counts), max(counts, default=0), sum(replaced), max(replaced, default=0))


def _measure(job: SpaceJob) -> dict[str, Measured]:
    """Return the size of a patch and of an empty store of each backend."""
    encodings = {spec.encoding for spec in job.stores.values()}
    cohort = read_cohort(job.root, job.sampled, job.grid)
    patch_size = cohort.grid.patch_size
    if encodings == {"raw"}:
        blank = np.zeros((patch_size, patch_size, 3), np.uint8)
        count = max(min(MOST_WRITTEN // blank.nbytes, MOST_BLANK), 2)
        sample = Sample(pixels=[blank] * count, slides=[""] * count, wanted=count)
    else:
        # Only tiles that are copied need the slide's own reader.
        reader = job.reader if "source" in encodings else "openslide"
        sample = read_sample(cohort, SampleSpec(SAMPLE, job.seed, reader, job.icc, is_timed=False))
    candidates = [Candidate(backend, spec, True) for backend, spec in job.stores.items()]
    # Not on the disk of the results, which may be full.
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder, "store"), 1, 1, patch_size, job.seed)
        measured = measure_candidates(sample, candidates, bench, is_read=False, is_partial=True)
        return dict(zip(job.stores, measured, strict=True))
