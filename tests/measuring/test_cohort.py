"""Which patches are measured."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slidemill.measuring.cohort import MOST_GROUPS, draw_places
from tests.examples import examples


@examples(200)
@given(st.lists(st.integers(1, 500), min_size=1, max_size=100), st.integers(1, 300), st.integers(0, 5))
def test_drawn_patches_exist_and_none_is_drawn_twice(counts, count, seed):
    drawn = draw_places(counts, count, seed)
    assert drawn == draw_places(counts, count, seed)
    for slide, places in drawn.items():
        assert places == sorted(set(places))
        assert 0 <= places[0] <= places[-1] < counts[slide]
    number = sum(map(len, drawn.values()))
    assert number == sum(counts) if sum(counts) <= count else 0 < number <= count


@pytest.mark.parametrize("counts", [[1000, 3000], [10, 20, 30_000], [5000] * 64])
def test_slides_are_drawn_by_their_share(counts):
    drawn = draw_places(counts, 256, 1)
    for slide, count in enumerate(counts):
        assert len(drawn.get(slide, [])) == pytest.approx(256 * count / sum(counts), abs=256 / MOST_GROUPS)


def test_patches_of_a_slide_are_spread_evenly():
    ((_, places),) = draw_places([100_000], 256, 1).items()
    assert Counter(place * 16 // 100_000 for place in places) == dict.fromkeys(range(16), 16)


def test_few_slides_of_many_are_opened():
    drawn = draw_places([1000] * 5000, 256, 1)
    assert len(drawn) == MOST_GROUPS
    assert list(drawn) != sorted(drawn)


def test_slides_without_patches_are_counted(small_cohort):
    cohort = small_cohort.cohort()
    assert [slide.patches for slide in cohort.slides] == [72, 192]
    assert (cohort.patches, cohort.others) == (264, 1)
    assert len(cohort.slides[0].read_patches()) == 72
