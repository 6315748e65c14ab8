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
from slidemill.core.results_layout import MEASURED_FOLDER, outcome_file
from slidemill.core.seals import seal_tables
from slidemill.core.specs import BenchmarkSpec, GridSpec, StoreSpec, pixel_threads
from slidemill.datasets.slide_records import ReadingChoice
from slidemill.measuring.bench import Bench
from slidemill.measuring.candidates import list_candidates
from slidemill.measuring.cohort import Cohort, read_cohort
from slidemill.measuring.projection import Circumstances, estimate_rows
from slidemill.measuring.readers import BATCH
from slidemill.measuring.reading import benchmark
from slidemill.measuring.sample import SampleSpec, read_sample
from slidemill.measuring.sample_stores import measure_candidates
from slidemill.measuring.slide_speed import measure_slides
from slidemill.measuring.sources import choose_patches, open_sources
from slidemill.measuring.timing import Deadline
from slidemill.report.plots import load_matplotlib, plot_benchmark
from slidemill.stages.job import Job
from slidemill.stores.registry import STORES

MOST_SLIDES = 16
"""Most slides in the sample, so that a cohort of thousands takes no longer."""

READING = 0.3
"""Share of the time for candidates that may be spent on reading the sampled patches."""

STORED = 0.65
"""Share of the time of a benchmark for the stores and slides; the rest is for candidates."""

DRAWING = 1.0
"""Time that is kept for drawing the plot, as a share of the time that loading Matplotlib took on this machine."""

RATE = 40
"""Most sampled patches per second of the time for candidates, so that several candidates are measured in it."""

