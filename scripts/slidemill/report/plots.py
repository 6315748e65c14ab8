"""Plot the benchmark and patch quality, and describe the benchmark in words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from slidemill.core.columns import SLIDE_SOURCE
from slidemill.core.files import replacing
from slidemill.core.quality_measures import MEASURES
from slidemill.core.text import format_digits, format_ratio, format_size

if TYPE_CHECKING:
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

Row = Mapping[str, str]
Rows = Sequence[Row]
"""Rows of the benchmark table, as `slidemill.core.csv_tables.read_table` gives them."""

ALIKE = 0.9
"""Stores with this share of the fastest rate count as equally fast."""

SLOWER = 0.5
"""With less than this share a store is slower, even if a disturbed repeat makes the spreads overlap."""

SHOWN = {SLIDE_SOURCE: "slides"}
"""What the source of slides is called."""

NOTHING = "There is no patch to measure, so there is nothing to recommend."


def plot_benchmark(rows: Rows, path: Path) -> None:
    """Publish a PNG of `benchmark_figure`."""
    with replacing(path) as aside:
        # Without matplotlib's version the same figures give the same file.
        benchmark_figure(rows).savefig(aside, format="png", dpi=130, metadata={"Software": None})


def benchmark_figure(rows: Rows) -> Figure:
    """Plot patches per second per way of reading, and the sizes of stores."""
    from matplotlib.figure import Figure

    ways = list(dict.fromkeys(_way(row) for row in rows if row["unit"] == "patches/s"))
    sources = list(dict.fromkeys(row["source"] for row in rows))
    names = [_name(next(row for row in rows if row["source"] == source)) for source in sources]
    figure = Figure(figsize=(10, 1.6 + 0.42 * len(sources)), layout="constrained")
    panels = figure.subplots(1, len(ways) + 1, sharey=True, squeeze=False)[0]
    rates = [float(row[bound]) for row in rows if row["unit"] == "patches/s" for bound in ("low", "high")]
    limits = (min(rates, default=1) / 1.5, max(rates, default=1) * 1.5)
    for panel, way in zip(panels, ways, strict=False):
        for cache, colour, face, offset in (("warm", "#d55e00", "#d55e00", -0.12), ("cold", "#0072b2", "white", 0.12)):
            own = {row["source"]: row for row in rows if _way(row) == way and row["cache"] == cache}
            known = [source for source in sources if source in own]
            middle = [float(own[source]["median"]) for source in known]
            low = [value - float(own[source]["low"]) for value, source in zip(middle, known, strict=True)]
            high = [float(own[source]["high"]) - value for value, source in zip(middle, known, strict=True)]
            places = [sources.index(source) + offset for source in known]
            panel.errorbar(middle, places, xerr=(low, high), fmt="o", color=colour, mfc=face, ms=6, label=cache)
        panel.set_xscale("log")
        panel.set_xlim(limits)
        _mark_rates(panel.xaxis, *limits)
        panel.tick_params(axis="x", labelsize=8)
        panel.set_title(way, fontsize=10)
        panel.set_xlabel("patches/s", fontsize=9)
        panel.grid(axis="x", alpha=0.3)
    if ways:
        handles, labels = panels[0].get_legend_handles_labels()
        texts = [f"{label} cache" for label in labels]
        figure.legend(handles, texts, loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    panels[-1].barh(
        range(len(sources)), [_fact(rows, source, "bytes") / 1e6 for source in sources], 0.5, color="#888888"
    )
    panels[-1].set_title("size", fontsize=10)
    panels[-1].set_xlabel("MB on disk", fontsize=9)
    panels[0].set_yticks(range(len(sources)), names)
    panels[0].invert_yaxis()
    return figure


def _mark_rates(axis: Axis, low: float, high: float) -> None:
    """Mark a logarithmic axis with as many round numbers as fit: 1k, 2k, 5k, 10k."""
    from matplotlib.ticker import EngFormatter, FixedLocator, NullLocator

    decades = math.log10(high / low)
    digits = (1, 2, 3, 5, 7) if decades < 0.7 else (1, 2, 5) if decades < 1.3 else (1,)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)))
    # Matplotlib's locator falls back to linear steps, whose numbers run into each other.
    numbers = [digit * 10.0**power for power in powers for digit in digits]
    axis.set_major_locator(FixedLocator([number for number in numbers if low <= number <= high]))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(EngFormatter(sep=""))


def quality_figure(counts: Mapping[str, Sequence[int]]) -> Figure:
    """Plot histograms of the quality measures.

    Parameters
    ----------
    counts
        By measure, as `slidemill.sampling.quality_notes.all_counts` gives them.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 2.4), layout="constrained")
    panels = figure.subplots(1, len(counts), squeeze=False)[0]
    edges = {measure.column: measure.edges for measure in MEASURES}
    for panel, (name, own) in zip(panels, counts.items(), strict=True):
        if edges[name][0]:  # a bin for each doubling
            panel.set_xscale("log", base=2)
        panel.stairs(own, edges[name], fill=True, color="#0072b2")
        panel.set_title(name.replace("_", " "), fontsize=10)
        panel.set_ylim(0)
        panel.tick_params(labelsize=8)
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("patches", fontsize=9)
    return figure


