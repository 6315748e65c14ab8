"""Embed patches batch by batch, while threads read and prepare the next batches."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
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
    encoder: Encoder, read: Callable[[Sequence[str]], Pixels], ids: Sequence[str], *, batch: int, threads: int
) -> Generator[Array]:
    """Yield the features of patches, ``(b, dim)``, in their order.

    Parameters
    ----------
    encoder
        The model, which runs on the caller's thread.
    read
        Returns pixels of some patches, ``uint8 (b, height, width, 3)``; called on several threads at once.
    ids
        The patches.
    batch
        Patches per batch; the last may have fewer.
    threads
        Threads that read next to the caller's.
    """
    count = -(-len(ids) // batch)

    def step(number: int) -> list[tuple[int, Any]]:
        return [(number, encoder.prepare(read(ids[number * batch : (number + 1) * batch])))]

    steps = (Step(number, partial(step, number)) for number in range(count))
    ahead = max(2, min(AHEAD * threads, MOST_BYTES // max(batch * encoder.prepared_bytes, 1)))
    # The caller's thread reads too where the next batch is not ready.
    with closing(run_in_order(steps, count, threads + 1, ahead=ahead)) as prepared:
        yield from map(encoder.encode, prepared)
