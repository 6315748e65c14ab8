"""`slidemill prune`: what slides that were taken away have left, named and no more unless asked."""

import contextlib
import fcntl
import os
import re
import shutil
from pathlib import Path

import pytest

from slidemill.cli.commands import main
from slidemill.core.files import write_json
from slidemill.core.results_layout import HOLDER, JOINED, PLAN, SUFFIXES, store_path
from slidemill.runs.run_plan import Plan, write_plan
from tests.results import PATCHES, SIZE, write_slide, write_tables


def everything(folder):
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def age(folder):
    """Give all files a time in the past, so that what is newer than slides.csv is so for certain."""
    for path in folder.rglob("*"):
        os.utime(path, (1_000_000_000, 1_000_000_000), follow_symlinks=False)
    os.utime(folder / "slides.csv", (1_000_000_010,) * 2)


@pytest.fixture(scope="module")
def made(tmp_path_factory, noise):
    """Results of `kept` and `kept.2`, and of `gone`, which a later run no longer had; nothing may write to them."""
    folder = tmp_path_factory.mktemp("made")
    for slide in ("kept", "gone", "kept.2"):
        write_slide(folder, slide, noise(len(PATCHES), SIZE))
    write_tables(folder, {"kept": "ok", "kept.2": "failed"})
    age(folder)
    return folder


@pytest.fixture
def results(made, tmp_path):
    """A copy of them, times and all."""
    return shutil.copytree(made, tmp_path / "results")


def named(text):
    """The paths that are named with a size."""
    return {Path(match[1]) for match in re.finditer(r"^ *[\d,]+  (/.*)$", text, re.MULTILINE)}


def test_it_names_all_of_a_slide_that_was_taken_away_and_removes_nothing(results, capsys):
    before = everything(results)
    assert main(["prune", str(results)]) == 0
    out = capsys.readouterr().out
    assert named(out) == {
        *(results / store_path(backend, "gone") for backend in SUFFIXES),
        *(path for path in results.rglob("gone.*") if path.is_file()),
    }
    assert len(named(out)) == 20
    assert "of 1 removed slide; to delete them, add --delete" in out
    assert everything(results) == before


def test_all_stores_are_left_over_where_the_run_had_none(results, capsys):
    write_tables(results, {"kept": "ok", "kept.2": "failed"}, backends=())
    age(results)
    main(["prune", str(results)])
    assert not {results / store_path(backend, "kept") for backend in SUFFIXES} & named(capsys.readouterr().out)
    with contextlib.chdir(results):
        write_plan(Plan({}, {}, ()))
    assert main(["prune", str(results), "--delete"]) == 0
    out = capsys.readouterr().out
    assert "and of 2 slides in lmdb, which the last run did not write" in out
    assert {results / store_path(backend, "kept.2") for backend in SUFFIXES} < named(out)
    assert not list(results.glob("validation/*")) + list(results.glob("stores/*/*"))
    assert main(["verify", str(results)]) == 0


def test_when_told_it_removes_that_and_nothing_else(results, capsys):
    before = everything(results)
    assert main(["prune", str(results), "--delete"]) == 0
    removed = named(capsys.readouterr().out)
    assert everything(results) == {
        path: data for path, data in before.items() if path not in removed and not removed & set(path.parents)
    }
    assert main(["prune", str(results)]) == 0
    assert capsys.readouterr().out.startswith("no files of removed slides or backends are left")
    assert main(["verify", str(results)]) == 0


def test_sizes_are_the_files_own(results, capsys):
    main(["prune", str(results)])
    out = capsys.readouterr().out
    path = results / store_path("disk", "gone")
    assert f"{sum(file.stat().st_size for file in path.iterdir()):,}  {path}\n" in out


