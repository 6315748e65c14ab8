"""Folds: groups are never cut, shares are held against bounds and a slow reference, and nothing depends on order."""

import csv
import itertools
import json
import os
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slidemill.core.columns import is_unknown
from slidemill.datasets._balancing import balance_groups
from slidemill.datasets.folds import read_splits
from slidemill.datasets.split import every_kth, split
from slidemill.errors import LeakageError, SlidemillError, SplitError
from slidemill.slides.discovery import find_slides
from tests.conftest import ROOT
from tests.examples import examples

STRATA = st.dictionaries(st.sampled_from("abc"), st.integers(1, 50), min_size=1)
GROUPS = st.dictionaries(st.text("xyz01", min_size=1, max_size=3), STRATA, min_size=3, max_size=12)


class Cohort:
    """What folds ask of a dataset: the table, the fingerprints, and to take some of the patches."""

    def __init__(self, table, fingerprints=None):
        self.table = table.reset_index(drop=True)
        self.paths = {}
        self.fingerprints = {slide: f"print of {slide}" for slide in table["slide"].unique()} | (fingerprints or {})

    def take(self, mask):
        return Cohort(self.table[mask], self.fingerprints)

    @property
    def slides(self):
        return set(self.table["slide"])


def cohort(slides=12, patients=6, seed=0, **fingerprints):
    """Slides of several patients, with patches of two labels."""
    random = np.random.default_rng(seed)
    rows = [
        {"slide": f"s{slide:02}", "patient": f"P{slide % patients}", "label": int(random.random() < 0.3)}
        for slide in range(slides)
        for _ in range(random.integers(5, 60))
    ]
    frame = pd.DataFrame(rows).astype({"slide": "category", "patient": "category"})
    return Cohort(frame, fingerprints)


def read_splits_of(splits, data):
    """The folds of the dataset, as if they had been read from a file."""
    return replace(splits, dataset=None).of(data)


def shares(groups, chosen, folds):
    """By fold, its exact share of all patches and of each stratum's."""
    totals, loads = Counter(), [Counter() for _ in range(folds)]
    for name, counts in groups.items():
        own = {**counts, None: sum(counts.values())}
        totals.update(own)
        loads[chosen[name]].update(own)
    return [{key: Fraction(load[key], totals[key]) for key in totals} for load in loads], totals


def deviation(groups, chosen, folds):
    """The folds' squared deviations from an equal share, summed."""
    found, totals = shares(groups, chosen, folds)
    return sum((share[key] - Fraction(1, folds)) ** 2 for share in found for key in totals)


