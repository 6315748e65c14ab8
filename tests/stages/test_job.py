"""What Snakemake gives a script, as values with types."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from snakemake.iocontainers import InputFiles, OutputFiles, Params, Wildcards

from slidemill.core.job_log import LOG
from slidemill.errors import SlidemillError
from slidemill.stages.gate import GateJob
from slidemill.stages.job import Job, Roots, script_job
from slidemill.stages.sample import SampleJob
from tests.conftest import ROOT

ROOTS = {"slides": "/s", "annotations": "/a", "masks": "/m"}


@pytest.fixture
def given(tmp_path):
    """Snakemake's own object, as far as a script reads it: a list of one file is a list."""
    inputs = InputFiles(["table.csv", "one.json", "other"])
    inputs._set_name("table", 0)
    inputs._set_name("stored", 1, 2)
    return SimpleNamespace(
        input=inputs,
        output=OutputFiles(fromdict={"outcome": "o.json"}),
        params=Params(fromdict={"seed": 3, "backends": ["lmdb"], "custom_mask": None}),
        wildcards=Wildcards(fromdict={"slide": "a"}),
        threads=2,
        log=[str(tmp_path / "job.log")],
        config={"roots": ROOTS, "scratch": "$TMPDIR", "command": "snakemake all"},
    )


def test_job_has_what_snakemake_gives(given):
    with script_job(given) as job:
        LOG.info("at work")
    assert job == Job(
        roots=Roots(Path("/s"), Path("/a"), Path("/m")),
        inputs={"table": Path("table.csv")},
        input_lists={"stored": [Path("one.json")]},
        outputs={"outcome": Path("o.json")},
        params={"seed": 3, "backends": ["lmdb"], "custom_mask": None},
        wildcards={"slide": "a"},
        threads=2,
        command="snakemake all",
        scratch="$TMPDIR",
    )
    assert "at work" in Path(given.log[0]).read_text(encoding="utf-8")


def test_job_of_a_module_works_in_the_results(given, tmp_path, monkeypatch):
    """Paths of rules begin with the module's prefix; scripts get them relative to the results, where they work."""
    (tmp_path / "out" / "large").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    given.config["prefix"] = "out/large"
    given.log = ["out/large/job.log"]
    given.input = InputFiles(fromdict={"table": "out/large/table.csv", "own": "mine.csv"})
    given.output = OutputFiles(fromdict={"outcome": "out/large/outcomes/o.json"})
    with script_job(given) as job:
        assert Path.cwd() == tmp_path / "out" / "large"
        LOG.info("at work")
    assert Path.cwd() == tmp_path
    assert job.inputs == {"table": Path("table.csv"), "own": Path("../../mine.csv")}
    assert job.outputs == {"outcome": Path("outcomes/o.json")}
    assert "at work" in (tmp_path / "out/large/job.log").read_text()


def test_error_of_a_job_ends_with_its_message(given):
    with pytest.raises(SystemExit, match="slidemill: the disk is full"), script_job(given):
        raise SlidemillError("the disk is full")
    assert "the disk is full" in Path(given.log[0]).read_text(encoding="utf-8")


def job(**given):
    bare = {name: {} for name in ("inputs", "input_lists", "outputs", "params", "wildcards")}
    return Job(Roots(Path("/s"), Path("/a"), Path("/m")), **bare | given)


def test_sample_job_reads_pixels_and_annotations_only_where_asked():
    params = {"grid": {"patch_size": 64}, "tissue": {}, "custom_mask": None, "max_patches": 9, "unannotated": None}
    outputs = {name: Path(name) for name in ("table", "dropped", "outcome")}
    plain = SampleJob.from_job(job(inputs={"facts": Path("f")}, outputs=outputs, params=params))
    assert (plain.root, plain.mask, plain.choice.max_patches) == (Path("/s"), None, 9)
    assert plain.choice.custom_mask is plain.choice.quality is plain.choice.work is plain.choice.labels is None
    params |= {
        "custom_mask": {"path": "m.png", "fingerprint": "f"},
        "quality": {"limits": {"min_blur": 2.0}},
        "reader": "auto",
    }
    spec = {"map": {"A": 0}, "rule": "centre", "outside": "A"}
    params |= {"seed": 1, "labels": {"annotation": "a.xml", "fingerprint": "g", "spec": spec}}
    full = SampleJob.from_job(job(inputs={"facts": Path("f")}, outputs=outputs, params=params, threads=3)).choice
    assert (full.custom_mask, full.mask_fingerprint) == (Path("/m/m.png"), "f")
    assert (full.quality.limits, full.work.threads, full.work.reader) == ({"min_blur": 2.0}, 3, "auto")
    assert (full.labels.root, full.labels.annotation, full.labels.spec.map) == (Path("/a"), "a.xml", {"A": 0})


@pytest.mark.parametrize("split", [True, False])
def test_gate_job_has_folds_only_of_runs_that_split(split):
    tables = {"slides": Path("slides.csv"), "validation": Path("validation.csv")}
    splits = {"folds": 2, "by": "slide", "stratify": None}
    inputs = tables | ({"splits": Path("splits.csv")} if split else {})
    params = {"max_failed": 1, "splits": splits if split else None, "unmapped": "fail"}
    found = GateJob.from_job(job(inputs=inputs, params=params))
    assert (found.splits, found.spec and found.spec.folds) == ((Path("splits.csv"), 2) if split else (None, None))
    assert (found.max_failed, found.unmapped) == (1, "fail")


LOADED = """
import os, sys
import slidemill.stages.store
print(len(os.listdir("/proc/self/task")), *(name for name in ("importlib.metadata", "shapely") if name in sys.modules))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="threads are counted in /proc")
def test_storing_job_loads_no_more_than_it_needs():
    """NumPy's linear algebra would start a thread per core."""
    environment = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    command = [sys.executable, "-c", LOADED]
    done = subprocess.run(
        command, env=environment | {"PYTHONPATH": str(ROOT / "scripts")}, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["1"]
