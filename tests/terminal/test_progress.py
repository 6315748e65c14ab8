"""Laws of the counts of a run."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slidemill.terminal._progress import Job, Progress

JOBS = [Job(rule, slide) for slide in "abc" for rule in ("sample", "store")] + [Job("gather")]


def test_slide_is_done_with_its_last_job():
    progress = Progress(JOBS, 0.0)
    progress.finish(Job("sample", "a"), 1.0)
    assert (progress.done, progress.slides_done) == (1, 0)
    progress.finish(Job("store", "a"), 2.0)
    progress.finish(Job("store", "a"), 3.0)
    assert (progress.done, progress.slides_done) == (2, 1)
    assert (progress.total, progress.slides) == (7, 3)


@given(st.lists(st.sampled_from(JOBS), max_size=30))
def test_progress_never_falls(finished):
    progress, before = Progress(JOBS, 0.0), (0, 0, 0.0, 0)
    for now, job in enumerate(finished, start=1):
        progress.start(job, now - 0.5)
        progress.finish(job, float(now), patches=3)
        state = progress.done, progress.slides_done, progress.fraction, progress.patches
        assert all(new >= old for new, old in zip(state, before, strict=True))
        assert progress.done <= progress.total
        assert progress.slides_done <= progress.slides
        assert progress.fraction <= 1
        before = state
    assert progress.done == len(set(finished))
    assert progress.patches == 3 * len(set(finished))


def test_remaining_time_follows_the_rules():
    """Two jobs at a time, samples of 2 s and stores of 10 s: 2 samples, 2 stores and a gather are left."""
    progress = Progress(JOBS, 0.0)
    assert progress.remaining(1.0) is None
    progress.start(Job("sample", "a"), 0.0)
    progress.start(Job("store", "a"), 0.0)
    progress.finish(Job("sample", "a"), 2.0)
    progress.finish(Job("store", "a"), 10.0, patches=50)
    # The gather takes the mean of all jobs, 6 s; 12 s of work were done in 10 s.
    assert progress.remaining(10.0) == pytest.approx((2 * 2 + 2 * 10 + 6) * 10 / 12)
    assert progress.rate == 5
    # 3 s later, two stores have run for 3 s each: 6 s of work less, and 18 s of 13 s are done.
    for slide in "bc":
        progress.start(Job("store", slide), 10.0)
    assert progress.remaining(13.0) == pytest.approx((2 * 2 + 2 * 10 + 6 - 6) * 13 / 18)


@given(st.integers(1, 200), st.integers(0, 7), st.integers(0, 1000))
def test_bar_fits_any_width(width, done, failed):
    progress = Progress(JOBS, 0.0)
    for job in JOBS[:done]:
        progress.start(job, 0.0)
        progress.finish(job, 5.0, patches=100)
    bar = progress.bar(6.0, width, has_blocks=False, failed=failed)
    assert len(bar) <= width
    assert "\n" not in bar


def test_bar_shows_what_is_done():
    progress = Progress(JOBS, 0.0)
    for job in JOBS[:2]:
        progress.start(job, 0.0)
        progress.finish(job, 5.0, patches=100)
    assert progress.bar(5.0, 100, has_blocks=False, failed=2) == (
        "######------------------  28 %  2 failed  2/7 jobs  1/3 slides  12 s left  40 patches/s"
    )
    assert progress.bar(5.0, 30, has_blocks=True, failed=0) == "━━━━──────────  28 %  2/7 jobs"
