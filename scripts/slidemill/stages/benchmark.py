"""Benchmark: measure stores and slides, and estimate what a cohort's stores take."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from slidemill.core.columns import BENCHMARK_COLUMNS, ESTIMATE_COLUMNS
from slidemill.core.csv_tables import read_cohort_table, read_table, write_table
from slidemill.core.files import scratch_folder
from slidemill.core.job_log import LOG
from slidemill.core.results_layout import FACTS, MEASURED_FOLDER
from slidemill.core.seals import seal_tables
from slidemill.core.specs import BenchmarkSpec, GridSpec, StoreSpec, pixel_threads
from slidemill.measuring.candidates import list_candidates
from slidemill.measuring.cohort import Cohort, read_cohort
from slidemill.measuring.projection import Circumstances, estimate_rows
from slidemill.measuring.reading import benchmark
from slidemill.measuring.sample import SampleSpec, read_sample
from slidemill.measuring.sample_stores import Bench, measure_candidates
from slidemill.measuring.sources import choose_patches, open_sources
from slidemill.report.plots import plot_benchmark
from slidemill.stages.job import Job

MOST_SLIDES = 16
"""Most slides in the sample, so that a cohort of thousands takes no longer."""

READING = 0.3
"""Share of the time that may be spent on reading the sampled patches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkJob:
    """The inputs and outputs of a benchmark.

    Parameters
    ----------
    root
        The folder of the slides.
    slides, stored
        The tables of slides and of stores.
    stores
        The backends, and how they encode.
    grid, icc
        The grid of the patches, and how colours are converted.
    spec, seed
        How much is measured, and the seed of all choices.
    workers
        Most processes that read at once.
    table, plot
        The table of the benchmark and its plot.
    """

    root: Path
    slides: Path
    stored: Path
    stores: Mapping[str, StoreSpec]
    grid: GridSpec
    spec: BenchmarkSpec
    workers: int
    seed: int
    table: Path
    plot: Path
    icc: str = "ignore"

    @classmethod
    def from_job(cls, job: Job) -> BenchmarkJob:
        """Return the inputs and outputs of the rule benchmark_stores."""
        params = job.params
        return cls(
            root=job.roots.slides,
            slides=job.inputs["slides"],
            stored=job.inputs["stores"],
            stores={name: StoreSpec(**settings) for name, settings in params["stores"].items()},
            grid=GridSpec(**params["grid"]),
            spec=BenchmarkSpec(**params["benchmark"]),
            workers=job.threads,
            seed=params["seed"],
            icc=params["icc"],
            **job.outputs,
        )


def benchmark_stores(job: BenchmarkJob) -> None:
    """Publish the benchmark and its plot; without patches, only sizes are measured.

    Raises
    ------
    SlidemillError
        When a table, a store or a slide cannot be read.
    """
    rows: list[dict[str, object]] = []
    written = list(read_cohort_table(job.stored))
    for backend, settings in job.stores.items():
        own = [row for row in written if row["backend"] == backend]
        rows += fact_rows(backend, settings.encoding, own)
    good = [row["slide"] for row in read_cohort_table(job.slides) if row["status"] == "ok"]
    sample = set(random.Random(job.seed).sample(good, min(MOST_SLIDES, len(good))))  # noqa: S311
    if sample:
        # Inputs of the rule cannot depend on the sample; the table of slides changes whenever these files do.
        by_slide = {slide: Path(FACTS.format(slide=slide)) for slide in good if slide in sample}
        chosen = choose_patches(next(iter(job.stores)), by_slide, job.spec.patches, seed=job.seed)
        sources = open_sources(job.root, by_slide, job.stores, chosen=chosen, grid=job.grid, icc=job.icc)
        LOG.info("%d patches of %d slides, %d workers at most", len(chosen["random"]), len(sample), job.workers)
        rows += benchmark(sources, chosen, job.spec, workers=job.workers, seed=job.seed)
    write_table(job.table, BENCHMARK_COLUMNS, rows)
    plot_benchmark(list(read_table(job.table)), job.plot)


