"""Whether an entrant's pixels are the slide's: compared with OpenSlide's own `read_region`, outside of all timing."""

from __future__ import annotations

import math
import random
from pathlib import Path

import numpy as np
import openslide

from benchmarks.runner import PICTURES, Request

SAMPLE = 64


def chosen(columns: int, rows: int, seed: int) -> tuple[int, ...]:
    """Return the numbers of the patches that are compared: the corners and others at the edges, the rest by chance."""
    generator = random.Random(seed)  # noqa: S311
    last = columns * (rows - 1)
    corners = {0, columns - 1, last, last + columns - 1}
    edges = {generator.randrange(columns), last + generator.randrange(columns)}
    edges |= {generator.randrange(rows) * columns, generator.randrange(rows) * columns + columns - 1}
    wanted = corners | edges
    others = [number for number in range(columns * rows) if number not in wanted]
    wanted |= set(generator.sample(others, min(len(others), SAMPLE - len(wanted))))
    return tuple(sorted(wanted))


def verdict(request: Request, lossy: bool) -> str:
    """Return ``"yes"`` where the pixels that a run left are OpenSlide's, ``"no (...)"`` where not, or ``"-"``.

    Of lossy ones the likeness (PSNR in dB, over all pixels that are compared) is all there is to say.
    """
    path = Path(request.folder, PICTURES)
    if not path.exists():
        return "-"
    pictures = np.load(path)
    size = (request.patch_size, request.patch_size)
    with openslide.OpenSlide(request.slide) as slide:
        expected = np.stack(
            [np.asarray(slide.read_region(request.place(number), 0, size).convert("RGB")) for number in request.look]
        )
    if pictures.shape != expected.shape:
        return f"no (pixels of shape {pictures.shape}, not {expected.shape})"
    if np.array_equal(pictures, expected):
        return "yes"
    differences = np.abs(pictures.astype(np.int16) - expected)
    psnr = 10 * math.log10(255**2 / float(np.mean(np.square(differences, dtype=np.float64))))
    if lossy:
        return f"no ({psnr:.1f} dB)"
    unlike = int(differences.any(axis=(1, 2, 3)).sum())
    return f"no ({psnr:.1f} dB; {unlike} of {len(expected)} patches, by {differences.max()} at most)"
