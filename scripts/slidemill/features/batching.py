"""Embed patches batch by batch, while threads read and prepare the next batches."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from functools import partial
from typing import Any

from slidemill.core.encodings import Pixels
from slidemill.core.ordered_threads import Step, run_in_order
from slidemill.features._encoder import Array, Encoder

AHEAD = 2
"""Prepared batches for each thread, that of the model included."""

MOST_BYTES = 100_000_000
"""Bytes of prepared batches, unless two batches are more: one for the model, and the next."""


def embed_batches(
    encoder: Encoder, reads: Iterable[Callable[[], Pixels]], count: int, *, batch: int, threads: int
) -> Generator[Array]:
    """Yield the features of batches of patches, ``(b, dim)``, in their order.

    Parameters
    ----------
    encoder
        The model, which runs on the caller's thread.
    reads
        Functions that each return a batch's pixels, ``uint8 (b, height, width, 3)``. Several threads call them at
        once; one thread at a time takes the next function.
    count
        The number of batches.
    batch
        Patches per batch; the last may have fewer.
    threads
        Threads that read and prepare next to the caller's.
    """

    def step(number: int, read: Callable[[], Pixels]) -> list[tuple[int, Any]]:
        return [(number, encoder.prepare(read()))]

    steps = (Step(number, partial(step, number, read)) for number, read in enumerate(reads))
    ahead = max(2, min(AHEAD * threads, MOST_BYTES // max(batch * encoder.prepared_bytes, 1)))
    # The caller's thread reads too where the next batch is not ready.
    with closing(run_in_order(steps, count, threads + 1, ahead=ahead)) as prepared:
        yield from map(encoder.encode, prepared)


def embed_by_id(
    encoder: Encoder, read: Callable[[Sequence[str]], Pixels], ids: Sequence[str], *, batch: int, threads: int
) -> Generator[Array]:
    """Yield the features of patches that are read by their ids, as `embed_batches` does.

    Parameters
    ----------
    encoder, batch, threads
        As of `embed_batches`.
    read
        Returns the pixels of some patches; called on several threads at once.
    ids
        The patches.
    """
    reads = [partial(read, ids[start : start + batch]) for start in range(0, len(ids), batch)]
    return embed_batches(encoder, reads, len(reads), batch=batch, threads=threads)
