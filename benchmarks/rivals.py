"""The rivals, each by its own library's documented way; nothing of slidemill is imported here."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.runner import Done, Ready, Request, main

BATCH = 32


def openslide_plain(request: Request) -> Ready:
    """OpenSlide, a loop of `read_region` and nothing else, one thread."""
    import openslide

    size = (request.patch_size, request.patch_size)

    def work() -> Done:
        with openslide.OpenSlide(request.slide) as slide:
            for number in range(request.count):
                slide.read_region(request.place(number), 0, size)
        return Done(request.count)

    def look(numbers: Sequence[int]) -> list[Any]:
        with openslide.OpenSlide(request.slide) as slide:
            return [slide.read_region(request.place(number), 0, size).convert("RGB") for number in numbers]

    return Ready(work, look)


def deepzoom(request: Request) -> Ready:
    """OpenSlide's DeepZoomGenerator, a loop of `get_tile`, one thread."""
    import openslide
    from openslide.deepzoom import DeepZoomGenerator

    def tiles(slide: openslide.OpenSlide, numbers: Sequence[int]) -> Iterator[Any]:
        generator = DeepZoomGenerator(slide, tile_size=request.patch_size, overlap=0, limit_bounds=True)
        for number in numbers:
            row, column = divmod(number, request.columns)
            yield generator.get_tile(request.deepzoom_level, (column, row))

    def work() -> Done:
        with openslide.OpenSlide(request.slide) as slide:
            return Done(sum(1 for _ in tiles(slide, range(request.count))))

    def look(numbers: Sequence[int]) -> list[Any]:
        with openslide.OpenSlide(request.slide) as slide:
            return list(tiles(slide, numbers))

    return Ready(work, look)


def cucim(request: Request) -> Ready:
    """CuCIM without a GPU: `read_region` of a list of places, in batches, by its own worker threads."""
    from cucim import CuImage  # type: ignore[import-not-found]

    def batches(numbers: Sequence[int]) -> Iterator[Any]:
        image = CuImage(request.slide)
        yield from image.read_region(
            [request.place(number) for number in numbers],
            (request.patch_size, request.patch_size),
            level=0,
            batch_size=BATCH,
            num_workers=request.threads,
        )

    def work() -> Done:
        return Done(sum(len(np.asarray(batch)) for batch in batches(range(request.count))))

    def look(numbers: Sequence[int]) -> list[Any]:
        # A batch may lie in memory that is used for the next one.
        return [pixels.copy() for batch in batches(numbers) for pixels in np.asarray(batch)]

    return Ready(work, look)


