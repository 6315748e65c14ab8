"""What jobs ask of a cluster, and the profile for Slurm beside the default one; no cluster is needed."""

import math
import os
import re
from dataclasses import replace
from itertools import islice
from types import SimpleNamespace

import pytest
import yaml
from snakemake.settings.types import MaxJobsPerTimespan

from slidemill.core.columns import PATCH_COLUMNS
from slidemill.core.csv_tables import write_table
from slidemill.core.pyramid import SlideInfo
from slidemill.core.specs import GridSpec
from slidemill.runs._resources import Resources
from slidemill.runs.exclusive_run import lift_default_rate
from slidemill.slides.discovery import SlideFile
from slidemill.slides.patch_table import patch_rows
from tests.conftest import ROOT

PROFILES = ROOT / "workflow/profiles"
MB = 1_000_000


def profile(name):
    return yaml.safe_load((PROFILES / name / "config.yaml").read_text(encoding="utf-8"))


@pytest.fixture
def rules(tmp_path, monkeypatch):
    """What jobs request, for slides of 1 MB, 40 MB and 4 GB and one that is not there."""
    slides = {"small": MB, "middle": 40 * MB, "large": 4000 * MB, "gone": None}
    for name, size in slides.items():
        if size:
            with (tmp_path / f"{name}.svs").open("wb") as file:
                file.truncate(size)
    monkeypatch.chdir(tmp_path)
    return Resources(tmp_path, {name: SlideFile(name, f"{name}.svs") for name in slides}, GridSpec(256, level=0))


def of(slide):
    return SimpleNamespace(slide=slide)


def test_a_slide_is_as_large_as_its_files(rules, tmp_path):
    assert [rules.megabytes(name) for name in rules.slides] == [1, 40, 4000, 0]
    (tmp_path / "mirax.mrxs").write_bytes(b"x")
    (tmp_path / "mirax").mkdir()
    (tmp_path / "mirax" / "Data0001.dat").write_bytes(bytes(3 * MB))
    rules.slides["mirax"] = SlideFile("mirax", "mirax.mrxs")
    assert rules.megabytes("mirax") == 3


@pytest.mark.parametrize(
    "name",
    ["pixel_memory", "check_memory", "table_runtime", "pixel_runtime", "cohort_memory", "cohort_runtime"],
)
def test_each_attempt_asks_for_more(rules, name):
    asked = [getattr(rules, name)(of("middle"), attempt) for attempt in (1, 2, 3)]
    assert asked[0] > 0
    assert asked == [asked[0], 2 * asked[0], 3 * asked[0]]


@pytest.mark.parametrize("name", ["pixel_memory", "check_memory", "table_runtime", "pixel_runtime"])
def test_a_larger_slide_asks_for_more(rules, name):
    asked = [getattr(rules, name)(of(slide), 1) for slide in ("gone", "large")]
    assert 0 < asked[0] < asked[1]


MEASURED = {10_000: (137, 234), 100_000: (196, 414), 1_000_000: (919, 2_284)}
"""MB that storing and validating took, the process that validation starts included: benchmarks/RESULTS.md."""


