"""Disks that go away at the wrong moment, and runs that are planned for other slides than there are now."""

import subprocess

import pytest

from slidemill import open_store
from slidemill.cli.commands import main
from tests.faults.conftest import damaged
from tests.workflow.test_runs import rows

pytestmark = pytest.mark.long


@pytest.fixture
def quick(project):
    project.config |= {"stores": {"lmdb": {}}, "annotations": None}
    return project


def started_until(project, word, act, **options):
    """Run Snakemake, call `act` when it first prints `word`, and return the exit code and what it printed."""
    run = project.start("--printshellcmds", stderr=subprocess.STDOUT, **options)
    said = []
    for line in run.stdout:
        if word in line and not any(word in before for before in said):
            act()
        said.append(line)
    return run.wait(), "".join(said)


def test_a_disk_that_is_away_at_the_plan_costs_no_store(quick):
    quick.add("a.svs", annotated=False)
    sheet = quick.folder / "sheet.csv"
    sheet.write_text("slide,path\na,slides/a.svs\n")
    quick.config["slides"] = str(sheet)
    assert quick.snakemake("validated").code == 0
    store = quick.results / "stores" / "lmdb" / "a.lmdb"
    before, table = store.read_bytes(), rows(quick.results / "slides.csv")
    quick.slides.rename(quick.folder / "away")
    away = quick.snakemake("validated")
    assert away.code == 0
    assert "Nothing to be done" in away.text
    assert "a.svs: could be read in the last run, and cannot be now" in away.text
    quick.config["stores"] = {"lmdb": {"encoding": "png"}}
    needed = quick.snakemake("validated", "--retries", "0")
    assert needed.code != 0
    assert "is not what it was when the run was planned" in needed.text
    quick.config["stores"] = {"lmdb": {}}
    assert rows(quick.results / "slides.csv") == table
    (quick.folder / "away").rename(quick.slides)
    back = quick.snakemake("validated")
    assert back.code == 0, back.text
    assert "discover_slides" not in back.rules
    assert store.read_bytes() == before
    assert {row["status"] for row in rows(quick.results / "slides.csv")} == {"ok"}


def test_a_disk_that_goes_away_after_the_plan_blames_no_slide(quick):
    for name in ("a.svs", "b.svs", "c.svs"):
        quick.add(name, annotated=False)
    code, said = started_until(quick, "Execute", lambda: quick.slides.rename(quick.folder / "away"), cores=1)
    assert code != 0
    assert "is not what it was when the run was planned" in said
    assert "failed" not in {row["status"] for row in rows(quick.results / "unfinished" / "slides.csv")}
    (quick.folder / "away").rename(quick.slides)
    finished = quick.snakemake()
    assert finished.code == 0, finished.text
    assert [row["status"] for row in rows(quick.results / "slides.csv")] == ["ok"] * 3
    assert not (quick.results / "unfinished").exists()


def test_a_clusters_job_goes_by_the_slides_that_its_run_was_planned_for(quick):
    quick.add("a.svs", annotated=False)
    assert quick.snakemake("validated").code == 0
    quick.add("z.svs", annotated=False)
    # As an executor calls a job on a node.
    job = ("--mode", "remote", "--nolock", "--force", "--target-jobs", "gather_results:", "--allowed-rules")
    done = quick.snakemake(*job, "gather_results", "--local-groupid", "local", "--executor", "local")
    assert done.code == 0, done.text
    assert [row["path"] for row in rows(quick.results / "slides.csv")] == ["a.svs"]


def test_a_slide_that_has_come_back_is_not_pruned(quick, capsys):
    for name in ("a.svs", "b.svs"):
        quick.add(name, annotated=False)
    assert quick.snakemake("validated").code == 0
    (quick.slides / "a.svs").rename(quick.folder / "a.svs")
    assert quick.snakemake("validated").code == 0
    (quick.folder / "a.svs").rename(quick.slides / "a.svs")
    assert quick.snakemake("stores", "--forcerun", "slides/nothing").code in (0, 1)
    stores = sorted((quick.results / "stores" / "lmdb").iterdir())
    assert quick.snakemake("validated", "--until", "sample_patches", "--forcerun", "sample_patches").code == 0
    assert main(["prune", str(quick.results), "--delete"]) == 0
    assert sorted((quick.results / "stores" / "lmdb").iterdir()) == stores
    assert "is of a slide of the last run" in capsys.readouterr().out


