"""The whole pipeline on a real Slurm, whose jobs and nodes die."""

import hashlib
import subprocess

import pytest

from slidemill import read_metadata
from tests.conftest import ROOT
from tests.workflow.conftest import Project
from tests.workflow.test_runs import rows

pytestmark = pytest.mark.cluster
SLIDES = 12
PROFILE = ROOT / "workflow" / "profiles" / "slurm"
# A cluster without accounting, whose jobs are short.
HERE = (
    "--workflow-profile",
    str(PROFILE),
    "--slurm-no-account",
    "--slurm-status-command",
    "squeue",
    "--slurm-init-seconds-before-status-checks",
    "5",
    "--latency-wait",
    "10",
)


def digests(results):
    return {
        path.relative_to(results): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted((results / "stores").rglob("*"))
        if path.is_file() and path.name != ".snakemake_timestamp"
    }


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    project = Project(tmp_path_factory.mktemp("cohort"))
    project.config["stores"] = {"lmdb": {}, "disk": {}}
    for number in range(SLIDES):
        project.add(f"slide{number:02d}.svs", seed=number, annotated=number % 2 == 0)
    return project


@pytest.fixture(scope="module")
def undisturbed(project):
    """The stores of a run on this machine alone."""
    results = project.config["results"]
    project.config["results"] = str(project.folder / "local")
    finished = project.snakemake()
    assert finished.code == 0, finished.text
    project.config["results"] = results
    return digests(project.folder / "local")


def test_a_cohort_comes_out_as_a_local_run_does_though_a_job_and_a_node_are_killed(cluster, project, undisturbed):
    run = project.start(*HERE)

    def running(node):
        assert run.poll() is None
        return [number for number, state, where in cluster.jobs() if (state, where) == ("RUNNING", node)]

    cluster.wait_until(lambda: running("node1"), "a job runs on the first node")
    cluster.wait_until(lambda: list((project.results / "stores").rglob("*.lmdb")), "the first store is there")
    (victim, *_) = running("node1")
    subprocess.run(["scancel", "--signal=KILL", "--full", victim], check=True)
    cluster.wait_until(lambda: running("node2"), "a job runs on the second node")
    cluster.kill_node("node2")
    cluster.wait_until(lambda: cluster.states()["node2"].startswith("down"), "the second node is down")
    cluster.start_node("node2")
    out, errors = run.communicate()
    states = {number: state for number, state, _ in cluster.jobs()}
    assert states[victim] not in ("COMPLETED", "RUNNING"), states
    assert "NODE_FAIL" in states.values(), states
    if run.returncode:
        again = project.snakemake(*HERE)
        assert again.code == 0, out + errors + again.text
    assert {node for _, state, node in cluster.jobs() if state == "COMPLETED"} == {"node1", "node2"}
    assert digests(project.results) == undisturbed
    assert {row["status"] for row in rows(project.results / "slides.csv")} == {"ok"}
    assert len(set(read_metadata(project.results)["slide"])) == SLIDES
    assert not list(project.results.rglob("*.aside"))
