"""Two runs on one folder of results: real processes, from two working directories."""

import fcntl
import signal
from pathlib import Path

import pytest

from slidemill.core.results_layout import HOLDER
from slidemill.runs.run_lock import LOOK_AGAIN
from tests.torture.harness import digests
from tests.workflow.conftest import Project

pytestmark = pytest.mark.long

AT_WORK = "another run is at work here (process"


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The stores that a run alone makes."""
    project = a_project(tmp_path_factory.mktemp("undisturbed"))
    finished = project.snakemake("stores")
    assert finished.code == 0, finished.text
    return digests(project.results)


def a_project(folder):
    project = Project(folder)
    for seed in (1, 2):
        project.add(f"{seed}.svs", seed, annotated=False)
    project.config |= {"annotations": None}
    return project


@pytest.fixture
def project(tmp_path):
    return a_project(tmp_path)


@pytest.fixture
def at_work(project):
    """A run that has begun its first job, and stands still until the test lets it go on."""
    run = project.start("stores")
    while not list(project.results.glob("logs/discover_slides/*.log")):
        assert run.poll() is None
    run.send_signal(signal.SIGSTOP)
    yield run
    run.send_signal(signal.SIGCONT)
    run.communicate()


def elsewhere(folder):
    other = folder / "elsewhere"
    other.mkdir(exist_ok=True)
    return other


@pytest.mark.parametrize("arguments", [(), ("--nolock",)], ids=["Snakemake's lock", "the operating system's"])
def test_the_second_is_refused_and_the_first_ends_well(project, at_work, undisturbed, arguments):
    refused = project.snakemake("stores", *arguments, cwd=elsewhere(project.folder))
    assert refused.code == LOOK_AGAIN
    assert "--unlock" not in refused.text
    assert "LockException" not in refused.text
    assert f"{project.results}: {AT_WORK} {at_work.pid} on " in refused.text
    assert "wait until it has ended, and run again" in refused.text
    assert "Traceback" not in refused.text
    assert "rule discover_slides" not in refused.text
    at_work.send_signal(signal.SIGCONT)
    assert at_work.wait() == 0
    assert digests(project.results) == undisturbed


@pytest.mark.parametrize("view", ["--dry-run", pytest.param("--summary", marks=pytest.mark.torture)])
def test_one_may_look_on(project, at_work, undisturbed, view):
    looked = project.snakemake("stores", view, cwd=elsewhere(project.folder))
    assert looked.code == 0, looked.text
    assert "store_patches_lmdb" in looked.text
    at_work.send_signal(signal.SIGCONT)
    assert at_work.wait() == 0
    assert digests(project.results) == undisturbed


@pytest.mark.torture
def test_an_unlock_beside_a_run_at_work_lets_no_other_work(project, at_work, undisturbed):
    """Some will try it too soon, whatever the message says."""
    assert project.snakemake("stores", "--unlock").code == 0
    refused = project.snakemake("stores")
    assert refused.code != 0
    assert AT_WORK in refused.text
    assert "nothing has been run" in refused.text
    assert "rule discover_slides" not in refused.text
    at_work.send_signal(signal.SIGCONT)
    assert at_work.wait() == 0
    assert digests(project.results) == undisturbed


@pytest.mark.skipif(not Path("/proc/locks").exists(), reason="who waits for a lock is read from /proc")
def test_of_two_that_begin_at_the_same_moment_one_works(project, undisturbed):
    """Both stand at the door, which the test holds shut until it sees them there."""
    door = project.results / HOLDER
    door.parent.mkdir(parents=True)
    with door.open("w") as shut:
        fcntl.flock(shut, fcntl.LOCK_EX)
        runs = [project.start("stores", cwd=folder) for folder in (project.folder, elsewhere(project.folder))]
        while waiting(door) < 2:
            assert [run.poll() for run in runs] == [None, None]
    ended = {run.communicate()[1]: run.returncode for run in runs}
    assert sorted(ended.values()) == [0, LOOK_AGAIN], "\n\n".join(ended)
    refused = next(said for said, code in ended.items() if code)
    assert AT_WORK in refused
    assert "Directory cannot be locked" not in refused
    assert "Traceback" not in refused
    assert digests(project.results) == undisturbed
    assert "Nothing to be done" in project.snakemake("stores").text


@pytest.mark.torture
def test_the_lock_of_another_machine_is_removed_as_the_readme_says(project, undisturbed):
    record = project.results / ".snakemake"
    (record / "locks").mkdir(parents=True)
    (record / HOLDER.name).write_text("another-machine")
    for kind in ("input", "output"):
        (record / "locks" / f"0.{kind}.lock").write_text("slides.csv\nreport.html\n")
    refused = project.snakemake()
    assert refused.code == LOOK_AGAIN
    assert "is locked by a run that is at work on another machine, or was killed" in refused.text
    assert "--unlock, which removes the lock" in refused.text
    assert "Directory cannot be locked" not in refused.text
    assert project.snakemake("--unlock").code == 0
    finished = project.snakemake("stores")
    assert finished.code == 0, finished.text
    assert digests(project.results) == undisturbed


def waiting(file):
    """How many processes wait for a lock on a file."""
    inode = f":{file.stat().st_ino} "
    return sum("->" in line and inode in line for line in Path("/proc/locks").read_text().splitlines())
