"""Shuffle a dataset's patches by seed and epoch, the same on every machine."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

Shuffle = Literal["blocks", "exact"]
Numbers = npt.NDArray[np.uint64]

RUN = 16
"""Neighbouring patches of a store that are read close to each other."""

WINDOW = 64
"""Runs whose patches are mixed."""

BLOCK, BLOCKS = 4, 16
"""Where patches are cut out of tiles: the side of a square of neighbours, which share tiles, and how many are mixed.

16 squares of 16 patches of 256 pixels touch some 450 tiles of 240, which `slidemill.stores.tile_cuts` holds.
"""

SLIDES = 32
"""Slides that are read at the same time: half of the open stores, so that batches may be read ahead."""


def random_numbers(count: int, *seeds: int) -> Numbers:
    """Return 64-bit random numbers, ``(count,)``, the same in all NumPy versions.

    NumPy keeps the numbers of a bit generator in all versions, but not what is derived from them, such as permutations
    (https://numpy.org/neps/nep-0019-rng-policy.html).
    """
    # As one sequence, a seed and an epoch could be the words of one long seed.
    first, *others = seeds
    return np.random.PCG64(np.random.SeedSequence(first, spawn_key=others)).random_raw(count)


def square_blocks(columns: npt.NDArray[np.integer], rows: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
    """Return the number of each patch's square of neighbours within its slide, ``int64 (n,)``."""
    return (rows // BLOCK).astype(np.int64) << 32 | columns // BLOCK


def order(
    slides: npt.NDArray[np.integer],
    shuffle: Shuffle | bool,
    seed: int,
    epoch: int,
    *,
    blocks: npt.NDArray[np.integer] | None = None,
) -> npt.NDArray[np.intp]:
    """Return the indices of all patches in reading order, ``intp (n,)``.

    Parameters
    ----------
    slides
        The number of each patch's slide, ``(n,)``; the patches of a slide are in the order of its store.
    shuffle
        ``"exact"`` is a uniform random permutation. ``"blocks"``, or True, cuts each slide into runs of `RUN` patches,
        and mixes the patches of up to `WINDOW` random runs of up to `SLIDES` random slides. False keeps the order.
    seed, epoch
        Seeds of the random numbers, at least 0.
    blocks
        The number of each patch's block within its slide, ``(n,)``; `BLOCKS` of them take the place of `WINDOW` runs.
    """
    count = len(slides)
    if shuffle is False or not count:
        return np.arange(count)
    patches = random_numbers(count, seed, epoch)
    if shuffle == "exact":
        return np.argsort(patches, kind="stable")
    by_slide = np.argsort(slides, kind="stable") if blocks is None else np.lexsort((blocks, slides))
    own = slides[by_slide]
    # The first patch of each slide, and the run of each patch.
    first = np.flatnonzero(np.diff(own, prepend=-1))
    number = np.cumsum(np.diff(own, prepend=own[:1]) != 0)
    run = (np.arange(count) - first[number]) // RUN if blocks is None else blocks[by_slide]
    most = WINDOW if blocks is None else BLOCKS
    starts = np.flatnonzero((np.diff(run, prepend=-1) != 0) | (np.diff(number, prepend=-1) != 0))
    run_of = np.repeat(np.arange(len(starts)), np.diff(starts, append=count))
    # Slides in random order, in groups of about SLIDES; in each group, runs in random order.
    rank = _ranks(random_numbers(len(first), seed, epoch, 1))
    groups = -(-len(first) // SLIDES)
    group = rank[number[starts]] * groups // len(first)
    runs = np.lexsort((random_numbers(len(starts), seed, epoch, 2), group))
    place = np.empty(len(starts), np.intp)
    place[runs] = np.arange(len(runs))
    # Windows of about WINDOW runs, within a group of slides; then patches in random order within a window.
    begin, size = np.searchsorted(group[runs], group), np.bincount(group)[group]
    # Groups and windows have about equal sizes, so that none is a small remainder.
    window = (place - begin) * -(-size // most) // size
    return by_slide[np.lexsort((patches[by_slide], window[run_of], group[run_of]))]


def _ranks(numbers: Numbers) -> npt.NDArray[np.intp]:
    """Return the rank of each number in sorted order."""
    ranks = np.empty(len(numbers), np.intp)
    ranks[np.argsort(numbers, kind="stable")] = np.arange(len(numbers))
    return ranks
