"""What a killed run left locked, and what a run at work has locked."""

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from snakemake.persistence import MetadataRecord
from snakemake.persistence.file import FilePersistence

from slidemill.core.results_layout import HOLDER
from slidemill.runs.run_lock import hold, take, unrecorded
from tests.conftest import ROOT

HOLD = """
import sys
from pathlib import Path
from slidemill.core.results_layout import HOLDER
from slidemill.runs.run_lock import hold, take
for call in sys.argv[2:]:
    told = {"hold": hold, "take": take}[call](Path(sys.argv[1]))
    print(told or "", end="", file=sys.stderr)
print("held", flush=True)
input()
"""


class Holder:
    """A process that holds results until it is ended, and takes them where it is to work there."""

    def __init__(self, results, *calls):
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(results), "hold", *calls],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT / "scripts")},
        )
        self.held = self.process.stdout.readline() == "held\n"

    def kill(self):
        """End it, and return what it complained of."""
        if self.process.returncode is None:
            self.process.kill()
            self.complaints = self.process.communicate()[1]
        return self.complaints


@pytest.fixture
def holding(tmp_path):
    holders = []

    def hold(*calls):
        holders.append(Holder(tmp_path, *calls))
        return holders[-1]

    yield hold
    for holder in holders:
        holder.kill()


@pytest.fixture
def lock(tmp_path):
    """Makes Snakemake's lock, as a run does once it holds the results."""
    path = tmp_path / ".snakemake" / "locks" / "0.input.lock"

    def make():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        return path

    return make


def test_the_lock_of_a_run_that_was_killed_is_removed(holding, lock):
    run = holding()
    left = lock()
    run.kill()
    holding()
    assert not left.exists()


def test_the_lock_of_a_run_at_work_stays_whoever_comes_and_goes(holding, lock):
    """One that looks on came first, so that the run does not hold the results alone."""
    looking_on = holding()
    holding()
    left = lock()
    looking_on.kill()
    holding()
    assert left.exists()


def test_the_lock_of_a_run_on_another_machine_stays_however_often_one_tries(tmp_path, holding, lock):
    left = lock()
    holder = tmp_path / HOLDER
    holder.write_text("another-machine")
    for _ in range(3):
        holding().kill()
        assert left.exists()
    left.unlink()  # as snakemake --unlock does
    holding().kill()
    assert holder.read_text() == platform.node()


def test_of_two_that_would_work_one_is_refused_and_told_of_the_other(tmp_path, holding):
    """Both may have made Snakemake's lock: it looks for another's, and makes its own after that."""
    at_work = holding("take")
    refused = holding("take")
    assert (at_work.held, refused.held) == (True, False)
    said = refused.kill()
    assert f"{tmp_path}: another run is at work here (process {at_work.process.pid} on {platform.node()})" in said
    assert "wait until it has ended" in said
    at_work.kill()
    assert holding("take").held


def test_whoever_looks_on_is_told_of_a_run_at_work_and_keeps_nobody_from_working(tmp_path, holding, lock):
    looking_on = holding()
    at_work = holding("take")
    assert at_work.held
    lock()
    beside = holding()
    assert beside.held
    assert f"another run is at work here (process {at_work.process.pid} on" in beside.kill()
    assert looking_on.kill() == ""


def test_where_the_file_system_knows_no_locks_snakemakes_own_decides(tmp_path, monkeypatch, lock):
    def refuse(*_):
        raise OSError(95, "Operation not supported")

    left = lock()
    monkeypatch.setattr("slidemill.runs.run_lock.fcntl.flock", refuse)
    hold(tmp_path)
    take(tmp_path)
    assert left.exists()


def test_files_without_a_record_are_named_and_no_others(tmp_path):
    """As Snakemake itself names its records."""
    persistence = FilePersistence(path=tmp_path / ".snakemake")
    files = [f"slides/{name}.json" for name in ("whole", "empty", "bare", "begun", "gone", "x" * 100)]
    (tmp_path / "slides").mkdir()
    for name in files:
        (tmp_path / name).touch()
        persistence._write_record(name, MetadataRecord(rule="discover_slides"))
    assert unrecorded(tmp_path, files) == []
    (tmp_path / files[4]).unlink()
    for name in files[2:5]:
        persistence._delete_record(name)
    persistence._mark_incomplete(files[3], None)
    Path(persistence._record_path(persistence._metadata_path, files[1])).write_bytes(b"")
    assert unrecorded(tmp_path, files) == files[1:3]
    shutil.rmtree(tmp_path / ".snakemake")
    assert unrecorded(tmp_path, files) == [name for name in files if name != files[4]]
