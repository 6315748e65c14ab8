"""What ``icc: srgb`` costs: ``python -m benchmarks.convert_colours``; patches of 256 px, painted tissue."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import numpy as np
from PIL import ImageCms

from slidemill.core.encodings import Pixels
from slidemill.slides.icc import CONVERTED, ICC_SIZE, Convert, build_conversion
from slidemill.testing import Tissue, paint

PATCHES, ROUNDS, SIDE = 256, 9, 2_048


def patches() -> list[Pixels]:
    """Return different patches of tissue."""
    picture = paint(SIDE, SIDE, Tissue("Normal", (0, 0, SIDE, SIDE), 9.0, 6), areas=[], seed=1)
    places = [(x, y) for y in range(0, SIDE - 255, 112) for x in range(0, SIDE - 255, 112)][:PATCHES]
    return [np.ascontiguousarray(picture[y : y + 256, x : x + 256]) for x, y in places]


def milliseconds(convert: Convert, pixels: list[Pixels], threads: int) -> list[float]:
    """Return the wall time of a patch in each round, in ms."""
    taken = []
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(ROUNDS):
            began = time.perf_counter()
            list(pool.map(convert, pixels))
            taken.append((time.perf_counter() - began) / len(pixels) * 1e3)
    return taken


def main() -> None:
    """Print a row of Markdown for each number of threads."""
    pixels = patches()
    # Of a matrix and curves.
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    slide: Any = SimpleNamespace(color_profile=profile, properties={ICC_SIZE: "0"})
    convert = build_conversion(slide, CONVERTED)
    for threads in (1, 2):
        taken = milliseconds(convert, pixels, threads)
        print(f"| {threads} | {np.median(taken):.2f} ({min(taken):.2f}-{max(taken):.2f}) |", flush=True)


if __name__ == "__main__":
    main()