def test_a_backend_that_was_taken_out_is_pruned_and_one_that_has_come_back_is_not(quick, capsys):
    quick.config["stores"] = {"lmdb": {}, "hdf5": {}}
    quick.add("a.svs", annotated=False)
    assert quick.snakemake("validated").code == 0
    quick.config["stores"] = {"lmdb": {}}
    assert quick.snakemake("validated").code == 0
    (store,) = (quick.results / "stores" / "hdf5").iterdir()
    assert main(["prune", str(quick.results)]) == 0
    assert f"  {store}\n" in capsys.readouterr().out
    quick.config["stores"] = {"lmdb": {}, "hdf5": {}}
    assert quick.snakemake("validated", "--until", "sample_patches", "--forcerun", "sample_patches").code == 0
    assert main(["prune", str(quick.results), "--delete"]) == 0
    assert store.exists()
    assert "is of a backend of the last run" in capsys.readouterr().out
    assert quick.plan("validated").rules & {"store_patches_lmdb", "store_patches_hdf5"} == set()
    quick.config["stores"] = {"lmdb": {}}
    assert quick.snakemake("validated", "--forcerun", "gather_results").code == 0
    assert main(["prune", str(quick.results), "--delete"]) == 0
    assert not store.exists()
    assert "Nothing to be done" in quick.snakemake("validated").text


def test_a_broken_tile_that_is_copied_fails_its_slide_and_not_the_report(quick):
    damaged(
        quick.slides / "bad.tif", lambda number, data: data[:-300] + bytes(298) + data[-2:] if number == 5 else data
    )
    damaged(quick.slides / "good.tif", None)
    quick.config |= {"sampling": {"patch_size": 128, "level": 0}, "stores": {"lmdb": {"encoding": "source"}}}
    finished = quick.snakemake()
    assert finished.code != 0
    assert {row["path"]: row["status"] for row in rows(quick.results / "slides.csv")} == {
        "bad.tif": "failed",
        "good.tif": "ok",
    }
    assert (quick.results / "report.html").exists()
    (own,) = (quick.results / "stores" / "lmdb").glob("bad-*")
    # Another store tells which of them cannot be read, and both leave it out.
    quick.config |= {"stores": {"lmdb": {"encoding": "source"}, "hdf5": {}}, "unreadable_patches": "skip"}
    mended = quick.snakemake("validated")
    assert mended.code == 0, mended.text
    with open_store(own) as store:
        assert len(store) == 11


def test_a_part_of_the_work_that_fails_tells_what_there_is_too(quick):
    quick.add("a.svs", annotated=False)
    quick.config["scratch"] = str(quick.folder / "nowhere")
    failed = quick.snakemake("stores", "--retries", "0")
    assert failed.code != 0
    (row,) = rows(quick.results / "unfinished" / "slides.csv")
    assert (row["status"], row["stage"]) == ("unfinished", "store_patches")
    quick.config["scratch"] = None
    assert quick.snakemake("stores").code == 0
    assert (quick.results / "unfinished").exists()
    assert quick.snakemake().code == 0
    assert not (quick.results / "unfinished").exists()


def test_what_an_unfinished_run_told_goes_with_the_next_run_though_that_has_nothing_to_do(quick):
    quick.add("a.svs", annotated=False)
    assert quick.snakemake().code == 0
    quick.config["scratch"] = str(quick.folder / "nowhere")
    quick.add("new.svs", annotated=False)
    assert quick.snakemake("--retries", "0").code != 0
    assert (quick.results / "unfinished" / "report.html").exists()
    (quick.slides / "new.svs").unlink()
    tables = {path: path.stat().st_mtime_ns for path in quick.results.glob("[!.]*.*")}
    # The set of slides has changed for the check of the free space.
    assert quick.plan().rules == {"check_space", "gate", "all"}
    assert (quick.results / "unfinished").exists(), "a dry run writes nothing"
    finished = quick.snakemake()
    assert finished.code == 0, finished.text
    assert not (quick.results / "unfinished").exists()
    assert {path: path.stat().st_mtime_ns for path in quick.results.glob("[!.]*.*")} == tables
    assert "Nothing to be done" in quick.snakemake().text


def test_a_job_that_fails_leaves_nothing_of_what_it_was_to_replace(quick):
    """Old tables and stores would pass for the new: Snakemake knows what is missing, and makes it anew."""
    quick.config["stores"] = {"lmdb": {"encoding": "raw"}}
    quick.add("a.svs", annotated=False)
    assert quick.snakemake("validated").code == 0
    (store,) = (quick.results / "stores" / "lmdb").iterdir()
    log = quick.results / "logs" / "gather_results.log"
    log.unlink()
    (log / "in-the-way").mkdir(parents=True)
    quick.add("new.svs", annotated=False)
    assert quick.snakemake("validated", "--retries", "0").code != 0
    assert not (quick.results / "slides.csv").exists()
    assert [row["status"] for row in rows(quick.results / "unfinished" / "slides.csv")] == ["ok", "ok"]
    (log / "in-the-way").rmdir()
    quick.config |= {"stores": {"lmdb": {"encoding": "zstd"}}, "scratch": str(quick.folder / "nowhere")}
    assert quick.snakemake("validated", "--retries", "0").code != 0
    assert not store.exists()
    quick.config["scratch"] = None
    assert quick.snakemake("validated").code == 0
    assert [row["status"] for row in rows(quick.results / "slides.csv")] == ["ok", "ok"]
    assert open_store(store).manifest.encoding == "zstd"
