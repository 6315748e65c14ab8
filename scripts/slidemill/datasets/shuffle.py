"""Orders of a dataset's patches, the same on every machine for a seed and an epoch."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

Shuffle = Literal["blocks", "exact"]
Numbers = npt.NDArray[np.uint64]

RUN = 16
"""Patches that lie side by side in a store, and are read close to each other."""

WINDOW = 64
"""Runs whose patches are mixed with each other."""

SLIDES = 32
"""Slides that are read from at the same time: half of the stores that are held open, so that batches which are read
ahead may be of the slides that come next."""


def random_numbers(count: int, *seeds: int) -> Numbers:
    """Return random numbers of 64 bits, ``(count,)``.

    NumPy promises that a bit generator's own numbers stay as they are in all its versions; what it makes of them,
    permutations for one, may change (https://numpy.org/neps/nep-0019-rng-policy.html).
    """
    # Beside each other, a seed and an epoch could be the words of one long seed.
    first, *others = seeds
    return np.random.PCG64(np.random.SeedSequence(first, spawn_key=others)).random_raw(count)


def order(slides: npt.NDArray[np.integer], shuffle: Shuffle | bool, seed: int, epoch: int) -> npt.NDArray[np.intp]:
    """Return the places of all patches in the order in which they are to be read.

    Parameters
    ----------
    slides
        The number of each patch's slide, ``(n,)``; patches of a slide lie in its store in this order.
    shuffle
        ``"exact"`` gives every order with the same chance. ``"blocks"``, or True, cuts each slide into runs of `RUN`
        patches, and mixes the patches of up to `WINDOW` runs, of up to `SLIDES` slides, at a time: which runs and which
        slides meet is random. False keeps the order.
    seed, epoch
        Of the random numbers; whole numbers from 0 up.
    """
    count = len(slides)
    if shuffle is False or not count:
        return np.arange(count)
    patches = random_numbers(count, seed, epoch)
    if shuffle == "exact":
        return np.argsort(patches, kind="stable")
    by_slide = np.argsort(slides, kind="stable")
    own = slides[by_slide]
    # Where each slide begins, and with it the run of each patch.
    first = np.flatnonzero(np.diff(own, prepend=-1))
    number = np.cumsum(np.diff(own, prepend=own[:1]) != 0)
    run = (np.arange(count) - first[number]) // RUN
    starts = np.flatnonzero((np.diff(run, prepend=-1) != 0) | (np.diff(number, prepend=-1) != 0))
    run_of = np.repeat(np.arange(len(starts)), np.diff(starts, append=count))
    # Slides in random order, so many at a time; their runs in random order; of so many runs at a time, the patches.
    rank = _ranks(random_numbers(len(first), seed, epoch, 1))
    groups = -(-len(first) // SLIDES)
    group = rank[number[starts]] * groups // len(first)
    runs = np.lexsort((random_numbers(len(starts), seed, epoch, 2), group))
    place = np.empty(len(starts), np.intp)
    place[runs] = np.arange(len(runs))
    # A window does not reach into the next slides: no more than SLIDES are read at a time.
    begin, size = np.searchsorted(group[runs], group), np.bincount(group)[group]
    # Groups and windows are of about one size each: what would be left over in the end is little, and alike.
    window = (place - begin) * -(-size // WINDOW) // size
    return by_slide[np.lexsort((patches[by_slide], window[run_of], group[run_of]))]


def _ranks(numbers: Numbers) -> npt.NDArray[np.intp]:
    """Return the place of each number in their sorted order."""
    ranks = np.empty(len(numbers), np.intp)
    ranks[np.argsort(numbers, kind="stable")] = np.arange(len(numbers))
    return ranks
