"""What the rules take from the configuration and the slides, without Snakemake."""

import json
import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from slidemill.config.configuration import read_config
from slidemill.core.results_layout import OVERLAY, PATCHES, SLIDE_FILES, SUFFIXES, TISSUE_MASK, outcome_file
from slidemill.runs.job_settings import STAGES
from slidemill.runs.run_plan import read_plan, write_plan
from slidemill.runs.workflow import Workflow, missing
from slidemill.slides.discovery import SlideFile
from tests.conftest import ROOT

RULES = sorted(
    {
        path.stem
        for path in (ROOT / "scripts").glob("*.py")
        if "script_job(snakemake)" in path.read_text(encoding="utf-8")
    }
)
EXPECTED = Path(__file__).parent / "workflow_parameters.json"
LABELS = {"map": {"Tumour": 1, "Normal": 0}}
CONFIGS = {
    "defaults": {},
    "choosing": {
        "stores": {"tar": {"encoding": "source"}, "lmdb": {"encoding": "jpeg"}},
        "tissue": {"method": "otsu"},
        "quality": {"min_blur": 20},
        "labels": {**LABELS, "only": ["Tumour"], "unannotated": "skip"},
        "splits": {"folds": 2, "by": "patient"},
        "max_failed": 3,
        "seed": 7,
    },
}
SLIDES = {
    "a": SlideFile("a", "one/a.svs", "one/a.xml", columns={"patient": "p"}, tissue_mask="one/a.png", mpp=0.5),
    "b": SlideFile("b", "b.svs", columns={"patient": ""}),
}
PRINTS = {"a": ("f", "g", "h"), "b": ("i", None, None)}


@pytest.fixture
def make(tmp_path):
    def workflow(slides=SLIDES, **values):
        config = read_config({"slides": "slides", "results": "results", **values}, tmp_path)
        return Workflow(config, slides, ["a warning"], dict(PRINTS))

    return workflow


def resolved(parameters, slide):
    """A job's parameters, of which Snakemake calls the functions; code and templates change with every edit."""
    own = {
        name: value(SimpleNamespace(slide=slide)) if callable(value) else value for name, value in parameters.items()
    }
    return {name: value for name, value in own.items() if name not in ("code", "templates")}


@pytest.mark.parametrize("name", CONFIGS)
def test_parameters_stay(make, name):
    """A value that changes, in type too, runs finished jobs again: `workflow_parameters.json` holds them."""
    run = make(**CONFIGS[name])
    found = {
        rule: resolved(run.parameters(rule), "a")
        for rule in RULES
        if rule not in ("store_patches", "split_slides", "embed_patches")
    }
    found |= {backend: resolved(run.parameters("store_patches", backend), "a") for backend in run.backends}
    found["split_slides"] = resolved(run.parameters("split_slides"), "a")
    expected = json.loads(EXPECTED.read_text(encoding="utf-8"))[name]
    assert json.dumps(found, sort_keys=True) == json.dumps(expected, sort_keys=True)


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_has_the_code_of_its_script(make, rule):
    run = make(features={"own": {"model": "package.models:own"}})
    named = {"store_patches": "lmdb", "embed_patches": "own"}
    assert len(run.parameters(rule, named.get(rule, ""))["code"]) == 16


def test_unknown_rules_are_refused(make):
    with pytest.raises(KeyError, match="no_rule"):
        make().parameters("no_rule")


def test_code_of_a_store_differs_by_backend(make):
    run = make(stores={name: {} for name in SUFFIXES})
    assert len({run.code("store_patches", backend) for backend in SUFFIXES}) == len(SUFFIXES)


def test_code_of_sampling_counts_what_it_runs(make):
    """Without labels to choose or custom masks, an edit of how they are read samples nothing again."""
    unmasked = {"slides": {"b": SLIDES["b"]}}
    kinds = [make(**unmasked), make(), make(**unmasked, labels=CONFIGS["choosing"]["labels"])]
    assert len({run.code("sample_patches") for run in kinds}) == 3


@pytest.mark.parametrize("given", [{"lmdb": {}, "tar": {}}, {"tar": {}, "lmdb": {}}])
def test_backends_have_one_order(make, given):
    assert list(make(stores=given).backends) == ["lmdb", "tar"]


