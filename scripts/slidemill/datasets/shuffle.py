"""Shuffle a dataset's patches by seed and epoch, the same on every machine."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

Shuffle = Literal["blocks", "exact"]
Numbers = npt.NDArray[np.uint64]
Cells = tuple[npt.NDArray[np.integer], npt.NDArray[np.integer]]
"""The column and the row of each patch in the grid of its slide."""

RUN = 16
"""Neighbouring patches of a store that are read close to each other."""

WINDOW = 64
"""Runs whose patches are mixed."""

BLOCK = (8, 16)
"""Where patches are cut out of tiles: columns and rows of a block, whose patches share tiles."""

BLOCKS = 20
"""Blocks that are read at the same time. Each reads about two of its rows at a time.

20 x 2 rows of 8 patches of 256 pixels touch some 600 tiles of 240, which `slidemill.stores.tile_cuts` keeps.
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


def order(
    slides: npt.NDArray[np.integer],
    shuffle: Shuffle | bool,
    seed: int,
    epoch: int,
    *,
    cells: Cells | None = None,
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
    cells
        Where patches are cut out of tiles that neighbours share: the columns and rows of all patches, ``(n,)``. Blocks
        of `BLOCK` patches then take the place of runs, and `BLOCKS` of them are read at the same time, row by row.
    """
    count = len(slides)
    if shuffle is False or not count:
        return np.arange(count)
    patches = random_numbers(count, seed, epoch)
    if shuffle == "exact":
        return np.argsort(patches, kind="stable")
    if cells is not None:
        return _blocks(slides, cells, patches, (seed, epoch))
    by_slide = np.argsort(slides, kind="stable")
    own = slides[by_slide]
    # The first patch of each slide, and the run of each patch.
    first = np.flatnonzero(np.diff(own, prepend=-1))
    number = np.cumsum(np.diff(own, prepend=own[:1]) != 0)
    run = (np.arange(count) - first[number]) // RUN
    starts = np.flatnonzero(_changes(run, number))
    run_of = np.repeat(np.arange(len(starts)), np.diff(starts, append=count))
    place, group, begin, size = _draw(number[starts], (seed, epoch))
    # Windows of about WINDOW runs, within a group of slides; then patches in random order within a window.
    # Groups and windows have about equal sizes, so that none is a small remainder.
    window = (place - begin) * -(-size // WINDOW) // size
    return by_slide[np.lexsort((patches[by_slide], window[run_of], group[run_of]))]


class _Draw(NamedTuple):
    """Of each run or block its place in the order, its group of slides, and the first place and the size of that."""

    place: npt.NDArray[np.intp]
    group: npt.NDArray[np.intp]
    begin: npt.NDArray[np.intp]
    size: npt.NDArray[np.intp]


def _draw(slide: npt.NDArray[np.intp], seeds: tuple[int, int]) -> _Draw:
    """Draw a random order of runs or blocks, with their slides in random order in groups of about `SLIDES`.

    `slide` has the slide of each, ``(runs,)``, counted from 0 without gaps; `seeds` are seed and epoch.
    """
    slides = int(slide.max()) + 1
    group = _ranks(random_numbers(slides, *seeds, 1))[slide] * -(-slides // SLIDES) // slides
    runs = np.lexsort((random_numbers(len(slide), *seeds, 2), group))
    place = np.empty(len(runs), np.intp)
    place[runs] = np.arange(len(runs))
    return _Draw(place, group, np.searchsorted(group[runs], group), np.bincount(group)[group])


def _blocks(
    slides: npt.NDArray[np.integer], cells: Cells, numbers: Numbers, seeds: tuple[int, int]
) -> npt.NDArray[np.intp]:
    """Return the indices of all patches, with several blocks read at the same time.

    A tile that two rows of a block share is decoded once where the rows are read one soon after the other. So each
    block is read nearly row by row. Neighbours are alike, and a batch of them teaches little. So blocks take turns.

    Parameters
    ----------
    slides, cells
        As in `order`.
    numbers
        A random number per patch, ``(n,)``.
    seeds
        Seed and epoch.
    """
    count, (columns, rows) = len(slides), cells
    # 1. Sort the patches by slide, block, row and column.
    across, down = columns // BLOCK[0], rows // BLOCK[1]
    ordered = np.lexsort((columns, rows, across, down, slides))
    is_new_slide = _changes(slides[ordered])
    starts = np.flatnonzero(is_new_slide | _changes(across[ordered], down[ordered]))
    sizes = np.diff(starts, append=count)
    block = np.repeat(np.arange(len(starts)), sizes)
    # 2. Deal the blocks, in random order, to BLOCKS lanes per group of slides. A lane reads its blocks in turn.
    place, group, begin, size = _draw((np.cumsum(is_new_slide) - 1)[starts], seeds)
    lanes = np.minimum(size, BLOCKS)
    lane = group * BLOCKS + (place - begin) % lanes
    # 3. Move each patch back by up to a row of its block, and by more where fewer lanes mix the patches.
    most = BLOCK[0] * BLOCKS**3 // lanes**3
    moved = np.arange(count) - starts[block] + most[block] * _fractions(numbers)
    by_lane = np.lexsort((moved, place[block], lane[block]))
    # 4. Let the lanes of a group take turns at random, so that all end at the same time.
    lane_of = lane[block][by_lane]
    length = np.bincount(lane_of)
    passed = np.arange(count) - (np.cumsum(length) - length)[lane_of]
    turn = (passed + _fractions(random_numbers(count, *seeds, 4))) / length[lane_of]
    return ordered[by_lane[np.lexsort((turn, lane_of // BLOCKS))]]


def _changes(*columns: npt.NDArray[np.integer]) -> npt.NDArray[np.bool_]:
    """Return which rows differ from the row before, ``bool (n,)``; the first does."""
    found = np.ones(len(columns[0]), bool)
    found[1:] = np.any([own[1:] != own[:-1] for own in columns], axis=0)
    return found


def _fractions(numbers: Numbers) -> npt.NDArray[np.float64]:
    """Return random numbers, at least 0 and below 1."""
    return (numbers >> np.uint64(11)).astype(np.float64) / 2**53


def _ranks(numbers: Numbers) -> npt.NDArray[np.intp]:
    """Return the rank of each number in sorted order."""
    ranks = np.empty(len(numbers), np.intp)
    ranks[np.argsort(numbers, kind="stable")] = np.arange(len(numbers))
    return ranks
