"""`slidemill verify`: finished results, looked at again from the stores alone."""

import fcntl
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import slidemill.__main__
from slidemill.cli.commands import main
from slidemill.core.results_layout import SUFFIXES, WORKER, store_path
from slidemill.errors import machine_error
from slidemill.stages import verify as verification
from slidemill.stores.checks import check_store as really_checked
from tests.results import PATCHES, SIZE, write_a_store, write_slide, write_tables


@pytest.fixture(scope="module")
def made(tmp_path_factory, noise):
    """Results of two slides, as a run leaves them; nothing may write to them."""
    folder = tmp_path_factory.mktemp("made")
    for seed, slide in enumerate(("one", "two")):
        write_slide(folder, slide, noise(len(PATCHES), SIZE, seed))
    write_tables(folder, {"one": "ok", "two": "ok"})
    return folder


@pytest.fixture
def results(made, tmp_path):
    """A copy of them, times and all."""
    return shutil.copytree(made, tmp_path / "results")


def flip(path, place, bit=1):
    data = bytearray(path.read_bytes())
    data[place] ^= bit
    path.write_bytes(data)


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.cases
@pytest.mark.parametrize("jobs", [1, 3])
def test_whole_results_are_whole_and_stay_as_they_are(results, capsys, jobs):
    before = contents(results)
    assert main(["verify", str(results), "--jobs", str(jobs)]) == 0
    assert capsys.readouterr().out == "10 stores of 2 slides are intact\n"
    assert contents(results) == before


def test_results_without_stores_have_whole_tables(results, capsys):
    """An earlier run had stores: what is left of them is named, and its validation is not asked for."""
    write_tables(results, {"one": "ok", "two": "ok"}, backends=())
    (results / "outcomes/validate_stores/one.json").unlink()
    assert main(["verify", str(results)]) == 0
    said = capsys.readouterr()
    assert said.out == "the tables of 2 slides are intact; the run wrote no stores\n"
    assert said.err.count("is in no table of these results: remove it if it is not needed") == 10
    flip(results / "metadata/one.csv", 40)
    assert main(["verify", str(results)]) == 1
    assert capsys.readouterr().out.startswith(f"{results / 'metadata/one.csv'}: ")


