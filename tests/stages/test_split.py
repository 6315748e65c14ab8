"""Folds as a stage: what the configuration may ask, what is written, and what the gate and the report say of it."""

import pytest

from slidemill.core.columns import METADATA_COLUMNS, SLIDE_COLUMNS, VALIDATION_COLUMNS
from slidemill.core.csv_tables import read_table, write_table
from slidemill.core.parquet import write_parquet
from slidemill.core.specs import SplitSpec
from slidemill.datasets.folds import read_splits
from slidemill.errors import ConfigError, SlidemillError
from slidemill.report.split_summary import summarize_splits
from slidemill.runs.planning import check_sheet
from slidemill.slides.discovery import SlideFile
from slidemill.stages.gate import GateJob, require_success
from slidemill.stages.split import SplitJob, write_splits

NUMBERS = ("column", "row", "x0", "y0", "width0", "height0", "level", "downsample")


def sheet(**patients):
    return [SlideFile(slide, f"{slide}.svs", columns={"patient": own, "site": "x"}) for slide, own in patients.items()]


class TestSheet:
    def test_slides_of_a_folder_have_no_patient(self):
        found = [SlideFile("a", "a.svs"), SlideFile("b", "b.svs")]
        check_sheet(SplitSpec(2, "slide", None), found)
        check_sheet(None, found)
        with pytest.raises(
            ConfigError, match=r"splits\.by is patient: .*in a sheet that lists them, and there are none"
        ):
            check_sheet(SplitSpec(2, "patient", None), found)

    def test_a_column_that_the_sheet_lacks_is_told_with_those_that_it_has(self):
        with pytest.raises(ConfigError, match=r"splits\.by is centre: .*and there are patient, site: add it"):
            check_sheet(SplitSpec(2, "centre", None), sheet(a="1", b="2"))

    def test_stratify_names_a_column_of_the_sheet(self):
        slides = sheet(a="1", b="2")
        for known in ("site", "patient", "label", None):
            check_sheet(SplitSpec(2, "patient", known), slides)
        with pytest.raises(
            ConfigError, match=r"splits\.stratify is sit \(did you mean site\?\): .*patient, site: .*stratify: label"
        ):
            check_sheet(SplitSpec(2, "patient", "sit"), slides)
        with pytest.raises(ConfigError, match=r"splits\.stratify is diagnosis: .*there are none: add it"):
            check_sheet(SplitSpec(2, "slide", "diagnosis"), [SlideFile("a", "a.svs"), SlideFile("b", "b.svs")])

    def test_slides_without_a_patient_are_named(self):
        with pytest.raises(ConfigError, match=r"splits\.by is patient: b\.svs \(b\), c\.svs \(c\): without a patient"):
            check_sheet(SplitSpec(2, "patient", None), sheet(a="1", b="", c=" ", d="4"))

    def test_fewer_patients_than_folds_are_refused(self):
        with pytest.raises(ConfigError, match=r"splits\.folds is 3: patient has 2 values: give no more folds"):
            check_sheet(SplitSpec(3, "patient", None), sheet(a="1", b="2", c="2"))
        with pytest.raises(ConfigError, match=r"splits\.folds is 2: patient has 1 value: give no more folds"):
            check_sheet(SplitSpec(2, "patient", None), sheet(a="1", b="1"))

    def test_a_patient_that_slides_would_cut_is_named(self):
        check_sheet(SplitSpec(2, "slide", None), sheet(a="1", b="2", c="", d=""))
        with pytest.raises(
            ConfigError, match=r"splits\.by is slide: patient 1 has a\.svs \(a\), c\.svs \(c\), .*split by patient"
        ):
            check_sheet(SplitSpec(2, "slide", None), sheet(a="1", b="2", c="1"))
        with pytest.raises(ConfigError, match=r"splits\.by is slide: patient 1 has a\.svs \(a\), c\.svs \(c\), "):
            check_sheet(SplitSpec(2, "slide", None), sheet(a="1", b="2", c="1 "))
        check_sheet(SplitSpec(2, "slide", None), sheet(a="1", b=" ", c=" "))
        check_sheet(SplitSpec(2, "patient", None), sheet(a="1", b="2", c="1"))