@dataclass(frozen=True, slots=True)
class Comparison:
    """The rates by which stores are compared.

    Parameters
    ----------
    rates
        By source, its row of shuffled batches with the most workers: cold for stores that exceed the memory, else warm.
    exceeding
        The stores that exceed the memory.
    alike
        The rows of the stores that are as fast as the fastest.
    best
        The one of these that takes the least space on disk; None without a measured store.
    """

    rates: Mapping[str, Row]
    exceeding: frozenset[str]
    alike: Rows
    best: Row | None


def compare_stores(rows: Rows, memory: int | None) -> Comparison:
    """Compare stores for training on a machine with so many bytes of memory.

    A store that exceeds the memory is read from the disk in every epoch, as from a cold cache.
    """
    warm, cold = (_rates(rows, "batches", cache) for cache in ("warm", "cold"))
    exceeding = {source for source in warm if memory and source in cold and _fact(rows, source, "bytes") > memory}
    rates = {source: cold[source] if source in exceeding else row for source, row in warm.items()}
    alike = _fastest(rates)
    best = min(alike, key=lambda row: _fact(rows, row["source"], "bytes"), default=None)
    if best and best["source"] in exceeding and SLIDE_SOURCE in cold:
        rates[SLIDE_SOURCE] = cold[SLIDE_SOURCE]
    return Comparison(rates, frozenset(exceeding), alike, best)


def advice(rows: Rows, memory: int | None = None) -> str:
    """Return in one sentence which backend to train from; see `recommendation`."""
    found = compare_stores(rows, memory)
    best = found.best
    if not best:
        return NOTHING
    text = f"Train from {_name(best)}: {_speed(best)} patches per second in shuffled batches on this machine"
    if best["source"] in found.exceeding:
        text += ", read from the disk since the store exceeds the memory"
    if SLIDE_SOURCE in found.rates:
        text += f", {_times(best, found.rates[SLIDE_SOURCE])} as fast as straight from the slides"
    return f"{text}."


def recommendation(rows: Rows, memory: int | None = None) -> str:
    """Return which backend to train from, in a few sentences.

    It is the fastest of `compare_stores`; of equally fast ones, the one that takes the least space.
    """
    found = compare_stores(rows, memory)
    best = found.best
    if not best:
        return NOTHING
    workers = f"{best['workers']} worker{'s' * (best['workers'] != '1')}"
    text = [
        f"For these patches on this machine, train from {_name(best)}: {_speed(best)} patches per second in shuffled "
        f"batches with {workers}"
    ]
    stores = {source: row for source, row in found.rates.items() if source != SLIDE_SOURCE}
    if rest := [f"{_name(row)} {_speed(row)}" for row in stores.values() if row is not best]:
        text.append(f"The other stores give: {', '.join(rest)}")
    if SLIDE_SOURCE in found.rates:
        slides = found.rates[SLIDE_SOURCE]
        text.append(f"The slides themselves give {_speed(slides)}, so a store is {_times(best, slides)} as fast")
    if others := [_name(row) for row in found.alike if row is not best]:
        are = "is" if len(others) == 1 else "are"
        of_these = "the two" if len(others) == 1 else "these"
        text.append(
            f"{' and '.join(others)} {are} as fast within the spread of the measurements; {best['source']} takes the "
            f"least space of {of_these}"
        )
    if found.exceeding and memory:
        names = ", ".join(
            f"{_name(row)} ({format_size(_fact(rows, source, 'bytes'))})"
            for source, row in stores.items()
            if source in found.exceeding
        )
        text.append(
            f"This machine's memory of {format_size(memory)} cannot hold {names}, so for these the speed of a first "
            "reading counts, from a cold cache"
        )
    elif cold := [f"{_name(row)} {_speed(row)}" for row in _rates(rows, "batches", "cold").values()]:
        text.append(f"From a cold cache, as on the first reading: {', '.join(cold)}")
    return f"{'. '.join(text)}."


