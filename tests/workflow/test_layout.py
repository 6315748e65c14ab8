"""What the rules plan to write, against the layout of a results folder."""

import re
from pathlib import Path

import pytest

from slidemill.core.results_layout import (
    COHORT_FILES,
    SLIDE_FILES,
    SUFFIXES,
    embed_stage,
    feature_file,
    log_file,
    outcome_file,
    store_of_file,
)
from slidemill.stages.prune import MADE

WRITTEN = re.compile(r"^ +(?:output|log): (.+)$", re.MULTILINE)


@pytest.mark.long
def test_every_planned_file_is_in_the_layout(project):
    """With every backend, masks and folds: each file is of a slide, and pruned with it, or of the cohort."""
    project.add("a.svs")
    project.config |= {"stores": {name: {} for name in SUFFIXES}, "tissue": {"method": "otsu"}, "splits": {"folds": 2}}
    project.config["features"] = {"mean": {"model": "tests.features.tiny:mean"}}
    project.add("b.svs")
    planned = {file for files in WRITTEN.findall(project.plan("all", "estimate").text) for file in files.split(", ")}
    (slide,) = (Path(file).stem for file in planned if file.startswith("slides/a-"))
    (other,) = (Path(file).stem for file in planned if file.startswith("slides/b-"))
    of_slides = {str(store_of_file(Path(file))) for file in planned if slide in file}
    stage = embed_stage("mean")
    of_model = {feature_file("mean", slide), outcome_file(stage, slide), log_file(stage, slide)}
    assert of_model <= of_slides
    of_slides -= of_model
    logs = {log_file(stage, slide) for stage in SLIDE_FILES}
    assert of_slides == {path.format(slide=slide) for files in SLIDE_FILES.values() for path in files} | logs
    assert of_slides == {path.format(slide=slide) for path in MADE}
    of_cohort = {file for file in planned if slide not in file and other not in file and not file.startswith("logs/")}
    assert of_cohort == {path.format(target="all") for path in COHORT_FILES}
