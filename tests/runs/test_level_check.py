"""A run of which no slide has the level is refused, at once and in one message."""

import os
import subprocess
import sys
from dataclasses import replace

import pytest

from slidemill.config.configuration import read_config
from slidemill.core.outcomes import Outcome, write_outcome
from slidemill.core.results_layout import outcome_file
from slidemill.core.stage_facts import SampleFacts
from slidemill.errors import ConfigError
from slidemill.runs import level_check
from slidemill.runs.level_check import check_levels
from slidemill.runs.workflow import Workflow
from slidemill.slides.discovery import SlideFile


@pytest.fixture
def run(slide_file, tmp_path):
    """A run over two slides of three levels, whose `sampling` is given."""

    def make(**sampling):
        values = {"slides": str(slide_file.parent), "results": str(tmp_path / "results"), "sampling": sampling}
        return Workflow(read_config(values, tmp_path), {name: SlideFile(name, slide_file.name) for name in "ab"})

    return make


def test_refusal_names_levels_and_command(run):
    with pytest.raises(ConfigError) as refused:
        check_levels(run(level=7))
    reason = (
        "small.svs: native level 7 does not exist; levels count from 0, so this slide has 0 to 2: choose one of them"
    )
    assert str(refused.value).splitlines() == [
        "sampling.level is 7, which none of 2 slides has:",
        f"  {reason}",
        f"  {reason}",
        "run `slidemill inspect SLIDE` for the levels of a slide",
    ]


def test_level_that_exists_is_accepted(run):
    check_levels(run(level=2))
    check_levels(run(mpp=2.0))


def test_hanging_drive_ends_the_check(run, tmp_path, monkeypatch):
    """Opening a pipe waits until somebody writes to it."""
    os.mkfifo(tmp_path / "hanging.svs")
    one = run(level=7)
    config = replace(one.config, slides=tmp_path)
    monkeypatch.setattr(level_check, "TIME_LIMIT", 0.1)
    check_levels(Workflow(config, {"a": SlideFile("a", "hanging.svs")}))


def test_slide_that_was_sampled_so_is_not_read(run, monkeypatch):
    one = run(level=7)
    monkeypatch.setattr(level_check, "_refusals", lambda *_: pytest.fail("reads slides"))
    facts = SampleFacts(grid=1, patches=1, sampling=one.config.sampling)
    path = one.config.results / outcome_file("sample_patches", "b")
    write_outcome(path, Outcome("b", "sample_patches", sample=facts))
    check_levels(one)
    write_outcome(
        path, Outcome("b", "sample_patches", sample=replace(facts, sampling=replace(facts.sampling, level=1)))
    )
    with pytest.raises(pytest.fail.Exception, match="reads slides"):
        check_levels(one)


def test_main_process_loads_no_openslide():
    code = "import slidemill.runs.level_check, sys; print('openslide' in sys.modules, 'numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
