"""The order of patches that are cut out of tiles: blocks whose patches share tiles, many of which are read at once."""

import hashlib
from collections import OrderedDict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slidemill.datasets.shuffle import BLOCK, BLOCKS, SLIDES, order, random_numbers
from slidemill.stores.tile_cuts import CACHE_BYTES
from tests.examples import examples

TILE, PATCH = 240, 256
BATCH = 64


def grid(across, down, slides=1):
    """The slides and cells of full grids."""
    columns, rows = np.tile(np.arange(across), down), np.repeat(np.arange(down), across)
    return np.repeat(np.arange(slides), across * down), (np.tile(columns, slides), np.tile(rows, slides))


def tiles_of(column, row):
    """The tiles that a patch touches."""
    spans = [range(at * PATCH // TILE, (at * PATCH + PATCH - 1) // TILE + 1) for at in (column, row)]
    return [(across, down) for across in spans[0] for down in spans[1]]


def decoded(cells, places):
    """How many tiles are decoded, if as many are kept as the cache holds, and the latest ones."""
    kept, count = OrderedDict(), 0
    for place in places:
        for tile in tiles_of(int(cells[0][place]), int(cells[1][place])):
            count += tile not in kept
            kept[tile] = None
            kept.move_to_end(tile)
            if len(kept) > CACHE_BYTES // (TILE * TILE * 3):
                kept.popitem(last=False)
    return count


def block_numbers(slides, cells):
    """A number per block of all slides."""
    return (slides * 1000 + cells[1] // BLOCK[1]) * 1000 + cells[0] // BLOCK[0]


def draw(count, *seeds):
    return [int(number) for number in random_numbers(count, *seeds)]


def slow_order(slides, cells, seed, epoch):
    """The same order, patch by patch: blocks are dealt to lanes, and lanes take turns."""
    fractions, turns = ([(one >> 11) / 2**53 for one in draw(len(slides), seed, epoch, *more)] for more in ((), (4,)))
    patches = sorted(
        range(len(slides)),
        key=lambda at: (slides[at], cells[1][at] // BLOCK[1], cells[0][at] // BLOCK[0], cells[1][at], cells[0][at], at),
    )
    blocks = {}
    for place, at in enumerate(patches):
        own = blocks.setdefault((slides[at], cells[1][at] // BLOCK[1], cells[0][at] // BLOCK[0]), [])
        own.append((len(own), fractions[place], at))
    known = sorted(set(slides))
    ranks = {
        one: rank for rank, (_, one) in enumerate(sorted(zip(draw(len(known), seed, epoch, 1), known, strict=True)))
    }
    groups = -(-len(known) // SLIDES)
    drawn = sorted(
        (ranks[key[0]] * groups // len(known), number, key)
        for number, key in zip(draw(len(blocks), seed, epoch, 2), blocks, strict=True)
    )
    found, place = [], 0
    for group in range(groups):
        keys = [key for own, _, key in drawn if own == group]
        lanes = min(len(keys), BLOCKS)
        most, turned = BLOCK[0] * BLOCKS**3 // lanes**3, []
        for lane in range(lanes):
            read = [
                at
                for key in keys[lane::lanes]
                for *_, at in sorted((index + most * fraction, index, at) for index, fraction, at in blocks[key])
            ]
            turned += [((index + turns[place + index]) / len(read), lane, at) for index, at in enumerate(read)]
            place += len(read)
        found += [at for *_, at in sorted(turned)]
    return found


@given(
    cells=st.lists(st.tuples(st.integers(0, 70), st.integers(0, 40), st.integers(0, 40)), max_size=300, unique=True),
    seed=st.integers(0, 2**40),
    epoch=st.integers(0, 3),
    kind=st.sampled_from([np.uint16, np.int32, np.int64]),
)
@examples(200)
def test_blocks_are_the_slow_order(cells, seed, epoch, kind):
    """Each patch comes once, in the order that its definition gives."""
    slides, columns, rows = np.array(cells, kind).reshape(-1, 3).T
    found = order(slides, "blocks", seed, epoch, cells=(columns, rows)).tolist()
    assert sorted(found) == list(range(len(cells)))
    assert found == (slow_order(slides.tolist(), (columns.tolist(), rows.tolist()), seed, epoch) if cells else [])


def test_blocks_are_the_same_on_every_machine():
    """Pinned: otherwise a training that is resumed sees other patches."""
    slides, cells = grid(30, 40, slides=3)
    found = order(slides, "blocks", 3, 1, cells=cells).astype("<i8")
    assert hashlib.sha256(found.tobytes()).hexdigest()[:16] == "11acd9d0f6f34dee"


def test_blocks_decode_few_tiles_again():
    """Each tile once would be 1.14 tiles per patch; squares of 4 x 4 patches took 1.66."""
    slides, cells = grid(93, 78)
    assert decoded(cells, order(slides, "blocks", 0, 0, cells=cells)) < 1.35 * len(slides)
    assert decoded(cells, order(slides, "exact", 0, 0)) > 3.5 * len(slides)


@pytest.mark.parametrize("shape", [(93, 78, 1), (40, 40, 40)])
def test_batch_mixes_blocks(shape):
    """A batch has patches of all blocks that are read at a time, and few of each."""
    slides, cells = grid(*shape)
    blocks = block_numbers(slides, cells)[order(slides, "blocks", 0, 0, cells=cells)]
    batches = blocks[: len(blocks) // BATCH * BATCH].reshape(-1, BATCH)
    counts = [np.unique(batch, return_counts=True)[1] for batch in batches]
    assert np.mean([len(own) for own in counts]) > 0.95 * BLOCKS
    assert np.mean([own.max() for own in counts]) < 3 * BATCH / BLOCKS


def test_few_blocks_are_mixed_wholly():
    """Where a block or two are all, their patches come at any time."""
    for across in (8, 16):
        slides, cells = grid(across, 16)
        places = np.mean([np.argsort(order(slides, "blocks", seed, 0, cells=cells)) for seed in range(400)], axis=0)
        spread = len(slides) / np.sqrt(12 * 400)
        assert np.abs(places - (len(slides) - 1) / 2).max() < 4.5 * spread


def test_blocks_read_few_slides_at_a_time():
    slides, cells = grid(10, 5, slides=3 * SLIDES)
    groups = [set(part) for part in np.split(slides[order(slides, "blocks", 0, 0, cells=cells)], 3)]
    assert [len(group) for group in groups] == [SLIDES] * 3
    assert not set.intersection(*groups)
