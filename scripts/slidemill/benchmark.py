"""Measuring how fast patches come out of each store, and straight from the slides."""

from __future__ import annotations

import math
import multiprocessing
import os
import random
import statistics
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from slidemill.config import BenchmarkSpec
from slidemill.joblog import LOG
from slidemill.outcomes import Outcome
from slidemill.sources import Key, Source

BATCH = 32


@dataclass(frozen=True, slots=True)
class Measurement:
    """One thing to measure: a source, read in one way, `workers` processes beside this one (0: this one)."""

    source: str
    measure: str
    workers: int
    cold: bool


def benchmark(
    sources: Mapping[str, Source], keys: Sequence[Key], spec: BenchmarkSpec, workers: int, seed: int
) -> list[dict[str, object]]:
    """Return a row of the benchmark table for every source and way of reading.

    Ways are `sequential` and `random` in this process, and shuffled `batches` of 32 assembled by 1 and by
    `workers` processes (handing them to another process is not in it). Each is measured with the files in the
    page cache (warm) and dropped from it (cold). All ways take turns, `spec.repeats` times round, so that what
    disturbs the machine disturbs all; each has an equal share of `spec.time_limit` and stops reading when that
    is over. Before the warm ones, the patches are read once without being timed, and only those that this got
    through are timed. Opening the stores counts, starting the processes does not.
    """
    ways = [("sequential", 0), ("random", 0), *(("batches", n) for n in sorted({1, workers}))]
    plan = [
        Measurement(source, measure, processes, cold)
        for cold in (True, False)
        for measure, processes in ways
        for source in sources
    ]
    share = spec.time_limit / ((len(plan) + len(sources)) * spec.repeats)
    rates: dict[Measurement, list[float]] = {measurement: [] for measurement in plan}
    notes: dict[Measurement, str] = {}
    for turn in range(spec.repeats):
        warm: dict[str, int] = {}
        for measurement in plan:
            source = sources[measurement.source]
            if measurement.cold:
                drop_from_cache(source.files())
            elif measurement.source not in warm:
                warm[measurement.source] = _read_until(source, keys, time.perf_counter() + share)
            order = list(keys if measurement.cold else keys[: warm[measurement.source]])
            if measurement.measure != "sequential":
                random.Random(f"{seed} {turn}").shuffle(order)  # noqa: S311
            before = _bytes_from_disk()
            rate, done = _rate(source, measurement, order, share)
            if measurement.cold and not measurement.workers and _bytes_from_disk() == before:
                notes[measurement] = "the page cache could not be dropped here: this is as warm"
            elif done < len(keys):
                notes[measurement] = "its share of the time limit ended the reading early"
            rates[measurement].append(rate)
            LOG.info("turn %d of %d: %s: %.0f patches/s", turn + 1, spec.repeats, measurement, rate)
    return [_row(measurement, rates[measurement], notes.get(measurement, "")) for measurement in plan]


def fact_rows(backend: str, outcomes: Iterable[Outcome]) -> list[dict[str, object]]:
    """Return the rows of what was counted while a backend's stores were written.

    Bytes, files and seconds are summed over the slides; memory is the largest job's peak, pages of mapped files
    included.
    """
    details = [outcome.details for outcome in outcomes if "seconds" in outcome.details]
    facts = {
        ("bytes", "bytes"): sum(one["bytes"] for one in details),
        ("files", "files"): sum(one["files"] for one in details),
        ("write", "s"): sum(one["seconds"] for one in details),
        ("write memory", "MB"): max((one["peak_mb"] for one in details), default=0),
    }
    notes = {"write": "sum of the jobs", "write memory": "largest job, pages of mapped files included"}
    return [
        {"source": backend, "measure": measure, "unit": unit, "median": f"{value:.10g}", "note": notes.get(measure, "")}
        for (measure, unit), value in facts.items()
    ]


def drop_from_cache(files: Iterator[Path]) -> None:
    """Ask the kernel to drop the files' pages from its cache; only written pages can be dropped."""
    if sys.platform != "linux":
        return
    for file in files:
        descriptor = os.open(file, os.O_RDONLY)
        try:
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)


def _row(measurement: Measurement, rates: Sequence[float], note: str) -> dict[str, object]:
    return {
        "source": measurement.source,
        "measure": measurement.measure,
        "workers": measurement.workers,
        "cache": "cold" if measurement.cold else "warm",
        "unit": "patches/s",
        "median": f"{statistics.median(rates):.6g}",
        "low": f"{min(rates):.6g}",
        "high": f"{max(rates):.6g}",
        "repeats": len(rates),
        "note": note,
    }


def _rate(source: Source, measurement: Measurement, keys: Sequence[Key], seconds: float) -> tuple[float, int]:
    """Return patches a second, and how many patches were read before the time was over."""
    if not measurement.workers:
        begun = time.perf_counter()
        done = _read_until(source, keys, begun + seconds)
        elapsed = time.perf_counter() - begun
        source.close()
        return done / elapsed, done
    batches = [keys[start : start + BATCH] for start in range(0, len(keys), BATCH)]
    # Forked where that is the system's way: spawned processes would run the job's script once more.
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    with ProcessPoolExecutor(measurement.workers, context, initializer=_begin, initargs=(source,)) as pool:
        list(pool.map(_pause, range(measurement.workers)))
        begun = time.perf_counter()
        # The first batch is read in any case, so that there is a figure.
        deadlines = [math.inf, *[begun + seconds] * (len(batches) - 1)]
        done = sum(pool.map(_read_batch, batches, deadlines))
        return done / (time.perf_counter() - begun), done


def _read_until(source: Source, keys: Sequence[Key], deadline: float) -> int:
    """Read patches until the time is over, one at least, and return how many."""
    for done, key in enumerate(keys, start=1):
        source.read(key)
        if time.perf_counter() > deadline:
            return done
    return len(keys)


_source: Source
"""What a worker process reads from."""


def _begin(source: Source) -> None:
    global _source
    _source = source


def _pause(_index: int) -> None:
    """Do nothing, in a worker that has started."""


def _read_batch(keys: Sequence[Key], deadline: float) -> int:
    """Assemble a batch, ``uint8 (patches, height, width, 3)``, and return how many patches it has."""
    if time.perf_counter() > deadline:
        return 0
    return len(np.stack([_source.read(key) for key in keys]))


def _bytes_from_disk() -> int | None:
    """Return the bytes that this process has read from a disk so far, where Linux tells."""
    try:
        lines = Path("/proc/self/io").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return int(next(line for line in lines if line.startswith("read_bytes")).split()[1])
