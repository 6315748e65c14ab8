"""Threads, memory and time that jobs request of a cluster.

A job that was killed for its memory or its time is tried again with more of both. Memory is that measured by
``benchmarks/million_patches.py``. Jobs also hold a strip of the slide, whose size is bounded.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from slidemill.core.results_layout import METADATA_TABLE, PATCHES
from slidemill.core.specs import GridSpec, pixel_threads
from slidemill.slides.discovery import SlideFile, decode_path
from slidemill.slides.fingerprint import companions

ROW = 48
"""Least number of bytes that a row of a table of patches takes, without its slide's id."""
PIXELS_PER_BYTE = 8
"""Level-0 pixels per byte of a slide's file. Tissue takes more bytes per pixel, glass takes fewer."""
FINEST_MPP, HIGHEST_POWER = 0.25, 40.0
"""Micrometres per pixel, and magnification, of the finest common slides."""


class OfSlide(Protocol):
    """Protocol of the wildcards of a job on one slide."""

    slide: str


@dataclass(frozen=True)
class Resources:
    """Resources that rules request, as functions of wildcards and attempt.

    Parameters
    ----------
    root
        The folder that slides' paths are relative to.
    slides
        By id.
    grid
        How patches are placed.
    results
        The results folder.
    measures_quality
        Whether sampling reads pixels.
    """

    root: Path
    slides: Mapping[str, SlideFile]
    grid: GridSpec
    results: Path = Path()
    measures_quality: bool = False
    _sizes: dict[str, int] = field(default_factory=dict)

    def megabytes(self, slide: str) -> int:
        """Return a slide's size in MB, companion files included.

        A slide that cannot be read has size 0.
        """
        if slide not in self._sizes:
            path = self.root / decode_path(self.slides[slide].path)
            try:
                size = sum(file.stat().st_size for file in [path, *companions(path)])
            except OSError:
                size = 0
            self._sizes[slide] = size // 1_000_000
        return self._sizes[slide]

    @cached_property
    def cohort_megabytes(self) -> int:
        """The size of all slides together in MB."""
        return sum(map(self.megabytes, self.slides))

    def patch_count(self, slide: str) -> int:
        """Return the number of a slide's patches, or somewhat more.

        Snakemake calls this again before each job, when the table of patches exists, and earlier for grouped jobs.
        """
        rows = table_rows(f"{self.results}/{PATCHES.format(slide=slide)}", slide)
        return rows or expected_patches(self.megabytes(slide) * 1_000_000, self.grid)

    def threads(self, wildcards: OfSlide) -> int:
        """Return the threads of a job that reads or checks all patches."""
        return pixel_threads(self.megabytes(wildcards.slide))

    def sampling_threads(self, wildcards: OfSlide) -> int:
        """Return the threads of sampling, which reads pixels only to measure quality."""
        return self.threads(wildcards) if self.measures_quality else 1

    def table_memory(self, wildcards: OfSlide, attempt: int) -> int:
        """Return the MB of jobs that read and write tables row by row."""
        return 500 * attempt

    def pixel_memory(self, wildcards: OfSlide, attempt: int) -> int:
        """Return the MB of jobs that read patches or stores."""
        return (400 + self.patch_count(wildcards.slide) // 1000) * attempt

    def check_memory(self, wildcards: OfSlide, attempt: int) -> int:
        """Return the MB of the two processes that check stores.

        Each holds the ids and digests of all patches.
        """
        return (400 + self.patch_count(wildcards.slide) // 500) * attempt

    def cohort_memory(self, wildcards: Any, attempt: int) -> int:
        """Return the MB of jobs over the cohort's table, half a KB per row.

        Before the table exists, it is estimated from the size of the slides.
        """
        return (
            1000 + (table_rows(f"{self.results}/{METADATA_TABLE}") // 2000 or self.cohort_megabytes // 100)
        ) * attempt

    def table_runtime(self, wildcards: OfSlide, attempt: int) -> int:
        """Return the minutes of jobs that read no pixels."""
        return (1 + self.megabytes(wildcards.slide) // 200) * attempt

    def pixel_runtime(self, wildcards: OfSlide, attempt: int) -> int:
        """Return the minutes of jobs that read patches or stores."""
        return (2 + self.megabytes(wildcards.slide) // 25) * attempt

    def sampling_runtime(self, wildcards: OfSlide, attempt: int) -> int:
        """Return the minutes of sampling, which reads pixels only to measure quality."""
        return (self.pixel_runtime if self.measures_quality else self.table_runtime)(wildcards, attempt)

    def cohort_runtime(self, wildcards: Any, attempt: int) -> int:
        """Return the minutes of jobs over all slides."""
        return (15 + self.cohort_megabytes // 10_000) * attempt


def table_rows(table: str, slide: str = "") -> int:
    """Return an upper estimate of a table's rows from its size.

    A table that is not written yet has 0 rows.
    """
    try:
        return os.stat(table).st_size // (ROW + len(slide))  # noqa: PTH116 - a plan asks this for each job
    except OSError:
        return 0


def expected_patches(file_bytes: int, grid: GridSpec) -> int:
    """Estimate the number of patches of a slide that is not sampled yet.

    The estimate is from the pixels that its file has room for.

    Of a native level, a downsample of 2 per level is assumed.
    """
    downsample = 1.0
    if grid.mpp:
        downsample = grid.mpp / FINEST_MPP
    elif grid.magnification:
        downsample = HIGHEST_POWER / grid.magnification
    elif grid.level:
        downsample = 2.0 ** min(grid.level, 10)
    step = (grid.patch_size - 2 * grid.overlap) * max(downsample, 1.0)
    return int(file_bytes * PIXELS_PER_BYTE / step**2)
