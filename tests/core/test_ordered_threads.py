"""Results come in order whatever the threads do, never far ahead, and a fault reaches the one who waits."""

import gc
import sys
import threading
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slidemill.core.ordered_threads import Step, _Crew, run_in_order
from tests.examples import examples


class Jigsaw:
    """Places that each need several steps; the step that is done last completes the place."""

    def __init__(self, needs):
        self.needs = needs  # by step: the places that it serves
        self.left = {place: sum(place in own for own in needs) for own in needs for place in own}
        self.count = len(self.left)
        self.lock = threading.Lock()
        self.begun = []

    def steps(self):
        for number, own in sorted(enumerate(self.needs), key=lambda item: min(item[1])):
            yield Step(min(own), lambda number=number, own=own: self.run(number, own))

    def run(self, number, own):
        with self.lock:
            self.begun.append(number)
            for place in own:
                self.left[place] -= 1
            return [(place, f"result {place}") for place in own if self.left[place] == 0]


@st.composite
def needs(draw):
    count = draw(st.integers(1, 12))
    return [{place, *draw(st.sets(st.integers(place, count - 1), max_size=3))} for place in range(count)]


@given(needs(), st.integers(1, 5), st.integers(1, 4))
@examples(200)
def test_every_result_comes_once_and_in_order(own, threads, ahead):
    jigsaw = Jigsaw(own)
    assert list(run_in_order(jigsaw.steps(), jigsaw.count, threads, ahead=ahead)) == [
        f"result {place}" for place in range(jigsaw.count)
    ]
    assert sorted(jigsaw.begun) == list(range(len(own)))


@pytest.mark.parametrize("threads", [1, 3])
def test_no_step_begins_further_ahead_than_told(threads):
    begun = []
    steps = (Step(place, lambda place=place: begun.append(place) or [(place, place)]) for place in range(50))
    for place in run_in_order(steps, 50, threads, ahead=4):
        assert max(begun) < place + 4


def test_one_thread_works_on_the_callers_alone():
    seen = set()
    steps = (Step(place, lambda place=place: seen.add(threading.get_ident()) or [(place, place)]) for place in range(9))
    assert list(run_in_order(steps, 9, 1, ahead=2)) == list(range(9))
    assert seen == {threading.get_ident()}


def test_all_threads_work_at_the_same_time():
    barrier = threading.Barrier(3, timeout=30)
    steps = (Step(place, lambda place=place: barrier.wait() is None or [(place, place)]) for place in range(3))
    assert list(run_in_order(steps, 3, 3, ahead=3)) == [0, 1, 2]


@pytest.mark.parametrize("threads", [1, 2, 4])
@pytest.mark.parametrize("broken", [0, 5, 29])
def test_a_fault_reaches_the_one_who_waits_and_no_thread_is_left(threads, broken):
    before = threading.active_count()

    def run(place):
        if place == broken:
            raise OSError(f"place {place}")
        return [(place, place)]

    steps = (Step(place, lambda place=place: run(place)) for place in range(30))
    with pytest.raises(OSError, match=f"place {broken}"):
        list(run_in_order(steps, 30, threads, ahead=3))
    assert threading.active_count() == before


@pytest.mark.parametrize("threads", [1, 4])
def test_a_fault_in_the_plan_reaches_the_one_who_waits(threads):
    def steps():
        yield Step(0, lambda: [(0, 0)])
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        list(run_in_order(steps(), 5, threads, ahead=3))


def test_a_fault_in_the_plan_is_known_as_soon_as_the_plan_has_ended(monkeypatch):
    """The thread that meets the fault leaves the lock, and does nothing further until the caller has failed."""
    caller = threading.current_thread()
    met, failed = threading.Event(), threading.Event()

    class Halting(threading.Condition):
        def __exit__(self, kind, *rest):
            result = super().__exit__(kind, *rest)
            if kind is not None and threading.current_thread() is caller:
                failed.set()
            elif kind is not None:
                met.set()
                assert failed.wait(30)
            return result

    def steps():
        yield Step(0, lambda: met.wait(30) and [(0, 0)])
        place = 1
        while threading.current_thread() is caller:
            yield Step(place, lambda place=place: met.wait(30) and [(place, place)])
            place += 1
        raise ValueError("no more")

    monkeypatch.setattr(threading, "Condition", Halting)
    with pytest.raises(ValueError, match="no more"):
        list(run_in_order(steps(), 5, 2, ahead=3))


def test_who_stops_taking_stops_the_work():
    before = threading.active_count()
    begun = []
    steps = (Step(place, lambda place=place: begun.append(place) or [(place, place)]) for place in range(1000))
    results = run_in_order(steps, 1000, 3, ahead=5)
    assert next(results) == 0
    results.close()
    assert threading.active_count() == before
    assert len(begun) <= 6


def test_nothing_to_do_is_done():
    assert list(run_in_order(iter(()), 0, 3, ahead=1)) == []


