"""A run by the defaults alone, as a first user starts it, on a real slide."""

import shutil

import pytest

pytestmark = pytest.mark.long

MOST = 8
"""Times the bytes of its slides that results may take, without logs."""


def test_default_results_are_small(project, real_slide_file):
    shutil.copy(real_slide_file, project.slides)
    folders = {"slides": str(project.slides), "results": str(project.results)}
    finished = project.snakemake("--config", *(f"{key}={path}" for key, path in folders.items()), configured=False)
    assert finished.code == 0, finished.text
    made = [path for path in project.results.rglob("*") if path.is_file()]
    kept = sum(path.stat().st_size for path in made if path.relative_to(project.results).parts[0] != "logs")
    assert kept <= MOST * real_slide_file.stat().st_size
    assert {path.parent.name for path in (project.results / "stores").rglob("*") if path.is_file()} == {"lmdb"}