def pyvips(request: Request) -> Ready:
    """Pyvips: `tiffload` and `Region.fetch`, in several processes, each with its part of the rows."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(request.threads + 1)
    edges = [request.rows * part // request.threads * request.columns for part in range(request.threads + 1)]
    crew, ends = [], []
    for first, last in pairwise(edges):
        receiving, sending = context.Pipe(duplex=False)
        process = context.Process(target=_fetch_part, args=(request, first, last, barrier, sending), daemon=True)
        process.start()
        sending.close()
        crew.append(process)
        ends.append(receiving)
    for end in ends:
        end.recv()

    def work() -> Done:
        barrier.wait()
        parts = [end.recv() for end in ends]
        for part in parts:
            if isinstance(part, Exception):
                raise part
        return Done(sum(count for count, _ in parts), sum(cpu for _, cpu in parts))

    def look(numbers: Sequence[int]) -> list[Any]:
        shape = (request.patch_size, request.patch_size, -1)
        return [np.frombuffer(data, np.uint8).reshape(shape)[..., :3] for data in _fetched(request, numbers)]

    return Ready(work, look, others=lambda: [process.pid for process in crew if process.pid])


def _fetch_part(request: Request, first: int, last: int, barrier: Barrier, end: Connection) -> None:
    """Wait for the start, fetch patches `first` to `last`, and send how many, and the CPU seconds, or the error."""
    import pyvips  # type: ignore[import-not-found]

    end.send("ready")
    barrier.wait()
    cpu = time.process_time()
    try:
        count = sum(1 for _ in _fetched(request, range(first, last)))
    except pyvips.Error as error:
        end.send(ValueError(f"pyvips: {' '.join(str(error).split())}"))
    else:
        end.send((count, time.process_time() - cpu))


def _fetched(request: Request, numbers: Sequence[int]) -> Iterator[Any]:
    import pyvips

    region = pyvips.Region.new(pyvips.Image.tiffload(request.slide))
    for number in numbers:
        yield region.fetch(*request.place(number), request.patch_size, request.patch_size)


def pywsi(kind: str, request: Request) -> Ready:
    """py-wsi: its Turtle samples and stores all patches; kind is lmdb, hdf5 or disk."""
    sys.path.insert(0, request.pywsi)
    from py_wsi.turtle import Turtle  # type: ignore[import-not-found]

    # It takes a folder of slides that end in .svs, and another one that exists, each with a slash at its end.
    slides, out = Path(request.folder, "slides"), Path(request.folder, "out")
    slides.mkdir()
    out.mkdir()
    link = slides / "bench.svs"
    link.symlink_to(Path(request.slide).resolve())

    def work() -> Done:
        turtle = Turtle(f"{slides}{os.sep}", f"{out}{os.sep}", "db", kind)
        turtle.sample_and_store_patches(
            request.patch_size, request.deepzoom_level, 0, limit_bounds=True, rows_per_txn=20
        )
        return Done(request.count)

    def look(numbers: Sequence[int]) -> list[Any]:
        return list(_PYWSI_STORES[kind](out, request, numbers))

    return Ready(work, look)


def _from_pywsi_lmdb(out: Path, request: Request, numbers: Sequence[int]) -> Iterator[Any]:
    import lmdb

    with lmdb.open(str(out / "db"), readonly=True, lock=False) as env, env.begin() as transaction:
        _check_count(env.stat()["entries"], request)
        for number in numbers:
            row, column = divmod(number, request.columns)
            # The item that py-wsi itself has pickled a moment ago.
            item = pickle.loads(transaction.get(f"bench-{column}-{row}".encode()) or b"")  # noqa: S301
            yield np.frombuffer(item.data, np.uint8).reshape(item.size, item.size, item.channels)


def _from_pywsi_hdf5(out: Path, request: Request, numbers: Sequence[int]) -> Iterator[Any]:
    import h5py

    with h5py.File(out / "bench.h5", "r") as file:
        _check_count(len(file["t"]), request)
        for number in numbers:
            yield file["t"][number].astype(np.uint8)


def _from_pywsi_disk(out: Path, request: Request, numbers: Sequence[int]) -> Iterator[Any]:
    from PIL import Image

    _check_count(sum(1 for _ in out.glob("*.png")), request)
    for number in numbers:
        row, column = divmod(number, request.columns)
        yield Image.open(out / f"bench_{column}_{row}_.png")


def _check_count(found: int, request: Request) -> None:
    if found != request.count:
        raise ValueError(f"py-wsi stored {found} patches where the race counts {request.count}: race another slide")


_PYWSI_STORES: dict[str, Callable[[Path, Request, Sequence[int]], Iterator[Any]]] = {
    "lmdb": _from_pywsi_lmdb,
    "hdf5": _from_pywsi_hdf5,
    "disk": _from_pywsi_disk,
}

CATALOGUE: dict[str, Callable[[Request], Ready]] = {
    "openslide": openslide_plain,
    "deepzoom": deepzoom,
    "cucim": cucim,
    "pyvips": pyvips,
    "pywsi-lmdb": partial(pywsi, "lmdb"),
    "pywsi-hdf5": partial(pywsi, "hdf5"),
    "pywsi-disk": partial(pywsi, "disk"),
    "pywsi-lmdb-tile": partial(pywsi, "lmdb"),
}

if __name__ == "__main__":
    main(CATALOGUE)
