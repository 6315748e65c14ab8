"""Runs that part their slides into folds: what runs again after which edit, and a leak that fails the run."""

import csv
import shutil

import pytest

from slidemill import open_dataset
from slidemill.cli.commands import main as slidemill
from slidemill.datasets.folds import read_splits
from slidemill.datasets.leakage import check_leakage

pytestmark = pytest.mark.long

AFTER = {"split_slides", "render_report", "gate", "all"}


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def cohort(project):
    """Four slides of three patients, in a sheet."""
    patients = {"a": "P1", "b": "P2", "c": "P1", "d": "P3"}
    for seed, slide in enumerate(patients):
        project.add(f"{slide}.svs", seed=seed)
    project.sheet = project.folder / "sheet.csv"
    lines = [f"{slide},slides/{slide}.svs,{patient}" for slide, patient in patients.items()]
    project.sheet.write_text("\n".join(["slide,path,patient", *lines, ""]))
    project.config |= {"slides": str(project.sheet), "annotations": None, "stores": {"lmdb": {"encoding": "zstd"}}}
    project.config["splits"] = {"folds": 2, "by": "patient"}
    return project


def test_folds_are_made_anew_when_they_are_asked_for_anew_and_else_not(cohort):
    done = cohort.snakemake()
    assert done.code == 0, done.text
    table = cohort.results / "splits.csv"
    assert {row["slide"]: row["group"] for row in rows(table)} == {"a": "P1", "b": "P2", "c": "P1", "d": "P3"}
    prints = {row["slide"]: row["fingerprint"] for row in rows(cohort.results / "slides.csv")}
    assert {row["slide"]: row["fingerprint"] for row in rows(table)} == prints
    page = (cohort.results / "report.html").read_text()
    assert 'id="splits"' in page
    assert "No patient and no slide is in more than one fold, not even as a copy." in page
    with open_dataset(cohort.results) as dataset:
        splits = read_splits(table, dataset)
        assert splits == dataset.split(2)
        for number in range(2):
            check_leakage(*splits.fold(number))
    assert "Nothing to be done" in cohort.snakemake().text

    cohort.config["splits"]["folds"] = 3
    assert cohort.plan().rules == AFTER
    done = cohort.snakemake()
    assert done.code == 0, done.text
    assert done.rules == AFTER
    assert {row["fold"] for row in rows(table)} == {"0", "1", "2"}
    assert slidemill(["verify", str(cohort.results)]) == slidemill(["prune", str(cohort.results), "--delete"]) == 0
    assert table.exists()

    table.unlink()
    assert cohort.plan().rules == AFTER
    kept = cohort.config.pop("splits")
    assert cohort.plan().rules == AFTER - {"split_slides"}
    cohort.config["splits"] = kept | {"folds": 4}
    done = cohort.snakemake("--dry-run")
    assert done.code != 0
    assert "splits.folds is 4: patient has 3 values: give no more folds than that" in done.text
    assert done.jobs == set()


def test_a_copy_under_another_patient_fails_the_run_after_all_else_is_done(cohort):
    shutil.copy(cohort.slides / "a.svs", cohort.slides / "e.svs")
    with cohort.sheet.open("a") as file:
        file.write("e,slides/e.svs,P4\n")
    done = cohort.snakemake()
    assert done.code != 0
    assert "the folds in splits.csv are not to be trusted; everything else is done and kept in" in done.text
    assert (
        "slides/a.svs (a), slides/e.svs (e) have the same content, and could be in training and test data: "
        "give them the same patient"
    ) in done.text
    assert "(a), slides/e.svs (e) have the same content" in (cohort.results / "report.html").read_text()
    assert {row["status"] for row in rows(cohort.results / "slides.csv")} == {"ok"}
    assert not (cohort.results / "passed/all").exists()

    cohort.sheet.write_text(cohort.sheet.read_text().replace("P4", "P1"))
    done = cohort.snakemake()
    assert done.code == 0, done.text
    assert "store_patches_lmdb" not in done.rules


def test_targets_balance_folds_and_follow_the_sheet(cohort):
    """A changed diagnosis rewrites tables, folds and the report, and no store."""
    diagnoses = {"slide": "diagnosis", "a": "ductal", "b": "lobular", "c": "ductal", "d": "ductal"}

    def write_sheet():
        lines = [line.split(",") for line in cohort.sheet.read_text().splitlines()]
        cohort.sheet.write_text("".join(",".join([*line[:3], diagnoses[line[0]]]) + "\n" for line in lines))

    write_sheet()
    cohort.config["splits"] = {"folds": 2, "by": "patient", "stratify": "diagnosys"}
    done = cohort.snakemake("--dry-run")
    assert done.code != 0
    assert "splits.stratify is diagnosys (did you mean diagnosis?)" in done.text
    cohort.config["splits"]["stratify"] = "diagnosis"
    done = cohort.snakemake()
    assert done.code == 0, done.text
    with open_dataset(cohort.results) as dataset:
        assert dict(dataset.targets("diagnosis")) == {slide: diagnoses[slide] for slide in "abcd"}
        assert read_splits(cohort.results / "splits.csv", dataset) == dataset.split(2, stratify="diagnosis")
    page = (cohort.results / "report.html").read_text()
    assert "slides of diagnosis lobular</th>" in page
    assert "Labels and values of diagnosis in only one fold" in page

    diagnoses["d"] = "lobular"
    write_sheet()
    done = cohort.snakemake()
    assert done.code == 0, done.text
    assert done.rules >= {"write_metadata", "gather_results", "split_slides", "render_report"}
    assert not {"sample_patches", "store_patches_lmdb"} & done.rules
    with open_dataset(cohort.results) as dataset:
        assert dict(dataset.targets("diagnosis")) == {slide: diagnoses[slide] for slide in "abcd"}
