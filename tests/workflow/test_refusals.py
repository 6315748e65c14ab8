"""Runs that are refused before any job, each in one sentence."""

import fcntl
from itertools import pairwise

import pytest
import yaml

from slidemill.core.results_layout import HOLDER, WORKER
from slidemill.runs.run_lock import LOOK_AGAIN

pytestmark = pytest.mark.long

LISTS = "a: &a [x]\n" + "".join(f"{own}: &{own} [{f'*{before}, ' * 9}]\n" for before, own in pairwise("abcdefghi"))


@pytest.fixture
def ready(project):
    project.add("a.svs", annotated=False)
    project.config |= {"annotations": None, "labels": {}}
    return project


@pytest.fixture
def locked(ready):
    """Results that Snakemake has locked."""
    record = ready.results / ".snakemake"
    (record / "locks").mkdir(parents=True)
    for kind in ("input", "output"):
        (record / "locks" / f"0.{kind}.lock").write_text("slides.csv\nreport.html\n")
    return record


def alone(refused):
    """The one line that slidemill says; before it is Snakemake's word on the profile, and nothing else."""
    profile, line = refused.text.splitlines()
    assert profile.startswith("Using workflow specific profile ")
    return line


def test_a_second_run_is_refused_in_one_sentence(ready, locked):
    (locked / WORKER.name).write_text("process 7 on this-machine")
    with (locked / WORKER.name).open() as worker, (locked / HOLDER.name).open("w") as holder:
        fcntl.flock(worker, fcntl.LOCK_EX)
        fcntl.flock(holder, fcntl.LOCK_SH)
        refused = ready.snakemake()
        assert refused.code == LOOK_AGAIN
        assert alone(refused) == (
            f"slidemill: {ready.results}: another run is at work here (process 7 on this-machine): wait until it has "
            "ended, and run again; nothing has been run"
        )
        assert "--unlock" not in refused.text
        assert "this call may look on, and will run nothing" in ready.plan().text


def test_level_that_no_slide_has_is_refused_in_one_message(ready):
    """Before the first run, in a dry run too, and where another level was stored before."""
    (name,) = (path.name for path in ready.slides.iterdir())
    level, ready.config["sampling"] = ready.config["sampling"], {"patch_size": 64, "level": 7}
    message = [
        "slidemill: the configuration is wrong, and nothing has been run:",
        "sampling.level is 7, which the slide does not have:",
        f"  {name}: native level 7 does not exist; levels count from 0, so this slide has 0 to 2: choose one of them",
        "run `slidemill inspect SLIDE` for the levels of a slide",
    ]
    for arguments in ((), ("--dry-run",)):
        refused = ready.snakemake(*arguments, fresh=True)
        assert refused.code == 1
        _, *lines = (line for line in refused.text.splitlines() if not line.startswith("Assuming"))
        assert lines == message
    ready.config["sampling"] = level
    assert ready.snakemake("stores").code == 0
    ready.config["sampling"] = {"patch_size": 64, "level": 7}
    assert ready.snakemake("stores").text.splitlines()[1:] == message


def test_a_lock_of_another_machine_is_refused_in_one_sentence(ready, locked):
    (locked / HOLDER.name).write_text("another-machine")
    (locked / WORKER.name).write_text("process 7 on another-machine")
    refused = ready.snakemake()
    assert refused.code == LOOK_AGAIN
    line = alone(refused)
    assert "is locked by a run (process 7 on another-machine) that is at work on another machine, or was killed" in line
    assert "check whether that process lives there" in line
    assert (locked / WORKER.name).read_text() == "process 7 on another-machine"


@pytest.mark.parametrize(
    ("more", "said"),
    [("seed: 1\nseed: 2\n", "the key 'seed' is given twice"), (LISTS, "100,000 are too many for a configuration")],
    ids=["a key twice", "exploding"],
)
def test_a_wrong_file_is_refused_by_the_snakefile_too(ready, more, said):
    file = ready.folder / "mine.yaml"
    file.write_text(yaml.safe_dump(ready.config) + more)
    refused = ready.snakemake("--dry-run", "--configfile", str(file), configured=False)
    assert refused.code == 1
    assert said in refused.text
    assert "Traceback" not in refused.text


def test_ignored_files_are_counted_in_the_plan(ready):
    for name in ("b.vsi", "c.vsi", "d.qptiff"):
        (ready.slides / name).touch()
    plan = ready.plan()
    assert plan.text.count("3 other files were ignored: .vsi (2), .qptiff (1)") == 1


OF_ANOTHER_VERSION = """
import sys

if "snakemake" in sys.orig_argv:
    from snakemake.workflow import Workflow

    execute = Workflow.execute
    called = lambda self: lambda *own, **named: execute(self, *own, **named)
    Workflow.execute = property(called, lambda self, value: None)
"""


def test_run_holds_results_whatever_snakemake_calls(ready, monkeypatch, tmp_path):
    """A later Snakemake may pass by what is put around its `execute`: runs work, and hold the results all the same."""
    (tmp_path / "sitecustomize.py").write_text(OF_ANOTHER_VERSION)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (name,) = (path.stem for path in ready.slides.iterdir())
    finished = ready.snakemake("--until", "discover_slides", fresh=True)
    assert finished.code == 0, finished.text
    assert list(ready.results.glob(f"slides/{name}-*.json"))
    assert (ready.results / WORKER).read_text().startswith("process ")
