"""Features of a dataset's patches as one array: the law is NumPy's own indexing of all rows."""

import pickle
import re
import resource
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slidemill.bags import feature_array
from slidemill.core.results_layout import feature_file
from slidemill.errors import StoreError
from tests.bags.conftest import DIM, SHEET, write_features_table, write_own
from tests.results import PATCHES

COUNT = len(PATCHES) * len(SHEET)
NUMBERS = st.integers(-COUNT, COUNT - 1)
ENDS = st.none() | st.integers(-COUNT - 2, COUNT + 2)
INDICES = (
    NUMBERS
    | st.builds(slice, ENDS, ENDS, st.none() | st.integers(-3, 3).filter(bool))
    | st.lists(NUMBERS, max_size=9).map(lambda places: np.array(places, int))
    | st.lists(st.booleans(), min_size=COUNT, max_size=COUNT).map(np.array)
    | st.tuples(st.builds(slice, ENDS, ENDS), st.integers(0, DIM - 1))
    | st.just(Ellipsis)
)


def test_rows_are_those_of_the_dataset(dataset, truth):
    features = dataset.features("uni")
    assert (features.shape, features.dtype, features.ndim, len(features)) == ((COUNT, DIM), np.float16, 2, COUNT)
    assert np.array_equal(np.asarray(features), truth)
    assert np.array_equal(np.asarray(features, np.float64), truth.astype(float))
    assert [row.shape for row in features] == [(DIM,)] * COUNT
    assert repr(features) == f"FeatureArray(uni, ({COUNT}, {DIM}), float16)"


@given(INDICES, st.permutations(range(COUNT)), st.integers(1, COUNT))
def test_indexing_is_numpys(cohort, truth, index, order, most):
    """A law, for every selection and order of rows: the array behaves like the rows themselves."""
    from slidemill import open_dataset

    with open_dataset(cohort[0]) as opened:
        places = np.array(order[:most])
        found, wanted = opened.take(places).features("uni"), truth[places]
        try:
            expected = wanted[index]
        except IndexError:
            with pytest.raises(IndexError):
                found[index]
            return
        assert np.array_equal(found[index], expected)
        assert found[index].shape == expected.shape


def test_select_respects_labels_slides_and_queries(dataset, truth):
    for chosen in (
        dataset.select(labels="Tumour"),
        dataset.select(slides=["c", "a"]),
        dataset.select(query="column == 1 and patient != 'P2'"),
    ):
        places = [
            int(np.flatnonzero((dataset.table[["slide", "patch_id"]] == row).all(axis=1))[0])
            for row in chosen.table[["slide", "patch_id"]].to_numpy()
        ]
        assert np.array_equal(chosen.features("uni")[:], truth[places])


def test_rows_of_one_slide_are_a_mapped_view(dataset, truth):
    """What follows in one file is not copied; everything else is."""
    features = dataset.features("uni")
    view = features[len(PATCHES) + 1 : len(PATCHES) + 4]
    assert not view.flags.owndata
    assert not view.flags.writeable
    assert np.array_equal(view, truth[len(PATCHES) + 1 : len(PATCHES) + 4])
    for copy in (features[:], features[[0, 2]], features[5::-1]):
        assert copy.flags.writeable
    one = np.asarray(dataset.select(slides="a").features("uni"))
    assert not one.flags.writeable


def test_few_files_stay_mapped(dataset, truth, monkeypatch):
    monkeypatch.setattr(feature_array, "MOST_MAPPED", 2)
    features = dataset.features("uni")
    for _ in range(2):
        assert np.array_equal(features[:], truth)
    assert len(features._mapped) == 2
    copied = pickle.loads(pickle.dumps(features))
    assert len(copied._mapped) == 0
    assert np.array_equal(copied[3:20], truth[3:20])


def test_empty_dataset_has_no_rows(dataset):
    features = dataset.take([]).features("uni")
    assert features.shape == (0, 0)
    assert np.asarray(features).shape == (0, 0)


