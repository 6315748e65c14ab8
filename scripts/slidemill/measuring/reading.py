"""Time how fast patches are read from stores and slides, within a deadline."""

from __future__ import annotations

import math
import random
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from slidemill.core.job_log import LOG
from slidemill.core.specs import BenchmarkSpec
from slidemill.core.text import format_count
from slidemill.measuring.readers import BATCH, Timed, open_readers
from slidemill.measuring.sources import Key, Source, bytes_from_disk, drop_from_cache
from slidemill.measuring.timing import Deadline

LEAST = 0.04
"""Least seconds for reading in a series from a cold cache, and the same from a warm one."""

READINGS = 2.5
"""What a series may take, in these seconds: cold, half for warming further patches, and warm."""

STARTING = 0.05
"""Assumed seconds until a process has started, before any was."""

SHOWN = ("sequential", "random", "batches")
"""Ways of reading in the order of the table."""

NO_TIME = "not measured: no time was left"

Chosen = Mapping[str, Sequence[Key]]
"""The patches to read: neighbours, ``"sequential"``, and scattered ones, ``"random"``."""


@dataclass(frozen=True, slots=True)
class Way:
    """A way of reading: sequential, random or batches, by so many workers (0: this process)."""

    measure: str
    workers: int

    @property
    def name(self) -> str:
        """What it is called in the log."""
        return f"{self.measure}, {format_count(self.workers, 'worker')}" if self.workers else self.measure


@dataclass(frozen=True, slots=True)
class Series:
    """What was read from a cold and then a warm cache, of so many patches, and whether the cache was dropped."""

    cold: Timed
    warm: Timed
    wanted: int
    dropped: bool


@dataclass(frozen=True, slots=True)
class _Costs:
    """What series cost besides reading."""

    known: dict[tuple[str, Way], float] = field(default_factory=dict)
    batch: dict[str, float] = field(default_factory=dict)

    def add(self, source: str, way: Way, *, seconds: float, found: Series) -> None:
        """Note the seconds that a series took besides reading, and those of a batch of scattered patches."""
        self.known[source, way] = max(seconds, 0.0)
        if way.measure == "random":
            self.batch[source] = BATCH * (1 / found.cold.rate + 1 / found.warm.rate)

    def expect(self, source: str, way: Way) -> float:
        """Return the expected seconds of a series besides reading."""
        if (source, way) in self.known:
            return self.known[source, way]
        opening = max((cost for (name, _), cost in self.known.items() if name == source), default=0.0)
        return opening + (way.workers * STARTING + self.batch.get(source, 0.0) if way.workers else 0.0)


def benchmark(
    sources: Mapping[str, Source],
    chosen: Chosen,
    spec: BenchmarkSpec,
    *,
    workers: int,
    seed: int,
    deadline: Deadline,
) -> list[dict[str, object]]:
    """Measure each source and way of reading until a deadline; return rows of the benchmark's table.

    Ways are ``sequential`` and ``random`` in this process, and ``batches``: 32 scattered patches, assembled into one
    reused array by 1 and by `workers` processes, without handing them to another process. Each is measured cold, with
    the files dropped from the page cache, and then warm, on the same patches. Starting processes and opening stores
    counts for the deadline, but not for the rates.

    Scattered reads by this process come first, of every store even after the deadline; then batches by the most
    workers, neighbours, batches by one worker, and the other turns. A way is left out where it would end late, for the
    slides first, and for all stores alike.

    Parameters
    ----------
    sources
        What is read from, by name.
    chosen
        The patches to read.
    spec
        The number of turns.
    workers
        Most processes that read at once.
    seed
        Seed of the order of the sources in each turn.
    deadline
        When the last series ends.

    Returns
    -------
    list of dict
        Rows with the columns of `BENCHMARK_COLUMNS`.

    Raises
    ------
    SlidemillError
        When a store or a slide cannot be read.
    """
    # More workers than there are batches would have nothing to read.
    most = min(workers, math.ceil(len(chosen["random"]) / BATCH))
    ways = [Way("random", 0), Way("batches", most), Way("sequential", 0), *([Way("batches", 1)] if most > 1 else [])]
    turns = _Turns(sources, chosen, deadline, left=len(ways) * len(sources) * spec.repeats)
    # Ways take turns, and sources change their order, so that what disturbs the machine disturbs all of them.
    for turn in range(spec.repeats):
        order = list(sources)
        random.Random(f"{seed} {turn}").shuffle(order)  # noqa: S311
        # Stores come before the slides, for which there may be no time.
        order.sort(key=lambda source: not sources[source].encoding)
        for way in ways:
            turns.measure(way, order, turn=turn, is_first=not turn and way is ways[0])
    shown = sorted(ways, key=lambda way: (SHOWN.index(way.measure), way.workers))
    return [
        _row(name, source, way, cache=cache, series=turns.found[name, way], repeats=spec.repeats)
        for cache in ("cold", "warm")
        for way in shown
        for name, source in sources.items()
    ]