class Cohort:
    """The tables of a run: a patch or more of each slide that is ok."""

    def __init__(self, folder, patches, status="ok", columns=None, **fingerprints):
        self.folder, self.table = folder, folder / "splits.csv"
        rows = [
            dict.fromkeys(METADATA_COLUMNS, "")
            | dict.fromkeys(NUMBERS, 1)
            | {"patch_id": f"r{row}", "slide": slide, "label": row % 2, "label_name": "ab"[row % 2]}
            | (columns or {}).get(slide, {})
            for slide, count in patches.items()
            for row in range(count)
        ]
        names = sorted({name for own in (columns or {}).values() for name in own})
        write_table(folder / "metadata.csv", (*METADATA_COLUMNS, *names), rows)
        write_parquet(folder / "metadata.parquet", folder / "metadata.csv")
        slides = [
            {
                "slide": slide,
                "path": f"{slide}.svs",
                "status": status if count else "empty",
                "fingerprint": fingerprints.get(slide, slide),
            }
            for slide, count in patches.items()
        ]
        write_table(folder / "slides.csv", SLIDE_COLUMNS, slides)
        write_table(folder / "validation.csv", VALIDATION_COLUMNS, [])

    def split(self, spec, seed=0):
        metadata, slides = self.folder / "metadata.parquet", self.folder / "slides.csv"
        write_splits(SplitJob(metadata=metadata, slides=slides, spec=spec, seed=seed, table=self.table))

    def gate(self, spec, max_failed=0):
        slides, validation = self.folder / "slides.csv", self.folder / "validation.csv"
        require_success(
            GateJob(slides=slides, validation=validation, max_failed=max_failed, splits=self.table, spec=spec)
        )

    def told(self, spec):
        return summarize_splits(
            self.table, spec, read_table(self.folder / "slides.csv"), metadata=self.folder / "metadata.parquet"
        )


APART = "No slide is in more than one fold, not even as a copy."
BY_SLIDE = SplitSpec(2, "slide", "label")


def test_the_folds_of_slides_that_have_patches_are_written_and_told(tmp_path):
    cohort = Cohort(tmp_path, {"a": 3, "b": 4, "c": 2, "z": 0})
    cohort.split(BY_SLIDE)
    splits = read_splits(cohort.table)
    assert {row.slide: row.patches for row in splits.slides} == {"a": 3, "b": 4, "c": 2}
    assert (splits.by, splits.stratify, splits.seed, splits.folds) == ("slide", "label", 0, 2)
    cohort.gate(BY_SLIDE)
    told = cohort.told(BY_SLIDE)
    assert told.by == "slide"
    assert [fold.fold for fold in told.folds] == ["0", "1"]
    assert sum(fold.patches for fold in told.folds) == 9
    assert sum(fold.slides for fold in told.folds) == sum(fold.groups for fold in told.folds) == 3
    for fold in told.folds:
        own = [row.slide for row in splits.slides if str(row.fold) == fold.fold]
        first = sum({"a": 2, "b": 2, "c": 1}[slide] for slide in own)
        assert fold.labels == {"a": first, "b": fold.patches - first}
    assert told.leaks == []
    assert told.verdict == f"{APART} 1 slide without patches is in no fold: z.svs."


def test_the_seed_of_the_run_is_that_of_the_folds(tmp_path):
    cohort = Cohort(tmp_path, {f"s{number}": 3 for number in range(9)})
    found = []
    for seed in (0, 1, 2, 10**18):
        cohort.split(SplitSpec(3, "slide", None), seed)
        splits = read_splits(cohort.table)
        assert splits.seed == seed
        found.append(tuple(row.fold for row in splits.slides))
    assert len(set(found)) > 1


def test_a_copy_of_a_slide_fails_the_run_at_its_end_and_is_not_repaired(tmp_path):
    cohort = Cohort(tmp_path, {"a": 3, "b": 4, "c": 2}, a="same", c="same")
    cohort.split(BY_SLIDE)
    assert len(read_splits(cohort.table).slides) == 3
    with pytest.raises(
        SlidemillError,
        match=r"splits\.csv are not to be trusted; everything else .*\n  a\.svs \(a\), c\.svs \(c\) have the",
    ):
        cohort.gate(BY_SLIDE, max_failed=9)
    assert cohort.told(BY_SLIDE).leaks == [
        "a.svs (a), c.svs (c) have the same content, and could be in training and test data: remove one, or give "
        "them one patient in a sheet and split by it"
    ]


