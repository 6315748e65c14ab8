"""Memory of dropped tiles and arrays is used again, and never while something still reads it."""

import threading

import numpy as np
import pytest

from slidemill.stores.arrays import output_array
from slidemill.stores.tile_cuts import TileCache, TileOwner

SHAPE = (24, 16, 3)
WHOLE = (slice(None), slice(None))


def decode_in_place(tile, memory):
    """Fill the memory, as a JPEG decoder does."""
    memory[:] = tile[0]
    return memory[:]


def decode_elsewhere(tile, memory):
    """Return read-only pixels of its own, as tiles that are not compressed have them."""
    pixels = np.full(SHAPE, tile[0], np.uint8)
    pixels.flags.writeable = False
    return pixels


@pytest.mark.parametrize("decode", [decode_in_place, decode_elsewhere])
@pytest.mark.parametrize("reads", [200, pytest.param(1500, marks=pytest.mark.long)])
def test_tile_cache_threads_get_their_tiles(decode, reads):
    """A cache of three tiles drops tiles all the time, while other threads copy them."""
    cache, owners = TileCache(3 * 24 * 16 * 3), [TileOwner(SHAPE), TileOwner((16, 24, 3))]
    faults = []

    def own(tile, memory):
        return decode(tile, memory) if memory.shape == SHAPE else decode_in_place(tile, memory)

    def read(seed):
        generator = np.random.default_rng(seed)
        for number, which in generator.integers(0, (8, 2), (reads, 2)).tolist():
            owner = owners[which]
            out = np.empty((8, 5, 3), np.uint8)
            cache.copy(owner, (number, 0), own, part=(slice(3, 11), slice(2, 7)), out=out)
            if (out != number).any():
                faults.append(number)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults
    assert cache._bytes == sum(tile.nbytes for tile in cache._tiles.values()) <= 3 * 24 * 16 * 3


def test_tile_cache_fills_up_where_reads_are_scattered(monkeypatch):
    """Tiles are kept until the cache is full; then one in eight takes the place of another."""
    monkeypatch.setattr("slidemill.stores.tile_cuts.ROUND", 16)
    nbytes = 24 * 16 * 3
    cache, owner, out = TileCache(40 * nbytes), TileOwner(SHAPE), np.empty(SHAPE, np.uint8)
    for number in range(40):
        cache.copy(owner, (number, 0), decode_in_place, part=WHOLE, out=out)
    assert cache._bytes == 40 * nbytes
    before = set(cache._tiles)
    for number in range(40, 40 + 16):
        cache.copy(owner, (number, 0), decode_in_place, part=WHOLE, out=out)
    assert len(set(cache._tiles) - before) == 2


def test_tile_cache_uses_memory_again():
    cache, owner, out = TileCache(2 * 24 * 16 * 3), TileOwner(SHAPE), np.empty(SHAPE, np.uint8)
    seen = set()

    def decode(tile, memory):
        seen.add(memory.ctypes.data)
        return decode_in_place(tile, memory)

    for number in range(50):
        cache.copy(owner, (number, 0), decode, part=WHOLE, out=out)
    assert len(seen) <= 3


def test_new_arrays_share_no_memory():
    shape = (3, 64, 64, 3)
    arrays = [output_array(None, shape) for _ in range(5)]
    views = [array[1] for array in arrays]
    for number, array in enumerate(arrays):
        array[:] = number
    del arrays, array
    more = [output_array(None, shape) for _ in range(5)]
    for own in more:
        own[:] = 255
    assert [set(view.ravel().tolist()) for view in views] == [{0}, {1}, {2}, {3}, {4}]
    assert all(own.flags.writeable and own.flags.c_contiguous and own.shape == shape for own in more)


def test_memory_of_a_dropped_array_is_used_again():
    first = output_array(None, (7, 64, 64, 3))
    place = first.ctypes.data
    del first
    assert output_array(None, (7, 64, 64, 3)).ctypes.data == place
