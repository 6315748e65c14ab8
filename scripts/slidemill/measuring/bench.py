"""Where and how stores of samples are measured, and what their sizes say."""

from __future__ import annotations

import math
import os
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from slidemill.measuring.readers import open_readers
from slidemill.measuring.sources import Key, Source
from slidemill.measuring.timing import Deadline

REPEATS = 3
"""How often a candidate is read in each way."""
BATCHES = 4
"""Least number of batches that each process reads."""
LEAST_SLIDES = 8
"""Slides from which on the means of slides show how sizes vary."""


@dataclass(frozen=True, slots=True)
class Bench:
    """Where and how candidates are measured.

    Parameters
    ----------
    folder
        A folder on the disk of the results for one store at a time; it is made, and removed afterwards.
    threads, workers
        Threads that encode, as in a job that writes a store, and processes that read batches.
    patch_size
        Width and height of a patch in pixels.
    seed
        Seed of the order in which patches are read.
    scratch
        A folder on a local disk where stores are written first; None for none.
    deadline
        When the last candidate is measured.
    """

    folder: Path
    threads: int
    workers: int
    patch_size: int
    seed: int = 0
    scratch: Path | None = None
    deadline: Deadline = field(default_factory=Deadline)

    def read_rates(self, source: Source, ways: Mapping[int, Sequence[Key]], *, seconds: float) -> list[float]:
        """Return patches per second of each way: the median of `REPEATS`, of fewer after the deadline.

        Parameters
        ----------
        source
            What is read.
        ways
            By number of workers (0: this process), the patches to read.
        seconds
            Seconds for reading; each repeat has an equal share, and reads at least one patch or batch.

        Raises
        ------
        SlidemillError
            When a store or a slide cannot be read.
        """
        rates = []
        for workers, keys in ways.items():
            found: list[float] = []
            with open_readers(source, workers, keys) as readers:
                while not found or (len(found) < REPEATS and self.deadline.left > 0):
                    if found:
                        readers.reopen()
                    found.append(readers.read(keys, seconds / (len(ways) * REPEATS)).rate)
            rates.append(statistics.median(found))
        return rates


def file_sizes(path: Path) -> tuple[int, int]:
    """Return the bytes of a store's files, and those of their blocks on the disk."""
    files = list(path.iterdir()) if path.is_dir() else [path]
    sizes, block = [file.stat().st_size for file in files], os.statvfs(path.parent).f_frsize
    return sum(sizes), sum(-(-size // block) * block for size in sizes)


def standard_error(sizes: Sequence[int], slides: Sequence[str]) -> float:
    """Return the standard error of the mean size of a patch, in bytes.

    Patches of a slide are alike. From `LEAST_SLIDES` slides on, their means are compared, else the patches.

    Parameters
    ----------
    sizes, slides
        The bytes and the slide of each patch.
    """
    by_slide: dict[str, list[int]] = {}
    for slide, size in zip(slides, sizes, strict=True):
        by_slide.setdefault(slide, []).append(size)
    means = [statistics.fmean(own) for own in by_slide.values()]
    values = means if len(means) >= LEAST_SLIDES else sizes
    return statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else 0.0
