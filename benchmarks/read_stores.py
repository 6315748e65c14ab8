"""Read stores in random order, beside the same work on bytes that are in memory already.

    python -m benchmarks.read_stores SLIDE [--patches 3000] [--repeats 5] [--out FOLDER]

The stores are made from the slide first. A way of reading and what it is compared with are measured one right after
the other, and all such pairs take turns in an order drawn anew in each round; ratios are medians of those of each
pair. All files are in the page cache.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks.bench_slide import slide_facts
from benchmarks.environments import own_versions
from benchmarks.machine import code, machine
from benchmarks.runner import busy_seconds, cpu_seconds
from benchmarks.store_ways import SEED, Rate, made_store, ways_of
from slidemill.stores.base import Store

ROOT = Path(__file__).parents[1]
RAW_SHARE, ENCODED_SHARE = 0.9, 0.95
"""What stores are to reach of their limits: a copy in memory, and the bare decoder."""


@dataclass(frozen=True, slots=True)
class Ratio:
    """Two ways that are compared: the first's rate is to be `wanted` times the second's, or is shown alone."""

    way: str
    limit: str
    wanted: float | None = None


RATIOS = (
    Ratio("LMDB raw, read", "memory, copy", RAW_SHARE),
    Ratio("LMDB raw, view", "memory, copy", RAW_SHARE),
    Ratio("HDF5 raw, read", "memory, copy", RAW_SHARE),
    Ratio("HDF5 raw, view", "memory, copy", RAW_SHARE),
    Ratio("Zarr raw, read", "HDF5 raw, read"),
    Ratio("Zarr zstd, read", "LMDB zstd, read"),
    *(Ratio(f"LMDB {name}, read", f"memory, decode {name}", ENCODED_SHARE) for name in ("zstd", "png", "jpeg")),
    Ratio("LMDB source, read", "memory, decode source", ENCODED_SHARE),
    *(Ratio(f"LMDB {name}, read_many, 2 threads", f"LMDB {name}, read_many, 1 thread") for name in ("raw", "png")),
    *(Ratio(f"LMDB {name}, 2 processes", f"LMDB {name}, 1 process") for name in ("raw", "png")),
)


def page(pairs: Mapping[Ratio, Sequence[tuple[float, float]]], facts: Mapping[str, str]) -> str:
    """Return the tables in Markdown."""
    rates: dict[str, list[float]] = {}
    for one, found in pairs.items():
        for pair in found:
            for way, rate in zip((one.way, one.limit), pair, strict=True):
                rates.setdefault(way, []).append(rate)
    lines = ["# Reading stores", "", *(f"- {name}: {value}" for name, value in facts.items()), ""]
    lines += ["| way | patches/s, median (min-max) |", "|---|---:|"]
    for way, known in rates.items():
        lines.append(f"| {way} | {statistics.median(known):,.0f} ({min(known):,.0f}-{max(known):,.0f}) |")
    lines += ["", "| way | against | ratio, median (min-max) | wanted | met |", "|---|---|---:|---:|---|"]
    for one, found in pairs.items():
        shares = [rate / limit for rate, limit in found]
        ratio = statistics.median(shares)
        wanted = f">= {one.wanted:g} | {'yes' if ratio >= one.wanted else 'no'}" if one.wanted else "- | -"
        lines.append(f"| {one.way} | {one.limit} | {ratio:.3f} ({min(shares):.3f}-{max(shares):.3f}) | {wanted} |")
    return "\n".join(lines)


def raced(ways: Mapping[str, Rate], repeats: int) -> dict[Ratio, list[tuple[float, float]]]:
    """Return the rates of all pairs, in each round."""
    pairs: dict[Ratio, list[tuple[float, float]]] = {one: [] for one in RATIOS}
    # The first round warms up.
    for turn in range(repeats + 1):
        generator = random.Random(f"{SEED} {turn}")  # noqa: S311
        for one in generator.sample(RATIOS, len(RATIOS)):
            order = generator.sample((one.way, one.limit), 2)
            rates = {way: ways[way]() for way in order}
            if turn:
                pairs[one].append((rates[one.way], rates[one.limit]))
    return pairs


def main() -> None:
    """Make the stores, read them, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("slide", type=Path)
    parser.add_argument("--patches", type=int, default=3000, help="how many are read (3000)")
    parser.add_argument("--repeats", type=int, default=5, help="rounds (5)")
    parser.add_argument("--patch-size", type=int, default=256, help="in pixels (256)")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "out", help="where the results go")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.out) as folder, ExitStack() as stack:

        def made(backend: str, encoding: str) -> Store:
            size = None if encoding == "source" else options.patch_size
            return stack.enter_context(made_store(options.slide.absolute(), Path(folder), backend, encoding, size))

        lmdb = {name: made("lmdb", name) for name in ("raw", "zstd", "png", "jpeg", "source")}
        zarr = {name: made("zarr", name) for name in ("raw", "zstd")}
        ways = ways_of(lmdb, made("hdf5", "raw"), zarr, patches=options.patches)
        busy, cpu, begun = busy_seconds(), cpu_seconds(), time.perf_counter()
        pairs = raced(ways, options.repeats)
        foreign = busy_seconds() - busy - (cpu_seconds() - cpu)
        share = foreign / (time.perf_counter() - begun) / len(os.sched_getaffinity(0))
        facts = {
            "machine": machine(),
            "slidemill": code(),
            "slide": slide_facts(options.slide).summary,
            "patches": f"{min(options.patches, len(lmdb['raw']))}, {options.repeats} rounds",
            "other work": f"took {max(share, 0):.0%} of the machine meanwhile",
            "libraries": ", ".join(f"{name} {version}" for name, version in own_versions().items()),
        }
    text = page(pairs, facts)
    (options.out / "read_stores.md").write_text(text + "\n", encoding="utf-8")
    values = [{"way": one.way, "against": one.limit, "rates": found} for one, found in pairs.items()]
    (options.out / "read_stores.json").write_text(json.dumps({"facts": facts, "pairs": values}, indent=1) + "\n")
    print(text)


if __name__ == "__main__":
    main()