class TestBalance:
    @given(GROUPS, st.integers(2, 3), st.integers(0, 3))
    def test_it_holds_the_bound_that_is_promised(self, groups, folds, seed):
        chosen = balance_groups(groups, folds, seed)
        assert set(chosen) == set(groups)
        assert set(chosen.values()) == set(range(folds))
        _, totals = shares(groups, chosen, folds)
        squares = sum(
            Fraction(count, totals[key]) ** 2
            for counts in groups.values()
            for key, count in {**counts, None: sum(counts.values())}.items()
        )
        assert deviation(groups, chosen, folds) <= squares * (1 - Fraction(1, folds)) + Fraction(1, 10**12)

    @given(st.dictionaries(st.text("xy01", min_size=1, max_size=4), st.integers(1, 99), min_size=4), st.integers(2, 4))
    def test_without_strata_no_two_folds_differ_by_more_than_the_largest_group(self, sizes, folds):
        chosen = balance_groups({name: {"": size} for name, size in sizes.items()}, folds, 0)
        loads = Counter()
        for name, size in sizes.items():
            loads[chosen[name]] += size
        assert max(loads.values()) - min(loads.values()) <= max(sizes.values())

    @given(GROUPS, st.integers(2, 3))
    def test_each_group_goes_where_the_deviation_grows_least(self, groups, folds):
        """A slow reference: with the groups in the same order, each fold is tried and measured anew, in fractions."""
        chosen = balance_groups(groups, folds, 0)
        order = list(chosen)
        _, totals = shares(groups, chosen, folds)
        expected = {}
        for name in order:
            tried = []
            for fold in range(folds):
                loads = [Counter() for _ in range(folds)]
                for one, its in {**expected, name: fold}.items():
                    loads[its].update({**groups[one], None: sum(groups[one].values())})
                tried.append(sum(Fraction(load[key], totals[key]) ** 2 for load in loads for key in totals))
            expected[name] = tried.index(min(tried))
            # Between shares that are equal but for a rounding, either may be taken.
            if tried[chosen[name]] - min(tried) < Fraction(1, 10**30):
                expected[name] = chosen[name]
        assert expected == chosen

    @examples(30, derandomize=True)
    @given(st.dictionaries(st.sampled_from("pqrstuv"), STRATA, min_size=4, max_size=7))
    def test_it_is_near_the_best_that_there_is(self, groups):
        """The best of all ways: what is lost is less than the largest group's squared shares."""
        names = sorted(groups)
        ways = (dict(zip(names, way, strict=True)) for way in itertools.product(range(2), repeat=len(names)))
        best = min(deviation(groups, way, 2) for way in ways)
        _, totals = shares(groups, dict.fromkeys(names, 0), 2)
        largest = max(
            sum(Fraction(count, totals[key]) ** 2 for key, count in {**counts, None: sum(counts.values())}.items())
            for counts in groups.values()
        )
        assert best <= deviation(groups, balance_groups(groups, 2, 0), 2) <= best + largest

    def test_equal_groups_are_shared_out_evenly_with_their_strata(self):
        groups = {f"P{number}": {"tumour": 30, "normal": 70} for number in range(20)}
        groups |= {f"Q{number}": {"normal": 100} for number in range(20)}
        found, _ = shares(groups, balance_groups(groups, 5, 1), 5)
        assert all(
            share == {"tumour": Fraction(1, 5), "normal": Fraction(1, 5), None: Fraction(1, 5)} for share in found
        )

    def test_a_rare_stratum_is_in_every_fold_that_it_can_be_in(self):
        groups = {f"P{number:02}": {"common": 200 + number} for number in range(40)}
        groups |= {f"R{number}": {"common": 50, "rare": 3} for number in range(5)}
        chosen = balance_groups(groups, 5, 0)
        assert {chosen[f"R{number}"] for number in range(5)} == set(range(5))

    def test_it_is_the_same_on_every_machine_and_in_every_python(self):
        """Written down once: what gives other folds than these breaks what people have published."""
        groups = {f"patient {n}": {"a": 10 + n % 7, "b": 3 + n % 3} for n in range(12)}
        assert "".join(str(balance_groups(groups, 3, 7)[f"patient {n}"]) for n in range(12)) == "100022120211"

    def test_seeds_give_other_folds_where_groups_are_alike(self):
        groups = {f"P{number}": {"a": 100 + number % 5} for number in range(30)}
        assert len({tuple(sorted(balance_groups(groups, 3, seed).items())) for seed in range(8)}) == 8


