"""The ways of reading that are compared: stores made of a slide, and the same work on bytes that are in memory."""

from __future__ import annotations

import multiprocessing
import random
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from pathlib import Path

import numpy as np

from benchmarks import ours
from benchmarks.bench_slide import slide_facts
from benchmarks.runner import Request
from slidemill.core.encodings import ENCODINGS, Pixels
from slidemill.stores.base import Store
from slidemill.stores.registry import open_store

SEED = 0
BATCH = 32
SECONDS = 0.3
"""At least so long a way is read in each round; passes over the patches are repeated until then."""

Rate = Callable[[], float]
"""Reads in one way, and returns patches a second."""


def here(read: Callable[[int], object], count: int) -> float:
    """Read places 0 to ``count - 1`` again and again for a while, and return patches a second."""
    done, begun = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - begun) < SECONDS:
        for place in range(count):
            read(place)
        done += count
    return done / elapsed


def many(store: Store, ids: Sequence[str], threads: int) -> float:
    """Read batches into one array that is used again, and return patches a second."""
    batches = [ids[start : start + BATCH] for start in range(0, len(ids), BATCH)]
    out = np.empty((BATCH, *store.manifest.shape), np.uint8)

    def read(place: int) -> None:
        store.read_many(batches[place], out[: len(batches[place])], threads)

    return here(read, len(batches)) * len(ids) / len(batches)


def processes(path: Path, ids: Sequence[str], count: int) -> float:
    """Let several processes, each with its part of the patches, read at once, and return patches a second of all."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(count)
    ends, crew = [], []
    for part in range(count):
        receiving, sending = context.Pipe(duplex=False)
        crew.append(context.Process(target=_part, args=(path, ids[part::count], barrier, sending), daemon=True))
        crew[-1].start()
        ends.append(receiving)
    rate = sum(float(end.recv()) for end in ends)
    for process in crew:
        process.join()
    return rate


def _part(path: Path, ids: Sequence[str], barrier: Barrier, end: Connection) -> None:
    with open_store(path) as store:
        for patch_id in ids:
            store.read(patch_id)
        barrier.wait()
        end.send(here(lambda place: store.read(ids[place]), len(ids)))


def made_store(slide: Path, folder: Path, backend: str, encoding: str, patch_size: int | None) -> Store:
    """Store the slide, and open the store; without a patch size, patches are the slide's tiles."""
    facts = slide_facts(slide)
    size = patch_size or facts.tile
    if size is None:
        raise SystemExit(f"{slide}: its tiles are not square, so that no store of encoding source can be made of it")
    place = folder / f"{backend}-{encoding}"
    place.mkdir()
    request = Request(
        entrant=place.name,
        slide=str(slide),
        folder=str(place),
        patch_size=size,
        columns=facts.width // size,
        rows=facts.height // size,
        deepzoom_level=facts.deepzoom_level,
        threads=2,
    )
    ours.store(backend, encoding, request).work()
    print(f"read_stores: made {place.name}", file=sys.stderr)
    return open_store(next(path for path in place.iterdir() if path.stem == "store"))


def chosen(store: Store, patches: int) -> list[str]:
    """Return ids of patches in random order."""
    return random.Random(SEED).sample(list(store.ids), min(patches, len(store)))  # noqa: S311


def ways_of(lmdb: Mapping[str, Store], hdf5: Store, zarr: Mapping[str, Store], *, patches: int) -> dict[str, Rate]:
    """Return all ways of reading by name."""
    ids = chosen(lmdb["raw"], patches)
    count = len(ids)
    # In the order of the grid, so that a random order is one in memory, too.
    memory = lmdb["raw"].read_many(sorted(ids))
    place_of = {patch_id: place for place, patch_id in enumerate(sorted(ids))}
    places = [place_of[patch_id] for patch_id in ids]
    ways: dict[str, Rate] = {"memory, copy": partial(here, partial(_copy, memory, places), count)}
    for title, store in (("LMDB", lmdb["raw"]), ("HDF5", hdf5)):
        ways[f"{title} raw, read"] = partial(here, partial(_read, store, ids), count)
        ways[f"{title} raw, view"] = partial(here, partial(_view, store, ids), count)
    for name, store in zarr.items():
        ways[f"Zarr {name}, read"] = partial(here, partial(_read, store, chosen(store, patches)), count)
    for name, store in lmdb.items():
        own = chosen(store, patches)
        if name != "raw":
            data = [store.read_bytes(patch_id) for patch_id in own]
            ways[f"memory, decode {name}"] = partial(here, partial(_decode, name, data, store.manifest.shape), len(own))
            ways[f"LMDB {name}, read"] = partial(here, partial(_read, store, own), len(own))
        if name in ("raw", "png"):
            ways |= {
                f"LMDB {name}, read_many, 1 thread": partial(many, store, own, 1),
                f"LMDB {name}, read_many, 2 threads": partial(many, store, own, 2),
                f"LMDB {name}, 1 process": partial(processes, store.path, own, 1),
                f"LMDB {name}, 2 processes": partial(processes, store.path, own, 2),
            }
    return ways


def _copy(memory: Pixels, places: Sequence[int], place: int) -> Pixels:
    pixels: Pixels = memory[places[place]].copy()
    return pixels


def _read(store: Store, ids: Sequence[str], place: int) -> Pixels:
    return store.read(ids[place])


def _view(store: Store, ids: Sequence[str], place: int) -> Pixels:
    return store.view(ids[place])


def _decode(name: str, data: Sequence[bytes], shape: tuple[int, int, int], place: int) -> Pixels:
    return ENCODINGS[name].decode(data[place], shape)