def claim(rows: Rows, candidates: Rows = ()) -> str:
    """Describe whether LMDB reads fastest here, as Lim, Young and Patton (2016) say.

    Parameters
    ----------
    rows
        Rows of the benchmark's table.
    candidates
        Rows of the table of candidates. Their raw patches count where LMDB is not among several stores.
    """
    rates = {source: row for source, row in _rates(rows, "random", "warm").items() if source != SLIDE_SOURCE}
    where = ""
    if "lmdb" not in rates or len(rates) < 2:
        raw = [row for row in candidates if row["encoding"] == "raw" and row["random"]]
        rates = {row["backend"]: {**row, "source": row["backend"], "median": row["random"]} for row in raw}
        where = f"on a sample of {raw[0]['sample']} patches, " if raw else ""
    if "lmdb" not in rates or len(rates) < 2:
        return "Whether LMDB reads fastest is known once it and another backend are measured."
    best = max((row for source, row in rates.items() if source != "lmdb"), key=_rate)
    lmdb = rates["lmdb"]
    verdict = "cannot be decided" if _equal(lmdb, best) else "is true" if _rate(lmdb) > _rate(best) else "is not true"
    apart = "" if lmdb["encoding"] == best["encoding"] else ", and the encodings differ"
    return (
        "LMDB is said to read fastest (Lim, Young and Patton 2016), which is why py-wsi offers it. "
        f"Here this {verdict}: {where}in random order, from a warm cache, one process read {_speed(lmdb)} patches per "
        f"second from {_name(lmdb)} and {_speed(best)} from {_name(best)}. Decoding is included{apart}."
    )


def _rates(rows: Rows, measure: str, cache: str) -> dict[str, Row]:
    """Return a measure's row by source, for the largest number of workers."""
    chosen = [row for row in rows if row["measure"] == measure and row["cache"] == cache]
    most = max((int(row["workers"]) for row in chosen), default=0)
    return {row["source"]: row for row in chosen if int(row["workers"]) == most}


def _fastest(rates: Mapping[str, Row]) -> list[Row]:
    """Return the stores' rows that are as fast as the fastest of them."""
    stores = [row for source, row in rates.items() if source != SLIDE_SOURCE]
    fastest = max(stores, key=_rate, default=None)
    return [row for row in stores if fastest and _equal(row, fastest)]


def _equal(one: Row, other: Row) -> bool:
    """Return whether two rates are within a tenth, or within a half with spreads that overlap, if these are known."""
    slow, fast = sorted((one, other), key=_rate)
    share = _rate(slow) / _rate(fast)
    return share >= ALIKE or (share >= SLOWER and float(slow.get("high", 0)) >= float(fast.get("low", "inf")))


def _rate(row: Row) -> float:
    return float(row["median"])


def _times(fast: Row, slow: Row) -> str:
    return format_ratio(_rate(fast) / _rate(slow))


def _speed(row: Row) -> str:
    """Return a rate in whole patches per second; slow ones with two digits."""
    rate = _rate(row)
    return f"{rate:,.0f}" if rate >= 10 else format_digits(rate, 2)


def _name(row: Row) -> str:
    return f"{row['source']} ({row['encoding']})" if row["encoding"] else SHOWN.get(row["source"], row["source"])


def _fact(rows: Rows, source: str, measure: str) -> float:
    return next((float(row["median"]) for row in rows if (row["source"], row["measure"]) == (source, measure)), 0.0)


def _way(row: Row) -> str:
    workers = row["workers"]
    return row["measure"] if workers in ("", "0") else f"{row['measure']}, {workers} worker{'s' * (workers != '1')}"
