"""Folds of a dataset on real results: the parts read the patches that are theirs."""

from dataclasses import replace

import numpy as np
import pytest

from slidemill.datasets.folds import read_splits
from slidemill.datasets.leakage import check_leakage
from slidemill.errors import LeakageError


@pytest.fixture
def distinct(dataset):
    """The dataset, as if its slides had contents of their own; here all have one fingerprint."""
    return replace(dataset, fingerprints={slide: slide for slide in dataset.slides})


def test_patients_stay_together_and_each_fold_reads_its_own_pixels(distinct, truth):
    splits = distinct.split(2)
    assert splits.by == "patient"
    tested = []
    for number in range(2):
        train, test = splits.fold(number)
        check_leakage(train, test)
        assert sorted([*train.slides, *test.slides]) == sorted(distinct.slides)
        own = np.flatnonzero(distinct.table["slide"].isin(list(test.slides)))
        assert np.array_equal(test.read(range(len(test))), truth[own])
        tested.append(sorted(test.slides))
    assert sorted(tested) == [["a-slide"], ["b-slide", "c-slide"]]


def test_a_copy_of_a_slide_is_a_leak(dataset):
    with pytest.raises(LeakageError, match="a-slide, b-slide, c-slide have the same content"):
        dataset.split(2)
    train, test = dataset.sets(3).fold(0)
    with pytest.raises(LeakageError, match="the content of a-slide, b-slide, c-slide is on both sides"):
        check_leakage(train, test)


def test_sets_are_py_wsis(distinct):
    sets = distinct.sets(2)
    assert sorted(sets.fold(0)[1].slides) == ["a-slide", "c-slide"]
    assert sorted(sets.fold(1)[1].slides) == ["b-slide"]


def test_within_a_slide_patches_that_overlap_leak_and_neighbours_do_not(distinct):
    own = distinct.select(slides="a-slide")
    left = own.table["column"].to_numpy() == 0
    check_leakage(own.take(left), own.take(~left), by="patch")
    with pytest.raises(LeakageError, match="patch r00000_c00000 of a-slide overlaps r00000_c00000 of a-slide"):
        check_leakage(own, own.take(left), by="patch")


def test_a_selection_of_slides_is_parted_and_read(distinct):
    chosen = distinct.select(slides=["a-slide", "b-slide"], labels=0)
    train, test = chosen.split(2, "slide").fold(1)
    check_leakage(train, test)
    assert sorted([*train.slides, *test.slides]) == ["a-slide", "b-slide"]
    assert len(train) + len(test) == len(chosen)
    assert train.read([0]).shape == test.read([0]).shape


def test_a_file_freezes_the_folds(distinct, tmp_path):
    distinct.split(2, seed=4).save(tmp_path / "splits.csv")
    kept = read_splits(tmp_path / "splits.csv", distinct)
    assert kept == distinct.split(2, seed=4)
    assert kept.fold(1)[1].slides == distinct.split(2, seed=4).fold(1)[1].slides
