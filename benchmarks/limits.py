"""The limits: what decoding or copying a slide's tiles takes, and nothing else. Nothing of slidemill is in it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile

from benchmarks.runner import Done, Ready, Request, main

Decode = Callable[[bytes, Any], Any]
"""A tile's bytes and an array that is used again and again, to its pixels."""


@contextmanager
def opened_tiles(slide: str) -> Iterator[tuple[Any, int]]:
    """Open a TIFF, and give its first image and a descriptor of the file."""
    with tifffile.TiffFile(slide) as tiff:
        descriptor = os.open(slide, os.O_RDONLY)
        try:
            yield tiff.pages[0], descriptor
        finally:
            os.close(descriptor)


def decoder(page: Any) -> Decode:
    """Return the bare decoder of an image's tiles: imagecodecs' of JPEG, tifffile's of all others."""
    if page.compression.name != "JPEG":
        return lambda data, _: page.decode(data, 0)[0]
    options = {"tables": page.jpegtables, "colorspace": page.photometric.name, "outcolorspace": "RGB"}
    return lambda data, out: imagecodecs.jpeg8_decode(data, out=out, **options)


def decode(request: Request) -> Ready:
    """Decode every tile of the full resolution once; each thread has one array for all of its tiles."""

    def work() -> Done:
        with opened_tiles(request.slide) as (page, descriptor):
            offsets, counts, decoded = page.dataoffsets, page.databytecounts, decoder(page)

            def decode_part(first: int) -> None:
                out = np.empty((page.tilelength, page.tilewidth, 3), np.uint8)
                for tile in range(first, len(offsets), request.threads):
                    decoded(os.pread(descriptor, counts[tile], offsets[tile]), out)

            with ThreadPoolExecutor(request.threads) as pool:
                list(pool.map(decode_part, range(request.threads)))
        return Done(len(offsets))

    def look(numbers: Sequence[int]) -> list[Any]:
        # Numbers are those of the grid of whole tiles; an image's rows of tiles may end with one that is cut off.
        with opened_tiles(request.slide) as (page, descriptor):
            across = -(-page.imagewidth // page.tilewidth)
            shape = (page.tilelength, page.tilewidth, 3)
            pixels = []
            for number in numbers:
                row, column = divmod(number, request.columns)
                tile = row * across + column
                data = os.pread(descriptor, page.databytecounts[tile], page.dataoffsets[tile])
                pixels.append(decoder(page)(data, np.empty(shape, np.uint8)).reshape(shape))
        return pixels

    return Ready(work, look)


def copy(request: Request) -> Ready:
    """Copy the bytes of every tile of the full resolution into one file, which is on the disk in the end."""

    def work() -> Done:
        with opened_tiles(request.slide) as (page, descriptor), Path(request.folder, "tiles").open("wb") as file:
            for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True):
                file.write(os.pread(descriptor, count, offset))
            file.flush()
            os.fsync(file.fileno())
            return Done(len(page.dataoffsets))

    return Ready(work)


CATALOGUE: dict[str, Callable[[Request], Ready]] = {"limit-decode": decode, "limit-copy": copy}

if __name__ == "__main__":
    main(CATALOGUE)
