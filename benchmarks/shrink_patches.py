"""What sampling by ``mpp`` costs over reading: ``python -m benchmarks.shrink_patches SLIDE``.

The same area is only read at native resolution, and is sampled into LMDB with zstd at coarser resolutions, by each
filter. All alternate, so that they see the same machine; figures are processor seconds of all threads, without start.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks.machine import code, machine
from slidemill.core.pyramid import SlideInfo
from slidemill.core.specs import AREA, LANCZOS, GridSpec, StoreSpec, WorkSpec
from slidemill.slides.fingerprint import fingerprint
from slidemill.slides.grid import Grid
from slidemill.slides.patch_table import SlidePatches
from slidemill.slides.reader_choice import open_reader
from slidemill.slides.slide_info import open_slide, slide_info
from slidemill.stages.store import new_manifest, store_slide
from slidemill.stores.registry import STORES

SIZE = 256
FACTORS = (2, 1.9841)
"""Level-0 pixels per pixel: for 0.5 µm per pixel, from slides of 0.25 and of 0.252."""


def main() -> None:
    """Print a row of Markdown for each way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("slide", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    with open_slide(given.slide) as slide:
        info = slide_info(slide)
    if not info.mpp:
        raise SystemExit(f"{given.slide}: does not state its µm per pixel: choose a slide that does")
    print(f"{given.slide.name}, {given.threads} threads; {machine()}; commit {code()}")
    work = partial(_read, given.slide, info, given.threads), partial(_store, given.slide, info, given.threads)
    ways: dict[str, Callable[[], int]] = {
        "reading at native resolution": partial(work[0], GridSpec(2 * SIZE, level=0)),
        f"reading by area, {FACTORS[0]} times": partial(work[0], _grid(info, FACTORS[0], AREA)),
    }
    for factor in FACTORS:
        for name in (AREA, LANCZOS):
            ways[f"LMDB zstd by {name}, {factor} times"] = partial(work[1], _grid(info, factor, name))
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    counts: dict[str, int] = {}
    for turn in range(given.rounds + 1):
        for name in sorted(ways, reverse=bool(turn % 2)):
            begun = time.perf_counter(), time.process_time()
            counts[name] = ways[name]()
            took = time.perf_counter() - begun[0], time.process_time() - begun[1]
            if turn:  # the first round fills the page cache
                seconds[name].append(took)
    print("| what | patches | processor s | x reading | wall s |\n|---|---|---|---|---|")
    native = seconds["reading at native resolution"]
    for name, both in seconds.items():
        ratio = statistics.median(own[1] / other[1] for own, other in zip(both, native, strict=True))
        middle = [statistics.median(own[at] for own in both) for at in (0, 1)]
        print(f"| {name} | {counts[name]} | {middle[1]:.2f} | {ratio:.2f} | {middle[0]:.2f} |", flush=True)


def _grid(info: SlideInfo, factor: float, name: str) -> GridSpec:
    return GridSpec(SIZE, mpp=factor * (info.mpp or 0), filter=name)


def _asked(source: Path, info: SlideInfo, grid: GridSpec) -> SlidePatches:
    return SlidePatches(source, info, grid, list(Grid(info.pyramid, grid).patches()))


def _read(source: Path, info: SlideInfo, threads: int, grid: GridSpec) -> int:
    asked = _asked(source, info, grid)
    with open_reader(asked, "auto", 0) as (reader, _):
        return sum(1 for _ in reader.read(asked.patches, lambda pixels: None, threads))


def _store(source: Path, info: SlideInfo, threads: int, grid: GridSpec) -> int:
    kind, settings = STORES["lmdb"], StoreSpec("zstd")
    manifest = new_manifest(kind, settings, "bench", fingerprint=fingerprint(source), grid=grid)
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        work = WorkSpec("auto", threads, 0)
        outcome = store_slide(
            _asked(source, info, grid), Path(folder) / "store.lmdb", manifest, backend=kind, work=work
        )
    if outcome.failed or outcome.store is None:
        raise SystemExit(outcome.message)
    return outcome.store.patches


if __name__ == "__main__":
    main()
