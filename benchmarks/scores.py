"""From single runs to the table and the bars: medians, and ratios paired round by round."""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.entrants import ENTRANTS, LEFT_OUT, Entrant
from benchmarks.runner import Run

MB = 1e6
DISTURBED = 0.1
"""Share of all cores that other work may take before it is said."""
SHORTEST = 0.2
"""Seconds below which that share is not known."""


@dataclass
class Scores:
    """All that the race has found so far.

    Parameters
    ----------
    threads
        How many each entrant may use.
    runs
        By entrant and round.
    pixels
        What the comparison of each entrant's pixels said.
    absent
        Why an entrant was not raced.
    """

    threads: int
    runs: dict[str, dict[int, Run]] = field(default_factory=dict)
    pixels: dict[str, str] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)

    def all_of(self, name: str) -> list[Run]:
        """Return the runs of an entrant, none where it was not raced to the end."""
        return [] if name in self.absent else list(self.runs.get(name, {}).values())

    def ratio(self, slow: Sequence[str], fast: str) -> float | None:
        """Return how many times as long `slow`, one after another, take as `fast`: the median over the rounds."""
        if not all(map(self.all_of, (*slow, fast))):
            return None
        rounds = set(self.runs[fast]).intersection(*(self.runs[name] for name in slow))
        return statistics.median(
            sum(self.runs[name][turn].wall for name in slow) / self.runs[fast][turn].wall for turn in rounds
        )

    def memory(self) -> float | None:
        """Return the most anonymous memory of any of slidemill's runs, in MB."""
        runs = [run for name, entrant in ENTRANTS.items() if entrant.module == "ours" for run in self.all_of(name)]
        return max((run.anonymous / MB for run in runs), default=None)

    def unlike(self) -> float | None:
        """Return how many of slidemill's lossless entrants have other pixels than the slide."""
        said = [
            self.pixels[name]
            for name, entrant in ENTRANTS.items()
            if entrant.module == "ours" and not entrant.lossy and name in self.pixels and self.all_of(name)
        ]
        return float(sum(one != "yes" for one in said)) if said else None


@dataclass(frozen=True, slots=True)
class Bar:
    """What slidemill holds itself to: a figure, what it must be, and how it is found."""

    title: str
    wanted: str
    met: Callable[[float], bool]
    figure: Callable[[Scores], float | None]


def _times(title: str, slow: Sequence[str], fast: str, least: float) -> Bar:
    return Bar(title, f">= {least:g} times", lambda value: value >= least, lambda scores: scores.ratio(slow, fast))


BARS = (
    _times("sampling and raw LMDB, against py-wsi into LMDB", ["pywsi-lmdb"], "lmdb-raw", 8),
    _times("reading alone, against cuCIM", ["cucim"], "read", 1.8),
    _times("reading alone, against pyvips", ["pyvips"], "read", 1),
    _times("reading alone, against bare decoding of the tiles", ["limit-decode"], "read", 0.8),
    _times(
        "source into LMDB, sampled before, against py-wsi at the tile size", ["pywsi-lmdb-tile"], "lmdb-source-job", 80
    ),
    _times("sampling and source into LMDB, against py-wsi at the tile size", ["pywsi-lmdb-tile"], "lmdb-source", 80),
    _times(
        "three stores, validated, against py-wsi's three one after another",
        ["pywsi-lmdb", "pywsi-hdf5", "pywsi-disk"],
        "pipeline",
        3,
    ),
    _times("reading through OpenSlide alone, against its plain loop", ["openslide"], "read-openslide", 1.6),
    Bar("most anonymous memory of slidemill", "<= 250 MB", lambda value: value <= 250, Scores.memory),
    Bar("lossless entrants of slidemill whose pixels are not the slide's", "0", lambda value: not value, Scores.unlike),
)


def table(scores: Scores, names: Sequence[str]) -> str:
    """Return the table of entrants in Markdown."""
    head = (
        "entrant|patches|wall s, median (min-max)|CPU s|patches/s|memory MB|store MB|times py-wsi's LMDB|"
        "share of bare decoding|pixels equal"
    )
    lines = [f"| {' | '.join(head.split('|'))} |", "|---|" + "---:|" * 8 + "---|"]
    lines += [_row(scores, ENTRANTS[name]) for name in names if scores.all_of(name)]
    for name in names:
        if name in scores.absent:
            title = ENTRANTS[name].title.format(threads=scores.threads)
            lines.append(f"| {title} | not raced: {scores.absent[name].replace('|', '/')} |" + " |" * 8)
    if set(names) == set(ENTRANTS):
        lines += [f"| {name} | not raced: {why} |" + " |" * 8 for name, why in LEFT_OUT.items()]
    return "\n".join(lines)


def bars(scores: Scores) -> str:
    """Return the bars in Markdown."""
    lines = ["| what | measured | wanted | met |", "|---|---:|---:|---|"]
    for bar in BARS:
        value = bar.figure(scores)
        if value is None:
            lines.append(f"| {bar.title} | not raced | {bar.wanted} | - |")
        else:
            lines.append(f"| {bar.title} | {value:.3g} | {bar.wanted} | {'yes' if bar.met(value) else 'no'} |")
    return "\n".join(lines)


def notes(scores: Scores, names: Sequence[str]) -> str:
    """Return what entrants said of their way, each saying once, with those that said it."""
    said: dict[str, list[str]] = {}
    for name in names:
        for note in dict.fromkeys(run.note for run in scores.all_of(name) if run.note):
            said.setdefault(note, []).append(name)
    return "\n".join(f"- {note} ({', '.join(who)})" for note, who in said.items())


def disturbed(scores: Scores, names: Sequence[str]) -> str:
    """Return whose figures suffer from other work on the machine, which took a tenth of it or more."""
    cores = len(os.sched_getaffinity(0))
    shares = {
        name: statistics.median(run.foreign / (run.wall * cores) for run in scores.all_of(name))
        for name in names
        # The machine counts in hundredths of a second.
        if any(run.wall > SHORTEST for run in scores.all_of(name))
    }
    found = ", ".join(f"{name} {share:.0%}" for name, share in shares.items() if share >= DISTURBED)
    return f"Other work took this share of the machine meanwhile: {found or 'less than a tenth everywhere'}."


def _row(scores: Scores, entrant: Entrant) -> str:
    runs = scores.all_of(entrant.name)
    walls = [run.wall for run in runs]
    wall = statistics.median(walls)
    cells = [
        entrant.title.format(threads=scores.threads),
        f"{runs[0].patches:,}",
        f"{wall:.3g} ({min(walls):.3g}-{max(walls):.3g})",
        f"{statistics.median(run.cpu for run in runs):.3g}",
        f"{runs[0].patches / wall:,.0f}",
        f"{max(run.anonymous for run in runs) / MB:,.0f}",
        f"{runs[0].stored / MB:,.0f}" if runs[0].stored else "-",
        _figure(scores.ratio(["pywsi-lmdb-tile" if entrant.tiles else "pywsi-lmdb"], entrant.name)),
        _figure(scores.ratio(["limit-decode"], entrant.name)),
        scores.pixels.get(entrant.name, "-"),
    ]
    return f"| {' | '.join(cells)} |"


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def as_values(scores: Scores) -> list[Mapping[str, object]]:
    """Return every single run as JSON values."""
    return [
        {
            "entrant": name,
            "round": turn,
            **{field: getattr(run, field) for field in Run.__slots__},
        }
        for name, runs in scores.runs.items()
        for turn, run in runs.items()
    ]