@pytest.mark.parametrize("threads", [1, 3])
def test_a_place_that_no_step_gives_is_told_and_not_waited_for(threads):
    steps = (Step(place, lambda place=place: [(place, place)] if place != 2 else []) for place in range(5))
    with pytest.raises(RuntimeError, match="no step gives the result of place 2"):
        list(run_in_order(steps, 5, threads, ahead=2))


def test_helpers_that_have_started_end_where_another_cannot_start(monkeypatch):
    before = threading.active_count()
    start = threading.Thread.start

    def started(thread):
        if threading.active_count() - before == 2:
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", started)
    steps = (Step(place, lambda place=place: [(place, place)]) for place in range(100))
    with pytest.raises(RuntimeError, match="can't start new thread"):
        list(run_in_order(steps, 100, 5, ahead=2))
    assert threading.active_count() == before


def test_a_fault_of_results_that_are_made_late_is_not_lost(monkeypatch):
    """The thread that meets the fault leaves the lock, and does nothing further until the caller has looked."""
    caller = threading.current_thread()
    met, looked = threading.Event(), threading.Event()

    class Halting(threading.Condition):
        def __exit__(self, kind, *rest):
            result = super().__exit__(kind, *rest)
            if kind is OSError and threading.current_thread() is not caller:
                met.set()
                assert looked.wait(30)
            elif kind is not None:
                looked.set()
            return result

        def wait(self, timeout=None):
            if threading.current_thread() is caller and met.is_set():
                looked.set()
            return super().wait(timeout)

    def late():
        raise OSError("place 0")
        yield

    def run():
        return (met.wait(30) and []) if threading.current_thread() is caller else late()

    monkeypatch.setattr(threading, "Condition", Halting)
    with pytest.raises(OSError, match="place 0"):
        list(run_in_order(iter([Step(0, run), Step(0, run)]), 1, 2, ahead=3))


def test_collecting_garbage_waits_for_no_step():
    """The collector may run where its thread holds a lock that a step waits for."""
    lock, begun, done = threading.Lock(), threading.Event(), threading.Event()

    def run(place, caller):
        if place and threading.current_thread() is caller:
            assert begun.wait(60)
        elif place:
            begun.set()
            with lock:
                pass
        return [(place, place)]

    def abandon():
        steps = [Step(place, partial(run, place, threading.current_thread())) for place in range(3)]
        results = run_in_order(iter(steps), 3, 2, ahead=3)
        circle = [results]
        circle.append(circle)
        assert next(results) == 0
        assert begun.wait(60)

    def collect():
        with lock:
            abandon()
            gc.collect()
        done.set()

    threading.Thread(target=collect, daemon=True).start()
    assert done.wait(60), "collecting the results waits for a step that waits for a lock of the collecting thread"


@pytest.fixture
def begin(monkeypatch):
    """A step of place 0 that the caller runs; other threads begin with it."""
    begun = threading.Event()
    monkeypatch.setattr(_Crew, "help", lambda crew, help_=_Crew.help: begun.wait(60) and help_(crew))

    def run():
        begun.set()
        return [(0, 0)]

    return Step(0, run)


def in_a_circle(results):
    """Take the first result, and leave the others to the collector."""
    circle = [results]
    circle.append(circle)
    assert next(results) == 0


def test_collecting_garbage_waits_for_no_plan(begin):
    """A plan is carried on under a lock, which stopping the threads takes, too."""
    lock, taken, waiting, done = threading.Lock(), threading.Event(), threading.Event(), threading.Event()

    def plan():
        yield begin
        yield Step(1, lambda: taken.wait(60) and [(1, 1)])
        yield Step(2, lambda: [(2, 2)])
        waiting.set()
        with lock:
            pass

    def collect():
        with lock:
            in_a_circle(run_in_order(plan(), 3, 2, ahead=3))
            taken.set()
            assert waiting.wait(60)
            gc.collect()
        done.set()

    threading.Thread(target=collect, daemon=True).start()
    assert done.wait(60), "collecting the results waits for a plan that waits for a lock of the collecting thread"


def test_results_that_are_collected_by_their_own_plan_leave_no_thread(begin):
    taken, collected, helpers = threading.Event(), threading.Event(), []

    def plan():
        yield begin
        yield Step(1, lambda: taken.wait(60) and [(1, 1)])
        yield Step(1, lambda: [(2, 2)])
        helpers.append(threading.current_thread())
        gc.collect()
        collected.set()
        yield Step(50, lambda: [(50, 50)])

    in_a_circle(run_in_order(plan(), 60, 2, ahead=3))
    taken.set()
    assert collected.wait(60)
    helpers[0].join(60)
    assert not helpers[0].is_alive()


def test_a_step_may_drop_the_last_reference_to_its_results(begin, monkeypatch):
    ignored, held, dropped = [], threading.Event(), threading.Event()
    monkeypatch.setattr(sys, "unraisablehook", ignored.append)
    owner = []

    def drop():
        assert held.wait(60)
        owner.clear()
        dropped.set()
        return [(1, 1)]

    owner.append(run_in_order(iter([begin, Step(1, drop)]), 2, 2, ahead=2))
    assert next(owner[0]) == 0
    held.set()
    assert dropped.wait(60)
    assert not ignored
