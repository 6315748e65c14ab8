"""Describe the benchmark in words, and recommend what to train from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from slidemill.core.columns import SLIDE_SOURCE, TILE_SOURCE
from slidemill.core.text import format_digits, format_list, format_ratio, format_size

Row = Mapping[str, str]
Rows = Sequence[Row]
"""Rows of the benchmark table, as `slidemill.core.csv_tables.read_table` gives them."""

ALIKE = 0.9
"""Stores with this share of the fastest rate count as equally fast."""

SLOWER = 0.5
"""With less than this share a store is slower, even if a disturbed repeat makes the spreads overlap."""

STRAIGHT = {
    TILE_SOURCE: "the slides by tiles",
    SLIDE_SOURCE: "the slides by OpenSlide",
}
"""What the sources of slides are called."""

ORDERS = {"batches": "in shuffled batches", "random": "in random order"}
"""What the ways of reading that are compared are called."""

NO_TIME = "no time was left"
"""What the note of a row says that was not measured, or less often than configured."""

NOTHING = "No patch could be measured, so there is nothing to recommend."


@dataclass(frozen=True, slots=True)
class Comparison:
    """The rates by which stores are compared.

    Parameters
    ----------
    rates
        By source, its row of shuffled batches with the most workers: cold for stores that exceed the memory, else warm.
        Where there was no time for the batches of all stores, its row of reads in random order.
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
    measure = _measure(rows)
    warm, cold = (_rates(rows, measure, cache) for cache in ("warm", "cold"))
    exceeding = {source for source in warm if memory and source in cold and fact(rows, source, "bytes") > memory}
    rates = {source: cold[source] if source in exceeding else row for source, row in warm.items()}
    alike = _fastest(rates)
    best = min(alike, key=lambda row: fact(rows, row["source"], "bytes"), default=None)
    if best and best["source"] in exceeding:
        rates |= {source: cold[source] for source in STRAIGHT if source in cold}
    return Comparison(rates, frozenset(exceeding), alike, best)


def advice(rows: Rows, memory: int | None = None) -> str:
    """Return in one sentence which backend to train from; see `recommendation`."""
    found = compare_stores(rows, memory)
    best = found.best
    if not best:
        return NOTHING
    slides = _straight(found.rates)
    rate = f"patches per second {ORDERS[best['measure']]} on this machine"
    if slides and _suffice(slides, best):
        return (
            f"You need no store: reading {source_name(slides)} gives {_speed(slides)} {rate}, "
            f"and {source_name(best)} gives {_speed(best)}."
        )
    text = f"Train from {source_name(best)}: {_speed(best)} {rate}"
    if best["source"] in found.exceeding:
        text += ", read from the disk since the store exceeds the memory"
    if slides:
        text += f", {_times(best, slides)} as fast as reading the slides"
    return f"{text}."


def recommendation(rows: Rows, memory: int | None = None) -> str:
    """Return which backend to train from, in a few sentences.

    It is the fastest of `compare_stores`; of equally fast ones, the one that takes the least space. No store is needed
    where the slides themselves are read as fast.
    """
    found = compare_stores(rows, memory)
    best = found.best
    if not best:
        return NOTHING
    slides, rate = _straight(found.rates), f"patches per second {ORDERS[best['measure']]} {_readers(best)}"
    here = "For these patches on this machine,"
    if slides and _suffice(slides, best):
        text = [
            f"{here} you need no store: reading {source_name(slides)} gives {_speed(slides)} {rate}; of the stores, "
            f"{source_name(best)} gives {_speed(best)}"
        ]
    else:
        text = [f"{here} train from {source_name(best)}: {_speed(best)} {rate}"]
    stores = {source: row for source, row in found.rates.items() if source not in STRAIGHT}
    if rest := [f"{source_name(row)} {_speed(row)}" for row in stores.values() if row is not best]:
        text.append(f"The other stores give: {', '.join(rest)}")
    if slides:
        by_openslide = found.rates.get(SLIDE_SOURCE, slides)
        also = f" by their tiles, and {_speed(by_openslide)} by OpenSlide" if by_openslide is not slides else ""
        text.append(f"The slides themselves give {_speed(slides)}{also}, so a store is {_times(best, slides)} as fast")
    if others := [source_name(row) for row in found.alike if row is not best]:
        are = "is" if len(others) == 1 else "are"
        of_these = "the two" if len(others) == 1 else "these"
        text.append(
            f"{' and '.join(others)} {are} as fast within the spread of the measurements; {best['source']} takes the "
            f"least space of {of_these}"
        )
    if found.exceeding and memory:
        names = ", ".join(
            f"{source_name(row)} ({format_size(fact(rows, source, 'bytes'))})"
            for source, row in stores.items()
            if source in found.exceeding
        )
        text.append(
            f"This machine's memory of {format_size(memory)} cannot hold {names}, so for these the speed of reading "
            "from the disk counts"
        )
    elif cold := [f"{source_name(row)} {_speed(row)}" for row in _rates(rows, best["measure"], "cold").values()]:
        text.append(f"On first reading, from the disk: {', '.join(cold)}")
    return f"{'. '.join(text)}."