@dataclass(slots=True)
class _Turns:
    """The series of all sources, and the number of those that are left."""

    sources: Mapping[str, Source]
    chosen: Chosen
    deadline: Deadline
    left: int
    found: dict[tuple[str, Way], list[Series]] = field(default_factory=lambda: defaultdict(list))
    costs: _Costs = field(default_factory=_Costs)

    def measure(self, way: Way, order: Sequence[str], *, turn: int, is_first: bool) -> None:
        """Measure one way of all sources in this order, if the time suffices; the first one of stores in any case."""
        needed = {source: self.costs.expect(source, way) + READINGS * LEAST for source in order}
        chosen = list(order) if is_first else self._choose_sources(needed)
        skipped = []
        for source in order:
            is_late = source not in chosen or needed[source] > self.deadline.left
            if not is_late or (is_first and self.sources[source].encoding):
                self._add(source, way, turn)
            else:
                skipped.append(source)
            self.left -= 1
        if skipped:
            LOG.info("turn %d: %s of %s: no time was left", turn + 1, way.name, ", ".join(skipped))

    def _choose_sources(self, needed: Mapping[str, float]) -> list[str]:
        """Return the sources for which the time suffices: all, without the slowest slides, or none."""
        chosen = sorted(needed, key=lambda source: (not self.sources[source].encoding, needed[source]))
        while chosen and sum(needed[source] for source in chosen) > self.deadline.left:
            if self.sources[chosen.pop()].encoding:
                return []
        return chosen

    def _add(self, source: str, way: Way, turn: int) -> None:
        clock = self.deadline.clock
        seconds = max((self.deadline.left / self.left - self.costs.expect(source, way)) / READINGS, LEAST)
        begun, keys = clock(), self.chosen["sequential" if way.measure == "sequential" else "random"]
        series = _measure(self.sources[source], way, keys, seconds=seconds)
        self.costs.add(source, way, seconds=clock() - begun - READINGS * seconds, found=series)
        self.found[source, way].append(series)
        rates = (series.cold.rate, series.warm.rate)
        LOG.info("turn %d: %s of %s: %.0f patches/s cold, %.0f warm", turn + 1, way.name, source, *rates)


def _measure(source: Source, way: Way, keys: Sequence[Key], *, seconds: float) -> Series:
    """Read for so many seconds from a cold cache, then what is in the cache for as many."""
    drop_from_cache(source.files(keys))
    before = bytes_from_disk()
    with open_readers(source, way.workers, keys) as readers:
        cold = readers.read(keys, seconds)
        # Reads of worker processes are not counted here: dropping is assumed to have worked for them.
        dropped = way.workers > 0 or bytes_from_disk() != before
        warmed = cold.patches
        # Cold reads may be so slow that too few patches are warm. Batches that are slow are enough: one per worker.
        if warmed < len(keys) and (not way.workers or cold.seconds < 2 * seconds):
            warmed += readers.read(keys[warmed:], seconds / 2).patches
        readers.reopen()
        warm = readers.read(keys[:warmed], seconds)
    return Series(cold, warm, len(keys), dropped)


def _row(
    name: str, source: Source, way: Way, *, cache: str, series: Sequence[Series], repeats: int
) -> dict[str, object]:
    """Return the row of a source and a way, read from a cold or a warm cache."""
    known = {"source": name, "encoding": source.encoding, "measure": way.measure, "workers": way.workers}
    row: dict[str, object] = {**known, "cache": cache, "unit": "patches/s", "repeats": len(series)}
    if not series:
        return {**row, "note": NO_TIME}
    timed = [one.cold if cache == "cold" else one.warm for one in series]
    rates, least = [one.rate for one in timed], min(one.patches for one in timed)
    notes = [source.note] if source.note else []
    if least < series[0].wanted:
        notes.append(f"{format_count(least, 'patch', 'patches')} read in its share of the time")
    if len(series) < repeats:
        notes.append(f"{len(series)} of {format_count(repeats, 'repeat')}: no time was left for more")
    if cache == "cold" and not all(one.dropped for one in series):
        notes.append("the page cache could not be dropped here: this is as warm")
    figures = {"median": statistics.median(rates), "low": min(rates), "high": max(rates)}
    return {**row, **{key: f"{rate:.6g}" for key, rate in figures.items()}, "note": "; ".join(notes)}
