"""What `slidemill verify` names is removed as it says, and a plain run makes it again, the same as before."""

import os
import random
import re
import shutil
from pathlib import Path

import pytest

from slidemill.cli.commands import main
from slidemill.core.csv_tables import read_table
from tests.conftest import ROOT
from tests.workflow.conftest import Project
from tests.workflow.shared import copy_of, made_once

pytestmark = pytest.mark.long

OF_A_SLIDE = {
    "slides/one-*.json": "discover_slides",
    "patches/one-*.csv": "sample_patches",
    "dropped/one-*.csv": "sample_patches",
    "outcomes/sample_patches/one-*.json": "sample_patches",
    "metadata/one-*.csv": "write_metadata",
    "outcomes/write_metadata/one-*.json": "write_metadata",
    "outcomes/store_patches/hdf5/one-*.json": "store_patches_hdf5",
    "validation/one-*.csv": "validate_stores",
    "outcomes/validate_stores/one-*.json": "validate_stores",
    "stores/lmdb/one-*.lmdb": "store_patches_lmdb",
    "stores/disk/one-*/index.csv": "store_patches_disk",
    "stores/tar/one-*.tar": "store_patches_tar",
}
OF_THE_COHORT = {
    **dict.fromkeys(
        ("slides.csv", "metadata.csv", "metadata.parquet", "stores.csv", "unreadable.csv", "validation.csv"),
        "gather_results",
    ),
    "tables.seal.json": "gather_results",
    "splits.csv": "split_slides",
    "splits.seal.json": "split_slides",
}
HOLDS_SEALS = re.compile(r"\.seal\.json|outcomes/(write_metadata|validate_stores)/")
"""Files without which others cannot be checked."""
MEASURED = ("seconds", "peak_mb")
"""Columns of stores.csv that are another in each run."""


def all_backends(folder):
    """A finished run over two slides, with all backends and folds."""
    project = Project(folder)
    project.config |= {"stores": {"lmdb": {}, "hdf5": {}, "disk": {}, "tar": {}}, "splits": {"folds": 2}}
    project.add("one.svs", seed=1)
    project.add("two.svs", seed=2)
    finished = project.snakemake()
    assert finished.code == 0, finished.text
    return project


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    return made_once(tmp_path_factory, "all-backends", all_backends)


@pytest.fixture
def copied(done, tmp_path):
    return copy_of(done, tmp_path / "copy")


def content(results):
    """What readers get of the results: stores and tables, byte for byte but for what is measured."""
    folders = ("stores", "patches", "dropped", "metadata", "validation")
    files = [path for folder in folders for path in (results / folder).rglob("*") if path.is_file()]
    files += [results / name for name in OF_THE_COHORT if name not in ("stores.csv", "tables.seal.json")]
    found = {path.relative_to(results): path.read_bytes() for path in files}
    stores = [{**row, **dict.fromkeys(MEASURED)} for row in read_table(results / "stores.csv")]
    return found | {"stores.csv": stores}


