"""Run steps on several threads; yield results in order with bounded memory."""

from __future__ import annotations

import _thread
import gc
import threading
from collections.abc import Callable, Generator, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

Result = TypeVar("Result")

_COLLECTOR = threading.local()
"""Whether this thread is collecting garbage."""


def _note_collection(phase: str, _facts: dict[str, Any]) -> None:
    _COLLECTOR.is_at_work = phase == "start"


gc.callbacks.append(_note_collection)


@dataclass(frozen=True, slots=True)
class Step(Generic[Result]):
    """A piece of work that any thread can run.

    Parameters
    ----------
    first
        The smallest place whose result needs this step.
    run
        Does the work, and returns pairs of a place and its result.
    """

    first: int
    run: Callable[[], Iterable[tuple[int, Result]]]


def run_in_order(steps: Iterable[Step[Result]], count: int, threads: int, *, ahead: int) -> Generator[Result]:
    """Run steps on several threads; yield the results of all places in order.

    Places are 0 to ``count - 1``. The calling thread runs steps itself while it waits for a result. With one thread, no
    other is started.

    Parameters
    ----------
    steps
        The steps in the order of `Step.first`; one thread at a time takes the next when it may begin. Results that are
        ready are not yielded while the next step is being taken.
    count
        The number of places.
    threads
        The number of threads, the caller's included.
    ahead
        How many places ahead of the next result steps may begin, 1 or more; this bounds memory.

    Raises
    ------
    BaseException
        What a step raised on any thread, after the other threads have ended.
    """
    crew = _Crew(steps, ahead)
    helpers: list[threading.Thread] = []
    try:
        for _ in range(threads - 1):
            helper = threading.Thread(target=crew.help, daemon=True)
            helper.start()
            helpers.append(helper)
        place = 0
        while place < count:
            for result in crew.results(place):
                yield result
                place += 1
    finally:
        if getattr(_COLLECTOR, "is_at_work", False):
            # The collecting thread may hold a lock that a helper waits for, which may hold the crew's own. To start a
            # `threading.Thread` would wait, too. When Python ends, no thread starts, and the helpers end with it.
            with suppress(RuntimeError):
                _thread.start_new_thread(crew.stop, ())
        else:
            crew.stop()
            for helper in helpers:
                # A helper may drop the last reference to this generator.
                if helper is not threading.current_thread():
                    helper.join()


class _Crew(Generic[Result]):
    """State shared by the threads and guarded by `changed`."""

    def __init__(self, steps: Iterable[Step[Result]], ahead: int) -> None:
        self.changed = threading.Condition()
        self._steps = iter(steps)
        self._waiting: Step[Result] | None = next(self._steps, None)
        self._ahead = ahead
        self._place = 0
        self._running = 0
        self._ready: dict[int, Result] = {}
        self._fault: BaseException | None = None

    def results(self, place: int) -> list[Result]:
        """Run steps until the result of `place` is ready; return all ready ones."""
        while True:
            with self.changed:
                if self._place != place:
                    self._place = place
                    self.changed.notify_all()
                if self._fault is not None:
                    raise self._fault
                found: list[Result] = []
                while place + len(found) in self._ready:
                    found.append(self._ready.pop(place + len(found)))
                if found:
                    return found
                step = self._take()
                if step is None:
                    if not self._running:
                        raise RuntimeError(f"no step gives the result of place {place}")
                    self.changed.wait()
                    continue
            self._do(step)

    def help(self) -> None:
        """Run steps until none is left."""
        try:
            while True:
                with self.changed:
                    while (step := self._take()) is None:
                        if self._waiting is None:
                            return
                        self.changed.wait()
                self._do(step)
        except BaseException as fault:
            with self.changed:
                self._keep(fault)

    def stop(self) -> None:
        """Prevent further steps from starting."""
        with self.changed:
            self._waiting = None
            self._steps = iter(())
            self.changed.notify_all()

    def _take(self) -> Step[Result] | None:
        step = self._waiting
        if step is None or step.first >= self._place + self._ahead:
            return None
        try:
            self._waiting = next(self._steps, None)
        except BaseException as fault:
            # Kept before the lock is released: the caller would find the plan at its end and no step running.
            self._keep(fault)
            raise
        self._running += 1
        return step

    def _keep(self, fault: BaseException) -> None:
        """Keep a fault, which is raised again where the results are taken; call it with the lock held."""
        self._fault = fault
        self._waiting = None
        self.changed.notify_all()

    def _do(self, step: Step[Result]) -> None:
        results = step.run()
        with self.changed:
            # Results may be made while they are taken: where that fails, the step counts as running until its fault is
            # kept, or the caller would find no step that gives its result.
            self._ready.update(results)
            self._running -= 1
            self.changed.notify_all()
