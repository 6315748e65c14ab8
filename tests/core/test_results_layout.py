"""The layout of a results folder: what pruning, rules and checks take from it fits together."""

import pytest

from slidemill.core.results_layout import (
    COHORT_FILES,
    COHORT_TABLES,
    FACTS,
    SLIDE_FILES,
    STORE_STAGES,
    SUFFIXES,
    TOP_LEVEL,
    log_file,
    outcome_file,
    store_file,
    store_of_file,
    store_path,
)
from slidemill.core.seals import SEALED_BY
from slidemill.stages.prune import MADE

OF_SLIDES = [path for files in SLIDE_FILES.values() for path in files]


@pytest.mark.parametrize("backend", SUFFIXES)
def test_store_is_found_by_its_file(backend):
    assert store_of_file(store_file(backend, "a.b")) == store_path(backend, "a.b")


def test_paths_of_slides_are_distinct_and_name_their_slide():
    assert len({path.format(slide="a") for path in OF_SLIDES}) == len(OF_SLIDES)
    assert all(path.format(slide="a") != path.format(slide="b") for path in OF_SLIDES)


def test_cohort_files_name_no_slide():
    assert [path for path in COHORT_FILES if "{slide}" in path] == []


def test_outcome_of_discovery_is_the_facts():
    assert outcome_file("discover_slides") == FACTS
    assert outcome_file("discover_slides", "a") == "slides/a.json"
    assert outcome_file(STORE_STAGES["tar"], "a") == "outcomes/store_patches/tar/a.json"


def test_every_cohort_table_is_sealed():
    assert SEALED_BY.keys() == {*COHORT_TABLES.values(), "features.csv", "splits.csv", "estimate.csv"}


def test_top_level_has_the_parts_of_every_path():
    assert {"slides", "stores", "logs", "figures", ".snakemake", "unfinished", "report.html"} < TOP_LEVEL
    assert {path.split("/")[0] for path in [*OF_SLIDES, *COHORT_FILES]} <= TOP_LEVEL


def test_prune_removes_all_of_a_slide_and_its_facts_last():
    assert set(MADE) == {*OF_SLIDES, *map(log_file, SLIDE_FILES)}
    assert MADE[-1] == FACTS


@pytest.mark.parametrize("stage", SLIDE_FILES)
def test_prune_removes_what_stands_for_a_job_last(stage):
    files = [path for path in MADE if path in (*SLIDE_FILES[stage], log_file(stage))]
    assert files[-1] == SLIDE_FILES[stage][0]
