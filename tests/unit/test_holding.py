"""What a killed run left locked, and what a run at work has locked."""

import os
import platform
import subprocess
import sys

import pytest

from slidemill.holding import HOLDER
from tests.conftest import ROOT

HOLD = (
    "from pathlib import Path; from slidemill.holding import hold; hold(Path({!r})); print('held', flush=True); input()"
)


class Holder:
    """A process that holds results until it is ended."""

    def __init__(self, results):
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOLD.format(str(results))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT / "scripts")},
        )
        assert self.process.stdout.readline() == "held\n"

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


@pytest.fixture
def holding(tmp_path):
    holders = []

    def hold():
        holders.append(Holder(tmp_path))
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
    holder = tmp_path / ".snakemake" / HOLDER
    holder.write_text("another-machine")
    for _ in range(3):
        holding().kill()
        assert left.exists()
    left.unlink()  # as snakemake --unlock does
    holding().kill()
    assert holder.read_text() == platform.node()
