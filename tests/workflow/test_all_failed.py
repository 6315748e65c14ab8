"""Runs in which no slide gives a patch: each comes to its end, and the gate alone fails."""

import csv

import pytest

from slidemill.core.csv_tables import read_table
from slidemill.core.results_layout import JOINED

pytestmark = pytest.mark.long


def statuses(results):
    with (results / "slides.csv").open(newline="", encoding="utf-8") as file:
        return [row["status"] for row in csv.DictReader(file)]


def test_a_run_whose_slides_all_fail_ends_with_the_gates_word_and_a_report(project):
    (project.slides / "broken.svs").write_bytes(b"no slide")
    finished = project.snakemake("--retries", "0")
    assert finished.code != 0
    assert "did not finish" not in finished.text
    assert "1 slide failed" in finished.text
    assert statuses(project.results) == ["failed"]
    assert (project.results / JOINED).exists()
    assert (project.results / "report.html").exists()
    project.config["max_failed"] = 1
    finished = project.snakemake("--retries", "0")
    assert finished.code == 0, finished.text


def test_a_run_whose_slides_all_are_empty_succeeds(project):
    project.add("small.svs")
    project.config["sampling"] = {"patch_size": 2048, "level": 0}
    finished = project.snakemake("--retries", "0")
    assert finished.code == 0, finished.text
    assert statuses(project.results) == ["empty"]
    assert list(read_table(project.results / "metadata.csv")) == []
    assert (project.results / JOINED).exists()
