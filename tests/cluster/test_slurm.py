"""The pipeline on a real Slurm of two nodes, with a job and a node's daemon killed in the middle."""

import hashlib
import os
import shutil

import pytest

from tests.cluster.slurm import NODES, Slurm, missing, wait_for
from tests.conftest import ROOT
from tests.workflow.conftest import Project

pytestmark = pytest.mark.cluster
PROFILE = ROOT / "workflow/profiles/slurm"
SLIDES = 12
# No accounting here, so that squeue has to tell; two slides a submission, so that there are several for each node.
HERE = [
    *("--workflow-profile", str(PROFILE)),
    *("--jobs", "6"),
    *("--group-components", "tables=2", "slide=2"),
    *("--default-resources", "slurm_partition=main"),
    "--slurm-no-account",
    *("--slurm-status-command", "squeue"),
    *("--slurm-init-seconds-before-status-checks", "5"),
    *("--latency-wait", "10"),
]
# Not the outcomes: they hold the seconds and the memory that a store took. What else they say is in slides.csv.
MADE = ("slides", "patches", "metadata", "stores", "validation", "figures/overlay", "figures/montage")
TABLES = ("slides.csv", "metadata.csv", "metadata.parquet", "unreadable.csv", "validation.csv")


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    reason = missing()
    if reason:
        pytest.skip(reason)
    cluster = Slurm(tmp_path / "slurm")
    monkeypatch.setenv("PATH", str(cluster.commands), prepend=os.pathsep)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


def digests(results):
    """The digest of each file that does not tell of times, by its path below the results."""
    files = [path for name in MADE for path in (results / name).rglob("*") if path.is_file()]
    return {
        str(path.relative_to(results)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in [*files, *(results / name for name in TABLES)]
        if path.name != ".snakemake_timestamp"
    }


@pytest.fixture
def cohort(tmp_path):
    """Twelve slides, named as a user would: by paths relative to where Snakemake is started."""
    project = Project(tmp_path)
    for number in range(SLIDES):
        project.add(f"case {number}.svs", seed=number, annotated=number % 3 > 0)
    project.config |= {"slides": "slides", "annotations": "annotations", "results": "results"}
    project.config |= {"stores": {"lmdb": {}, "disk": {}}}
    return project


def test_a_run_over_two_nodes_survives_a_killed_job_and_a_killed_daemon(slurm, cohort):
    # A CPU a submission, so that four are at work on the four CPUs. Into a file: nobody empties a pipe meanwhile.
    said = cohort.folder / "said"
    with said.open("w") as file:
        run = cohort.start(*HERE, cores=1, stdout=file, stderr=file)
    try:
        wait_for(lambda: list(cohort.results.glob("stores/lmdb/*.lmdb")), "a store is made", 180)
        both = wait_for(lambda: len(found := slurm.running()) == 2 and found, "jobs run on both nodes", 180)
        assert run.poll() is None
        slurm.call("scancel", "--signal=KILL", "--full", both[NODES[0]])
        slurm.kill_node(NODES[1])
        slurm.start_node(NODES[1])
        run.wait(timeout=600)
    finally:
        run.kill()
        run.wait()
    assert run.returncode == 0, said.read_text()

    jobs = slurm.jobs()
    ended = {job["JobId"]: job["JobState"] for job in jobs}
    assert ended[both[NODES[0]]] != "COMPLETED"
    # Slurm's own record says where each submission ran.
    assert {job["NodeList"] for job in jobs if job["JobState"] == "COMPLETED"} == set(NODES)
    # Two slides a submission, their tables and then their stores, and the tables of all, the benchmark and the report:
    # each comes to its end once.
    lost = [job for job in jobs if job["JobState"] != "COMPLETED"]
    assert len(jobs) - len(lost) == 2 * (SLIDES // 2) + 3, ended
    # What was struck was sent again and nothing else: the killed job, and what the daemon was launching when it died.
    assert {job["NodeList"] for job in lost if job["JobId"] != both[NODES[0]]} <= {NODES[1]}, ended
    assert not [path for path in cohort.results.rglob("*.aside") if ".snakemake" not in path.parts]
    made = digests(cohort.results)
    assert len(made) > SLIDES * len(MADE)

    shutil.rmtree(cohort.results)
    alone = cohort.snakemake()
    assert alone.code == 0, alone.text
    assert made == digests(cohort.results)
