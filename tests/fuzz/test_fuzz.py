"""Damaged files of every kind that is read: only errors in words come out, in bounded time and memory."""

import json
import os
import signal
import subprocess
import sys
import warnings

import pytest

from tests.conftest import ROOT
from tests.fuzz.targets import TARGETS

pytestmark = [pytest.mark.fuzz, pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")]
SECONDS = float(os.environ.get("FUZZ_SECONDS", "180"))
SEED = os.environ.get("FUZZ_SEED", "0")
TRIES = 16
"""Pieces that are left out of an input that ends the process, to find a smaller one."""


def worker(*arguments):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "scripts")])}
    command = [sys.executable, "-m", "tests.fuzz.worker", *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def ended_by(code):
    return "it hung" if code == -signal.SIGPROF else f"the process was ended by {signal.Signals(-code).name}"


def minimised(name, out, data, code):
    """A smaller input that ends the process in the same way."""
    size, tries, file = len(data) // 2, TRIES, out / "smaller"
    while size and tries:
        for start in range(0, len(data), size):
            smaller = data[:start] + data[start + size :]
            file.write_bytes(smaller)
            tries -= 1
            if worker(name, out, file).returncode == code:
                data = smaller
                break
            if not tries:
                break
        else:
            size //= 2
    file.write_bytes(data)
    return file


@pytest.mark.parametrize("name", TARGETS)
def test_damaged_files_end_in_words(tmp_path, name):
    done = worker(name, tmp_path, f"{SEED} {name}", SECONDS / len(TARGETS))
    if done.returncode < 0:
        data = (tmp_path / "current").read_bytes()
        hung = done.returncode == -signal.SIGPROF
        file = tmp_path / "current" if hung else minimised(name, tmp_path, data, done.returncode)
        told = f"{name}: {ended_by(done.returncode)}; the input: {file} ({file.stat().st_size} bytes)"
        assert TARGETS[name].crashes and not hung, told
        warnings.warn(told, stacklevel=1)
        return
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "faults.json").read_text())
    assert found["faults"] == []
    assert found["inputs"] > 20