class TestSplit:
    @pytest.mark.parametrize(("by", "stratify"), [("patient", "label"), ("slide", "label"), ("patient", None)])
    def test_train_and_test_have_all_patches_and_no_group_in_common(self, by, stratify):
        data = cohort(patients=12 if by == "slide" else 6)
        splits = split(data, 3, by, stratify=stratify)
        tested = []
        for number in range(splits.folds):
            train, test = splits.fold(number)
            assert not set(train.table[by]) & set(test.table[by])
            assert len(train.table) + len(test.table) == len(data.table)
            tested += test.slides
        assert sorted(tested) == sorted(data.slides)

    @given(
        st.lists(
            st.tuples(st.integers(0, 7), st.sampled_from(["a", "b", ""]), st.integers(1, 9)), min_size=3, max_size=14
        ),
        st.integers(0, 2),
    )
    def test_folds_by_a_target_hold_the_bound_of_labels(self, slides, seed):
        """A slide has one value, as of a sheet's column: no patient is in two folds, and shares are near equal ones."""
        if len({patient for patient, _, _ in slides}) < 2:
            return
        rows = [
            {"slide": f"s{number}", "patient": f"P{patient}", "diagnosis": value}
            for number, (patient, value, count) in enumerate(slides)
            for _ in range(count)
        ]
        data = Cohort(pd.DataFrame(rows).astype("category"))
        splits = split(data, 2, stratify="diagnosis", seed=seed)
        train, test = splits.fold(0)
        assert not set(train.table["patient"]) & set(test.table["patient"])
        groups = {}
        for patient, value, count in slides:
            groups.setdefault(f"P{patient}", Counter())[value] += count
        chosen = {row.group: row.fold for row in splits.slides}
        _, totals = shares(groups, chosen, 2)
        squares = sum(
            Fraction(count, totals[key]) ** 2
            for counts in groups.values()
            for key, count in {**counts, None: sum(counts.values())}.items()
        )
        assert deviation(groups, chosen, 2) <= squares / 2 + Fraction(1, 10**12)

    def test_a_row_tells_of_each_slide(self):
        data = cohort()
        splits = split(data, 3)
        assert [row.slide for row in splits.slides] == sorted(data.slides)
        for row in splits.slides:
            own = data.table[data.table["slide"] == row.slide]
            assert (row.patches, row.fingerprint) == (len(own), f"print of {row.slide}")
            assert row.group == own["patient"].iloc[0]

    @pytest.mark.parametrize("seed", [0, 1, 2])
    def test_the_order_of_rows_and_of_slides_does_not_matter(self, seed):
        data = cohort(30, 9)
        shuffled = Cohort(data.table.sample(frac=1, random_state=seed).astype({"slide": str, "patient": object}))
        assert split(shuffled, 4, seed=5) == split(data, 4, seed=5)

    def test_the_name_of_the_folder_of_slides_does_not_matter(self, tmp_path):
        found = []
        for root in (tmp_path / "one", tmp_path / "another/deeper"):
            for name in [f"{site}/case {number}.svs" for site in "xy" for number in range(6)]:
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).touch()
            slides = [slide.slide for slide in find_slides(root)]
            table = pd.DataFrame({"slide": slides, "label": 0}).loc[np.repeat(range(12), range(50, 62))]
            found.append(split(Cohort(table), 4, "slide").slides)
        assert len(found[0]) == 12
        assert found[0] == found[1]

    def test_it_is_the_same_in_every_process(self):
        code = (
            "import json; from slidemill.datasets._balancing import balance_groups\n"
            "print(json.dumps(balance_groups({f'P{n}': {'b': 5 + n % 4, 'a': n % 3 + 1} for n in range(20)}, 4, 1)))"
        )
        found = {
            subprocess.run(
                [sys.executable, "-c", code],
                env=os.environ | {"PYTHONPATH": str(ROOT / "scripts"), "PYTHONHASHSEED": str(seed)},
                capture_output=True,
                check=True,
            ).stdout
            for seed in (0, 1)
        }
        assert len(found) == 1
        assert len(json.loads(found.pop())) == 20

    def test_parts_are_train_validation_and_test(self):
        data = cohort(20, 10)
        parts = split(data, 5).parts(train=(0, 1, 2), val=(3,), test=(4,))
        assert list(parts) == ["train", "val", "test"]
        patients = [set(part.table["patient"]) for part in parts.values()]
        assert sum(map(len, patients)) == len(set().union(*patients)) == 10

    @pytest.mark.parametrize(
        ("parts", "message"),
        [
            ({"train": (0, 1)}, "fold 2 is in no part: name each fold once"),
            ({"train": (0, 1), "test": (1, 2)}, "fold 1 is in 2 parts"),
            ({"train": (0, 1, 2), "test": (3,)}, "fold 3 does not exist: there are 3, counted from 0"),
            ({"train": (0, 1, 2), "test": (-1,)}, "fold -1 does not exist"),
            ({"train": (0, 1, 2), "test": (1.5,)}, r"fold 1\.5 does not exist"),
            ({"train": (0, 1, 2), "test": ([0],)}, r"fold \[0\] does not exist"),
            ({"train": (0, 1), "test": "2"}, "test is '2': give the numbers of its folds, as test=\\(0, 1\\)"),
            ({"train": 0, "test": (1, 2)}, "train is 0: give the numbers of its folds"),
            ({"train": (0, 1, 2), "test": None}, "test is None: give the numbers of its folds"),
            ({"train": iter((0, 1, 2))}, "train is <.*>: give the numbers of its folds"),
        ],
    )
    def test_parts_that_leave_out_a_fold_or_share_one_are_refused(self, parts, message):
        with pytest.raises(SplitError, match=message):
            split(cohort(), 3).parts(**parts)

    def test_a_fold_that_does_not_exist_is_refused(self):
        for number in (3, 1.5, "1", None):
            with pytest.raises(SplitError, match=f"fold {number!r} does not exist: there are 3"):
                split(cohort(), 3).fold(number)

    def test_a_column_that_varies_within_a_slide_is_refused(self):
        with pytest.raises(SplitError, match=r"its patches have several values of label, .*the same in a whole slide"):
            split(cohort(), 2, "label")

    def test_a_column_that_is_not_there_is_refused(self):
        with pytest.raises(SplitError, match="no column 'centre': name one of slide, patient, label"):
            split(cohort(), 2, "centre")
        with pytest.raises(SplitError, match="no column 'grade'"):
            split(cohort(), 2, stratify="grade")

    @pytest.mark.parametrize("column", [None, 3, ["patient"]])
    def test_what_is_no_name_of_a_column_is_refused(self, column):
        with pytest.raises(SplitError, match=re.escape(f"no column {column!r}: name one of slide, patient, label")):
            split(cohort(), 2, column)

    def test_strata_that_are_no_name_of_a_column_are_refused(self):
        with pytest.raises(SplitError, match=r"no column \['label'\]: name one of"):
            split(cohort(), 2, stratify=["label"])

    @pytest.mark.parametrize("missing", ["", " ", None])
    def test_slides_without_a_patient_are_named(self, missing):
        data = cohort()
        data.table["patient"] = data.table["patient"].astype(object)
        data.table.loc[data.table["slide"].isin(["s03", "s07"]), "patient"] = missing
        with pytest.raises(SplitError, match="s03, s07: without a patient: give each slide its patient in the sheet"):
            split(data, 2)
        data.table["patient"] = data.table["patient"].astype("category")
        with pytest.raises(SplitError, match="s03, s07: without a patient"):
            split(data, 2)

    @pytest.mark.parametrize("missing", ["NA", "n/a", " #N/A", "<NA>", "NaN", "null"])
    def test_slides_of_an_unknown_patient_are_named(self, missing):
        """As targets and bags take it; all of them would be one patient, and by slide a leak."""
        data = cohort()
        data.table["patient"] = data.table["patient"].astype(object)
        data.table.loc[data.table["slide"].isin(["s03", "s04"]), "patient"] = missing
        own = re.escape(f"s03, s04: without a patient ({missing.strip()!r} means an unknown one): give each slide its")
        with pytest.raises(SplitError, match=own):
            split(data, 2)
        data.table = data.table[data.table["slide"].isin(["s00", "s01", "s03", "s04"])]
        assert split(data, 2, "slide")

    def test_slide_may_have_any_id(self):
        data = cohort(slides=2, patients=2)
        data.table["slide"] = data.table["slide"].cat.rename_categories(["NA", "null"])
        data.fingerprints = {"NA": "a", "null": "b"}
        assert {row.slide for row in split(data, 2, "slide").slides} == {"NA", "null"}

    def test_a_blank_makes_no_other_patient(self):
        data = cohort()
        data.table["patient"] = data.table["patient"].astype(object)
        data.table.loc[data.table["slide"] == "s03", "patient"] = "P3 "
        with pytest.raises(SplitError, match="s03: patient is 'P3 ', with blanks around it"):
            split(data, 2)

    @pytest.mark.parametrize(
        ("folds", "message"),
        [
            (7, "7 folds .* patient has 6 values that have patches"),
            (1, "folds is 1: give a whole number, 2 or more"),
            (0, "folds is 0: give"),
            (2.0, r"folds is 2\.0: give a whole number"),
            (None, "folds is None: give a whole number"),
        ],
    )
    def test_too_many_folds_and_too_few_are_refused(self, folds, message):
        with pytest.raises(SplitError, match=message):
            split(cohort(), folds)

    @pytest.mark.parametrize("seed", [-1, 1.5, 2.0, "1", None, True])
    def test_a_seed_that_is_no_whole_number_from_0_is_refused(self, seed):
        with pytest.raises(SplitError, match=f"seed is {seed!r}: give a whole number, 0 or more"):
            split(cohort(), 3, seed=seed)

    def test_a_seed_too_long_to_be_written_is_refused(self):
        with pytest.raises(SplitError, match="seed has more than 4300 digits: give a smaller one"):
            split(cohort(), 3, seed=10**4300)

    def test_a_missing_stratum_is_one_of_its_own(self):
        data = cohort(20, 20)
        data.table["grade"] = pd.Categorical(np.where(data.table["slide"].astype(str) < "s05", None, "high"))
        splits = split(data, 5, stratify="grade")
        ungraded = {row.fold for row in splits.slides if row.slide < "s05"}
        assert len(ungraded) == 5
        data.table["grade"] = np.where(data.table.index % 2, None, "")
        assert sum(row.patches for row in split(data, 5, stratify="grade").slides) == len(data.table)

    def test_copies_in_two_groups_are_a_leak_and_in_one_group_none(self):
        with pytest.raises(LeakageError, match=r"s00, s01 have the same content.* give them the same patient"):
            split(cohort(s00="1", s01="1"), 3)
        assert split(cohort(s00="1", s06="1"), 3).folds == 3
        with pytest.raises(LeakageError, match=r"s00, s06 have the same content.*remove one"):
            split(cohort(patients=12, s00="1", s06="1"), 3, "slide")

    def test_slides_whose_contents_are_not_known_are_no_copies(self):
        data = cohort(s00="", s01="")
        del data.fingerprints["s02"]
        splits = split(data, 3)
        assert [row.fingerprint for row in splits.slides[:4]] == ["", "", "", "print of s03"]
        assert read_splits_of(splits, data) == splits

    def test_a_patient_in_two_groups_is_a_leak(self):
        with pytest.raises(LeakageError, match=r"patient P0 has s00, s06.*split by patient"):
            split(cohort(), 3, "slide")

    @pytest.mark.parametrize("patients", [("P1", "P1 "), (" P1", "P1"), ("P1\t", " P1")])
    def test_a_blank_hides_no_patient_who_is_in_two_groups(self, patients):
        data = cohort(4, 4)
        data.table["patient"] = (
            data.table["slide"].astype(str).replace(dict(zip(["s01", "s02"], patients, strict=True)))
        )
        with pytest.raises(LeakageError, match=r"^patient P1 has s01, s02, which"):
            split(data, 2, "slide")
        data.table["patient"] = data.table["patient"].replace(dict.fromkeys(patients, " "))
        assert split(data, 2, "slide").folds == 2


