"""Bags of slides and of patients: what each holds, for every selection, and what is refused."""

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slidemill import open_dataset
from slidemill.core.parquet import write_parquet
from slidemill.core.results_layout import feature_file
from slidemill.errors import SlidemillError, StoreError
from tests.bags.conftest import DIM, SHEET, write_own
from tests.results import PATCHES, unseal

COUNT = len(PATCHES) * len(SHEET)


def of(dataset, truth, places, column="slide"):
    """By slide or patient, in order, the features and corners of these patches."""
    table = dataset.table
    found = {}
    for name in dict.fromkeys(table[column]) if column == "slide" else dict.fromkeys(map(str, table[column])):
        chosen = [place for place in places if str(table[column][place]) == name]
        # A patient's slides come one after another.
        chosen.sort(key=lambda place: list(dataset.slides).index(table["slide"][place]))
        if chosen:
            found[str(name)] = truth[chosen], table[["x0", "y0"]].to_numpy()[chosen]
    return found


def assert_bags(bags, wanted):
    assert bags.ids == list(wanted)
    assert len(bags) == len(wanted)
    for bag, (name, (features, coords)) in zip(bags, wanted.items(), strict=True):
        assert bag.id == name
        assert np.array_equal(bag.features, features)
        assert np.array_equal(bag.coords, coords)
        assert (bag.features.dtype, bag.coords.dtype) == (np.float16, np.int64)
        assert bag.features.flags.writeable


def test_bags_are_the_slides(dataset, truth):
    bags = dataset.bags("uni", target="diagnosis")
    assert_bags(bags, of(dataset, truth, range(COUNT)))
    assert [bag.target for bag in bags] == ["ductal", "lobular", "ductal", None]
    assert bags.targets.labels.tolist() == [0, 1, 0, -1]
    features, coords, target, name = bags[-1]
    assert (features.shape, coords.shape, target, name) == ((6, DIM), (6, 2), None, "b")
    assert repr(bags) == f"Bags(4 bags of uni, {dataset.results})"
    with pytest.raises(IndexError, match="bag 4 does not exist: there are 4, counted from 0"):
        bags[4]


def test_bags_of_patients_join_their_slides(dataset, truth):
    bags = dataset.bags("uni", target="diagnosis", level="patient")
    assert_bags(bags, of(dataset, truth, range(COUNT), "patient"))
    assert bags.ids == ["P1", "P2", "P3"]
    assert [bag.target for bag in bags] == ["ductal", "lobular", None]
    assert [len(bag.features) for bag in bags] == [12, 6, 6]


def test_bags_need_no_target(dataset):
    bags = dataset.bags("uni")
    assert bags.targets is None
    assert bags[0].target is None


@given(st.permutations(range(COUNT)), st.integers(1, COUNT), st.sampled_from(["slide", "patient"]))
def test_bags_follow_selection_and_order(cohort, truth, order, most, level):
    """A law: the places of a bag are those of its rows in the dataset, whatever was taken."""
    with open_dataset(cohort[0]) as opened:
        chosen = opened.take(order[:most])
        bags, own = chosen.bags("uni", level=level), truth[order[:most]]
        assert_bags(
            bags, dict(sorted(of(chosen, own, range(most), level).items(), key=lambda one: bags.ids.index(one[0])))
        )
        assert sorted(np.concatenate([bags.places(number) for number in range(len(bags))])) == list(range(most))
        for number, bag in enumerate(bags):
            assert np.array_equal(bag.features, own[bags.places(number)])
            assert set(chosen.table[level].astype(str).iloc[bags.places(number)]) == {bag.id}


def test_slices_and_masks_are_bags(dataset):
    bags = dataset.bags("uni", "diagnosis")
    known = bags.take(bags.targets.labels >= 0)
    assert known.ids == list(known.targets) == ["d", "a", "c"]
    assert bags[1:3].ids == ["a", "c"]
    assert bags[::-1].targets.labels.tolist() == [-1, 0, 1, 0]
    assert bags.take([2, -4]).ids == ["c", "d"]
    with pytest.raises(IndexError):
        bags.take([4])