def test_unknown_features_are_refused(dataset, cohort):
    with pytest.raises(
        StoreError, match=re.escape("no features 'Uni' (did you mean uni?); choose from uni, or name their")
    ):
        dataset.features("Uni")
    for name in ("..", "", "uni/../uni", "a\0b", 3):
        with pytest.raises(StoreError, match="has no features"):
            dataset.features(name)


def test_slides_without_features_are_named(own):
    for slide in "ad":
        (own.results / feature_file("uni", slide)).unlink()
    with pytest.raises(StoreError, match=r"features/uni: 2 slides have no features: d, a: run the workflow to its"):
        own.features("uni")
    assert own.select(slides=["b", "c"]).features("uni")[:].shape == (2 * len(PATCHES), DIM)


def test_features_of_a_changed_slide_are_refused(own):
    write_own(own.results, "c", np.zeros((len(PATCHES), DIM), np.float16), fingerprint="0" * 32)
    with pytest.raises(StoreError, match=r"c\.h5: slide c has changed since \(its fingerprint was 0+, and is f+\)"):
        own.features("uni")[:]


def test_features_that_lack_patches_are_refused(own):
    write_own(own.results, "c", np.zeros((4, DIM), np.float16), PATCHES[:2] + PATCHES[4:])
    with pytest.raises(StoreError, match=r"c\.h5: lacks 2 patches of the dataset, such as the one at \(32, 0\)"):
        own.features("uni")[:]
    some = own.select(slides="c", query="row == 0 and column < 2")
    assert np.array_equal(some.features("uni")[:], np.zeros((2, DIM)))


def test_features_of_another_width_are_refused(own):
    write_own(own.results, "c", np.zeros((len(PATCHES), 3), np.float16))
    with pytest.raises(StoreError, match=r"c\.h5: has 3 values of float16 per patch, and others 5 of float16"):
        own.features("uni")[:]


def test_features_of_patches_of_another_size_are_refused(own):
    write_own(own.results, "d", np.zeros((len(PATCHES), DIM), np.float16), patch_size=32)
    with pytest.raises(
        StoreError, match=r"d\.h5: patches are 32 pixels wide, not 16: the features are of other patche"
    ):
        own.features("uni")


def test_files_in_another_order_are_read(own, truth):
    """Other writers may keep patches in any order: rows are found by their corners."""
    shuffled = np.random.default_rng(0).permutation(len(PATCHES))
    place = list(SHEET).index("a") * len(PATCHES)
    write_own(own.results, "a", truth[place : place + len(PATCHES)][shuffled], [PATCHES[one] for one in shuffled])
    assert np.array_equal(own.features("uni")[:], truth)
    write_own(own.results, "a", truth[: len(PATCHES)], [*PATCHES[:5], PATCHES[4]])
    with pytest.raises(StoreError, match="two patches begin at one level-0 pixel"):
        own.features("uni")[:]


def test_files_are_unmapped_where_the_process_may_open_no_more(dataset, truth):
    """The limit leaves room for two mapped files, and for what opening one needs."""
    features = dataset.features("uni")
    own = len(list(Path("/proc/self/fd").iterdir()))
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (own + 3, limits[1]))
    try:
        found = [features[place] for place in range(len(features))]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert np.array_equal(found, truth)


@pytest.mark.parametrize("slide", ["d", "b"])
def test_features_that_the_table_does_not_list_are_refused(own, slide):
    """A run with other colours, say, may have been killed half-way: model, slide and places are the same."""
    write_features_table(own.results)
    assert own.features("uni")[:].shape == (COUNT, DIM)
    write_own(own.results, slide, np.zeros((len(PATCHES), DIM), np.float16))
    with pytest.raises(
        StoreError, match=rf"{slide}\.h5: does not match features.csv: run the workflow to its end, and"
    ):
        own.features("uni")[:]
    with pytest.raises(StoreError, match=rf"{slide}\.h5: does not match features.csv"):
        list(own.bags("uni"))
