"""Targets of slides: values of a sheet's columns, one per slide."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slidemill.bags.targets import read_targets
from slidemill.errors import SlidemillError

CELLS = st.sampled_from(["tumour", "normal", "10", "9", "", "NA", "-", "none", "é", "e\u0301"])


def test_targets_are_by_slide_in_the_datasets_order(dataset):
    found = dataset.targets("diagnosis")
    assert dict(found) == {"d": "ductal", "a": "lobular", "c": "ductal", "b": None}
    assert list(found) == list(dataset.slides)
    assert found.classes == ("ductal", "lobular")
    assert found.labels.dtype == np.int64
    assert found.labels.tolist() == [0, 1, 0, -1]
    assert found["a"] == "lobular"


def test_classes_are_those_of_all_results(dataset):
    """A fold that lacks a class must not number the others otherwise."""
    some = dataset.select(slides=["b", "a"])
    assert dict(some.targets("diagnosis")) == {"a": "lobular", "b": None}
    assert some.targets("diagnosis").classes == ("ductal", "lobular")
    assert some.targets("diagnosis").labels.tolist() == [1, -1]


def test_numbers_are_nan_where_unknown(dataset):
    found = dataset.targets("age").numbers
    assert found.dtype == np.float64
    assert found[[0, 2]].tolist() == [61, 7.5]
    assert np.isnan(found[[1, 3]]).all()
    with pytest.raises(SlidemillError, match=r"diagnosis: not a number for a \(lobular\), c \(ductal\), d \(ductal\)"):
        dataset.targets("diagnosis").numbers  # noqa: B018


def test_label_is_the_sheets_and_not_the_patches(dataset):
    for name in ("label", "slide_label"):
        assert dict(dataset.targets(name)) == {"d": "1", "a": "10", "c": "2", "b": "1"}
    assert dataset.targets("label").classes == ("1", "2", "10")


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ("diagnosys", r"diagnosys: not a column of the sheet of slides \(did you mean diagnosis\?\); the sheet has"),
        ("grade", "grade: not a column of the sheet of slides; the sheet has the columns age, diagnosis, patient, sl"),
        ("tissue_fraction", "tissue_fraction: not a column of the sheet"),
        (3, "3: not a column of the sheet"),
    ],
)
def test_unknown_column_is_refused(dataset, column, message):
    with pytest.raises(SlidemillError, match=message):
        dataset.targets(column)


def test_results_of_a_folder_have_no_targets(dataset):
    table = dataset.table.drop(columns=["age", "diagnosis", "patient", "slide_label"])
    with pytest.raises(SlidemillError, match=r"label: not a column .*the sheet has no further columns: add it"):
        read_targets(table, dataset.slides, "label")


def reference(cell):
    """What a cell means, by the documented list."""
    text = cell.replace("e\u0301", "é").strip()
    return None if text.lower() in ("", "na", "n/a", "#n/a", "<na>", "nan", "null") else text


@given(
    st.dictionaries(st.sampled_from("stuvwxyz"), CELLS, min_size=1), st.randoms(use_true_random=False), st.booleans()
)
def test_every_order_of_rows_gives_the_same_targets(cells, random, categorical):
    rows = [{"slide": slide, "x": cell} for slide, cell in cells.items() for _ in range(random.randint(1, 3))]
    random.shuffle(rows)
    table = pd.DataFrame(rows).astype({"slide": "category"} | ({"x": "category"} if categorical else {}))
    slides = list(cells)
    found = read_targets(table, slides, "x")
    assert dict(found) == {slide: reference(cell) for slide, cell in cells.items()}
    assert set(found.classes) == set(filter(None, found.values()))
    assert [found.classes[label] if label >= 0 else None for label in found.labels] == list(found.values())
    assert not any(math.isnan(label) for label in found.labels)