def test_a_slide_of_a_run_under_way_or_failed_is_no_slide_taken_away(results, capsys):
    os.utime(results / store_path("hdf5", "gone"), (1_000_000_020,) * 2)
    assert main(["prune", str(results), "--delete"]) == 0
    out = capsys.readouterr().out
    assert named(out) == set()
    assert f"kept  {results}/slides/gone.json is newer than slides.csv" in out
    assert (results / store_path("lmdb", "gone")).exists()


def test_what_the_workflow_did_not_make_is_not_named(results, capsys):
    mine = [results / name for name in ("stores/lmdb/mine.lmdb", "slides/mine.json", "metadata/gone-mine.csv", "gone")]
    for path in mine:
        path.parent.mkdir(exist_ok=True)
        path.write_text("{}")
    note = results / store_path("disk", "gone") / "note.txt"
    note.write_text("mine")
    age(results)
    assert main(["prune", str(results), "--delete"]) == 0
    out = capsys.readouterr().out
    assert not named(out) & {*mine, note.parent}
    assert f"kept  {note.parent} holds note.txt, which the workflow did not make" in out
    assert all(path.exists() for path in (*mine, note))
    assert not (results / store_path("lmdb", "gone")).exists()


def test_links_are_not_followed(results, tmp_path, capsys):
    away = tmp_path / "away"
    shutil.move(results / "stores" / "lmdb", away)
    (results / "stores" / "lmdb").symlink_to(away)
    folder = results / store_path("disk", "gone")
    shutil.move(folder, tmp_path / "folder")
    folder.symlink_to(tmp_path / "folder")
    age(results)
    before = everything(away) | everything(tmp_path / "folder")
    assert main(["prune", str(results), "--delete"]) == 0
    out = capsys.readouterr().out
    assert f"kept  {results / store_path('lmdb', 'gone')} is a link, or is behind one" in out
    assert everything(away) | everything(tmp_path / "folder") == before
    assert folder.is_symlink()


def test_what_killed_jobs_left_aside_goes_with_the_slide(results, capsys):
    aside = results / "stores/lmdb/.gone.lmdb.0a1b2c3d.aside"
    aside.write_bytes(b"half")
    other = results / "stores/lmdb/.kept.lmdb.0a1b2c3d.aside"
    other.write_bytes(b"half")
    age(results)
    assert main(["prune", str(results), "--delete"]) == 0
    assert (aside.exists(), other.exists()) == (False, True)


@pytest.fixture
def without_hdf5(results, monkeypatch):
    """Results whose last run was planned for LMDB and files alone, and came to its end."""
    monkeypatch.chdir(results)
    write_tables(results, {"kept": "ok", "kept.2": "failed"}, ("lmdb", "disk", "tar", "zarr"))
    write_plan(Plan({}, {}, ("lmdb", "disk", "tar", "zarr")))
    age(results)
    return results


def of_hdf5(results, *slides):
    """What there is of the HDF5 stores of slides that are still there."""
    names = ("stores/hdf5/{}.h5", "outcomes/store_patches/hdf5/{}.json")
    return {results / name.format(slide) for slide in slides for name in names}


def test_stores_of_a_backend_that_was_taken_out_are_named(without_hdf5, capsys):
    results = without_hdf5
    before = everything(results)
    assert main(["prune", str(results)]) == 0
    out = capsys.readouterr().out
    assert {path for path in named(out) if "gone" not in path.name} == of_hdf5(results, "kept", "kept.2")
    assert out.splitlines()[-1].endswith(
        "of 1 removed slide, and of 2 slides in hdf5, which the last run did not write; to delete them, add --delete"
    )
    assert everything(results) == before


def test_when_told_they_are_removed_and_all_else_is_whole(without_hdf5, capsys):
    results = without_hdf5
    rest = {path: data for path, data in everything(results).items() if "gone" not in str(path)}
    assert main(["prune", str(results), "--delete"]) == 0
    stores = of_hdf5(results, "kept", "kept.2")
    removed = stores | {path.parent for path in stores}
    left = everything(results)
    assert {path: data for path, data in rest.items() if path not in removed}.items() <= left.items()
    assert not removed & left.keys()
    capsys.readouterr()
    assert main(["verify", str(results)]) == 0
    assert main(["prune", str(results)]) == 0
    assert "no files of removed slides or backends are left\n" in capsys.readouterr().out


