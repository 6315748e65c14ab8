"""Candidates and samples keep their deadline."""

from dataclasses import replace

import pytest

from slidemill.core.specs import StoreSpec
from slidemill.datasets.slide_records import ReadingChoice
from slidemill.measuring.bench import Bench
from slidemill.measuring.candidates import Candidate, Measured, list_candidates
from slidemill.measuring.reading import NO_TIME
from slidemill.measuring.sample import Sample, SampleSpec, read_sample
from slidemill.measuring.sample_stores import measure_candidates
from slidemill.measuring.slide_speed import measure_slides
from slidemill.measuring.timing import Deadline


class Clock:
    """A clock that only work moves."""

    now = 0.0

    def __call__(self):
        return self.now


def test_shares_of_a_deadline_are_of_the_time_that_is_left():
    clock = Clock()
    deadline = Deadline.after(10, clock)
    clock.now = 4.0
    assert (deadline.left, deadline.share(0.5).left, deadline.before(2).left) == (6, 3, 4)
    clock.now = 12.0
    assert (deadline.left, deadline.share(0.5).left) == (-2, 0)


@pytest.mark.parametrize(("seconds", "count"), [(0, 1), (1, 1), (3.9, 3), (4, 4), (100, 99)])
def test_no_candidate_is_begun_that_would_end_late(monkeypatch, tmp_path, seconds, count):
    """Each takes one second here; the first is measured in any case."""
    clock = Clock()

    def measure(candidate, stores, bench, *, seconds):
        clock.now += 1
        return Measured(candidate, patches=1)

    monkeypatch.setattr("slidemill.measuring.sample_stores._measure", measure)
    bench = Bench(tmp_path, 1, 1, 64, deadline=Deadline.after(seconds, clock))
    candidates = list_candidates({}, copies=())
    found = measure_candidates(Sample(), candidates, bench)
    assert [one.patches for one in found] == [place < count for place in range(len(candidates))]
    assert clock.now <= max(seconds, 1)


def test_repeats_end_with_the_deadline(small_cohort, tmp_path, monkeypatch):
    """Reads from a candidate's store: three of each way with time, one of each without."""
    clock, read = Clock(), []

    def note(own, keys, seconds):
        read.append(seconds)
        return kept(own, keys, seconds)

    from slidemill.measuring.readers import _ThisProcess

    kept = _ThisProcess.read
    monkeypatch.setattr(_ThisProcess, "read", note)
    sample = read_sample(small_cohort.cohort(), SampleSpec(16, 1))
    for deadline, count in ((Deadline.after(60, clock), 3), (Deadline.after(0, clock), 1)):
        read.clear()
        bench = Bench(tmp_path / "measured", 1, 1, 64, deadline=deadline)
        (one,) = measure_candidates(sample, [Candidate("lmdb", StoreSpec("raw"))], bench)
        assert (len(read), one.random > 0, one.batches > 0) == (count, True, True)


def test_slides_too_slow_for_a_batch_are_said_to_be_unmeasured(small_cohort, tmp_path):
    bench = Bench(tmp_path, 1, 1, 64, deadline=Deadline.after(0, Clock()))
    found = measure_slides(small_cohort.cohort(), bench, 64, ReadingChoice(small_cohort.slides, "auto", "ignore"))
    assert (found.patches, found.reason) == (0, NO_TIME)
    bench = replace(bench, deadline=Deadline())
    found = measure_slides(small_cohort.cohort(), bench, 64, ReadingChoice(small_cohort.slides, "auto", "ignore"))
    assert (found.patches, found.reason) == (64, "")
    assert found.batches > 0


def test_without_time_an_eighth_of_a_slides_sample_is_read(small_cohort):
    """Spread evenly over the slide, in the order of its table."""
    whole = read_sample(small_cohort.cohort(), SampleSpec(128, 1))
    some = read_sample(small_cohort.cohort(), SampleSpec(128, 1, seconds=0))
    assert len(set(some.slides)) == 1
    assert len(some.pixels) == len(some.slides) == -(-whole.slides.count(some.slides[0]) // 8)
    assert (len(whole.pixels), some.wanted) == (whole.wanted, whole.wanted)
    assert some.scattered.work == len(some.pixels)
