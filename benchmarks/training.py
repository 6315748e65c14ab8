"""Training from the stores: ``python -m benchmarks.training FOLDER``.

Measured side by side, in turns: shuffled batches from raw LMDB, by `Dataset.batches` and by a loop written by hand on
lmdb and NumPy that does the same, each with the opening of its stores; a PyTorch DataLoader over PNG with one and with
two workers; and opening a cohort of 5,000 slides and 5,000,000 patches, in a process of its own.
"""

from __future__ import annotations

import argparse
import csv
import random
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import lmdb
import numpy as np

from slidemill import open_dataset
from slidemill.core.columns import MEASURE_COLUMNS, METADATA_COLUMNS, SLIDE_COLUMNS, STORE_COLUMNS
from slidemill.core.csv_tables import write_table
from slidemill.core.encodings import encode_patch
from slidemill.core.parquet import write_parquet
from slidemill.core.patch import PatchRef
from slidemill.core.pyramid import Pyramid
from slidemill.core.results_layout import METADATA_PARQUET, store_path
from slidemill.core.specs import GridSpec, StoreSpec
from slidemill.datasets.dataset import Dataset
from slidemill.slides.grid import Grid
from slidemill.stages.store import new_manifest
from slidemill.stores.registry import STORES
from slidemill.stores.writer import write_store
from slidemill.testing import Tissue, paint

SIZE = 256
BATCH = 64
GRID = GridSpec(SIZE, level=0)
SLIDES = 16
SIDE = 20
"""Patches along each side of a slide."""
ENCODINGS = {"lmdb": "raw", "disk": "png"}
NAMES = ("Normal", "Benign", "Carcinoma in situ", "Carcinoma invasive")


def write_cohort(folder: Path) -> None:
    """Write results of slides that show one painted picture, each begun at another place."""
    picture = paint(SIDE * SIZE, 4 * SIZE, Tissue("Normal", (0, 0, SIDE * SIZE, 4 * SIZE), 9.0, 7), areas=[], seed=1)
    cut = picture.reshape(4, SIZE, SIDE, SIZE, 3).swapaxes(1, 2).reshape(-1, SIZE, SIZE, 3)
    grid = list(Grid(Pyramid(((SIZE * SIDE, SIZE * SIDE),), (1.0,)), GRID).patches())
    slides = [f"slide-{number:02d}" for number in range(SLIDES)]
    for number, slide in enumerate(slides):
        for backend, name in ENCODINGS.items():
            path = folder / store_path(backend, slide)
            if path.exists():
                continue
            manifest = new_manifest(STORES[backend], StoreSpec(name), slide, fingerprint="0" * 32, grid=GRID)
            pixels = (cut[(place + 7 * number) % len(cut)] for place in range(len(grid)))
            stored = ((patch, encode_patch(manifest.codec, None, one)) for patch, one in zip(grid, pixels, strict=True))
            write_store(STORES[backend], path, manifest, patches=grid, stored=stored)
    _write_tables(folder, slides, grid, list(ENCODINGS))