class TestSets:
    def test_they_are_every_kth_slide_of_the_sorted_ids(self):
        data = cohort(11)
        sets = every_kth(data, 4)
        for number in range(4):
            train, test = sets.fold(number)
            assert sorted(test.slides) == sorted(data.slides)[number::4]
            assert train.slides == data.slides - test.slides

    def test_more_sets_than_slides_are_refused(self):
        with pytest.raises(SplitError, match="13 folds are requested, and slide has 12 values"):
            every_kth(cohort(), 13)

    def test_a_single_slide_makes_no_sets(self):
        with pytest.raises(SplitError, match="slide has 1 value that has patches"):
            every_kth(cohort(1), 2)

    @pytest.mark.parametrize("total", [1, 2.0, None])
    def test_a_number_of_sets_that_is_none_is_refused(self, total):
        with pytest.raises(SplitError, match=f"total is {total}: give a whole number, 2 or more"):
            every_kth(cohort(), total)


class TestFile:
    @examples(30)
    @given(
        st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=4), min_size=3, max_size=6),
        st.booleans(),
    )
    def test_what_is_read_is_what_was_saved(self, tmp_path_factory, names, stratified):
        bare = [name.replace("\0", "").strip() for name in names]
        groups = ["x" if is_unknown(name) else name for name in bare]
        table = pd.DataFrame({"slide": [f"s{n}" for n in range(len(groups))], "group": groups, "label": 0})
        if len(set(groups)) < 2:
            return
        splits = split(Cohort(table), 2, "group", stratify="label" if stratified else None, seed=3)
        path = tmp_path_factory.mktemp("splits") / "splits.csv"
        splits.save(path)
        assert read_splits(path) == splits
        assert read_splits(path, Cohort(table)).fold(0)[1].slides == splits.fold(0)[1].slides

    @pytest.mark.parametrize("seed", [10**18, 2**64, 10**4300 - 1, np.int64(7)], ids=["19", "20", "4300", "numpy"])
    def test_folds_of_every_seed_that_is_taken_are_read_again(self, tmp_path, seed):
        splits = split(cohort(), 3, seed=seed)
        splits.save(tmp_path / "splits.csv")
        assert read_splits(tmp_path / "splits.csv") == splits

    def test_a_folder_is_not_replaced_by_folds(self, tmp_path):
        (tmp_path / "results").mkdir()
        (tmp_path / "results/kept").touch()
        with pytest.raises(SplitError, match=r"results: is a folder: give the path of a file, .*results/splits\.csv"):
            split(cohort(), 3).save(tmp_path / "results")
        assert (tmp_path / "results/kept").exists()

    def test_a_path_that_cannot_be_written_is_told(self, tmp_path):
        (tmp_path / "file").touch()
        with pytest.raises(SplitError, match=r"file: (Not a directory|File exists): check that disk"):
            split(cohort(), 3).save(tmp_path / "file/splits.csv")

    @pytest.fixture
    def saved(self, tmp_path):
        path = tmp_path / "splits.csv"
        split(cohort(), 3).save(path)
        return path

    def test_folds_that_were_read_are_of_a_dataset_once_it_is_given(self, saved):
        splits = read_splits(saved)
        with pytest.raises(SplitError, match=r"of no dataset yet: give it, as splits\.of\(dataset\)"):
            splits.fold(0)
        assert splits.of(cohort()).fold(0)[1].slides

    def test_slides_that_come_or_go_are_told(self, saved):
        with pytest.raises(SplitError, match="s12, s13: are in no fold: split again, or give each a row"):
            read_splits(saved, cohort(14))
        with pytest.raises(SplitError, match="s10, s11: have a fold, but no patch in the dataset"):
            read_splits(saved, cohort(10))
        with pytest.raises(SplitError, match="s11: has a fold, but no patch in the dataset"):
            read_splits(saved, cohort(11))
        with pytest.raises(SplitError, match="s12: is in no fold"):
            read_splits(saved, cohort(13))

    def test_slides_that_have_changed_are_told(self, saved):
        with pytest.raises(SplitError, match="s04: has other content"):
            read_splits(saved, cohort(s04="another"))
        with pytest.raises(SplitError, match="have another patient than when the folds were made"):
            read_splits(saved, cohort(patients=5))

    def test_other_patches_of_the_same_slides_keep_their_folds(self, saved):
        """Other labels, or less tissue, are no reason to give up what was frozen."""
        assert read_splits(saved, cohort(seed=8)).folds == 3

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda rows: rows[0].update(fold="x"), r"s00: fold, patches and seed are \['x', '\d+', '0'\]"),
            (lambda rows: rows[0].update(fold="-1"), "give whole numbers"),
            (lambda rows: rows[0].update(patches="1" * 5000), "give whole numbers"),
            (lambda rows: [row.update(seed="1" * 4301) for row in rows], "give whole numbers"),
            (lambda rows: [row.update(seed="1.5") for row in rows], "give whole numbers"),
            (lambda rows: rows[0].update(seed="1"), "by, stratify and seed differ between rows"),
            (lambda rows: rows[0].update(slide="s01"), "s01: is twice in"),
            (lambda rows: rows[0].update(fold=str((int(rows[0]["fold"]) + 1) % 3)), "a group must be in one fold"),
            (lambda rows: [row.update(fold="7") for row in rows if row["fold"] == "2"], r"folds are \[0, 1, 7\]"),
            (lambda rows: [row.update(fold="0") for row in rows], r"folds are \[0\]: there must be two"),
            (lambda rows: rows.clear(), "contains no slide"),
            (lambda rows: [row.pop("group") for row in rows], "lacks group"),
        ],
    )
    def test_a_file_that_is_none_is_refused(self, saved, change, message):
        with saved.open(newline="") as file:
            rows = list(csv.DictReader(file))
        columns = list(rows[0])
        change(rows)
        with saved.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]) if rows else columns)
            writer.writeheader()
            writer.writerows(rows)
        with pytest.raises(SlidemillError, match=message):
            read_splits(saved)

    def test_a_file_that_is_not_there_is_told(self, tmp_path):
        with pytest.raises(SplitError, match=r"gone\.csv: cannot be read"):
            read_splits(tmp_path / "gone.csv")
