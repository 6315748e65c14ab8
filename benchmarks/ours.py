"""slidemill itself: reading alone, sampling and storing, and the whole pipeline."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from benchmarks.runner import Done, Ready, Request, main
from slidemill.core.columns import PATCH_COLUMNS
from slidemill.core.csv_tables import read_table, write_table
from slidemill.core.pyramid import SlideInfo
from slidemill.core.results_layout import SUFFIXES
from slidemill.core.specs import GridSpec, StoreSpec, WorkSpec
from slidemill.slides.fingerprint import fingerprint
from slidemill.slides.grid import Grid
from slidemill.slides.patch_table import SlidePatches, patch_rows, patches_of
from slidemill.slides.reader_choice import open_reader
from slidemill.slides.slide_info import open_slide, slide_info
from slidemill.stages.store import new_manifest, store_slide
from slidemill.stores.registry import STORES, open_store

ROOT = Path(__file__).parents[1]
QUALITY = 90
SEED = 0


def read(choice: str, request: Request) -> Ready:
    """Read every patch by one of the readers, and keep none."""
    info, grid = _facts(request), _grid(request)
    patches = list(Grid(info.pyramid, grid).patches())

    def work() -> Done:
        with open_reader(SlidePatches(Path(request.slide), info, grid, patches), choice, SEED) as (reader, why):
            count = sum(1 for _ in reader.read(patches, lambda pixels: None, request.threads))
        return Done(count, note=f"reader {reader.name}: {why}")

    def look(numbers: Sequence[int]) -> list[Any]:
        # All are read as they were when it was timed: that is where their memory is used again.
        wanted = set(numbers)
        with open_reader(SlidePatches(Path(request.slide), info, grid, patches), choice, SEED) as (reader, _):
            everything = enumerate(reader.read(patches, lambda pixels: pixels, request.threads))
            return [pixels.copy() for number, (_, pixels) in everything if number in wanted]

    return Ready(work, look)


def store(backend: str, encoding: str, request: Request, sampled: bool = False) -> Ready:
    """Sample and store: write the table of patches, read it, and publish the store, all from the slide's facts.

    Where it is `sampled` before, the table is there already, as it is for the job that stores.
    """
    source, folder = Path(request.slide), Path(request.folder)
    info, grid = _facts(request), _grid(request)
    kind, settings = STORES[backend], StoreSpec(encoding, QUALITY if encoding == "jpeg" else None)
    manifest = new_manifest(kind, settings, "bench", fingerprint=fingerprint(source), grid=grid)
    table, target = folder / "patches.csv", folder / f"store{SUFFIXES[backend]}"

    def sample() -> None:
        write_table(table, PATCH_COLUMNS, patch_rows("bench", info, grid))

    if sampled:
        sample()

    def work() -> Done:
        if not sampled:
            sample()
        patches = patches_of(read_table(table), info, grid)
        outcome = store_slide(
            SlidePatches(source, info, grid, patches),
            target,
            manifest,
            backend=kind,
            work=WorkSpec("auto", request.threads, SEED),
        )
        if outcome.failed or not outcome.store:
            raise ValueError(outcome.message)
        found = outcome.store
        return Done(found.patches, note=f"reader {found.reader}: {found.reader_reason}")

    def look(numbers: Sequence[int]) -> list[Any]:
        with open_store(target) as made:
            return [made.read(made.ids[number]) for number in numbers]

    return Ready(work, look)


def pipeline(request: Request) -> Ready:
    """Run the workflow from the call to its end: three stores, raw, raw and png, all of them validated."""
    folder = Path(request.folder)
    results, settings = folder / "results", folder / "config.yaml"
    sheet = folder / "slides.csv"
    write_table(sheet, ("slide", "path"), [{"slide": "bench", "path": str(Path(request.slide).resolve())}])
    values = {
        "slides": str(sheet),
        "results": str(results),
        "sampling": {"patch_size": request.patch_size, "level": 0},
        "tissue": {"method": "none"},
        "stores": {"lmdb": {"encoding": "raw"}, "hdf5": {"encoding": "raw"}, "disk": {"encoding": "png"}},
    }
    settings.write_text(yaml.safe_dump(values), encoding="utf-8")
    command = [sys.executable, "-m", "snakemake", "--cores", str(request.threads), "validated"]
    command += ["--snakefile", str(ROOT / "workflow" / "Snakefile"), "--configfile", str(settings)]

    def work() -> Done:
        subprocess.run(command, cwd=folder, check=True, stdout=sys.stderr)  # noqa: S603
        return Done(request.count)

    def look(numbers: Sequence[int]) -> list[Any]:
        found = [results / "stores" / name / f"bench{suffix}" for name, suffix in SUFFIXES.items()]
        pixels = []
        # Each of the three stores in turn gives a patch.
        with open_store(found[0]) as one, open_store(found[1]) as two, open_store(found[2]) as three:
            for place, number in enumerate(numbers):
                made = (one, two, three)[place % 3]
                pixels.append(made.read(made.ids[number]))
        return pixels

    return Ready(work, look, others=lambda: list(_below(os.getpid())), summed=False, every=0.1)


def _facts(request: Request) -> SlideInfo:
    with open_slide(Path(request.slide)) as slide:
        return slide_info(slide)


def _grid(request: Request) -> GridSpec:
    return GridSpec(patch_size=request.patch_size, level=0)


def _below(process: int) -> Iterator[int]:
    """Yield the ids of all processes that descend from one."""
    parents: dict[int, list[int]] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The name before may hold anything, blanks and parentheses too.
            parent = int(status.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
        parents.setdefault(parent, []).append(int(status.parent.name))
    waiting = parents.get(process, [])
    while waiting:
        child = waiting.pop()
        yield child
        waiting += parents.get(child, [])


_ENCODINGS = {
    "lmdb": ("raw", "zstd", "png", "jpeg", "source"),
    "hdf5": ("raw", "zstd", "png", "jpeg", "source"),
    "disk": ("png", "raw", "jpeg", "source"),
    "tar": ("png", "source"),
    "zarr": ("raw", "zstd"),
}

CATALOGUE: dict[str, Callable[[Request], Ready]] = {
    "read": partial(read, "auto"),
    "read-openslide": partial(read, "openslide"),
    **{f"{kind}-{name}": partial(store, kind, name) for kind, names in _ENCODINGS.items() for name in names},
    "lmdb-source-job": partial(store, "lmdb", "source", sampled=True),
    "pipeline": pipeline,
}

if __name__ == "__main__":
    main(CATALOGUE)