def test_too_few_slides_with_patches_are_told_by_the_gate_and_the_report(tmp_path):
    cohort = Cohort(tmp_path, {"a": 3, "b": 0, "c": 0})
    cohort.split(BY_SLIDE)
    assert list(read_table(cohort.table)) == []
    with pytest.raises(SlidemillError, match=r"splits\.folds is 2, and fewer values of slide have patches"):
        cohort.gate(BY_SLIDE)
    told = cohort.told(BY_SLIDE)
    assert told.folds == []
    assert len(told.leaks) == 1
    assert told.verdict == "These folds leak or are incomplete. 2 slides without patches are in no fold: b.svs, c.svs."


def test_slides_that_have_patches_are_not_told_to_be_without_where_there_are_too_few_groups(tmp_path):
    cohort = Cohort(tmp_path, {"a": 3, "b": 2})
    spec = SplitSpec(3, "slide", None)
    cohort.split(spec)
    assert cohort.told(spec).verdict == "These folds leak or are incomplete."


def test_labels_of_one_fold_alone_are_told_and_fail_nothing(tmp_path):
    """A slide of one patch has the first label alone, and here the second is one slide's."""
    cohort = Cohort(tmp_path, {"a": 1, "b": 1, "c": 6, "d": 1, "e": 0})
    cohort.split(BY_SLIDE)
    (fold,) = (row.fold for row in read_splits(cohort.table).slides if row.slide == "c")
    told = cohort.told(BY_SLIDE)
    assert told.leaks == []
    assert told.verdict == f"{APART} 1 slide without patches is in no fold: e.svs."
    assert told.lonely == [f"b (fold {fold})"]
    cohort.gate(BY_SLIDE)


def test_a_label_of_two_folds_among_three_is_no_reason_for_a_word(tmp_path):
    cohort = Cohort(tmp_path, {"a": 1, "b": 6, "c": 6})
    spec = SplitSpec(3, "slide", "label")
    cohort.split(spec)
    told = cohort.told(spec)
    assert told.verdict == APART
    assert told.lonely == []


def test_failed_slides_and_folds_are_told_together(tmp_path):
    cohort = Cohort(tmp_path, {"a": 3}, status="failed")
    cohort.split(BY_SLIDE)
    with pytest.raises(SlidemillError, match=r"^1 slide failed; [^\0]*the folds in splits\.csv"):
        cohort.gate(BY_SLIDE)


def test_target_balance_is_summarized(tmp_path):
    """Two patients of each diagnosis for two folds, and one slide whose diagnosis nobody knows."""
    known = {"a": ("P1", "ductal"), "b": ("P1", "ductal"), "c": ("P2", "ductal"), "d": ("P3", "lobular")}
    known |= {"e": ("P4", "lobular"), "f": ("P5", " ")}
    columns = {slide: {"patient": patient, "diagnosis": value} for slide, (patient, value) in known.items()}
    sizes = {"a": 5, "b": 4, "c": 8, "d": 8, "e": 9, "f": 2}
    cohort, spec = Cohort(tmp_path, sizes, columns=columns), SplitSpec(2, "patient", "diagnosis")
    cohort.split(spec)
    splits = read_splits(cohort.table)
    assert (splits.by, splits.stratify) == ("patient", "diagnosis")
    fold_of = {row.slide: row.fold for row in splits.slides}
    told = cohort.told(spec)
    assert told.target == "diagnosis"
    for fold in told.folds:
        own = [slide for slide, number in fold_of.items() if str(number) == fold.fold]
        values = [known[slide][1].strip() or "(missing)" for slide in own]
        assert fold.targets == {value: values.count(value) for value in sorted(set(values))}
        assert {"ductal", "lobular"} <= set(fold.targets)
    assert told.lonely == [f"diagnosis (missing) (fold {fold_of['f']})"]
    assert cohort.told(SplitSpec(2, "patient", "label")).target == ""
