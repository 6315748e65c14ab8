"""What two sides have in common: against a comparison of all pairs, and by the examples that people meet."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slidemill.core.pyramid import Pyramid
from slidemill.core.specs import GridSpec
from slidemill.datasets._overlaps import count_overlaps, count_points_before
from slidemill.datasets.leakage import check_leakage, find_leakage
from slidemill.errors import LeakageError, SplitError
from slidemill.slides.grid import Grid
from tests.examples import examples

NUMBER = st.integers(-12, 12)
RECTANGLES = st.lists(st.tuples(NUMBER, NUMBER, st.integers(1, 9), st.integers(1, 9)), max_size=12)


def table(rows, slide="a", **columns):
    """A table of patches at (x0, y0, width0, height0)."""
    frame = pd.DataFrame(rows, columns=["x0", "y0", "width0", "height0"]).astype("int64")
    frame["patch_id"] = [f"r{place:06}_c000000" for place in range(len(rows))]
    return frame.assign(slide=slide, downsample=1.0, **columns).astype({"slide": "str"})


def dataset(frame, **fingerprints):
    return SimpleNamespace(table=frame, fingerprints=fingerprints, paths={"a": "Å, 1/a.svs"})


def corners(rows):
    return np.array([(x, y, x + width, y + height) for x, y, width, height in rows], np.int64).reshape(-1, 4)


def meets(one, other):
    return all(
        max(one[axis], other[axis]) < min(one[axis] + one[axis + 2], other[axis] + other[axis + 2]) for axis in (0, 1)
    )


@given(st.lists(st.tuples(NUMBER, NUMBER), max_size=20), st.lists(st.tuples(NUMBER, NUMBER), max_size=20))
def test_points_before_are_those_that_are_less_in_both(points, limits):
    xs, ys = np.array(points, np.int64).reshape(-1, 2).T
    before_x, before_y = np.array(limits, np.int64).reshape(-1, 2).T
    expected = [sum(x < limit_x and y < limit_y for x, y in points) for limit_x, limit_y in limits]
    assert count_points_before(xs, ys, before_x, before_y=before_y).tolist() == expected


@given(RECTANGLES, RECTANGLES)
def test_overlapping_counts_what_a_comparison_of_all_pairs_does(first, second):
    expected = [sum(meets(one, other) for one in first) for other in second]
    assert count_overlaps(corners(first), corners(second)).tolist() == expected


def test_overlapping_holds_for_sizes_of_every_kind_and_more_points_than_hypothesis_takes():
    random = np.random.default_rng(0)
    first, second = (
        np.column_stack((random.integers(-500, 500, (count, 2)), 2 ** random.integers(0, 9, (count, 2))))
        for count in (700, 900)
    )
    begin = np.maximum(first[:, None, :2], second[None, :, :2])
    end = np.minimum(first[:, None, :2] + first[:, None, 2:], second[None, :, :2] + second[None, :, 2:])
    expected = (begin < end).all(axis=2).sum(axis=0)
    assert 0 < np.count_nonzero(expected) < len(second)
    assert count_overlaps(corners(first), corners(second)).tolist() == expected.tolist()


@examples(50)
@given(st.lists(st.tuples(st.sampled_from("abc"), RECTANGLES), max_size=4), st.data())
def test_patches_leak_where_squares_of_one_content_meet_whatever_the_slides_are_called(train, data):
    """On the other side, slide d is a copy of a, and c has another content than here."""
    test = data.draw(st.lists(st.tuples(st.sampled_from("bcd"), RECTANGLES), max_size=4))
    first, second = (
        pd.concat([table([], slide="b"), *(table(rows, slide=slide) for slide, rows in side)], ignore_index=True)
        for side in (train, test)
    )
    same = {("b", "b"), ("a", "d")}
    expected = sum(
        any((left, right) in same and meets(one, other) for left, rows in train for one in rows)
        for right, others in test
        for other in others
    )
    found = find_leakage(dataset(first, a="1", b="2", c="3"), dataset(second, b="2", c="4", d="1"), by="patch")
    assert found.patches == expected
    assert len(found.listed) == min(expected, 10)
    assert bool(found) == bool(expected)


def test_an_overlap_is_told_with_the_two_patches():
    train, test = table([(0, 0, 10, 10), (-20, 5, 10, 10)]), table([(10, 0, 10, 10), (-11, 14, 4, 4)])
    found = find_leakage(train, test, by="patch")
    assert (found.groups, found.contents, found.patches) == (0, 0, 1)
    assert found.listed == ("patch r000001_c000000 of a overlaps r000001_c000000 of a",)
    with pytest.raises(LeakageError, match=r"0 groups, 0 slides and 1 patch .*\n  patch r000001_c000000 of a"):
        check_leakage(train, test, by="patch")


def test_a_patient_on_both_sides_leaks_and_a_missing_one_is_nobodys():
    train = pd.concat([table([(0, 0, 1, 1)], "a", patient="P1"), table([(0, 0, 1, 1)], "b", patient="")])
    test = pd.concat([table([(0, 0, 1, 1)], "c", patient="P1"), table([(0, 0, 1, 1)], "d", patient="")])
    found = find_leakage(train, test)
    assert (found.groups, found.contents, found.patches) == (1, 0, 0)
    assert found.listed == ("patient P1 is on both sides",)
    assert not find_leakage(train, test, by="slide")
    assert find_leakage(train, test.assign(patient=test["patient"] + " ")).groups == 1
    assert find_leakage(train.replace({"patient": {"": "NA"}}), test.replace({"patient": {"": "n/a"}})).groups == 1
    assert find_leakage(train.replace({"patient": {"": "NA"}}), test.replace({"patient": {"": "NA"}})).groups == 1
    train["patient"] = train["patient"].replace("", None).astype("category")
    test["patient"] = test["patient"].replace("", None)
    assert find_leakage(train, test).groups == 1


def test_copies_of_a_slide_leak_under_any_name_and_are_told_with_all_their_names():
    train, test = table([(0, 0, 4, 4)], "a"), table([(100, 100, 4, 4)], "copy")
    assert not find_leakage(train, test)
    found = find_leakage(dataset(train, a="1"), dataset(test, copy="1"))
    assert (found.groups, found.contents, found.patches) == (0, 1, 0)
    assert found.listed == ("the content of Å, 1/a.svs (a), copy is on both sides",)
    with pytest.raises(LeakageError, match=r"the content of Å, 1/a\.svs \(a\), copy"):
        check_leakage(dataset(train, a="1"), dataset(test, copy="1"))


def test_slides_of_one_name_and_two_contents_are_two_slides():
    both = table([(0, 0, 4, 4)], "a")
    assert not find_leakage(dataset(both, a="1"), dataset(both, a="2"))
    assert find_leakage(both, dataset(both, a="2")).contents == 1


def test_the_count_is_exact_where_the_list_is_cut():
    rows = [(place * 4, 0, 4, 4) for place in range(60)]
    train = pd.concat([table([row], f"s{place:02}", patient=f"P{place:02}") for place, row in enumerate(rows)])
    found = find_leakage(train, train)
    assert (found.groups, found.contents, found.patches) == (60, 60, 60)
    assert len(found.listed) == 30
    assert found.listed[0] == "patient P00 is on both sides"


@pytest.mark.parametrize("mpp", [0.5, 0.65, 0.66, 0.93])
@pytest.mark.parametrize("overlap", [0, 1])
def test_neighbours_in_a_grid_leak_only_where_they_overlap_though_their_places_are_rounded(mpp, overlap):
    grid = Grid(Pyramid(((3000, 2000), (750, 500)), (1.0, 4.0), mpp=0.25), GridSpec(64, overlap, mpp=mpp))
    patches = list(grid.patches())
    frame = pd.DataFrame(
        [
            {**{name: getattr(patch, name) for name in ("x0", "y0", "width0", "height0", "patch_id")}, "slide": "a"}
            for patch in patches
        ]
    )
    frame["downsample"] = mpp / 0.25
    odd = np.array([(patch.column + patch.row) % 2 for patch in patches], bool)
    found = find_leakage(frame[odd], frame[~odd], by="patch")
    assert found.patches == ((~odd).sum() if overlap else 0)


def test_a_table_without_the_column_is_refused():
    train, test = table([(0, 0, 1, 1)], patient="P1"), table([(0, 0, 1, 1)], "b")
    with pytest.raises(SplitError, match="no column 'patient'"):
        check_leakage(train, test, by="patient")
    with pytest.raises(SplitError, match=r"no column \['slide'\]"):
        check_leakage(train, test, by=["slide"])
    with pytest.raises(SplitError, match="no column 'downsample'"):
        check_leakage(train, test.drop(columns="downsample"))
    check_leakage(train, test)


def test_empty_sides_have_nothing_in_common():
    assert not find_leakage(table([]), table([(0, 0, 1, 1)]))
    assert not find_leakage(table([(0, 0, 1, 1)]), table([]))
