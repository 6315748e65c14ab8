"""What `make` hands on, and what it leaves in the environment."""

import os
import shutil
import subprocess
import sys

import pytest

from slidemill import __version__
from tests.conftest import ROOT

NAMED = {"SLIDES", "RESULTS", "ANNOTATIONS", "CONFIG", "MAKEFLAGS", "MFLAGS", "MAKELEVEL"}


@pytest.fixture
def make(tmp_path):
    """Call make in a folder with a space in its name, on an environment that is there already."""
    folder = tmp_path / "a checkout"
    programs = folder / ".venv" / "bin"
    programs.mkdir(parents=True)
    shutil.copy(ROOT / "Makefile", folder)
    (folder / "requirements.lock").touch()
    for name in ("scripts", "config"):
        (folder / name).symlink_to(ROOT / name)
    for name in ("mine.yaml", "my own.yaml"):
        (folder / name).write_text("slides: slides\nresults: results\n")
    for name, line in (("python", f'exec "{sys.executable}" "$@"'), ("snakemake", 'printf "%s\\n" "$@" > told')):
        (programs / name).write_text(f"#!/bin/sh\n{line}\n")
        (programs / name).chmod(0o755)
    (folder / ".venv" / "run.stamp").touch()
    environment = {name: value for name, value in os.environ.items() if name not in NAMED}

    def call(*words, code=0):
        done = subprocess.run(
            ["make", *words], cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stderr if code else folder

    return call


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([], ["--config", "slides=slides", "results=results"]),
        (
            ["SLIDES=/my data/s", "RESULTS=/my data/r", "ANNOTATIONS=/my data/a"],
            ["--config", "slides=/my data/s", "results=/my data/r", "annotations=/my data/a"],
        ),
        (["CONFIG=my own.yaml"], ["--configfile", "my own.yaml"]),
        (["CONFIG=mine.yaml", "RESULTS=/my r"], ["--configfile", "mine.yaml", "--config", "results=/my r"]),
    ],
    ids=["none", "folders", "configuration", "both"],
)
def test_run_hands_on_what_it_was_given(make, given, expected):
    told = (make("run", "CORES=3", *given) / "told").read_text().splitlines()
    assert told == ["--cores", "3", *expected]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([], []),
        (["SLIDES=/my data/s", "RESULTS=/my data/r"], ["--slides", "/my data/s", "--results", "/my data/r"]),
        (["CONFIG=my own.yaml"], ["--config", "my own.yaml"]),
    ],
)
def test_estimate_hands_on_what_it_was_given(make, given, expected):
    program = make("run") / ".venv/bin/slidemill"
    program.write_text('#!/bin/sh\nprintf "%s\\n" "$@" > told\n')
    told = (make("estimate", "CORES=3", *given) / "told").read_text().splitlines()
    assert told == ["estimate", "--cores", "3", *expected]


@pytest.mark.parametrize("wrong", ["nothere.yaml", "broken.yaml"])
def test_run_refuses_a_configuration_before_snakemake(make, wrong):
    (make("run") / "broken.yaml").write_text("slides: [a\n")
    said = make("run", f"CONFIG={wrong}", code=2)
    assert said.startswith(f"slidemill: the configuration is wrong, and nothing has been run:\n{wrong}: ")
    assert "Traceback" not in said
    # The last line is make's own.
    assert len(said.splitlines()) == 3


@pytest.mark.long
def test_the_command_lies_in_the_environment(make, tmp_path):
    command = make("run") / ".venv" / "bin" / "slidemill"
    environment = os.environ | {"PYTHONPATH": str(ROOT / "scripts")}
    done = subprocess.run(
        [command, "--version"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == f"slidemill {__version__}\n"
    wrong = subprocess.run(
        [command, "verify", "no such folder"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (wrong.returncode, "no such folder: this folder does not exist" in wrong.stderr) == (1, True)