LEAST_SECONDS, MOST_OF_STORING = 5.0, 0.1
"""Seconds that the benchmark of a run may take in any case, and share of the time that storing took."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measuring:
    """What is measured, and how.

    Parameters
    ----------
    root
        The folder of the slides.
    stores
        The configured backends, and how they encode.
    grid, icc, reader
        The grid of the patches, how colours are converted, and how slides are read.
    spec, seed
        How much is measured, and the seed of all choices.
    checked
        Patches of each slide that validation compares with the slide.
    cores
        Cores of the run, and most processes that read at once.
    scratch
        A folder on a local disk where stores are written first; None for none.
    """

    root: Path
    stores: Mapping[str, StoreSpec]
    grid: GridSpec
    spec: BenchmarkSpec
    seed: int
    checked: int
    cores: int
    icc: str = "ignore"
    reader: str = "auto"
    scratch: Path | None = None

    @classmethod
    def from_job(cls, job: Job) -> Measuring:
        """Return what a rule measures.

        Raises
        ------
        SlidemillError
            When the scratch folder of the configuration does not exist.
        """
        params = job.params
        return cls(
            root=job.roots.slides,
            stores={name: StoreSpec(**settings) for name, settings in params["stores"].items()},
            grid=GridSpec(**params["grid"]),
            spec=BenchmarkSpec(**params["benchmark"]),
            seed=params["seed"],
            checked=params["checked"],
            cores=job.threads,
            icc=params["icc"],
            reader=params["reader"],
            scratch=scratch_folder(job.scratch),
        )


@dataclass(frozen=True, slots=True)
class BenchmarkJob:
    """The inputs and outputs of a benchmark.

    Parameters
    ----------
    what
        What is measured.
    slides, stored
        The tables of slides and of stores.
    table, plot
        The table of the benchmark and its plot.
    candidates
        The table of candidates for stores.
    """

    what: Measuring
    slides: Path
    stored: Path
    table: Path
    plot: Path
    candidates: Path

    @classmethod
    def from_job(cls, job: Job) -> BenchmarkJob:
        """Return the inputs and outputs of the rule benchmark_stores."""
        inputs = {"slides": job.inputs["slides"], "stored": job.inputs["stores"]}
        return cls(Measuring.from_job(job), **inputs, **job.outputs)


def benchmark_stores(job: BenchmarkJob) -> None:
    """Publish the benchmark, its plot and the table of candidates.

    Opening files, starting processes and drawing count for the time limit. Without patches, only sizes are measured.

    Raises
    ------
    SlidemillError
        When a table, a store or a slide cannot be read.
    """
    # Starting another process as estimates do would take much of a short time: this one has just been started.
    begun, what, starting = Deadline.after(0), job.what, time.process_time()
    written = list(read_cohort_table(job.stored))
    seconds = time_limit(what.spec, sum(float(row["seconds"]) for row in written) / what.cores)
    load_matplotlib()
    loading = -begun.left
    deadline = begun.before(DRAWING * loading - seconds)
    rows: list[dict[str, object]] = []
    for backend, settings in what.stores.items():
        own = [row for row in written if row["backend"] == backend]
        rows += fact_rows(backend, settings.encoding, own)
    slides = {row["slide"]: row["status"] for row in read_cohort_table(job.slides)}
    good = [slide for slide, status in slides.items() if status == "ok"]
    sample = set(random.Random(what.seed).sample(good, min(MOST_SLIDES, len(good))))  # noqa: S311
    if sample:
        # Inputs of the rule cannot depend on the sample; the table of slides changes whenever these files do.
        by_slide = {slide: Path(outcome_file("sample_patches", slide)) for slide in good if slide in sample}
        chosen = choose_patches(next(iter(what.stores)), by_slide, what.spec.patches, seed=what.seed)
        sources = open_sources(by_slide, what.stores, ReadingChoice(what.root, what.reader, what.icc))
        LOG.info("%d patches of %d slides, %d workers at most", len(chosen["random"]), len(sample), what.cores)
        own_deadline = deadline.share(STORED)
        rows += benchmark(sources, chosen, what.spec, workers=what.cores, seed=what.seed, deadline=own_deadline)
    cohort = read_cohort(what.root, [Path(outcome_file("sample_patches", slide)) for slide in slides], what.grid)
    found = candidate_rows(what, cohort, Path.cwd(), deadline=deadline, starting=starting)
    write_table(job.candidates, ESTIMATE_COLUMNS, found)
    write_table(job.table, BENCHMARK_COLUMNS, rows)
    plot_benchmark(list(read_table(job.table)), job.plot)
    LOG.info("%.1f s of %.1f s", -begun.left, seconds)


def time_limit(spec: BenchmarkSpec, storing: float) -> float:
    """Return the seconds that a benchmark may take after so many seconds of storing."""
    return min(spec.time_limit, max(LEAST_SECONDS, MOST_OF_STORING * storing))


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


@dataclass(frozen=True, slots=True)
class EstimateJob:
    """Inputs and outputs of an estimate.

    Parameters
    ----------
    what
        What is measured.
    sampled
        The outcomes of sample_patches of all slides.
    table, seal
        The table of candidates, and its seal.
    """

    what: Measuring
    sampled: Sequence[Path]
    table: Path
    seal: Path

    @classmethod
    def from_job(cls, job: Job) -> EstimateJob:
        """Return the inputs and outputs of the rule estimate_stores."""
        return cls(Measuring.from_job(job), job.input_lists["sampled"], **job.outputs)


def estimate_stores(job: EstimateJob) -> None:
    """Publish the table of candidates, each measured on a sample of patches.

    Raises
    ------
    SlidemillError
        When an outcome or a table is damaged.
    """
    deadline = Deadline.after(job.what.spec.time_limit)
    cohort = read_cohort(job.what.root, job.sampled, job.what.grid)
    rows = candidate_rows(job.what, cohort, job.table.parent.absolute(), deadline=deadline, starting=job_start())
    count = write_table(job.table, ESTIMATE_COLUMNS, rows)
    seal_tables(job.table.parent, {job.table.name: count}, job.seal.name)


def candidate_rows(
    what: Measuring, cohort: Cohort, results: Path, *, deadline: Deadline, starting: float
) -> list[dict[str, object]]:
    """Measure all candidates until a deadline, and return their rows.

    Parameters
    ----------
    what, cohort
        What is measured, and the slides.
    results
        The results folder.
    deadline
        When measuring ends.
    starting
        Seconds that a job takes before its work begins.
    """
    reading = ReadingChoice(what.root, what.reader, what.icc)
    threads, seconds = min(typical_threads(cohort), what.cores), max(deadline.left, 0.0)
    count = max(min(what.spec.patches, int(RATE * seconds)), min(what.spec.patches, BATCH))
    sample = read_sample(cohort, SampleSpec(count, what.seed, what.reader, what.icc, threads, READING * seconds))
    LOG.info("%d patches of %d slides", len(sample.pixels), len(set(sample.slides)))
    bench = Bench(
        results / MEASURED_FOLDER, threads, what.cores, cohort.grid.patch_size, what.seed, what.scratch, deadline
    )
    slides = measure_slides(cohort, bench, count, reading)
    candidates = list_candidates(what.stores, copies=[name for name in STORES if not sample.obstacle(name)])
    measured = [*measure_candidates(sample, candidates, bench), slides]
    now = Circumstances(what.cores, threads, starting, what.checked, shutil.disk_usage(results).free)
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
