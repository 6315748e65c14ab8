"""Measuring how fast patches come out of each store, and straight from the slides."""

from __future__ import annotations

import math
import multiprocessing
import os
import random
import statistics
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing.synchronize import Barrier
from pathlib import Path

import numpy as np
import numpy.typing as npt

from slidemill.core.job_log import LOG
from slidemill.core.specs import BenchmarkSpec
from slidemill.core.text import counted
from slidemill.stages.benchmark_sources import Key, Source

BATCH = 32

Chosen = Mapping[str, Sequence[Key]]
"""The patches to read: neighbours for ``"sequential"``, scattered ones for ``"random"`` and ``"batches"``."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """One thing to measure: a source, read in one way, by `workers` processes beside this one (0: by this one)."""

    source: str
    measure: str
    workers: int
    cold: bool


@dataclass(frozen=True, slots=True)
class Reading:
    """What one turn of a measurement gave: patches a second, how many patches, whether the cache was dropped."""

    rate: float
    patches: int
    complete: bool
    dropped: bool


def benchmark(
    sources: Mapping[str, Source], chosen: Chosen, spec: BenchmarkSpec, workers: int, seed: int
) -> list[dict[str, object]]:
    """Return a row of the benchmark table for every source and way of reading.

    Ways are ``sequential`` and ``random`` in this process, and ``batches`` of 32, scattered, assembled into one
    reused array by 1 and by `workers` processes (handing them to another process is not in it). Each is measured
    with the files dropped from the page cache (cold), and with the patches just read (warm). Ways take turns,
    `spec.repeats` times round, sources in an order that changes, so that what disturbs the machine disturbs all.
    Each has an equal share of `spec.time_limit` and stops reading when that is over. Starting processes and opening
    stores are not timed.
    """
    ways = [("sequential", 0), ("random", 0), *(("batches", n) for n in sorted({1, workers}))]
    plan = [Measurement(source, way, n, cold) for cold in (True, False) for way, n in ways for source in sources]
    share = spec.time_limit / (1.5 * len(plan) * spec.repeats)
    readings: dict[Measurement, list[Reading]] = {measurement: [] for measurement in plan}
    for turn in range(spec.repeats):
        order = list(sources)
        random.Random(f"{seed} {turn}").shuffle(order)  # noqa: S311
        for measurement in sorted(
            plan, key=lambda one: (not one.cold, one.measure, one.workers, order.index(one.source))
        ):
            keys = chosen["sequential" if measurement.measure == "sequential" else "random"]
            reading = _measure(sources[measurement.source], measurement, keys, share)
            readings[measurement].append(reading)
            LOG.info("turn %d of %d: %s: %.0f patches/s", turn + 1, spec.repeats, measurement, reading.rate)
    return [_row(one, sources[one.source].encoding, readings[one]) for one in plan]


def fact_rows(backend: str, encoding: str, stores: Sequence[Mapping[str, str]]) -> list[dict[str, object]]:
    """Return the rows of what was counted while a backend's `stores`, rows of the table of stores, were written.

    Bytes, files and seconds are summed over the slides; memory is the largest job's peak, pages of mapped files
    included.
    """
    facts = {
        ("bytes", "bytes"): sum(int(store["bytes"]) for store in stores),
        ("files", "files"): sum(int(store["files"]) for store in stores),
        ("write", "s"): sum(float(store["seconds"]) for store in stores),
        ("write memory", "MB"): max((float(store["peak_mb"]) for store in stores), default=0),
    }
    notes = {
        "write": "sum of the jobs, reading the slides included",
        "write memory": "largest job, pages of mapped files included",
    }
    return [
        {
            "source": backend,
            "encoding": encoding,
            "measure": measure,
            "unit": unit,
            "median": f"{value:.10g}",
            "note": notes.get(measure, ""),
        }
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


def _measure(source: Source, measurement: Measurement, keys: Sequence[Key], seconds: float) -> Reading:
    """Measure once, for `seconds` at most; a warm measurement reads its patches before, for half of that."""
    if measurement.cold:
        drop_from_cache(source.files())
    else:
        source.open(keys)
        warmed = _read_until(source, keys, time.perf_counter() + seconds / 2)
        source.close()
    before = _bytes_from_disk()
    # Patches that the warming did not get to would not be warm.
    wanted = keys if measurement.cold else keys[:warmed]
    rate, done = (
        _rate_of_workers(source, measurement.workers, wanted, seconds)
        if measurement.workers
        else (_rate_here(source, wanted, seconds))
    )
    # What workers read from the disk is not counted here, and taken on trust.
    dropped = not measurement.cold or measurement.workers > 0 or _bytes_from_disk() != before
    return Reading(rate, done, done == len(keys), dropped)


def _row(measurement: Measurement, encoding: str, readings: Sequence[Reading]) -> dict[str, object]:
    rates = [reading.rate for reading in readings]
    least = min(reading.patches for reading in readings)
    notes = []
    if not all(reading.complete for reading in readings):
        notes.append(f"{counted(least, 'patch', 'patches')} read in its share of the time")
    if not all(reading.dropped for reading in readings):
        notes.append("the page cache could not be dropped here: this is as warm")
    return {
        "source": measurement.source,
        "encoding": encoding,
        "measure": measurement.measure,
        "workers": measurement.workers,
        "cache": "cold" if measurement.cold else "warm",
        "unit": "patches/s",
        "median": f"{statistics.median(rates):.6g}",
        "low": f"{min(rates):.6g}",
        "high": f"{max(rates):.6g}",
        "repeats": len(rates),
        "note": "; ".join(notes),
    }


def _rate_here(source: Source, keys: Sequence[Key], seconds: float) -> tuple[float, int]:
    """Return patches a second read by this process, and how many it read before the time was over."""
    source.open(keys)
    begun = time.perf_counter()
    done = _read_until(source, keys, begun + seconds)
    elapsed = time.perf_counter() - begun
    source.close()
    return done / elapsed, done


def _rate_of_workers(source: Source, workers: int, keys: Sequence[Key], seconds: float) -> tuple[float, int]:
    """Return patches a second assembled into batches by worker processes, and how many in the time."""
    batches = [keys[start : start + BATCH] for start in range(0, len(keys), BATCH)]
    # Forked where that is the system's way: spawned processes would run the job's script once more.
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    barrier = context.Barrier(workers)
    with ProcessPoolExecutor(workers, context, initializer=_start, initargs=(source, keys, barrier)) as pool:
        list(pool.map(_wait_for_all, range(workers)))
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


@dataclass(slots=True)
class _Worker:
    """What a worker process holds: its source, its batch's array, and the barrier that all wait at."""

    source: Source
    batch: npt.NDArray[np.uint8]
    barrier: Barrier


_worker: _Worker


def _start(source: Source, keys: Sequence[Key], barrier: Barrier) -> None:
    """Open the source in a worker that starts."""
    global _worker
    source.open(keys)
    shape = source.read(keys[0]).shape
    _worker = _Worker(source, np.empty((BATCH, *shape), np.uint8), barrier)


def _wait_for_all(_index: int) -> None:
    """Wait until every worker has started, so that each takes one of these tasks."""
    _worker.barrier.wait()


def _read_batch(keys: Sequence[Key], deadline: float) -> int:
    """Assemble a batch, ``uint8 (patches, height, width, 3)``, and return how many patches it has."""
    if time.perf_counter() > deadline:
        return 0
    for place, key in enumerate(keys):
        _worker.batch[place] = _worker.source.read(key)
    return len(keys)


def _bytes_from_disk() -> int | None:
    """Return the bytes that this process has read from a disk so far, where Linux tells."""
    try:
        lines = Path("/proc/self/io").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return int(next(line for line in lines if line.startswith("read_bytes")).split()[1])