def test_no_file_stays_open(dataset):
    """Bags that are kept hold memory, and no file."""
    before = len(list(Path("/proc/self/fd").iterdir()))
    kept = list(dataset.bags("uni", level="patient"))
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert len(kept) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("uni", "diagnosys"), "diagnosys: not a column of the sheet of slides (did you mean diagnosis?)"),
        (("uni", None, "case"), "level is 'case': give slide or patient"),
        (("Uni",), "has no features 'Uni' (did you mean uni?)"),
        (("uni", "age", "patient"), "P1: age is '61' for slide d and '7.5' for c: correct the sheet, or make bags of"),
    ],
)
def test_wrong_arguments_are_refused(dataset, arguments, message):
    with pytest.raises(SlidemillError, match=re.escape(message)):
        dataset.bags(*arguments)


def with_patients(results, **patients):
    """Results whose sheet gives these patients, and nothing else."""
    text = unseal(results) / "metadata.csv"
    lines = [line.split(",") for line in text.read_text().splitlines()]
    header, slide = lines[0], lines[0].index("slide")
    place = header.index("patient")
    rows = [[*line[:place], patients.get(line[slide], line[place]), *line[place + 1 :]] for line in lines[1:]]
    text.write_text("\n".join(",".join(line) for line in [header, *rows]) + "\n")
    write_parquet(results / "metadata.parquet", text)
    return open_dataset(results)


def test_slides_without_a_patient_are_named(own):
    with (
        with_patients(own.results, a="", c="NA") as dataset,
        pytest.raises(SlidemillError, match="a, c: without a patient: give each slide its patient in the sheet"),
    ):
        dataset.bags("uni", level="patient")


def test_faults_of_a_file_are_those_of_its_bag(own):
    """Files are opened when their bag is read: the other bags can be used."""
    write_own(own.results, "d", np.zeros((4, DIM), np.float16), PATCHES[:4])
    write_own(own.results, "a", np.zeros((6, DIM), np.float16), fingerprint="0" * 32)
    write_own(own.results, "c", np.zeros((6, 2), np.float16))
    bags = own.bags("uni", "diagnosis")
    with pytest.raises(StoreError, match=r"d\.h5: lacks 2 patches of the dataset"):
        bags[0]
    with pytest.raises(StoreError, match=r"a\.h5: slide a has changed since"):
        bags[1]
    assert bags[2].features.shape == (6, 2)
    (own.results / feature_file("uni", "b")).write_bytes(b"damaged")
    with pytest.raises(StoreError, match=r"b\.h5: cannot be read"):
        bags[3]
    write_own(own.results, "d", np.zeros((6, DIM), np.float16))
    with pytest.raises(StoreError, match="P1: features uni of its slides differ in type or length"):
        own.bags("uni", level="patient")[0]


def test_bags_are_taken_by_numbers_once(dataset):
    bags = dataset.bags("uni", "diagnosis")
    assert len(bags.take([])) == 0
    with pytest.raises(SlidemillError, match=r"d: requested more than once: name each bag once, and repeat bags by a"):
        bags.take([0, 1, 0])
    with pytest.raises(SlidemillError, match=r"bags are requested by float64 \(1,\): give whole numbers or a mask"):
        bags.take([0.0])


@pytest.mark.parametrize("change", [{"model": "another"}, {"weights": "0" * 32}, {"transform": "other"}])
@pytest.mark.parametrize("slide", ["d", "b"])
def test_features_of_two_models_are_not_mixed(own, change, slide):
    """A run with other weights may have been killed half-way: both kinds have as many values per patch."""
    write_own(own.results, slide, np.zeros((len(PATCHES), DIM), np.float16), **change)
    message = rf"\.h5: features of another model than those of other slides \({next(iter(change))} '"
    for use in (lambda: own.features("uni")[:], lambda: list(own.bags("uni"))):
        with pytest.raises(StoreError, match=message):
            use()