@pytest.mark.parametrize(
    ("stores", "checked"),
    [
        ({"tar": {"encoding": "source"}}, False),
        ({"tar": {"encoding": "source"}, "lmdb": {"encoding": "source"}}, False),
        ({"tar": {"encoding": "source"}, "lmdb": {}}, True),
        ({"tar": {"encoding": "png"}, "lmdb": {}}, False),
    ],
)
def test_copies_are_checked_where_others_decode(make, stores, checked):
    assert make(stores=stores).parameters("store_patches", "tar")["checked_copies"] is checked


def test_masks_are_made_where_any_slide_has_one(make):
    unfiltered = {"method": "none"}
    assert make(slides={"b": SLIDES["b"]}, tissue=unfiltered).tissue_mask == {}
    assert make(tissue=unfiltered).tissue_mask == {"mask": TISSUE_MASK}
    assert make(slides={"b": SLIDES["b"]}).tissue_mask == {"mask": TISSUE_MASK}


def test_gate_waits_for_the_report_of_a_whole_run(make):
    run = make(splits={"folds": 2})
    part = run.gate_inputs(SimpleNamespace(target="validated"))
    assert part == {"slides": "slides.csv", "validation": "validation.csv"}
    assert run.gate_inputs(SimpleNamespace(target="all")) == part | {"splits": "splits.csv", "report": "report.html"}


def test_missing_files_of_slides_are_found(make, tmp_path):
    """Neither stores, for which Snakemake is asked, nor masks where there are none."""
    run = make(slides={"b": SLIDES["b"]}, stores={"lmdb": {}}, tissue={"method": "none"})
    patterns = [file for stage in run.stages for file in SLIDE_FILES[stage]]
    expected = {file.format(slide="b") for file in patterns if file != TISSUE_MASK and not file.startswith("stores/")}
    assert set(run.missing_of_slides()) == expected
    (tmp_path / "results" / "patches").mkdir(parents=True)
    (tmp_path / "results" / "patches" / "b.csv").touch()
    assert set(run.missing_of_slides()) == expected - {PATCHES.format(slide="b")}
    drawn = {path for path in expected if path.startswith("figures/")}
    assert set(run.missing_of_slides(is_drawn=False)) == expected - drawn - {PATCHES.format(slide="b")}
    assert missing(["patches/b.csv", "patches/c.csv"], run.config.results) == ["patches/c.csv"]


def test_each_job_of_a_run_has_a_file(make):
    run = make(stores={"lmdb": {}, "tar": {}}, splits={"folds": 2})
    files = run.job_files
    assert len(files) == len(set(files)) == len(SLIDES) * 7 + 4
    assert {outcome_file("store_patches/tar", "a"), OVERLAY.format(slide="b"), "splits.csv", "report.html"} < set(files)


def test_settings_are_of_the_parameters_of_jobs(make):
    """By slide and stage; another fingerprint changes its stage, and no other slide."""
    run = make()
    before = run.settings()
    assert {slide: list(own) for slide, own in before.items()} == {slide: list(STAGES) for slide in SLIDES}
    after = replace(run, known_prints=PRINTS | {"a": ("f", "other", "h")}).settings()
    assert after["b"] == before["b"]
    assert [stage for stage in STAGES if after["a"][stage] != before["a"][stage]] == ["write_metadata"]


def test_plan_is_read_as_it_was_written(make, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plan = make().plan()
    write_plan(plan)
    assert read_plan(Path(".snakemake/slidemill.plan.json")) == plan


def test_new_weights_of_one_layer_embed_again(make, tmp_path):
    """They leave the size, and each block that the fingerprint of a slide covers."""
    path = tmp_path / "model.onnx"

    def given():
        return make(features={"mine": {"model": str(path)}}).embedding.parameters("mine")

    path.write_bytes(bytes(2_000_000))
    first = given()
    assert given() == first
    with path.open("r+b") as file:
        file.seek(100_000)
        file.write(b"new")
    os.utime(path, (0, path.stat().st_mtime + 1))
    assert given() != first
    path.write_bytes(bytes(5000))
    small = given()
    os.utime(path, (0, 0))
    assert given() == small


@pytest.mark.parametrize(("device", "gpus"), [("auto", 1), ("cpu", 0), ("cuda", 1), ("cuda:1", 1)])
def test_jobs_that_embed_request_a_gpu_unless_on_the_cpu(make, device, gpus):
    run = make(features={"own": {"model": "package.models:own"}}, device=device)
    assert run.embedding.gpus == gpus
    assert run.embedding.job_config["embedding"]["device"] == device
