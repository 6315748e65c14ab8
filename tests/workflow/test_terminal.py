"""What real runs print, on a terminal and elsewhere."""

import os
import pty
import re
import signal
import subprocess

import pytest

from slidemill.errors import INTERRUPTED
from tests.workflow.conftest import Project

pytestmark = pytest.mark.long

PROFILE = "Using workflow specific profile "
"""How the one line begins that Snakemake prints before it reads the Snakefile."""


@pytest.fixture
def quick(tmp_path):
    project = Project(tmp_path)
    project.add("one.svs", annotated=False)
    project.config |= {"annotations": None, "labels": {}, "stores": {"lmdb": {}}}
    return project


def printed_on_terminal(project, *arguments):
    """Run Snakemake on a terminal of 100 columns; return its exit code and what it printed."""
    ours, theirs = pty.openpty()
    run = project.start(*arguments, stdout=theirs, stderr=theirs)
    os.close(theirs)
    said = b""
    try:
        while part := os.read(ours, 4096):
            said += part
    except OSError:  # the end, on Linux
        pass
    os.close(ours)
    return run.wait(), said.decode().replace("\r\n", "\n")


def test_file_gets_progress_failures_and_summary(quick):
    (quick.slides / "broken.svs").write_bytes(b"no slide")
    finished = quick.snakemake(fresh=True)
    assert finished.code == 1
    assert "\x1b" not in finished.text
    profile, start, *lines = finished.text.splitlines()
    assert profile.startswith(PROFILE)
    assert re.fullmatch(rf"slidemill: 2 slides, \d+ jobs; results in {re.escape(str(quick.results))}", start)
    progress = [line for line in lines if re.match(r"slidemill: \d+ %: ", line)]
    assert 5 <= len(progress) <= 10
    assert sum("OpenSlide knows no format" in line for line in lines) == 1
    assert "slidemill: 1 slide failed; everything else is done and kept in" in finished.text
    end = lines[next(place for place, line in enumerate(lines) if line.startswith("slidemill: failed after")) :]
    assert len(end) <= 10
    assert end[1] == "  slides    1 ok, 0 empty, 1 failed"
    assert end[-1] == f"  report    {quick.results / 'report.html'}"
    assert "Finished jobid" in finished.log

    again = quick.snakemake("--printshellcmds", "--forcerun", "render_report")
    assert "rule render_report:" in again.text
    assert "slidemill: what failed is listed above, and in " in again.text


def test_terminal_gets_a_bar(quick, monkeypatch):
    for name, value in {"TERM": "xterm", "COLUMNS": "100"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("NO_COLOR", raising=False)
    code, said = printed_on_terminal(quick)
    assert code == 0, said
    bars = re.findall(r"\r\x1b\[K\S+ +(\d+) %  (\d+)/(\d+) jobs", said)
    done = [int(count) for _, count, _ in bars]
    assert done == sorted(done)
    assert done[-1] == int(bars[-1][2])
    *_, last = said.splitlines()
    assert last == f"  report    {quick.results / 'report.html'}"
    assert "\x1b[32mslidemill: done after" in said
    monkeypatch.setenv("NO_COLOR", "1")
    code, said = printed_on_terminal(quick)
    assert code == 0
    assert said.splitlines()[-1].removeprefix("\x1b[K") == (
        f"slidemill: Nothing to be done: the results are up to date: {quick.results / 'report.html'}"
    )
    assert "\x1b[3" not in said


def test_interrupt_says_what_is_kept(quick):
    run = quick.start(start_new_session=True, stderr=subprocess.STDOUT)
    while not list(quick.results.glob("logs/store_patches/lmdb/*.log")):
        assert run.poll() is None
    os.killpg(run.pid, signal.SIGINT)
    said, _ = run.communicate()
    assert run.returncode == INTERRUPTED, said
    assert [line for line in said.splitlines() if not re.match(r"slidemill: \d+ ", line)][1:] == [
        f"slidemill: interrupted: finished files are kept in {quick.results}; run the same command to go on"
    ]
    assert list(quick.results.glob("slides/*.json"))
    finished = quick.snakemake()
    assert finished.code == 0, finished.text
    assert "discover_slides" not in finished.rules
