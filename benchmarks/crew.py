"""Reading in several processes, each with its part of the rows: for libraries that have no threads of their own."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from typing import Any

from benchmarks.runner import Done, Ready, Request

Fetch = Callable[[Request, Sequence[int]], Iterator[Any]]
"""Opens the slide, and yields the pixels of the patches with these numbers."""


def in_processes(request: Request, fetch: Fetch) -> Ready:
    """Read every patch by `fetch`, a function of a module, in as many processes as the request has threads."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(request.threads + 1)
    edges = [request.rows * part // request.threads * request.columns for part in range(request.threads + 1)]
    crew, ends = [], []
    for first, last in pairwise(edges):
        receiving, sending = context.Pipe(duplex=False)
        process = context.Process(
            target=_fetch_part, args=(request, fetch, range(first, last), barrier, sending), daemon=True
        )
        process.start()
        sending.close()
        crew.append(process)
        ends.append(receiving)
    for end in ends:
        end.recv()

    def work() -> Done:
        barrier.wait()
        parts = [end.recv() for end in ends]
        for part in parts:
            if isinstance(part, Exception):
                raise part
        return Done(sum(count for count, _ in parts), sum(cpu for _, cpu in parts))

    def look(numbers: Sequence[int]) -> list[Any]:
        return list(fetch(request, numbers))

    return Ready(work, look, others=lambda: [process.pid for process in crew if process.pid])


def _fetch_part(request: Request, fetch: Fetch, numbers: range, barrier: Barrier, end: Connection) -> None:
    """Import the library, wait for the start, and send the number of patches and CPU seconds, or the error."""
    # Nothing is opened, but the library is imported, as in a process that reads slide after slide.
    for _ in fetch(request, ()):
        pass
    end.send("ready")
    barrier.wait()
    cpu = time.process_time()
    try:
        count = sum(1 for _ in fetch(request, numbers))
    except Exception as error:  # those of libraries cannot all be sent
        end.send(ValueError(f"{type(error).__name__}: {' '.join(str(error).split())}"))
    else:
        end.send((count, time.process_time() - cpu))