def flip(path, draw):
    """Flip a bit; of a store cut off the half, since not every bit of one is read."""
    data = bytearray(path.read_bytes())
    data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    damage(path, bytes(data[: len(data) // 2] if "stores" in path.parts else data))


def damage(path, data):
    """Change a file as a disk does: its time stays as it was."""
    times = path.stat()
    path.write_bytes(data)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def named_by_verify(results, capsys):
    """The files that verify says are to be removed."""
    capsys.readouterr()
    assert main(["verify", str(results)]) == 1
    lines = capsys.readouterr().out.splitlines()
    found = {Path(match[1]) for line in lines if (match := re.match(r"(/[^:]+): .*remove it and run again$", line))}
    assert found
    return found


def removed(paths):
    for path in paths:
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def heal(project, capsys, damaged):
    """Follow what verify says until it says nothing more, which must have named what was damaged."""
    named = named_by_verify(project.results, capsys)
    assert {path.parent if path.name == "index.csv" else path for path in damaged} <= named
    removed(named)
    finished = project.snakemake()
    assert finished.code == 0, finished.text
    assert main(["verify", str(project.results)]) == 0, capsys.readouterr().out


def test_damaged_digit_of_stores_csv_heals(copied, capsys):
    before = content(copied.results)
    table = copied.results / "stores.csv"
    text = table.read_text()
    (row, *_) = [line for line in text.splitlines() if ",lmdb," in line]
    digest = re.search(r"[0-9a-f]{32}", row)[0]
    damage(table, text.replace(digest, digest[:-1] + ("0" if digest[-1] != "0" else "1")).encode())
    assert "Nothing to be done" in copied.plan().text
    heal(copied, capsys, [table])
    assert content(copied.results) == before


def test_damage_of_every_kind_heals(copied, capsys):
    before = content(copied.results)
    draw = random.Random(3)
    kinds = [pattern for pattern in (*OF_A_SLIDE, *OF_THE_COHORT) if not HOLDS_SEALS.search(pattern)]
    damaged = [next(copied.results.glob(pattern)) for pattern in kinds]
    for path in damaged:
        flip(path, draw)
    heal(copied, capsys, damaged)
    assert content(copied.results) == before


KINDS = list(OF_A_SLIDE)
ALONE = [*zip(KINDS[::2], [kind.replace("/one-", "/two-") for kind in KINDS[1::2]], strict=True), *zip(OF_THE_COHORT)]
"""Each kind with no other of its slide: nothing of one slide comes from what is of the other."""


@pytest.mark.parametrize("patterns", ALONE, ids=" and ".join)
def test_damage_of_one_kind_heals(copied, capsys, patterns):
    before = content(copied.results)
    damaged = [next(copied.results.glob(pattern)) for pattern in patterns]
    for path, pattern in zip(damaged, patterns, strict=True):
        flip(path, random.Random(pattern))
    heal(copied, capsys, damaged)
    assert content(copied.results) == before


def test_removed_seals_are_planned_again(copied):
    """Snakemake by itself asks only for the end of the chain."""
    kinds = {pattern: rule for pattern, rule in (OF_A_SLIDE | OF_THE_COHORT).items() if HOLDS_SEALS.search(pattern)}
    assert len(kinds) == 4
    away = copied.folder / "lost"
    for pattern, rule in kinds.items():
        path = next(copied.results.glob(pattern))
        path.rename(away)
        assert rule in copied.plan().rules, path
        away.rename(path)


def test_damaged_table_fails_the_job_that_reads_it(copied, capsys):
    """A flipped label does not get into the cohort's table."""
    table = next(copied.results.glob("metadata/one-*.csv"))
    before, text = content(copied.results), table.read_text()
    damage(table, text.replace(",0,Normal,", ",1,Normal,", 1).encode())
    (copied.results / "metadata.csv").unlink()
    failed = copied.snakemake()
    assert failed.code != 0
    assert f"metadata/{table.name}: is not what was written" in failed.text
    assert "it is damaged or edited; remove it and run again" in failed.text
    table.unlink()
    finished = copied.snakemake()
    assert finished.code == 0, finished.text
    assert content(copied.results) == before


SAMPLING = {"patch_size": 64, "deepzoom_level": 10}
OTHER_RUNS = {
    "outcomes/write_metadata": (
        {"labels": {"map": {"Normal": 1, "Benign": 0}, "unannotated": "outside"}},
        ["metadata"],
    ),
    "outcomes/sample_patches": ({"quality": True}, ["patches", "dropped"]),
    "slides": ({"sampling": {**SAMPLING, "assume_mpp": 0.4}}, []),
}
"""By the folder of an outcome, what another run has configured, and the folders of the tables that it seals."""


@pytest.mark.parametrize("folder", OTHER_RUNS)
def test_restored_tables_of_another_run_are_refused(copied, tmp_path, capsys, folder):
    """A backup of a slide's table and its outcome fit each other, and are not of this configuration."""
    before, other = content(copied.results), copy_of(copied, tmp_path / "other")
    configured, tables = OTHER_RUNS[folder]
    other.config |= configured
    outcome = next(other.results.glob(f"{folder}/one-*.json")).relative_to(other.results)
    made = other.snakemake(str(outcome))
    assert made.code == 0, made.text
    for name in (outcome, *(Path(table, f"{outcome.stem}.csv") for table in tables)):
        shutil.copyfile(other.results / name, copied.results / name)
    assert copied.results / outcome in named_by_verify(copied.results, capsys)
    failed = copied.snakemake()
    assert failed.code != 0
    assert f"{outcome}: was made with other settings" in failed.text
    assert "unfinished" in next(row for row in read_table(copied.results / "unfinished/slides.csv"))["status"]
    (copied.results / outcome).unlink()
    finished = copied.snakemake()
    assert finished.code == 0, finished.text
    assert content(copied.results) == before


def test_changed_settings_run_again_without_complaint(copied, capsys):
    copied.config["labels"] = {"map": {"Normal": 1, "Benign": 0}, "unannotated": "skip"}
    copied.config["sampling"] = {**SAMPLING, "overlap": 8, "assume_mpp": 0.4}
    finished = copied.snakemake()
    assert finished.code == 0, finished.text
    assert main(["verify", str(copied.results)]) == 0, capsys.readouterr().out
    assert "Nothing to be done" in copied.plan().text


KILLED = """
import os, signal
from slidemill.core import seals as sealing
written = sealing.write_sealed
def dying(path, value):
    if str(path).endswith({seal!r}):
        os.killpg(0, signal.SIGKILL)
    written(path, value)
sealing.write_sealed = dying
"""


@pytest.mark.parametrize(("seal", "table"), [("tables.seal.json", "slides.csv"), ("splits.seal.json", "splits.csv")])
def test_run_killed_before_the_seal_heals(copied, tmp_path, monkeypatch, capsys, seal, table):
    """The tables are there then, and their digests are not."""
    before = content(copied.results)
    (copied.results / table).unlink()
    (tmp_path / "hook").mkdir()
    (tmp_path / "hook" / "sitecustomize.py").write_text(KILLED.format(seal=seal))
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'hook'}{os.pathsep}{ROOT / 'scripts'}")
    assert copied.snakemake(fresh=True, start_new_session=True).code == -9
    monkeypatch.undo()
    assert (copied.results / table).exists()
    assert not (copied.results / seal).exists()
    assert main(["verify", str(copied.results)]) in (0, 75)
    said = capsys.readouterr()
    assert (
        f"{copied.results / seal}: is missing" in said.out
        or f"{copied.results / table}): an earlier version wrote none" in said.err
    )
    finished = copied.snakemake()
    assert finished.code == 0, finished.text
    assert content(copied.results) == before
    assert main(["verify", str(copied.results)]) == 0, capsys.readouterr().out
