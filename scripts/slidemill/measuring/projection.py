"""Project measured candidates to a cohort, and recommend one of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from slidemill.core.encodings import ENCODINGS
from slidemill.core.specs import SLIDES, pixel_threads
from slidemill.measuring.candidates import Measured
from slidemill.measuring.cohort import Cohort
from slidemill.measuring.reading import NO_TIME
from slidemill.measuring.sample import Sample

ENOUGH = 2000 * 256**2
"""Pixels per second in shuffled batches that keep a fast graphics processor at work (2,000 patches of 256 px)."""
STARTS = 3.5
"""Starts of a process per slide: one that stores, two that check, and what Snakemake takes for them."""
SLOWEST = 1 / 8
"""Candidates with this share of the fastest rate are fast enough too, on machines that reach no more."""
ABOUT_AS_SMALL = 1.25
"""Candidates within this factor of the smallest count as equally small."""
ABOUT_AS_FAST = 0.7
"""Candidates with this share of the fastest rate count as equally fast: repeated measurements differ by as much."""


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What an estimate depends on besides the patches.

    Parameters
    ----------
    cores, threads
        Cores of the run, and threads of a job with which the candidates were measured.
    job_start
        Seconds that a job takes before its work begins.
    checked
        Patches of each slide that are compared with the slide.
    free
        Free bytes on the disk of the results.
    """

    cores: int
    threads: int
    job_start: float
    checked: int
    free: int


def estimate_rows(
    cohort: Cohort, sample: Sample, measured: Sequence[Measured], now: Circumstances
) -> list[dict[str, Any]]:
    """Return a row of the table of candidates for each measured one.

    Parameters
    ----------
    cohort
        The slides that are stored.
    sample, measured
        The sampled patches, and what was measured on them.
    now
        The machine and the configuration.

    Returns
    -------
    list of dict
        Rows with the columns of `ESTIMATE_COLUMNS`.
    """
    rows = [_row(cohort, sample, one, now) for one in measured]
    best = recommended(rows, cohort.grid.patch_size)
    for row in rows:
        row["recommended"] = "yes" if row is best else ""
    return rows


def recommended(rows: Sequence[Mapping[str, Any]], patch_size: int) -> Mapping[str, Any] | None:
    """Return the row of the candidate to choose, if any was measured.

    Where the slides themselves are read fast enough, it is these: no store is needed.

    A lossy candidate is chosen only if it is configured. Of those that fit on the disk and are read fast enough, it is
    the smallest. Of about equally small ones, it is the fastest, then a configured one, then the first.
    """
    lossless = [
        row
        for row in rows
        if row.get("patch_bytes")
        and (row["backend"] == SLIDES or ENCODINGS[str(row["encoding"])].lossless or row["configured"] == "yes")
    ]
    fitting = [row for row in lossless if float(row["space"]) <= float(row["free"])] or lossless
    if not fitting:
        return None
    enough = min(ENOUGH / patch_size**2, SLOWEST * max(float(row["batches"]) for row in fitting))
    fast = [row for row in fitting if float(row["batches"]) >= enough]
    most = ABOUT_AS_SMALL * min(float(row["space"]) for row in fast)
    small = [row for row in fast if float(row["space"]) <= most]
    least = ABOUT_AS_FAST * max(float(row["batches"]) for row in small)
    return max((row for row in small if float(row["batches"]) >= least), key=lambda row: row["configured"] == "yes")


def _row(cohort: Cohort, sample: Sample, one: Measured, now: Circumstances) -> dict[str, Any]:
    candidate = one.candidate
    row: dict[str, Any] = {
        "backend": candidate.backend,
        "encoding": candidate.spec.encoding,
        "quality": candidate.spec.quality,
        "configured": "yes" if candidate.is_configured else "",
        "slides": len(cohort.slides) + cohort.others,
        "patches": cohort.patches,
        "cores": now.cores,
        "free": now.free,
        "sample": one.patches,
    }
    if not one.patches:
        return {**row, "note": _obstacle(sample, one)}
    rates = {"random": f"{one.random:.6g}", "batches": f"{one.batches:.6g}"}
    if candidate.backend == SLIDES:
        # Nothing is written, and nothing is checked.
        nothing = dict.fromkeys(("patch_bytes", "margin", "bytes", "space", "seconds", "hours"), "0")
        return {**row, **nothing, **rates, "note": ""}
    stores, count = len(cohort.slides) + cohort.others, cohort.patches
    each = _seconds_per_patch(sample, one, now.threads)
    seconds, wall = _durations(cohort, sample, one, now=now)
    return {
        **row,
        "patch_bytes": f"{one.patch_bytes:.10g}",
        # A sample of all patches has no error.
        "margin": f"{one.margin * math.sqrt(max(1 - one.patches / count, 0)):.3g}",
        "bytes": one.bytes_of(stores, count),
        "space": one.space_of(stores, count),
        "seconds": f"{seconds:.6g}",
        "hours": f"{wall / 3600:.4g}",
        "write": f"{now.cores / now.threads / each:.6g}",
        **rates,
        "note": "" if one.patches == sample.wanted else f"measured on {one.patches} of {sample.wanted} patches",
    }


def _obstacle(sample: Sample, one: Measured) -> str:
    """Return why a candidate was not measured."""
    if one.reason:
        return one.reason
    if not sample.pixels or one.candidate.backend == SLIDES:
        return "not measured: no patch could be read"
    reason = sample.obstacle(one.candidate.backend) if one.candidate.spec.encoding == "source" else ""
    return f"not possible: {reason}" if reason else NO_TIME


def _seconds_per_patch(sample: Sample, one: Measured, threads: int) -> float:
    """Return the seconds per patch of a job with so many threads that reads, encodes and writes."""
    is_copied = one.candidate.spec.encoding == "source"
    # Reading and encoding are timed with all threads of a job; one of them writes, while the others go on.
    reading = 0.0 if is_copied else sample.reading.each
    return max(reading + one.encoding + one.writing / threads, one.writing)


def _durations(cohort: Cohort, sample: Sample, one: Measured, *, now: Circumstances) -> tuple[float, float]:
    """Return the seconds of all jobs that write stores, and those until all stores are written and checked.

    Work is spread over the cores, but a slide's jobs follow each other.
    """
    each = _seconds_per_patch(sample, one, now.threads)
    total = longest = 0.0
    starting = STARTS * now.job_start
    core_seconds = cohort.others * starting
    for slide in cohort.slides:
        threads = min(pixel_threads(slide.megabytes), now.cores)
        written = sample.opening.each + slide.patches * max(each * now.threads / threads, one.writing)
        checked = slide.patches / (one.random * threads)
        compared = min(now.checked, slide.patches) * sample.scattered.each * now.threads
        jobs = starting + written + checked + compared
        total += written
        core_seconds += threads * jobs
        longest = max(longest, jobs)
    return total, max(core_seconds / now.cores, longest)