def unmeasured(rows: Rows) -> str:
    """Return in words what there was no time to measure; empty if all was measured."""
    rates = [row for row in rows if row["unit"] == "patches/s"]
    ways = {way: [row for row in rates if way_name(row) == way] for way in dict.fromkeys(map(way_name, rates))}
    missing = []
    for way, own in ways.items():
        lacking = dict.fromkeys(row["source"] for row in own if not row["median"])
        if lacking:
            missing.append(f"{way} ({', '.join(lacking)})" if any(row["median"] for row in own) else way)
    text = (
        [f"There was no time to measure these ways of reading: {format_list(missing, between='; ')}"] if missing else []
    )
    if any(row["measure"] == "batches" and not row["median"] for row in rates) and _measure(rows) != "batches":
        text.append("Training reads batches, so this comparison of stores is only rough")
    if fewer := {int(row["repeats"]) for row in rates if row["median"] and NO_TIME in row["note"]}:
        times = "once" if max(fewer) == 1 else f"{max(fewer)} times"
        text.append(f"There was time to measure some rates only {times}")
    return f"{'. '.join(text)}." if text else ""


def claim(rows: Rows, candidates: Rows = ()) -> str:
    """Describe whether LMDB reads fastest here, as Lim, Young and Patton (2016) say.

    Parameters
    ----------
    rows
        Rows of the benchmark's table.
    candidates
        Rows of the table of candidates. Their raw patches count where LMDB is not among several stores.
    """
    rates = {source: row for source, row in _rates(rows, "random", "warm").items() if source not in STRAIGHT}
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
    apart = "" if lmdb["encoding"] == best["encoding"] else "; the encodings differ"
    return (
        "The earlier tool py-wsi uses LMDB, because LMDB is said to read fastest (Lim, Young and Patton 2016). "
        f"Here this {verdict}: {where}in random order, with the files in memory, one process read {_speed(lmdb)} "
        f"patches per second from {source_name(lmdb)} and {_speed(best)} from {source_name(best)}. Decoding "
        f"is included{apart}."
    )


def _measure(rows: Rows) -> str:
    """Return the way of reading by which stores are compared: batches, if all stores have a rate of them."""
    random, batches = (_rates(rows, measure, "warm") for measure in ("random", "batches"))
    return "random" if random.keys() - STRAIGHT.keys() - batches.keys() else "batches"


def _rates(rows: Rows, measure: str, cache: str) -> dict[str, Row]:
    """Return a measure's row by source, for the largest number of workers."""
    chosen = [row for row in rows if row["measure"] == measure and row["cache"] == cache and row["median"]]
    most = max((int(row["workers"]) for row in chosen), default=0)
    return {row["source"]: row for row in chosen if int(row["workers"]) == most}


def _fastest(rates: Mapping[str, Row]) -> list[Row]:
    """Return the stores' rows that are as fast as the fastest of them."""
    stores = [row for source, row in rates.items() if source not in STRAIGHT]
    fastest = max(stores, key=_rate, default=None)
    return [row for row in stores if fastest and _equal(row, fastest)]


def _straight(rates: Mapping[str, Row]) -> Row | None:
    """Return the row of the slides themselves, by the faster of their readers."""
    return max((rates[source] for source in STRAIGHT if source in rates), key=_rate, default=None)


def _suffice(slides: Row, best: Row) -> bool:
    """Return whether the slides themselves are read about as fast as the best store, or faster."""
    return _rate(slides) >= _rate(best) or _equal(slides, best)


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


def _readers(row: Row) -> str:
    """Return how many processes read, in words."""
    workers = row["workers"]
    return "by one process" if workers == "0" else f"with {workers} worker{'s' * (workers != '1')}"


def way_name(row: Row) -> str:
    """Return what a row's way of reading is called: its measure, and its workers if these are other processes."""
    workers = row["workers"]
    return row["measure"] if workers in ("", "0") else f"{row['measure']}, {workers} worker{'s' * (workers != '1')}"


def source_name(row: Row) -> str:
    """Return what a row's source is called."""
    return f"{row['source']} ({row['encoding']})" if row["encoding"] else STRAIGHT.get(row["source"], row["source"])


def fact(rows: Rows, source: str, measure: str) -> float:
    """Return what a source's row of a measure says; 0 without such a row."""
    return next((float(row["median"]) for row in rows if (row["source"], row["measure"]) == (source, measure)), 0.0)
