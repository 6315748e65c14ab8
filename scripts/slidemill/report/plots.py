"""Plot the benchmark and patch quality, and describe the benchmark in words."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from slidemill.core.columns import SLIDE_SOURCE
from slidemill.core.files import replacing
from slidemill.core.quality_measures import MEASURES
from slidemill.core.text import format_digits, format_ratio

if TYPE_CHECKING:
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

Row = Mapping[str, str]
Rows = Sequence[Row]
"""Rows of the benchmark table, as `slidemill.core.csv_tables.read_table` gives them."""

ALIKE = 0.9
"""Stores with this share of the fastest rate, or whose spreads overlap, count as equally fast."""

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
        panels[0].legend(fontsize=8, title="page cache", title_fontsize=8)
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


def plot_quality(counts: Mapping[str, Sequence[int]]) -> bytes:
    """Plot histograms of the quality measures as PNG.

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
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=110, metadata={"Software": None})
    return picture.getvalue()


def advice(rows: Rows) -> str:
    """Return in one sentence which backend to train from; see `recommendation`."""
    rates = _rates(rows, "batches", "warm")
    alike = _fastest(rates)
    if not alike:
        return NOTHING
    best = _smallest(rows, alike)
    text = f"Train from {_name(best)}: {_speed(best)} patches a second in shuffled batches on this machine"
    if SLIDE_SOURCE in rates:
        text += f", {_times(best, rates[SLIDE_SOURCE])} as fast as straight from the slides"
    return f"{text}."


def recommendation(rows: Rows) -> str:
    """Return which backend to train from, in a few sentences.

    It is the fastest in shuffled, warm batches by the most workers; of equally fast ones the smallest on disk.
    """
    rates = _rates(rows, "batches", "warm")
    stores = {source: row for source, row in rates.items() if source != SLIDE_SOURCE}
    alike = _fastest(rates)
    if not alike:
        return NOTHING
    best = _smallest(rows, alike)
    workers = f"{best['workers']} worker{'s' * (best['workers'] != '1')}"
    text = (
        f"For these patches on this machine, train from {_name(best)}: {_speed(best)} patches a second in shuffled "
        f"batches by {workers}"
    )
    rest = [f"{_name(row)} {_speed(row)}" for row in stores.values() if row is not best]
    if rest:
        text += f", against {' and '.join(rest)}"
    if SLIDE_SOURCE in rates:
        slides = rates[SLIDE_SOURCE]
        text += f"; straight from the slides {_speed(slides)}, so a store is {_times(best, slides)} as fast"
    if len(alike) > 1:
        others = " and ".join(_name(row) for row in alike if row is not best)
        text += f". {others} is as fast within the spread, and {best['source']} is the smallest"
    cold = [f"{_name(row)} {_speed(row)}" for row in _rates(rows, "batches", "cold").values()]
    if cold:
        text += f". Where the stores exceed the memory, the first reading counts, from a cold cache: {', '.join(cold)}"
    return f"{text}."


def claim(rows: Rows) -> str:
    """Describe whether LMDB reads fastest here, as Lim, Young and Patton (2016) say."""
    rates = {source: row for source, row in _rates(rows, "random", "warm").items() if source != SLIDE_SOURCE}
    if "lmdb" not in rates or len(rates) < 2:
        return "Whether LMDB reads fastest is known once it and another backend are configured."
    best = max((row for source, row in rates.items() if source != "lmdb"), key=_rate)
    lmdb = rates["lmdb"]
    verdict = "is undecided" if _equal(lmdb, best) else "holds" if _rate(lmdb) > _rate(best) else "does not hold"
    return (
        f"That LMDB gives the best read time (Lim, Young and Patton 2016, why py-wsi offers it) {verdict} here: "
        f"in random order, from a warm cache, one process read {_speed(lmdb)} patches a second from {_name(lmdb)} "
        f"and {_speed(best)} from {_name(best)}. All are read through open_store, which maps HDF5 files into "
        "memory; decoding counts, where patches are encoded."
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


def _smallest(rows: Rows, alike: Rows) -> Row:
    return min(alike, key=lambda row: _fact(rows, row["source"], "bytes"))


def _equal(one: Row, other: Row) -> bool:
    """Return whether two rates are within a tenth, or their spreads overlap."""
    slow, fast = sorted((one, other), key=_rate)
    return _rate(slow) >= ALIKE * _rate(fast) or float(slow["high"]) >= float(fast["low"])


def _rate(row: Row) -> float:
    return float(row["median"])


def _times(fast: Row, slow: Row) -> str:
    return format_ratio(_rate(fast) / _rate(slow))


def _speed(row: Row) -> str:
    """Return a rate in whole patches per second; slow ones with two digits."""
    rate = _rate(row)
    return f"{rate:,.0f}" if rate >= 10 else format_digits(rate, 2)


def _name(row: Row) -> str:
    return f"{row['source']} ({row['encoding']})" if row["encoding"] else row["source"]


def _fact(rows: Rows, source: str, measure: str) -> float:
    return next((float(row["median"]) for row in rows if (row["source"], row["measure"]) == (source, measure)), 0.0)


def _way(row: Row) -> str:
    workers = row["workers"]
    return row["measure"] if workers in ("", "0") else f"{row['measure']}, {workers} worker{'s' * (workers != '1')}"