def write_tables_alone(folder: Path, slides: int, patches: int) -> None:
    """Write the tables of a cohort of which nothing is read but these; patients have two slides."""
    if not (folder / METADATA_PARQUET).exists():
        side = round((patches // slides) ** 0.5)
        grid = list(Grid(Pyramid(((side * SIZE, -(-(patches // slides) // side) * SIZE),), (1.0,)), GRID).patches())
        names = [f"case-{number:05d}-{number * 2654435761 % 2**40:010x}" for number in range(slides)]
        _write_tables(folder, names, grid[: patches // slides], ["lmdb"])


def _write_tables(folder: Path, slides: list[str], grid: list[PatchRef], backends: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    chosen = random.Random(1)  # noqa: S311
    with (folder / "metadata.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow([*METADATA_COLUMNS, "patient"])
        for number, slide in enumerate(slides):
            for one in grid:
                label = chosen.randrange(len(NAMES))
                place = (one.column, one.row, one.x0, one.y0, one.width0, one.height0, one.level, 1.0, 0.499)
                tissue = f"{chosen.random():.4f}"
                own = (label, NAMES[label], "", f"patient-{number // 2}")
                table.writerow([one.patch_id, slide, *place, tissue, *[""] * len(MEASURE_COLUMNS), *own])
    write_parquet(folder / METADATA_PARQUET, folder / "metadata.csv")
    listed = [{"slide": slide, "status": "ok", "fingerprint": f"{place:032x}"} for place, slide in enumerate(slides)]
    write_table(folder / "slides.csv", SLIDE_COLUMNS, listed)
    stores = [{"slide": slide, "backend": backend} for slide in slides for backend in backends]
    write_table(folder / "stores.csv", STORE_COLUMNS, stores)


def by_hand(folder: Path, dataset: Dataset) -> Iterator[tuple[np.ndarray, np.ndarray, list[str]]]:
    """Yield shuffled batches as somebody would write it who knows the stores: environments open, a key a patch."""
    envs = {
        slide: lmdb.open(str(folder / store_path("lmdb", slide)), subdir=False, readonly=True, lock=False)
        for slide in dataset.slides
    }
    open_now = {slide: env.begin(buffers=True) for slide, env in envs.items()}
    slides, ids = dataset.table["slide"].tolist(), dataset.table["patch_id"].tolist()
    labels = dataset.table["label"].to_numpy()
    order = np.random.default_rng(0).permutation(len(dataset))
    for first in range(0, len(order), BATCH):
        places = order[first : first + BATCH].tolist()
        pixels = np.empty((len(places), SIZE, SIZE, 3), np.uint8)
        for place, one in enumerate(places):
            value = open_now[slides[one]].get(ids[one].encode())
            pixels[place] = np.frombuffer(value or b"", np.uint8).reshape(SIZE, SIZE, 3)
        yield pixels, labels[places], [f"{slides[one]}/{ids[one]}" for one in places]
    open_now.clear()
    for env in envs.values():
        env.close()


def rate(batches: Callable[[], Iterator[tuple[object, ...]]], patches: int) -> float:
    """Return patches a second."""
    begun = time.perf_counter()
    for _ in batches():
        pass
    return patches / (time.perf_counter() - begun)


def told(name: str, values: list[float], unit: str = "patches/s") -> None:
    """Print the median, the least and the most."""
    print(f"{name:44} {statistics.median(values):10,.0f} {unit} ({min(values):,.0f} to {max(values):,.0f})", flush=True)


def batches_from_lmdb(folder: Path, repeats: int) -> None:
    """Measure shuffled batches against the loop by hand."""
    dataset = open_dataset(folder, "lmdb")
    ways: dict[str, Callable[[], Iterator[tuple[object, ...]]]] = {
        "by hand on lmdb and numpy": partial(by_hand, folder, dataset)
    }
    for shuffle in ("blocks", "exact"):
        for augment in (False, True):
            name = f"Dataset.batches({BATCH}), {shuffle}{', augmented' if augment else ''}"
            ways[name] = partial(dataset.batches, BATCH, shuffle=shuffle, augment=augment)
    found: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(repeats + 1):
        for name, way in ways.items():
            one = rate(way, len(dataset))
            dataset.close()
            if turn:  # the first brings all into memory
                found[name].append(one)
    for name, values in found.items():
        told(name, values)


def loaders_over_png(folder: Path, repeats: int) -> None:
    """Measure a DataLoader with one and with two workers."""
    from torch.utils.data import DataLoader

    from slidemill.torch import PatchDataset, PatchStream

    with open_dataset(folder, "disk").select(slides=[f"slide-{number:02d}" for number in range(6)]) as dataset:
        found: dict[str, list[float]] = {}
        for turn in range(repeats + 1):
            for workers in (1, 2):
                loaders = {
                    "PatchDataset": DataLoader(PatchDataset(dataset), BATCH, shuffle=True, num_workers=workers),
                    "PatchStream": DataLoader(PatchStream(dataset, BATCH), None, num_workers=workers),
                }
                for name, loader in loaders.items():
                    one = rate(partial(iter, loader), len(dataset))
                    if turn:
                        found.setdefault(f"DataLoader, PNG, {name}, {workers} workers", []).append(one)
    for name, values in found.items():
        told(name, values)


OPENING = """
import resource, sys, time
begun = time.perf_counter()
from slidemill import open_dataset
dataset = open_dataset(sys.argv[1])
opened = time.perf_counter() - begun
next(iter(dataset.select(query="label == 1").table.itertuples()))
begun_order = time.perf_counter()
batches = dataset.batches(64)
ordered = time.perf_counter() - begun_order
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
print(len(dataset), len(dataset.slides), f"{opened:.2f} s to open, {ordered:.2f} s to shuffle, {peak} MB at most")
"""


def opening(folder: Path, repeats: int) -> None:
    """Measure opening a large cohort, each time in a process of its own."""
    write_tables_alone(folder, 5_000, 5_000_000)
    for _ in range(repeats):
        command = [sys.executable, "-c", OPENING, str(folder)]
        print(subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip())  # noqa: S603


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="where the stores are written, 2 GB; those that are there are kept")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", choices=("lmdb", "png", "opening"))
    options = parser.parse_args()
    write_cohort(options.folder / "cohort")
    for name, measure, folder in (
        ("lmdb", batches_from_lmdb, "cohort"),
        ("png", loaders_over_png, "cohort"),
        ("opening", opening, "large"),
    ):
        if options.only in (None, name):
            measure(options.folder / folder, options.repeats)
    print(f"peak of this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MB")


if __name__ == "__main__":
    main()
