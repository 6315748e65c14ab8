"""How long it takes to seek leakage between two sides: ``python -m benchmarks.seek_leakage [PATCHES]``.

Ways to lay out a million patches: of one slide, of which every second goes to the other side, touching; the same moved
by half a patch, so that all overlap; anywhere, and of any size; and of 1,000 slides that are on both sides. Memory is
what is taken beside the tables at once, at most, as Python counts it.
"""

from __future__ import annotations

import subprocess
import sys
import time
import tracemalloc

import numpy as np
import pandas as pd

from benchmarks.machine import code, machine
from slidemill.datasets.leakage import find_leakage

SIZE, SLIDES = 256, 1_000
WAYS = ("touching", "overlapping", "anywhere", "slides")


def sides(way: str, patches: int) -> list[pd.DataFrame]:
    """Return two tables, with `patches` in all."""
    slides = SLIDES if way == "slides" else 1
    columns = int((patches / slides) ** 0.5)
    each = patches // slides
    place = np.arange(each * slides)
    column, row = place % each % columns, place % each // columns
    table = pd.DataFrame(
        {
            "slide": pd.Series([f"slide-{number}" for number in range(slides)], dtype="category").repeat(each).array,
            "patch_id": [f"r{y:05d}_c{x:05d}" for x, y in zip(column, row, strict=True)],
            **{"x0": column * SIZE, "y0": row * SIZE, "width0": SIZE, "height0": SIZE, "downsample": 1.0},
        }
    )
    odd = (column + row) % 2 == 1
    first, second = table[odd], table[~odd]
    if way == "overlapping":
        second = second.assign(x0=second["x0"] + SIZE // 2)
    if way == "anywhere":
        random = np.random.default_rng(0)
        first, second = (
            one.assign(
                **{name: random.integers(-100_000, 100_000, len(one)) for name in ("x0", "y0")},
                **{name: random.integers(1, 2 * SIZE, len(one)) for name in ("width0", "height0")},
            )
            for one in (first, second)
        )
    return [first, second]


def run(way: str, patches: int) -> None:
    """Seek leakage in this process, and print a row."""
    train, test = sides(way, patches)
    tracemalloc.start()
    began = time.perf_counter()
    found = find_leakage(train, test, by="patch")
    took = time.perf_counter() - began
    peak = tracemalloc.get_traced_memory()[1]
    count = len(train) + len(test)
    print(f"| {way} | {count:,} | {found.patches:,} | {took:.2f} | {peak / 1e6:.0f} |", flush=True)


def main(patches: int) -> None:
    """Print a row of Markdown for each way."""
    print(f"{machine()}; numpy {np.__version__}, pandas {pd.__version__}, {code()}")
    for way in WAYS:
        subprocess.run([sys.executable, "-m", "benchmarks.seek_leakage", str(patches), way], check=True)  # noqa: S603


if __name__ == "__main__":
    if len(sys.argv) > 2:
        run(sys.argv[2], int(sys.argv[1]))
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
