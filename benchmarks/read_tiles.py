"""Read patches that are cut out of a store's tiles, next to bare decoding of the tiles that each patch touches.

    python -m benchmarks.read_tiles SLIDE [--patches 1000] [--repeats 5] [--patch-size 256]

One process, in CPU time, all bytes in memory or the page cache. Single patches at random and bare decoding take turns
every few patches; then random reads and batches of shuffled blocks take turns. Ratios are medians of those of rounds.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg

from benchmarks.store_ways import BATCH, made_store
from slidemill.core.patch import format_patch_id, parse_patch_id
from slidemill.datasets.shuffle import order
from slidemill.stores.base import Store
from slidemill.stores.tile_cuts import CACHE
from slidemill.stores.tile_grid import JPEG, TileGrid

TURN = 20
"""Patches after which bare decoding and reading take turns."""
RANDOM_SHARE, BLOCKS_SHARE = 0.85, 1.8
"""What random reads are to reach of bare decoding, and blocks of random reads."""


def bare_tiles(store: Store, patch_id: str) -> list[bytes]:
    """Return the complete JPEG streams of the tiles that a patch touches."""
    assert store.manifest.tiles is not None
    grid = TileGrid.from_json(store.manifest.tiles)
    if grid.form != JPEG:
        raise SystemExit(f"{store.path}: its tiles are {grid.form}: give a slide with JPEG tiles")
    column, row = parse_patch_id(patch_id)
    return [
        bytes.fromhex(grid.head)
        + bytes(grid.unpack(store.read_stored(format_patch_id(across // grid.strip, down)), across))
        for down, *_ in grid.parts(1, row)
        for across, *_ in grid.parts(0, column)
    ]


def shuffled_blocks(store: Store, count: int, seed: int) -> list[str]:
    """Return the first ids of an epoch of shuffled blocks."""
    places = np.array([parse_patch_id(patch_id) for patch_id in store.ids])
    found = order(np.zeros(len(places), np.int8), "blocks", seed, 0, cells=(places[:, 0], places[:, 1]))
    return [store.ids[place] for place in found[:count]]


def cpu(work: Callable[[Any], object], items: Sequence[object]) -> float:
    """Return the CPU seconds that work on all items takes."""
    begun = time.process_time()
    for item in items:
        work(item)
    return time.process_time() - begun


def random_share(store: Store, ids: Sequence[str], tiles: Sequence[Sequence[bytes]]) -> float:
    """Return the time of bare decoding as a share of that of reading."""
    CACHE.renew()
    bare = mine = 0.0
    for start in range(0, len(ids), TURN):
        some, data = ids[start : start + TURN], [one for own in tiles[start : start + TURN] for one in own]
        bare += cpu(partial(simplejpeg.decode_jpeg, colorspace="RGB"), data)
        mine += cpu(store.read, some)
    return bare / mine


def blocks_share(store: Store, ids: Sequence[str], blocks: Sequence[str]) -> float:
    """Return the time of random reads as a share of that of batches of shuffled blocks."""
    CACHE.renew()
    one = cpu(store.read, ids)
    CACHE.renew()
    batches = [blocks[start : start + BATCH] for start in range(0, len(blocks), BATCH)]
    return one / cpu(store.read_many, batches)


def main() -> None:
    """Measure, and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("slide", type=Path)
    parser.add_argument("--patches", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--patch-size", type=int, default=256)
    given = parser.parse_args()
    found: dict[str, list[float]] = {"random reads, against bare decoding": [], "blocks, against random reads": []}
    with tempfile.TemporaryDirectory() as folder:
        store = made_store(given.slide, Path(folder), "lmdb", "source", given.patch_size)
        if not store.holds_tiles:
            raise SystemExit(f"{given.slide}: patches of {given.patch_size} are its tiles: give another --patch-size")
        with store:
            for turn in range(given.repeats):
                ids = random.Random(turn).sample(list(store.ids), min(given.patches, len(store)))  # noqa: S311
                tiles = [bare_tiles(store, patch_id) for patch_id in ids]
                shares = (
                    random_share(store, ids, tiles),
                    blocks_share(store, ids, shuffled_blocks(store, len(ids), turn)),
                )
                for own, share in zip(found.values(), shares, strict=True):
                    own.append(share)
    print("| what | ratio, median (min-max) | wanted |\n|---|---:|---:|")
    for (what, own), wanted in zip(found.items(), (RANDOM_SHARE, BLOCKS_SHARE), strict=True):
        print(f"| {what} | {statistics.median(own):.3f} ({min(own):.3f}-{max(own):.3f}) | {wanted} |")


if __name__ == "__main__":
    main()