def test_a_folder_in_which_somebody_has_put_something_stays(without_hdf5):
    mine = without_hdf5 / "stores/hdf5/mine.txt"
    mine.write_text("mine")
    assert main(["prune", str(without_hdf5), "--delete"]) == 0
    assert mine.read_text() == "mine"
    assert not (without_hdf5 / "outcomes/store_patches/hdf5").exists()


def test_the_file_over_the_stores_goes_with_them_and_stays_otherwise(without_hdf5, capsys):
    joined = without_hdf5 / JOINED
    joined.write_bytes(b"12345")
    age(without_hdf5)
    write_plan(Plan({}, {}, ("lmdb", "hdf5", "disk")))
    assert main(["prune", str(without_hdf5), "--delete"]) == 0
    assert joined.exists()
    write_plan(Plan({}, {}, ("lmdb", "disk", "tar", "zarr")))
    assert main(["prune", str(without_hdf5), "--delete"]) == 0
    assert f"              5  {joined}\n" in capsys.readouterr().out
    assert not joined.exists()


def planned_again(results):
    write_plan(Plan({}, {}, ("lmdb", "hdf5", "disk")))


def younger(results):
    for path in of_hdf5(results, "kept", "kept.2"):
        if path.suffix == ".h5":
            os.utime(path, (1_000_000_020,) * 2)


def still_listed(results):
    """By a run to the stores alone, which gathers nothing."""
    write_tables(results, {"kept": "ok", "kept.2": "failed"})
    age(results)


def unknown(results):
    (results / PLAN).unlink()


def nothing_validated(results):
    write_tables(results, {"kept": "failed", "kept.2": "failed"}, ())
    age(results)


def not_the_workflows(results):
    for slide in ("kept", "kept.2"):
        (results / f"outcomes/store_patches/hdf5/{slide}.json").unlink()


@pytest.mark.cases
@pytest.mark.parametrize(
    "why",
    [planned_again, younger, still_listed, unknown, nothing_validated, not_the_workflows],
    ids=lambda why: why.__name__,
)
def test_what_a_run_may_want_again_is_no_backend_taken_out(without_hdf5, capsys, why):
    results = without_hdf5
    why(results)
    there = {path for path in of_hdf5(results, "kept", "kept.2") if path.exists()}
    assert there
    assert main(["prune", str(results), "--delete"]) == 0
    assert all(path.exists() for path in there)
    assert "which the last run did not have" not in capsys.readouterr().out


def test_a_plan_of_another_version_is_told(without_hdf5, capsys):
    write_json(PLAN, [])
    assert main(["prune", str(without_hdf5), "--delete"]) == 1
    assert f"{without_hdf5 / PLAN}: is of another version of slidemill: " in capsys.readouterr().err
    assert all(path.exists() for path in of_hdf5(without_hdf5, "kept"))


def test_locked_results_are_refused(results, capsys):
    lock = results / ".snakemake" / "locks" / "0.output.lock"
    lock.parent.mkdir(parents=True)
    lock.touch()
    before = everything(results)
    assert main(["prune", str(results), "--delete"]) == 1
    assert "is locked: a run is at work there, or was killed" in capsys.readouterr().err
    assert everything(results) == before


def test_results_that_a_run_holds_are_refused(results, capsys):
    record = results / ".snakemake"
    record.mkdir()
    with (results / HOLDER).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        assert main(["prune", str(results), "--delete"]) == 1
        assert "a run is at work there: wait for its end" in capsys.readouterr().err
    assert (results / store_path("lmdb", "gone")).exists()
    assert main(["prune", str(results), "--delete"]) == 0
    assert not (results / store_path("lmdb", "gone")).exists()
