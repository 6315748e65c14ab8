"""What is done before Snakemake executes anything, with and without another run at work."""

from types import SimpleNamespace

import pytest

from slidemill.errors import SlidemillError
from slidemill.runs import exclusive_run
from slidemill.runs.exclusive_run import exclusive
from slidemill.runs.run_lock import LOOK_AGAIN

RUN, DRY_RUN = (SimpleNamespace(common_settings=SimpleNamespace(dryrun_exec=dry)) for dry in (False, True))


@pytest.fixture
def calls(monkeypatch):
    """The names of what is called, in order; a test may let `check_unlocked` raise."""
    called = []
    for name in ("check_unlocked", "take"):
        monkeypatch.setattr(exclusive_run, name, lambda results, name=name: called.append(name))
    return called


def execute(calls, tmp_path, at_work="", is_locking=True, **settings):
    def snakemakes(*arguments, **own):
        calls.append(("execute", arguments, own))
        return True

    run = exclusive(
        snakemakes, tmp_path, at_work, is_locking=lambda: is_locking, prepare=lambda: calls.append("prepare")
    )
    return run("a", **settings)


@pytest.mark.parametrize(
    ("settings", "before"),
    [
        ({"executor_plugin": RUN}, ["check_unlocked", "take"]),
        ({"executor_plugin": DRY_RUN}, []),
        ({"executor_plugin": None}, []),
        ({}, []),
    ],
    ids=["a run", "a dry run", "no executor", "another Snakemake"],
)
def test_only_a_run_takes_the_results(calls, tmp_path, capsys, settings, before):
    assert execute(calls, tmp_path, **settings)
    assert calls == [*before, "prepare", ("execute", ("a",), settings)]
    assert capsys.readouterr().err == ""


def test_run_without_snakemakes_lock_looks_for_none(calls, tmp_path):
    execute(calls, tmp_path, is_locking=False, executor_plugin=RUN)
    assert calls[:2] == ["take", "prepare"]


def test_dry_run_says_what_is_at_work(calls, tmp_path, capsys):
    execute(calls, tmp_path, at_work="another run is at work", executor_plugin=DRY_RUN)
    assert capsys.readouterr().err == "slidemill: another run is at work\n"
    execute(calls, tmp_path, at_work="another run is at work", executor_plugin=RUN)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("error", "code"),
    [(SlidemillError("it is locked"), LOOK_AGAIN), (OSError("no such disk"), 1)],
    ids=["lock", "disk"],
)
def test_run_that_may_not_work_executes_nothing(calls, tmp_path, capsys, monkeypatch, error, code):
    def refuse(results):
        raise error

    monkeypatch.setattr(exclusive_run, "check_unlocked", refuse)
    with pytest.raises(SystemExit) as ended:
        execute(calls, tmp_path, executor_plugin=RUN)
    assert ended.value.code == code
    assert calls == []
    said = capsys.readouterr().err
    assert said.startswith("slidemill: ")
    assert str(error) in said
    assert said.endswith("; nothing has been run\n")
