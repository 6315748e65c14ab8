"""The rivals, each by its own library's documented way; nothing of slidemill is imported here."""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.crew import in_processes
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


def pyvips(request: Request, numbers: Sequence[int]) -> Iterator[Any]:
    """Yield patches of pyvips' `tiffload` and `Region.fetch`."""
    import pyvips  # type: ignore[import-not-found]

    if not numbers:
        return
    region = pyvips.Region.new(pyvips.Image.tiffload(request.slide))
    shape = (request.patch_size, request.patch_size, -1)
    for number in numbers:
        data = region.fetch(*request.place(number), request.patch_size, request.patch_size)
        yield np.frombuffer(data, np.uint8).reshape(shape)[..., :3]


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
    "pyvips": partial(in_processes, fetch=pyvips),
    "pywsi-lmdb": partial(pywsi, "lmdb"),
    "pywsi-hdf5": partial(pywsi, "hdf5"),
    "pywsi-disk": partial(pywsi, "disk"),
    "pywsi-lmdb-tile": partial(pywsi, "lmdb"),
}

if __name__ == "__main__":
    main(CATALOGUE)
