"""Time how fast patches are read from stores and slides."""

from __future__ import annotations

import math
import multiprocessing
import random
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing.synchronize import Barrier

import numpy as np
import numpy.typing as npt

from slidemill.core.job_log import LOG
from slidemill.core.specs import BenchmarkSpec
from slidemill.core.text import format_count
from slidemill.measuring.sources import Key, Source, bytes_from_disk, drop_from_cache

BATCH = 32
"""Patches per batch."""

Chosen = Mapping[str, Sequence[Key]]
"""The patches to read: neighbours, ``"sequential"``, and scattered ones, ``"random"``."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """A measurement: source, way of reading, workers (0: this process), cold cache."""

    source: str
    measure: str
    workers: int
    cold: bool


@dataclass(frozen=True, slots=True)
class Reading:
    """Patches per second, their number, whether all were read, and the cache dropped."""

    rate: float
    patches: int
    complete: bool
    dropped: bool


def benchmark(
    sources: Mapping[str, Source], chosen: Chosen, spec: BenchmarkSpec, *, workers: int, seed: int
) -> list[dict[str, object]]:
    """Measure each source and way of reading; return rows of the benchmark's table.

    Ways are ``sequential`` and ``random`` in this process, and ``batches``: 32 scattered patches, assembled into one
    reused array by 1 and by `workers` processes, without handing them to another process. Each is measured cold, with
    the files dropped from the page cache, and warm, right after reading the same patches. Starting processes and
    opening stores is not timed.

    Parameters
    ----------
    sources
        What is read from, by name.
    chosen
        The patches to read.
    spec
        Number of turns, and the time limit in seconds, of which each measurement has an equal share.
    workers
        Most processes that read at once.
    seed
        Seed of the order of the sources in each turn.

    Returns
    -------
    list of dict
        Rows with the columns of `BENCHMARK_COLUMNS`.

    Raises
    ------
    SlidemillError
        When a store or a slide cannot be read.
    """
    ways = [("sequential", 0), ("random", 0), *(("batches", n) for n in sorted({1, workers}))]
    plan = [Measurement(source, way, n, cold) for cold in (True, False) for way, n in ways for source in sources]
    share = spec.time_limit / (1.5 * len(plan) * spec.repeats)
    readings: dict[Measurement, list[Reading]] = {measurement: [] for measurement in plan}
    # Ways take turns, and sources change their order, so that what disturbs the machine disturbs all of them.
    for turn in range(spec.repeats):
        order = list(sources)
        random.Random(f"{seed} {turn}").shuffle(order)  # noqa: S311
        for measurement in sorted(
            plan, key=lambda one: (not one.cold, one.measure, one.workers, order.index(one.source))
        ):
            keys = chosen["sequential" if measurement.measure == "sequential" else "random"]
            reading = _measure(sources[measurement.source], measurement, keys, seconds=share)
            readings[measurement].append(reading)
            LOG.info("turn %d of %d: %s: %.0f patches/s", turn + 1, spec.repeats, measurement, reading.rate)
    return [_row(one, sources[one.source], readings[one]) for one in plan]


def _measure(source: Source, measurement: Measurement, keys: Sequence[Key], *, seconds: float) -> Reading:
    """Measure for at most `seconds`, after warming for at most half of that."""
    if measurement.cold:
        drop_from_cache(source.files())
    else:
        # By as many workers, which read a batch each at least: fewer warm patches than that would leave some idle.
        _, warmed = time_reading(source, measurement.workers, keys, seconds=seconds / 2)
    before = bytes_from_disk()
    # Only patches that were reached in time are warm.
    wanted = keys if measurement.cold else keys[:warmed]
    rate, done = time_reading(source, measurement.workers, wanted, seconds=seconds)
    # Reads of worker processes are not counted here: dropping is assumed to have worked for them.
    dropped = not measurement.cold or measurement.workers > 0 or bytes_from_disk() != before
    return Reading(rate, done, done == len(keys), dropped)


def _row(measurement: Measurement, source: Source, readings: Sequence[Reading]) -> dict[str, object]:
    rates = [reading.rate for reading in readings]
    least = min(reading.patches for reading in readings)
    notes = [source.note] if source.note else []
    if not all(reading.complete for reading in readings):
        notes.append(f"{format_count(least, 'patch', 'patches')} read in its share of the time")
    if not all(reading.dropped for reading in readings):
        notes.append("the page cache could not be dropped here: this is as warm")
    return {
        "source": measurement.source,
        "encoding": source.encoding,
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


def time_reading(source: Source, workers: int, keys: Sequence[Key], *, seconds: float) -> tuple[float, int]:
    """Return patches per second, and the number of patches read in time.

    Parameters
    ----------
    source
        What is read from.
    workers
        Number of processes that read batches; 0 reads patch by patch in this process.
    keys
        The patches in the order of reading.
    seconds
        The time limit; at least one patch or batch is read.

    Raises
    ------
    SlidemillError
        When a store or a slide cannot be read.
    """
    if not workers:
        source.open(keys)
        begun = time.perf_counter()
        done = _read_until(source, keys, begun + seconds)
        elapsed = time.perf_counter() - begun
        source.close()
        return done / elapsed, done
    batches = [keys[start : start + BATCH] for start in range(0, len(keys), BATCH)]
    # On Linux processes are forked: spawned ones would run the job's script again.
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    barrier = context.Barrier(workers)
    with ProcessPoolExecutor(workers, context, initializer=_start, initargs=(source, keys, barrier)) as pool:
        list(pool.map(_wait_for_all, range(workers)))
        begun = time.perf_counter()
        # The first batch is always read, so that there is a result.
        deadlines = [math.inf, *[begun + seconds] * (len(batches) - 1)]
        done = sum(pool.map(_read_batch, batches, deadlines))
        return done / (time.perf_counter() - begun), done


def _read_until(source: Source, keys: Sequence[Key], deadline: float) -> int:
    """Read patches, at least one, until `deadline`; return their number."""
    for done, key in enumerate(keys, start=1):
        source.read(key)
        if time.perf_counter() > deadline:
            return done
    return len(keys)


@dataclass(slots=True)
class _Worker:
    """A worker process: its source, its batch, and the barrier of all workers."""

    source: Source
    batch: npt.NDArray[np.uint8]
    barrier: Barrier


_worker: _Worker


def _start(source: Source, keys: Sequence[Key], barrier: Barrier) -> None:
    """Open the source in a worker process."""
    global _worker
    source.open(keys)
    shape = source.read(keys[0]).shape
    _worker = _Worker(source, np.empty((BATCH, *shape), np.uint8), barrier)


def _wait_for_all(_index: int) -> None:
    """Wait until all workers have started, so that each takes one of these tasks."""
    _worker.barrier.wait()


def _read_batch(keys: Sequence[Key], deadline: float) -> int:
    """Assemble a batch of patches, and return its size."""
    if time.perf_counter() > deadline:
        return 0
    for place, key in enumerate(keys):
        _worker.batch[place] = _worker.source.read(key)
    return len(keys)
