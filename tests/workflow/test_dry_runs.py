"""Dry runs, which write nothing."""

import shutil

import pytest

from slidemill.core.results_layout import RECORD

pytestmark = pytest.mark.long


def tree(project):
    """Each path of a project with its time and size, but for the configuration, which each call writes."""
    paths = [project.folder, *project.folder.rglob("*")]
    found = {path.relative_to(project.folder): path.lstat() for path in paths if path.name != "config.yaml"}
    return {path: (status.st_mtime_ns, status.st_size) for path, status in found.items()}


@pytest.fixture
def temporary(tmp_path_factory, monkeypatch):
    """Where temporary files go."""
    folder = tmp_path_factory.mktemp("temporary")
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


def planned(project):
    """The rules of a dry run that changes nothing."""
    before = tree(project)
    rules = project.plan(fresh=True).rules
    assert tree(project) == before
    return rules


def test_dry_runs_write_nothing(project, temporary):
    """Before the first run, after it, and without Snakemake's record of it."""
    project.add("one.svs", annotated=False)
    project.config |= {"stores": {"lmdb": {}}}
    project._arguments((), True, 2, "Snakefile")  # writes config.yaml
    assert "store_patches_lmdb" in planned(project)
    assert not project.results.exists()
    assert project.snakemake().code == 0
    assert planned(project) == set()
    next((project.results / "figures" / "overlay").iterdir()).unlink()
    assert planned(project) == {"draw_slide", "render_report", "gate", "all"}
    shutil.rmtree(project.results / RECORD)
    assert "draw_slide" in planned(project)
    assert not list(temporary.iterdir())
