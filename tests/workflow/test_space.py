"""A disk on which the stores will not fit."""

import pytest

from tests.workflow.shared import on_disk

pytestmark = pytest.mark.long


@pytest.fixture
def on_a_small_disk(project, tmp_path):
    """Two slides whose stores take 2.5 MB of 4, but whose pictures are estimated at 2 MB more."""
    with on_disk(project, tmp_path, 4, {"stores": {"lmdb": {"encoding": "raw"}}, "benchmark": False}):
        yield project


def stores_of(project):
    return {path.name: path.stat().st_mtime_ns for path in (project.results / "stores/lmdb").glob("[!.]*")}


def test_a_run_that_will_not_fit_is_refused_before_the_first_store(on_a_small_disk):
    project = on_a_small_disk
    refused = project.snakemake()
    assert refused.code == 1
    assert "the stores of 144 patches will not fit: the run needs about 4.5 MB (lmdb raw 2.42 MB)" in refused.text, (
        refused.text
    )
    assert not stores_of(project)
    assert len(list((project.results / "metadata").iterdir())) == 2
    forced = project.snakemake("--config", "force=true")
    assert forced.code == 0, forced.text
    assert "continued, since force is true" in (project.results / "logs/check_space.log").read_text()
    written = stores_of(project)
    assert len(written) == 2
    assert not project.plan().jobs

    # A slide more is refused too, and stores that are there stay, in this run and the next.
    project.add("c.svs", 3, annotated=False)
    again = project.snakemake()
    assert again.code == 1
    assert "the stores of 72 patches will not fit" in again.text
    assert stores_of(project) == written
    jobs = project.plan().jobs
    assert {slide for rule, slide in jobs if rule == "store_patches_lmdb"} == {
        next(iter(project.results.glob("slides/c-*"))).stem
    }
    assert ("check_space", None) in jobs
