"""Encode and decode patches of a slide, each way next to the others.

    python -m benchmarks.encode_patches SLIDE [--patches 80] [--repeats 5]

CPU milliseconds a patch of 256 pixels from the middle of the slide, medians of rounds in which all ways take turns.
zstd is written as stores have it, at level 1 as they had it before, and at other levels and lengths of matches. PNG is
written as stores have it, and by libpng, libspng and OpenCV; every PNG is decoded as stores do and by libpng.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import cv2
import imagecodecs
import numpy as np
import xxhash
import zstandard

from slidemill.core.encodings import ENCODINGS, PNG, Buffer, Pixels
from slidemill.core.specs import GridSpec
from slidemill.slides.grid import Grid
from slidemill.slides.patch_table import SlidePatches
from slidemill.slides.reader_choice import open_reader
from slidemill.slides.slide_info import open_slide, slide_info

SIZE = 256
SHAPE = (SIZE, SIZE, 3)

Encode = Callable[[Pixels], Buffer]


def by_libpng(pixels: Pixels) -> bytes:
    """Encode as slidemill did before libdeflate."""
    strategy, row_filter = imagecodecs.PNG.STRATEGY.RLE, imagecodecs.PNG.FILTER.UP
    return bytes(imagecodecs.png_encode(pixels, 1, strategy=strategy, filter=row_filter))


def by_opencv(pixels: Pixels) -> bytes:
    """Encode with OpenCV's fastest setting."""
    options = [cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE]
    return cv2.imencode(".png", np.ascontiguousarray(pixels[..., ::-1]), options)[1].tobytes()


def by_imagecodecs_zstd(pixels: Pixels) -> bytes:
    """Encode at level 1 and add a checksum, as slidemill did before it took python-zstandard."""
    frame = bytearray(imagecodecs.zstd_encode(pixels, level=1))
    frame[4] |= 0b100
    return bytes(frame + (xxhash.xxh64_intdigest(pixels.data) & 0xFFFFFFFF).to_bytes(4, "little"))


def by_zstd(level: int, min_match: int, pixels: Pixels) -> bytes:
    """Encode by python-zstandard, with a checksum."""
    parameters = zstandard.ZstdCompressionParameters.from_level(level, min_match=min_match, write_checksum=True)
    return zstandard.ZstdCompressor(compression_params=parameters).compress(pixels.data)


def by_store(name: str, pixels: Pixels) -> Buffer:
    """Encode as stores do."""
    encode = ENCODINGS[name].encode
    assert encode is not None
    return encode(pixels, None)


WAYS: dict[str, Encode] = {
    "zstd": partial(by_store, "zstd"),
    "zstd before: level 1": by_imagecodecs_zstd,
    **{
        f"zstd: level {level}, matches of {length}": partial(by_zstd, level, length)
        for level, length in ((1, 7), (-1, 6), (-1, 7), (-2, 7), (-4, 7))
    },
    "PNG": partial(by_store, "png"),
    "PNG by libpng": by_libpng,
    "PNG by libspng": partial(imagecodecs.spng_encode, level=1),
    "PNG by OpenCV": by_opencv,
}


def middle_patches(slide: Path, count: int) -> list[Pixels]:
    """Return the pixels of patches from the middle of a slide."""
    with open_slide(slide) as handle:
        info = slide_info(handle)
    grid = GridSpec(SIZE, level=0)
    patches = list(Grid(info.pyramid, grid).patches())
    start = max(len(patches) - count, 0) // 2
    asked = SlidePatches(slide, info, grid, patches[start : start + count])
    with open_reader(asked, "auto", 0) as (reader, _):
        return [pixels for _, pixels in reader.read(asked.patches, lambda pixels: pixels.copy(), 1)]


def milliseconds(work: Callable[..., object], items: Sequence[object]) -> float:
    """Return the CPU milliseconds that work on an item takes."""
    begun = time.process_time()
    for item in items:
        work(item)
    return 1000 * (time.process_time() - begun) / len(items)


def main() -> None:
    """Measure, print a table in Markdown, and fail where decoding gives other pixels."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("slide", type=Path)
    parser.add_argument("--patches", type=int, default=80)
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    patches = middle_patches(given.slide, given.patches)
    found: dict[str, list[tuple[float, ...]]] = {name: [] for name in WAYS}
    data = {name: [bytes(encode(pixels)) for pixels in patches] for name, encode in WAYS.items()}
    for turn in range(given.repeats):
        for name in random.Random(turn).sample(list(WAYS), len(WAYS)):  # noqa: S311
            is_zstd = name.startswith("zstd")
            own = ENCODINGS["zstd"] if is_zstd else PNG
            decoders = [lambda one, own=own: own.decode(one, SHAPE), *([] if is_zstd else [imagecodecs.png_decode])]
            if not all(np.array_equal(decode(data[name][0]), patches[0]) for decode in decoders):
                raise SystemExit(f"{name}: decodes to other pixels: this is a fault")
            found[name].append(
                (milliseconds(WAYS[name], patches), *(milliseconds(one, data[name]) for one in decoders))
            )
    print("| way | encode, ms | decode, ms | decode by libpng, ms | share of raw bytes |\n|---|---:|---:|---:|---:|")
    raw = sum(pixels.nbytes for pixels in patches)
    for name, rounds in found.items():
        cells = [f"{statistics.median(own):.2f}" for own in zip(*rounds, strict=True)]
        cells += ["-"] * (3 - len(cells))
        print(f"| {name} | {' | '.join(cells)} | {sum(map(len, data[name])) / raw:.3f} |")


if __name__ == "__main__":
    main()