@pytest.mark.parametrize("patches", MEASURED)
@pytest.mark.parametrize("slide", ["small", "the-long-name-of-a-study-with-its-barcode-0123456789abcdef"])
def test_memory_is_what_was_measured_for_so_many_patches(rules, tmp_path, patches, slide):
    """And less than twice as much as that and the base."""
    rules.slides[slide] = SlideFile(slide, "small.svs")
    side = math.isqrt(patches)
    info = SlideInfo("aperio", ((side * 16, side * 16),), (1.0,), None, 0.25, 0.25, 40.0, "ffffff")
    rows = list(islice(patch_rows(slide, info, GridSpec(16, level=0)), 1000))
    write_table(tmp_path / "patches" / f"{slide}.csv", PATCH_COLUMNS, rows)
    table = tmp_path / "patches" / f"{slide}.csv"
    os.truncate(table, table.stat().st_size * patches // 1000)
    stored, validated = MEASURED[patches]
    assert stored <= rules.pixel_memory(of(slide), 1) <= 2 * stored + 400
    assert validated <= rules.check_memory(of(slide), 1) <= 2 * validated + 400


def test_memory_of_a_slide_not_sampled_follows_its_grid(rules):
    """As many patches as a slide of 40 MB and 320 million pixels has room for."""
    asked = {}
    for name, grid in {
        "256 px": GridSpec(256, level=0),
        "16 px": GridSpec(16, level=0),
        "overlap": GridSpec(256, 120, level=0),
        "level 2": GridSpec(64, level=2),
        "mpp 1": GridSpec(64, mpp=1.0),
        "10x": GridSpec(64, magnification=10),
        "finer than it is": GridSpec(256, mpp=0.01),
        "deepzoom": GridSpec(256, deepzoom_level=17),
    }.items():
        asked[name] = replace(rules, grid=grid).pixel_memory(of("middle"), 1) - 400
    few, many = 320_000_000 // 256**2 // 1000, 320_000_000 // 16**2 // 1000
    assert asked == dict.fromkeys(asked, few) | {"16 px": many, "overlap": many}


def test_memory_of_the_cohort_follows_its_table(rules, tmp_path):
    before = rules.cohort_memory(None, 1)
    assert before == 1000 + (1 + 40 + 4000) // 100
    with (tmp_path / "metadata.csv").open("wb") as file:
        file.truncate(5_000_000 * 70)
    assert 1000 + 2500 <= rules.cohort_memory(None, 1) <= 1000 + 4000


def test_small_slides_take_one_thread_and_large_ones_no_more_than_four(rules):
    assert [rules.threads(of(slide)) for slide in rules.slides] == [1, 3, 4, 1]


def test_every_rule_that_runs_says_what_it_needs():
    text = "\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "workflow/rules").glob("*.smk")))
    blocks = [block for block in re.split(r"^\s*rule\b", text, flags=re.MULTILINE) if "script:" in block]
    assert len(blocks) == 16
    asking = [
        block
        for block in blocks
        if re.search(r"mem_mb=RUN\.(resources|embedding)\.[\w()]+,\s+runtime=RUN\.\1\.\w+,", block)
    ]
    local = [re.search(r"scripts/(\w+)", block)[1] for block in blocks if block not in asking]
    assert sorted(local) == ["check_space", "gate", "print_estimate"]


def test_the_slurm_profile_keeps_what_the_default_one_says():
    """A profile replaces the default one, so that a key that it lacks would be lost."""
    slurm = profile("slurm")
    default = profile("default")
    assert {key: slurm.get(key) for key in default} == default


def test_the_slurm_profile_sends_a_slides_jobs_in_two_parts():
    """Stores wait for the check of the free space, which waits for the sampling of all slides."""
    schema = yaml.safe_load((ROOT / "workflow/schemas/config.schema.yaml").read_text(encoding="utf-8"))
    stores = {f"store_patches_{backend}" for backend in schema["properties"]["stores"]["properties"]}
    tables = {"discover_slides", "sample_patches", "write_metadata"}
    expected = dict.fromkeys(tables, "tables") | dict.fromkeys(stores | {"validate_stores", "draw_slide"}, "slide")
    assert dict(entry.split("=") for entry in profile("slurm")["groups"]) == expected
    assert {entry.split("=")[0] for entry in profile("slurm")["group-components"]} == {"tables", "slide"}


@pytest.mark.parametrize("name", ["default", "slurm"])
def test_profiles_take_the_greedy_scheduler(name):
    assert profile(name)["scheduler"] == "greedy"


def test_default_rate_limit_is_lifted():
    settings = SimpleNamespace(max_jobs_per_timespan=MaxJobsPerTimespan.parse_choice("100/1s"))
    lift_default_rate(settings)
    assert settings.max_jobs_per_timespan is None


@pytest.mark.parametrize("rate", ["10/1s", "100/1m"])
def test_rate_limit_of_the_user_stays(rate):
    limit = MaxJobsPerTimespan.parse_choice(rate)
    settings = SimpleNamespace(max_jobs_per_timespan=limit)
    lift_default_rate(settings)
    assert settings.max_jobs_per_timespan is limit


@pytest.mark.parametrize("settings", [None, SimpleNamespace(), SimpleNamespace(max_jobs_per_timespan=None)], ids=str)
def test_settings_without_a_rate_limit_stay(settings):
    before = settings and vars(settings).copy()
    lift_default_rate(settings)
    assert (settings and vars(settings)) == before


def test_closed_settings_keep_their_limit():
    """Snakemake's settings may become immutable: runs are slower then, and nothing fails."""
    limit = MaxJobsPerTimespan.parse_choice("100/1s")

    class Closed:
        max_jobs_per_timespan = property(lambda _: limit)

    lift_default_rate(Closed())
    assert Closed().max_jobs_per_timespan is limit
