"""Read patches in this process or by several, and time it."""

from __future__ import annotations

import math
import multiprocessing
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.synchronize import Barrier
from typing import Protocol

import numpy as np
import numpy.typing as npt

from slidemill.measuring.sources import Key, Source

BATCH = 32
"""Patches per batch."""


@dataclass(frozen=True, slots=True)
class Timed:
    """The number of patches that were read, and the seconds that it took."""

    patches: int
    seconds: float

    @property
    def rate(self) -> float:
        """Patches per second."""
        return self.patches / self.seconds


class Readers(Protocol):
    """Processes, or this one, that have opened a source."""

    def read(self, keys: Sequence[Key], seconds: float) -> Timed:
        """Read patches in the order given for so many seconds, at least one patch or batch.

        Raises
        ------
        SlidemillError
            When a store or a slide cannot be read.
        """
        ...

    def reopen(self, between: Callable[[], None] = lambda: None) -> None:
        """Close all stores or slides, call `between`, and open them; raises as `read` does."""
        ...


@contextmanager
def open_readers(source: Source, workers: int, keys: Sequence[Key]) -> Iterator[Readers]:
    """Yield what reads a source: so many processes, or for 0 this one, patch by patch.

    Starting the processes and opening what `keys` need is done when the readers are yielded, so it is not timed.

    Raises
    ------
    SlidemillError
        When a store or a slide cannot be opened.
    """
    if not workers:
        source.open(keys)
        try:
            yield _ThisProcess(source, keys)
        finally:
            source.close()
        return
    # On Linux processes are forked: spawned ones would run the job's script again.
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    barrier = context.Barrier(workers)
    with ProcessPoolExecutor(workers, context, initializer=_start, initargs=(source, keys, barrier)) as pool:
        list(pool.map(_open, range(workers)))
        yield _Processes(pool, workers)


@dataclass(frozen=True, slots=True)
class _ThisProcess:
    """Reads patch by patch."""

    source: Source
    keys: Sequence[Key]

    def read(self, keys: Sequence[Key], seconds: float) -> Timed:
        begun, done = time.perf_counter(), 0
        for done, key in enumerate(keys, start=1):  # noqa: B007
            self.source.read(key)
            if time.perf_counter() > begun + seconds:
                break
        return Timed(done, time.perf_counter() - begun)

    def reopen(self, between: Callable[[], None] = lambda: None) -> None:
        self.source.close()
        between()
        self.source.open(self.keys)


@dataclass(frozen=True, slots=True)
class _Processes:
    """Read batches, each into an array of its process, without handing them to another process."""

    pool: ProcessPoolExecutor
    workers: int

    def read(self, keys: Sequence[Key], seconds: float) -> Timed:
        batches = [keys[start : start + BATCH] for start in range(0, len(keys), BATCH)]
        begun = time.perf_counter()
        # The first batch is always read, so that there is a result.
        deadlines = [math.inf, *[begun + seconds] * (len(batches) - 1)]
        done = sum(self.pool.map(_read_batch, batches, deadlines))
        return Timed(done, time.perf_counter() - begun)

    def reopen(self, between: Callable[[], None] = lambda: None) -> None:
        list(self.pool.map(_close, range(self.workers)))
        between()
        list(self.pool.map(_open, range(self.workers)))


@dataclass(slots=True)
class _Worker:
    """A worker process: its source, the patches to open it for, the barrier of all workers, and its batch."""

    source: Source
    keys: Sequence[Key]
    barrier: Barrier
    batch: npt.NDArray[np.uint8] | None = None


_worker: _Worker


def _start(source: Source, keys: Sequence[Key], barrier: Barrier) -> None:
    """Keep what a worker process reads."""
    global _worker
    _worker = _Worker(source, keys, barrier)


def _open(_index: int) -> None:
    """Open the source; wait for all workers, so that each takes one of these tasks."""
    try:
        _worker.source.open(_worker.keys)
        if _worker.batch is None:
            _worker.batch = np.empty((BATCH, *_worker.source.read(_worker.keys[0]).shape), np.uint8)
    finally:
        _worker.barrier.wait()


def _close(_index: int) -> None:
    """Close the source, and wait for all workers."""
    try:
        _worker.source.close()
    finally:
        _worker.barrier.wait()


def _read_batch(keys: Sequence[Key], deadline: float) -> int:
    """Assemble a batch of patches, and return its size; 0 after the deadline."""
    if time.perf_counter() > deadline:
        return 0
    assert _worker.batch is not None
    for place, key in enumerate(keys):
        _worker.batch[place] = _worker.source.read(key)
    return len(keys)
