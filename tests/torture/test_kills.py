"""Jobs and runs that are killed, as by `kill -9`: a plain run mends all, and readers never see part of a store."""

import json
import os
import signal
import subprocess
import sys
from random import Random

import pytest

from slidemill.testing import write_annotation, write_svs
from tests.conftest import AREAS, painted
from tests.torture.harness import Processes, Torturer, digests, patches_of_stores, reader, wait
from tests.workflow.conftest import Project

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc")

STORES = {
    "encoded": {"lmdb": {"encoding": "raw"}, "hdf5": {"encoding": "zstd"}, "disk": {"encoding": "png"}},
    "source": {backend: {"encoding": "source"} for backend in ("lmdb", "hdf5", "disk")},
}
KILLS = 16


def a_project(folder, stores, slides=2):
    """Slides of some hundred patches each: a store's job is long enough to be killed in its midst."""
    folder.mkdir()
    project = Project(folder)
    for seed in range(slides):
        write_svs(project.slides / f"{seed}.svs", painted(900, 700, seed), tile=32)
        write_annotation(project.annotations / f"{seed}.xml", AREAS)
    project.config |= {"sampling": {"patch_size": 32}, "stores": STORES[stores]}
    project.config["labels"] = {"map": {"Normal": 0, "Benign": 1, "Carcinoma invasive": 2}}
    return project


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """What a run alone makes: digests of its files, and a file that tells its stores' patches."""
    known = {}

    def run(stores, slides=2):
        if (stores, slides) not in known:
            project = a_project(tmp_path_factory.mktemp("undisturbed") / "project", stores, slides)
            finished = project.snakemake()
            assert finished.code == 0, finished.text
            expected = project.folder / "expected.json"
            expected.write_text(json.dumps(patches_of_stores(project.results)))
            known[stores, slides] = digests(project.results), expected
        return known[stores, slides]

    return run


def tortured(project, undisturbed, seed, kills):
    """Torture a project, then see that a plain run has mended all; return what was killed."""
    made, expected = undisturbed
    torturer = Torturer(project, Random(seed))
    with reader(project.results, expected, project.folder / "seen.json") as seen:
        torturer.torture(kills)
        code = torturer.finish()
    log = (project.folder / "runs.log").read_text()
    assert code == 0, log[-5000:]
    assert seen()["faults"] == []
    assert all(seen()["seen"].values())
    assert digests(project.results) == made
    assert list(project.results.rglob("*.aside")) == []
    assert "Traceback" not in project.snakemake().text
    return torturer.kills


@pytest.mark.long
def test_three_kills(tmp_path, undisturbed):
    project = a_project(tmp_path / "project", "encoded", slides=1)
    kills = tortured(project, undisturbed("encoded", slides=1), 0, 3)
    assert {victim for victim, *_ in kills} == {"job", "snakemake", "group"}


@pytest.mark.long
@pytest.mark.parametrize("scratch", [False, pytest.param(True, marks=pytest.mark.torture)], ids=["results", "scratch"])
def test_a_job_that_outlived_its_run_publishes_nothing_over_the_next(tmp_path, scratch):
    """It stands still in the midst of its work, and goes on when the next run has ended."""
    project = a_project(tmp_path / "project", "encoded")
    project.config["stores"] = {"disk": {}}
    where = project.results / "stores" / "disk"
    if scratch:
        where = tmp_path / "scratch"
        where.mkdir()
        project.config["scratch"] = str(where)
    run = project.start("stores", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    processes = Processes(run.pid)
    while not list(where.glob(".*.aside/*.png")):
        assert run.poll() is None
    # All of them, at whatever moment each is: one that has only just begun, too.
    jobs = {pid: began for pid, (script, began) in processes.jobs().items() if script == "store_patches"}
    assert jobs
    for job in jobs:
        os.kill(job, signal.SIGSTOP)
    try:
        run.kill()
        run.wait()
        finished = project.snakemake("stores")
        assert finished.code == 0, finished.text
        made = digests(project.results)
        published = {path: path.stat().st_ino for path in (project.results / "stores/disk").iterdir()}
    finally:
        for job in jobs:
            os.kill(job, signal.SIGCONT)
    for job, began in jobs.items():
        wait(job, began)
    assert {path: path.stat().st_ino for path in (project.results / "stores/disk").iterdir()} == published
    assert digests(project.results) == made
    assert not list(where.glob(".*.aside"))


@pytest.mark.torture
@pytest.mark.parametrize("scratch", [False, True], ids=["in the results", "scratch"])
@pytest.mark.parametrize("stores", STORES)
def test_kills_at_many_moments(tmp_path, undisturbed, stores, scratch):
    project = a_project(tmp_path / "project", stores)
    if scratch:
        project.config["scratch"] = str(tmp_path / "scratch")
        (tmp_path / "scratch").mkdir()
    kills = tortured(project, undisturbed(stores), f"{stores} {scratch}", KILLS)
    assert len(kills) >= KILLS
    assert {victim for victim, *_ in kills} == {"job", "snakemake", "group"}
    assert len({script for _, *scripts in kills for script in scripts}) > 2
    assert not scratch or list((tmp_path / "scratch").iterdir()) == []
