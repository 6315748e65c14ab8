"""Results on a disk that is full before a run or in the middle of one: Snakemake's own records cannot be written."""

import errno
import hashlib
import os
import shutil
import subprocess
from contextlib import suppress

import pytest

from slidemill.core.csv_tables import read_table
from tests.workflow.shared import on_disk

pytestmark = pytest.mark.long


@pytest.fixture
def on_a_small_disk(project, tmp_path):
    """A project of two slides whose results are on a disk of 12 MB."""
    with on_disk(project, tmp_path, 12, {"stores": {"lmdb": {"encoding": "zstd"}}}):
        yield project


def fill(disk):
    """Take all the room that there is, in pieces: the last bytes too."""
    number = len(list(disk.glob("filler-*")))
    with (disk / f"filler-{number}").open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))


def free(disk):
    for filler in disk.glob("filler-*"):
        filler.unlink()


def digests(results):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (results / "stores/lmdb").iterdir()}


def test_a_disk_that_is_full_before_the_run_is_told_before_any_job(on_a_small_disk):
    project = on_a_small_disk
    project.results.mkdir()
    fill(project.results.parent)
    refused = project.snakemake()
    assert refused.code == 1
    assert f"is full ({os.strerror(errno.ENOSPC)}): make room and run again" in refused.text
    assert "nothing has been run" in refused.text
    assert "Traceback" not in refused.text
    free(project.results.parent)
    assert project.snakemake("stores").code == 0


@pytest.mark.parametrize("word", ["Job stats", "Finished jobid"])
def test_a_disk_that_is_full_in_the_middle_of_a_run_costs_nothing(on_a_small_disk, tmp_path, word):
    project = on_a_small_disk
    run = project.start("--retries", "0", "--printshellcmds", stderr=subprocess.STDOUT)
    for line in run.stdout:
        if word in line:
            fill(project.results.parent)
    assert run.wait() != 0
    free(project.results.parent)
    again = project.snakemake("validated")
    assert again.code == 0, again.text
    assert "is not known" not in project.plan("validated").text
    assert not list(project.results.rglob("*.aside"))
    assert {row["status"] for row in read_table(project.results / "slides.csv")} == {"ok"}
    found = digests(project.results)
    shutil.rmtree(project.results)
    project.results = tmp_path / "undisturbed"
    project.config["results"] = str(project.results)
    assert project.snakemake("stores").code == 0
    assert digests(project.results) == found


def test_what_has_no_record_is_named_in_the_plan(project):
    """Else a change of the configuration would go unnoticed, and nobody would say so."""
    project.config |= {"annotations": None, "stores": {"lmdb": {"encoding": "raw"}}}
    project.add("a.svs", annotated=False)
    assert project.snakemake("stores").code == 0
    assert "is not known" not in project.plan("stores").text
    shutil.rmtree(project.results / ".snakemake")
    project.config["stores"] = {"lmdb": {"encoding": "zstd"}}
    plan = project.plan("stores")
    assert "what 3 files were made from is not known, slides/a-" in plan.text
    assert project.plan("stores", "--forceall").rules > {"store_patches_lmdb"}