def fact_rows(backend: str, encoding: str, stores: Sequence[Mapping[str, str]]) -> list[dict[str, object]]:
    """Return benchmark rows on sizes and times recorded while stores were written.

    Bytes, files and seconds are sums over the slides; memory is the peak of the largest job.

    Parameters
    ----------
    backend, encoding
        The kind of store, and its encoding.
    stores
        Its rows of the table of stores.
    """
    summed, largest = "sum of the jobs, reading the slides included", "largest job, pages of mapped files included"
    facts = (
        ("bytes", "bytes", sum(int(store["bytes"]) for store in stores), ""),
        ("files", "files", sum(int(store["files"]) for store in stores), ""),
        ("write", "s", sum(float(store["seconds"]) for store in stores), summed),
        ("write memory", "MB", max((float(store["peak_mb"]) for store in stores), default=0), largest),
    )
    known = {"source": backend, "encoding": encoding}
    return [
        {**known, "measure": measure, "unit": unit, "median": f"{value:.10g}", "note": note}
        for measure, unit, value, note in facts
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class EstimateJob:
    """Inputs and outputs of an estimate.

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
    spec, seed
        How much is measured, and the seed of all choices.
    checked
        Patches of each slide that validation compares with the slide.
    cores
        Cores of the run.
    table, seal
        The table of candidates, and its seal.
    scratch
        A folder on a local disk where stores are written first; None for none.
    """

    root: Path
    sampled: Sequence[Path]
    stores: Mapping[str, StoreSpec]
    grid: GridSpec
    spec: BenchmarkSpec
    seed: int
    checked: int
    cores: int
    table: Path
    seal: Path
    icc: str = "ignore"
    reader: str = "auto"
    scratch: Path | None = None

    @classmethod
    def from_job(cls, job: Job) -> EstimateJob:
        """Return the inputs and outputs of the rule estimate_stores."""
        params = job.params
        return cls(
            root=job.roots.slides,
            sampled=job.input_lists["sampled"],
            stores={name: StoreSpec(**settings) for name, settings in params["stores"].items()},
            grid=GridSpec(**params["grid"]),
            spec=BenchmarkSpec(**params["benchmark"]),
            seed=params["seed"],
            checked=params["checked"],
            cores=job.threads,
            icc=params["icc"],
            reader=params["reader"],
            scratch=scratch_folder(job.scratch),
            **job.outputs,
        )


def estimate_stores(job: EstimateJob) -> None:
    """Publish the table of candidates, each measured on a sample of patches.

    Raises
    ------
    SlidemillError
        When an outcome or a table is damaged.
    """
    cohort = read_cohort(job.root, job.sampled, job.grid)
    rows = candidate_rows(job, cohort, seconds=job.spec.time_limit)
    count = write_table(job.table, ESTIMATE_COLUMNS, rows)
    seal_tables(job.table.parent, {job.table.name: count}, job.seal.name)


def candidate_rows(job: EstimateJob, cohort: Cohort, *, seconds: float) -> list[dict[str, object]]:
    """Measure all candidates for at most some seconds, and return their rows."""
    begun = time.perf_counter()
    threads = min(typical_threads(cohort), job.cores)
    sample = read_sample(
        cohort,
        SampleSpec(job.spec.patches, job.seed, job.reader, job.icc, threads, READING * seconds),
    )
    LOG.info("%d patches of %d slides", len(sample.pixels), len(set(sample.slides)))
    folder = job.table.parent.absolute() / MEASURED_FOLDER
    bench = Bench(folder, threads, job.cores, job.grid.patch_size, job.seed, job.scratch, begun + seconds)
    candidates = list_candidates(job.stores, copies=bool(sample.copies))
    measured = measure_candidates(sample, candidates, bench)
    now = Circumstances(job.cores, threads, job_start(), job.checked, shutil.disk_usage(folder.parent).free)
    return estimate_rows(cohort, sample, measured, now)


def typical_threads(cohort: Cohort) -> int:
    """Return the threads of the job that stores a typical patch."""
    weighted = sum(slide.patches * pixel_threads(slide.megabytes) for slide in cohort.slides)
    return round(weighted / cohort.patches) if cohort.patches else 1


def job_start() -> float:
    """Return the seconds that a job takes to load what it needs."""
    begun, environment = time.perf_counter(), os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", "import slidemill.stages.store"], env=environment, check=True)
    return time.perf_counter() - begun
