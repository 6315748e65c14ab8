"""Batches of features: their order, their ends, and how much is read ahead."""

import threading
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from slidemill.features.batching import AHEAD, MOST_BYTES, embed_batches, embed_by_id
from slidemill.features.models import Encoder

SIDE = 4


def encoder(prepared_bytes=0, encode=None):
    """A model of one value per patch, the pixel in the corner."""
    return Encoder(
        prepare=lambda pixels: pixels[:, 0, 0, :1],
        encode=encode or (lambda prepared: prepared.astype(np.float32)),
        transform="",
        weights="",
        device="cpu",
        versions={},
        prepared_bytes=prepared_bytes,
    )


def read(ids):
    return np.stack([np.full((SIDE, SIDE, 3), int(one), np.uint8) for one in ids])


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize(("count", "batch"), [(1, 8), (8, 8), (9, 8), (40, 3)])
def test_features_are_in_order_of_ids(count, batch, threads):
    ids = [str(number) for number in range(count)]
    found = list(embed_by_id(encoder(), read, ids, batch=batch, threads=threads))
    assert [len(rows) for rows in found[:-1]] == [batch] * (len(found) - 1)
    assert np.concatenate(found)[:, 0].tolist() == list(range(count))


@pytest.mark.parametrize(
    ("prepared_bytes", "most"), [(0, 3 * AHEAD), (MOST_BYTES // 8, 2), (MOST_BYTES, 2), (MOST_BYTES // 20, 5)]
)
def test_batches_read_ahead_are_bounded(prepared_bytes, most):
    """By number and by bytes: no more are begun than the one in the model and those ahead of it."""
    begun, done, lock = [], [0], threading.Lock()

    def counted(ids):
        with lock:
            begun.append(len(begun) + 1 - done[0])
        return read(ids)

    def encode(prepared):
        with lock:
            done[0] += 1
        return prepared.astype(np.float32)

    ids = [str(number) for number in range(120)]
    list(embed_by_id(encoder(prepared_bytes, encode), counted, ids, batch=4, threads=3))
    # A batch is done before the caller asks for the next.
    assert max(begun) <= most + 1


def test_fault_of_reading_is_raised_once_and_threads_end():
    before = threading.active_count()

    def fail(ids):
        if "5" in ids:
            raise ValueError("broken")
        return read(ids)

    with pytest.raises(ValueError, match="broken"):
        list(embed_by_id(encoder(), fail, [str(number) for number in range(20)], batch=2, threads=4))
    assert threading.active_count() == before


def test_threads_end_where_features_are_not_taken():
    before = threading.active_count()
    features = embed_by_id(encoder(), read, [str(number) for number in range(90)], batch=2, threads=4)
    next(features)
    features.close()
    assert threading.active_count() == before


def test_patches_are_prepared_on_other_threads_than_the_models():
    """Where one thread at a time reads, as from a slide, its batch is prepared while the model works."""
    second = threading.Event()

    def encode(prepared):
        # The model has the first batch, and waits for the second to be prepared meanwhile.
        assert second.wait(60)
        return prepared.astype(np.float32)

    def prepare(pixels):
        if int(pixels[0, 0, 0, 0]):
            second.set()
        return pixels[:, 0, 0, :1]

    own = replace(encoder(encode=encode), prepare=prepare)
    reads = (partial(read, [str(number)]) for number in range(2))
    assert np.concatenate(list(embed_batches(own, reads, 2, batch=1, threads=1)))[:, 0].tolist() == [0, 1]
