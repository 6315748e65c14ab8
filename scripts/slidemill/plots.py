"""Plots of the benchmark, and what it says in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from slidemill.files import replacing
from slidemill.sources import SLIDES

Rows = Sequence[Mapping[str, str]]
ALIKE = 0.9
"""Stores within a tenth of the fastest count as equally fast; the smaller one is recommended then."""


def plot_benchmark(rows: Rows, path: Path) -> None:
    """Publish a PNG of patches a second, by source and way of reading, beside sizes and writing times."""
    from matplotlib.figure import Figure

    sources = list(dict.fromkeys(row["source"] for row in rows))
    ways = list(dict.fromkeys(_way(row) for row in rows if row["unit"] == "patches/s"))
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    speed, facts = figure.subplots(1, 2, width_ratios=(3, 1))
    colours = ("#0072b2", "#56b4e9", "#d55e00", "#f0a35e")
    height = 0.8 / max(len(ways), 1)
    for place, way in enumerate(ways):
        for hatch, cache in (("", "warm"), ("////", "cold")):
            chosen = {row["source"]: row for row in rows if _way(row) == way and row["cache"] == cache}
            known = [source for source in sources if source in chosen]
            at = [sources.index(source) + place * height for source in known]
            values = [float(chosen[source]["median"]) for source in known]
            spread = [
                [value - float(chosen[s]["low"]) for value, s in zip(values, known, strict=True)],
                [float(chosen[s]["high"]) - value for value, s in zip(values, known, strict=True)],
            ]
            half = height * (0.5 if cache == "warm" else 0.35)
            offset = -height / 4 if cache == "warm" else height / 4
            speed.barh(
                [y + offset for y in at],
                values,
                half,
                xerr=spread,
                color=colours[place % len(colours)] if cache == "warm" else "white",
                edgecolor=colours[place % len(colours)],
                hatch=hatch,
                label=f"{way}, {cache}",
                error_kw={"linewidth": 0.8},
            )
    speed.set_xscale("log")
    speed.set_yticks([n + 0.4 - height / 2 for n in range(len(sources))], sources)
    speed.invert_yaxis()
    speed.set_xlabel("patches a second (median, bars show the spread)")
    speed.grid(axis="x", alpha=0.3)
    if ways:
        speed.legend(fontsize=7, loc="lower right")
    stores = [source for source in sources if source != SLIDES]
    facts.barh(stores, [_fact(rows, source, "bytes") / 1e6 for source in stores], color="#999999")
    for n, source in enumerate(stores):
        facts.text(0, n, f" {source}, written in {_fact(rows, source, 'write'):.1f} s", va="center", fontsize=8)
    facts.invert_yaxis()
    facts.yaxis.set_visible(False)
    facts.set_xlabel("MB on disk")
    with replacing(path) as aside:
        # Without the version of matplotlib in it, the same figures give the same file.
        figure.savefig(aside, format="png", dpi=130, metadata={"Software": None})


def recommendation(rows: Rows) -> str:
    """Return which backend to train from, in one sentence, by the measured figures alone.

    The fastest in shuffled, warm batches by the most workers is named; of those within a tenth of it, the
    smallest on disk.
    """
    rates = _rates(rows, "batches", "warm")
    stores = {source: rate for source, rate in rates.items() if source != SLIDES}
    if not stores:
        return "No patch was there to measure, so there is nothing to recommend."
    fastest = max(stores, key=stores.__getitem__)
    alike = [source for source in stores if stores[source] >= ALIKE * stores[fastest]]
    best = min(alike, key=lambda source: _fact(rows, source, "bytes"))
    rest = [f"{source} {rate:,.0f}" for source, rate in rates.items() if source not in (best, SLIDES)]
    text = (
        f"For these patches on this machine, train from {best}: {rates[best]:,.0f} patches a second in shuffled batches"
    )
    if rest:
        text += f", against {' and '.join(rest)}"
    if SLIDES in rates:
        factor = rates[best] / rates[SLIDES]
        text += f"; straight from the slides it would be {rates[SLIDES]:,.0f}, a factor of {factor:.3g}"
    if best != fastest:
        text += f" ({fastest} is within a tenth of it, and larger)"
    return f"{text}."


def claim(rows: Rows) -> str:
    """Return whether "LMDB provides the best read time" (Lim, Young and Patton 2016) holds here."""
    rates = {source: rate for source, rate in _rates(rows, "random", "warm").items() if source != SLIDES}
    if "lmdb" not in rates or len(rates) < 2:
        return "Whether LMDB reads fastest can be told when it and another backend are configured."
    others = {source: rate for source, rate in rates.items() if source != "lmdb"}
    best = max(others, key=others.__getitem__)
    ratio = rates["lmdb"] / others[best]
    verdict = "holds" if ratio > 1 / ALIKE else "does not hold" if ratio < ALIKE else "is undecided"
    return (
        f"That LMDB reads fastest {verdict} here: in random order, from a warm cache, one process read "
        f"{rates['lmdb']:,.0f} patches a second from lmdb and {others[best]:,.0f} from {best}, "
        f"a factor of {ratio:.3g}. The encodings differ where the configuration says so, and decoding counts."
    )


def _rates(rows: Rows, measure: str, cache: str) -> dict[str, float]:
    """Return patches a second by source, with the most workers that were measured."""
    chosen = [row for row in rows if row["measure"] == measure and row["cache"] == cache]
    most = max((int(row["workers"]) for row in chosen), default=0)
    return {row["source"]: float(row["median"]) for row in chosen if int(row["workers"]) == most}


def _fact(rows: Rows, source: str, measure: str) -> float:
    return next((float(row["median"]) for row in rows if (row["source"], row["measure"]) == (source, measure)), 0.0)


def _way(row: Mapping[str, str]) -> str:
    workers = row["workers"]
    return row["measure"] if workers in ("", "0") else f"{row['measure']}, {workers} worker{'s' * (workers != '1')}"