def test_a_changed_patch_is_named_and_its_store(results, capsys):
    victim = results / store_path("disk", "two") / "r00001_c00002.png"
    flip(victim, -20)
    assert main(["verify", str(results)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert all(line.startswith(f"{victim.parent}: ") for line in lines[:-1])
    assert any("digests: r00001_c00002's bytes are not those that were written" in line for line in lines)
    assert lines[-1].startswith("1 of 10 stores, of 1 of 2 slides, are not intact")


@pytest.mark.cases
@pytest.mark.parametrize("backend", SUFFIXES)
def test_a_store_that_is_gone_is_said(results, capsys, backend):
    path = results / store_path(backend, "one")
    path.rename(results / "elsewhere")
    assert main(["verify", str(results)]) == 1
    assert f"{path}: opens: {path}: this store does not exist" in capsys.readouterr().out


def test_a_store_of_another_slide_in_its_place_is_said(results, capsys):
    (results / store_path("hdf5", "one")).write_bytes((results / store_path("hdf5", "two")).read_bytes())
    assert main(["verify", str(results)]) == 1
    out = capsys.readouterr().out
    assert "the manifest is of two in hdf5" in out
    assert "one: stores agree: r00000_c00000 differs between lmdb and hdf5" in out


def test_a_whole_store_of_fewer_patches_is_said(results, capsys, noise):
    write_a_store("lmdb", results / store_path("lmdb", "one"), "zstd", noise(6, SIZE)[:5], "one", PATCHES[:5])
    assert main(["verify", str(results)]) == 1
    assert "count: has 5 patches, and slides.csv 6" in capsys.readouterr().out


def test_a_store_that_ends_the_process_is_said_and_the_others_are_looked_at(results, capsys, monkeypatch):
    monkeypatch.setattr("slidemill.stores.checks.check_store", dies_over_lmdb_of_one)
    assert main(["verify", str(results), "--jobs", "1"]) == 1
    out = capsys.readouterr().out
    assert f"{results / store_path('lmdb', 'one')}: opens: " in out
    assert "the process that read it died (signal 11)" in out
    assert out.splitlines()[-1].startswith("1 of 10 stores, of 1 of 2 slides")


def dies_over_lmdb_of_one(path, expected, threads=1, known=()):
    """Stands for `check_store` in the process of its own."""
    if path.name == "one.lmdb":
        os.kill(os.getpid(), signal.SIGSEGV)
    return really_checked(path, expected, threads, known)


def test_stores_in_no_table_are_said_and_are_no_fault(results, capsys):
    write_tables(results, {"one": "ok"})
    assert main(["verify", str(results)]) == 0
    said = capsys.readouterr()
    assert said.out == "5 stores of 1 slide are intact\n"
    assert (
        f"{results / store_path('lmdb', 'two')} is in no table of these results: remove it if it is not needed"
        in said.err
    )


def test_the_stores_of_a_failed_slide_may_hold_less(results, capsys, noise):
    for backend in SUFFIXES:
        write_a_store(backend, results / store_path(backend, "one"), "raw", noise(6, SIZE)[:5], "one", PATCHES[:5])
    write_tables(results, {"one": "failed", "two": "ok"})
    assert main(["verify", str(results)]) == 0


@pytest.fixture
def at_work(results):
    """A run that has Snakemake's lock on the results, and works there until it is closed."""
    lock = results / ".snakemake" / "locks" / "0.output.lock"
    lock.parent.mkdir(parents=True)
    lock.touch()
    with (results / WORKER).open("w") as file:
        file.write("process 12 on node-7")
        file.flush()
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file


def test_a_run_at_work_is_said_first_and_its_stores_are_not_called_damaged(results, capsys, at_work):
    """Newer stores beside the tables of the last run are no damage."""
    (results / store_path("hdf5", "one")).write_bytes((results / store_path("hdf5", "two")).read_bytes())
    assert main(["verify", str(results)]) == 75
    said = capsys.readouterr()
    first = f"slidemill: {results}: a run is at work here (process 12 on node-7): "
    assert said.err.startswith(first)
    assert "the manifest is of two in hdf5" in said.out
    last = said.out.splitlines()[-1]
    assert last.startswith("1 of 10 stores, of 1 of 2 slides, are not those of the last finished run")
    assert "verify again when it has ended" in last


def test_what_is_whole_is_so_beside_a_run_at_work(results, capsys, at_work):
    assert main(["verify", str(results)]) == 0
    assert capsys.readouterr().out == "10 stores of 2 slides are intact\n"


def test_the_lock_of_a_killed_run_is_said(results, capsys, at_work):
    fcntl.flock(at_work, fcntl.LOCK_UN)
    (results / store_path("hdf5", "one")).unlink()
    assert main(["verify", str(results)]) == 75
    said = capsys.readouterr()
    assert said.err.startswith(f"slidemill: {results}: is locked: a run was killed here, or is at work on another")
    assert "if it was killed, run again first" in said.out.splitlines()[-1]


def test_a_run_that_began_meanwhile_is_said(results, capsys, monkeypatch, at_work):
    lock = results / ".snakemake" / "locks" / "0.output.lock"
    lock.unlink()
    (results / store_path("hdf5", "one")).unlink()
    monkeypatch.setattr("slidemill.cli.commands.verify", lambda *given: [verification.verify(*given), lock.touch()][0])
    assert main(["verify", str(results)]) == 75
    assert "(process 12 on node-7)" in capsys.readouterr().out.splitlines()[-1]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: folder, "this folder does not exist: name the folder of results"),
        (lambda folder: folder.mkdir(), "this is not a folder of results"),
        (lambda folder: (folder / "stores").mkdir(parents=True), "its run has not ended yet"),
    ],
    ids=["none", "another", "unfinished"],
)
@pytest.mark.parametrize("command", ["verify", "prune"])
def test_what_is_no_finished_run_is_said(tmp_path, capsys, make, message, command):
    folder = tmp_path / "there"
    make(folder)
    assert main([command, str(folder)]) == 1
    said = capsys.readouterr()
    assert message in said.err
    assert str(folder) in said.err
    assert said.out == ""


def test_ctrl_c_ends_it_with_a_word(results, capsys, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(verification, "_faults_of", interrupted)
    assert main(["verify", str(results)]) == 130
    assert "interrupted by Ctrl-C" in capsys.readouterr().err


@pytest.mark.long
def test_it_runs_as_a_command(results):
    command = [sys.executable, "-m", "slidemill", "verify", str(results), "--jobs", "2"]
    environment = os.environ | {"PYTHONPATH": str(Path(verification.__file__).parents[2])}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "10 stores of 2 slides are intact\n"
    assert done.stderr == "2 of 2 slides verified\n"


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("check_cohort", PermissionError(13, "Permission denied")),
        ("ThreadPoolExecutor", RuntimeError("can't start new thread")),
    ],
)
def test_machine_faults_of_the_whole_look_end_with_75(results, monkeypatch, capsys, name, fault):
    """Nothing is known of the results then, and nothing is named for removal."""

    def failing(*_, **__):
        raise machine_error(fault, results) or fault

    if name == "ThreadPoolExecutor":
        monkeypatch.setattr(verification.ThreadPoolExecutor, "submit", lambda *_: (_ for _ in ()).throw(fault))
    else:
        monkeypatch.setattr(verification, name, failing)
    assert main(["verify", str(results)]) == 75
    said = capsys.readouterr()
    assert "the results cannot be checked: " in said.err
    assert "remove" not in said.err + said.out


def test_ctrl_c_while_libraries_load_ends_it_with_a_word(capsys, monkeypatch):
    """Loading takes the first second of each command."""

    class Loading(ModuleType):
        def __getattr__(self, name):
            raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules, "slidemill.cli.commands", Loading("slidemill.cli.commands"))
    assert slidemill.__main__.main() == 130
    assert capsys.readouterr().err == "slidemill: ended by Ctrl-C\n"
