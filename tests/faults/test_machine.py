"""Faults of the machine: a job fails with one message, leaves nothing half done, and is to be tried again."""

import errno
import os

import numpy as np
import pytest
import yaml

from slidemill.core.job_log import job_log
from slidemill.errors import SlidemillError
from tests.conftest import ROOT
from tests.faults.conftest import Cohort, apart

pytestmark = pytest.mark.cases

FILLED = """
import os, sys
from pathlib import Path
from slidemill.core.job_log import job_log
from tests.faults.conftest import Cohort

cohort, disk, backend = Cohort({folder!r}), Path({disk!r}), {backend!r}
cohort.config |= {{"results": str(disk), "stores": {{backend: {{"encoding": {encoding!r}}}}}}}
cohort.results = disk
cohort.add("good.svs")
(one,) = cohort.plan()
cohort.discover(one)
cohort.sample(one)
def old(disk):
    return [file for folder in ("stores/*", "metadata") for file in disk.glob(folder + "/*")]

for room in {rooms!r}:
    status = os.statvfs(disk)
    (disk / "filler").write_bytes(bytes(max(status.f_bavail * status.f_frsize - room, 0)))
    child = os.fork()
    if not child:
        os.chdir(disk)
        with job_log(disk / "log"):
            {work}
        os._exit(0)
    print("ended", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    print("left", [str(file) for file in disk.rglob("*") if file.name.endswith(".aside") or file in old(disk)])
    (disk / "filler").unlink()
{work}
print("at last", cohort.stored(one.slide) if {store} else "labelled")
"""


def filled(tmp_path, disk, work, rooms, backend="lmdb", encoding="zstd", store=True):
    values = {"folder": str(tmp_path), "disk": str(disk), "backend": backend, "encoding": encoding}
    return apart(FILLED.format(**values, work=work, rooms=rooms, store=store))


@pytest.mark.parametrize(
    ("backend", "encoding"),
    [
        ("lmdb", "raw"),
        ("lmdb", "png"),
        ("hdf5", "raw"),
        ("hdf5", "zstd"),
        ("disk", "png"),
        ("disk", "raw"),
        ("tar", "png"),
    ],
)
def test_a_full_disk_fails_the_job_with_one_message_and_leaves_nothing(tmp_path, small_disk, backend, encoding):
    """HDF5 ends the process where it cannot write at closing; LMDB tells of an input/output error."""
    rooms = (0, 4096, 8192, 40_000, 100_000, 180_000)
    done = filled(tmp_path, small_disk, "cohort.store(one, backend)", rooms, backend, encoding)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[:-1] == ["ended 1", "left []"] * len(rooms), done.stderr
    assert lines[-1].count("r0000") == 12, "with room again, the job is done"
    assert "Traceback" not in done.stderr
    messages = [line for line in done.stderr.splitlines() if line]
    assert len(messages) == len(rooms)
    for line in messages:
        assert line.startswith(f"slidemill: the disk of {small_disk}")
        assert line.endswith("is full (No space left on device): make room and run again")


def test_a_full_disk_fails_the_job_that_writes_a_table_too(tmp_path, small_disk):
    done = filled(tmp_path, small_disk, "cohort.label(one)", (0,), store=False)
    assert done.stdout.splitlines() == ["ended 1", "left []", "at last labelled"]
    assert done.stderr.strip() == (
        f"slidemill: the disk of {small_disk} is full (No space left on device): make room and run again"
    )


EMBEDDING_JOB = """
import os
from pathlib import Path
import torch
from slidemill.core.job_log import job_log
from slidemill.features.feature_file import open_features
from slidemill.stages.embed import embed_patches
from tests.stages.stored_job import write_job

folder, disk = Path({folder!r}), Path({disk!r})
os.chdir(disk)
own = write_job(disk, 80)
before = {{path for path in disk.rglob("*") if path.is_file()}}
for room in (0, 4096, 8192, 12_000, 16_000, 24_000):
    status = os.statvfs(disk)
    (disk / "filler").write_bytes(bytes(max(status.f_bavail * status.f_frsize - room, 0)))
    child = os.fork()
    if not child:
        with job_log(folder / "log"):
            embed_patches(own)
        os._exit(0)
    print("ended", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    print("left", [path.name for path in disk.rglob("*") if path.is_file() and path not in before])
    (disk / "filler").unlink()
embed_patches(own)
print("rows", len(open_features(own.features)))
"""


@pytest.mark.long
def test_full_disk_fails_a_job_that_embeds(tmp_path, small_disk):
    """HDF5 ends the process where it cannot write at closing."""
    pytest.importorskip("torch")
    done = apart(EMBEDDING_JOB.format(folder=str(tmp_path), disk=str(small_disk)))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [*["ended 1", "left ['filler']"] * 6, "rows 80"], done.stderr
    assert "Traceback" not in done.stderr
    messages = [line for line in done.stderr.splitlines() if line.startswith("slidemill: ")]
    assert len(messages) == 6
    for line in messages:
        assert line.startswith(f"slidemill: the disk of {small_disk}")
        assert line.endswith("is full (No space left on device): make room and run again")


EXPORTED = """
import os
from dataclasses import replace
from pathlib import Path
import numpy as np
from slidemill.cli.commands import main
from slidemill.core.stage_facts import SlideFacts
from tests.results import INFO, PATCHES, SAMPLED, SIZE, write_slide, write_tables

results, disk = Path({folder!r}) / "results", Path({disk!r})
# TRIDENT needs a magnification.
SAMPLED["facts"] = SlideFacts(info=replace(INFO, objective_power=20.0))
write_slide(results, "one", np.random.default_rng(0).integers(0, 256, (len(PATCHES), SIZE, SIZE, 3), np.uint8))
write_tables(results, {{"one": "ok"}})
status = os.statvfs(disk)
(disk / "filler").write_bytes(bytes(status.f_bavail * status.f_frsize))
print("ended", main(["export", str(results), str(disk / {name!r}), *{arguments!r}]))
print("left", [path.name for path in disk.iterdir()])
(disk / "filler").unlink()
print("ended", main(["export", str(results), str(disk / {name!r}), *{arguments!r}]))
"""


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("out.h5", ["--backend", "hdf5"]),
        ("out.h5", ["--backend", "disk"]),
        ("out.tar", ["--backend", "disk"]),
        ("out", ["--layout", "clam"]),
        ("out", ["--layout", "geojson"]),
        ("out", ["--layout", "trident"]),
        ("out", ["--layout", "slideflow"]),
    ],
)
def test_a_full_disk_ends_an_export_in_words(tmp_path, small_disk, name, arguments):
    if "slideflow" in arguments:
        pytest.importorskip("google_crc32c", reason="google-crc32c is not installed: pip install '.[slideflow]'")
    done = apart(EXPORTED.format(folder=str(tmp_path), disk=str(small_disk), name=name, arguments=arguments))
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if not line.startswith(str(small_disk))]
    assert lines == ["ended 1", "left ['filler']", "ended 0"]
    messages = [line for line in done.stderr.splitlines() if line.startswith("slidemill: ")]
    (message,) = messages
    assert message.startswith(f"slidemill: the disk of {small_disk}")
    assert message.endswith("is full (No space left on device): make room and run again")
    assert "Traceback" not in done.stderr


EMBEDDED = """
import os
from pathlib import Path
import numpy as np
from slidemill.errors import explain
from slidemill.features.feature_file import FeatureManifest, PatchPlaces, open_features, write_features

disk, rows = Path({disk!r}), np.ones((100, 500), np.float32)
places = PatchPlaces([f"r{{row:05}}_c00000" for row in range(100)], np.zeros((100, 2), np.int64), {{"name": "one"}})
manifest = FeatureManifest(name="uni", slide="one", fingerprint="f", model="mine")

def write():
    write_features(disk / "one.h5", manifest, places, batches=[rows[:50], rows[50:]])

for room in (0, 4096, 60_000, 120_000, 190_000):
    status = os.statvfs(disk)
    (disk / "filler").write_bytes(bytes(max(status.f_bavail * status.f_frsize - room, 0)))
    try:
        write()
    except OSError as error:
        print("ended", explain(error))
    print("left", [path.name for path in disk.iterdir()])
    (disk / "filler").unlink()
write()
print("at last", open_features(disk / "one.h5").shape)
"""


def test_a_full_disk_ends_embedding_in_words(tmp_path, small_disk):
    """HDF5 ends the process where it cannot write at closing."""
    done = apart(EMBEDDED.format(disk=str(small_disk)))
    assert done.returncode == 0, done.stderr
    full = f"ended the disk of {small_disk} is full (No space left on device): make room and run again"
    assert done.stdout.splitlines() == [full, "left ['filler']"] * 5 + ["at last (100, 500)"]


def test_results_that_may_not_be_written_are_refused_before_any_job(tmp_path, bound):
    code = (
        "from tests.faults.conftest import Cohort\n"
        f"cohort = Cohort({str(tmp_path)!r})\n"
        "cohort.add('good.svs'); cohort.results.chmod(0o555)\n"
        "cohort.plan()"
    )
    done = bound(code)
    assert done.returncode != 0
    assert f"ConfigError: results is {tmp_path}/results" in done.stderr
    assert "is not a writable folder: choose another" in done.stderr


UNWRITABLE = """
import os
from slidemill.core.job_log import job_log
from tests.faults.conftest import Cohort

cohort = Cohort({folder!r})
cohort.add("good.svs")
(one,) = cohort.plan()
cohort.discover(one)
cohort.sample(one)
os.chdir(cohort.results)
{before}
with job_log("log"):
    cohort.store(one, "lmdb")
"""


@pytest.mark.parametrize(
    ("before", "subject"),
    [
        ("(cohort.results / 'stores/lmdb').mkdir(parents=True); os.chmod('stores/lmdb', 0o555)", "stores/lmdb"),
        ("(cohort.results / 'stores').touch()", "stores"),
        ("(cohort.results / 'log').touch(mode=0o444)", "log"),
    ],
    ids=["a folder", "a file in the place of a folder", "a log"],
)
def test_what_cannot_be_written_in_the_results_is_named(tmp_path, bound, before, subject):
    done = bound(UNWRITABLE.format(folder=str(tmp_path), before=before))
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("slidemill: ")
    assert f"{tmp_path}/results/{subject}" in line
    assert line.endswith("check that disk and its permissions, and run again")


def test_a_table_that_may_not_be_written_is_replaced(tmp_path, bound):
    """A file is published by a rename, which asks its folder and not the file that was there."""
    before = "os.makedirs('outcomes/store_patches/lmdb')\n"
    before += "path = cohort.place('outcomes/store_patches/lmdb', one.slide); path.touch(mode=0o444)"
    done = bound(UNWRITABLE.format(folder=str(tmp_path), before=before))
    assert (done.returncode, done.stderr) == (0, "")


MACHINE = {
    "memory": (MemoryError(), "the memory was not enough for this job"),
    "the disk": (OSError(errno.ENOSPC, "No space left on device", "/data/x"), "the disk of /data/x is full"),
    "a quota": (OSError(errno.EDQUOT, "Disk quota exceeded", "/data/x"), "is full (Disk quota exceeded): make room"),
    "a network drive": (OSError(errno.ESTALE, "Stale file handle", "/data/x"), "/data/x: Stale file handle: check"),
    "a disk that breaks": (OSError(errno.EIO, "Input/output error"), "Input/output error: check that disk"),
}


@pytest.mark.parametrize(("error", "words"), MACHINE.values(), ids=MACHINE)
def test_a_fault_of_the_machine_ends_the_job_in_one_message(tmp_path, error, words):
    with pytest.raises(SystemExit) as ended, job_log(tmp_path / "log"):
        raise error
    assert words in ended.value.code
    assert "\n" not in ended.value.code
    log = (tmp_path / "log").read_text(encoding="utf-8")
    assert ended.value.code.removeprefix("slidemill: ") in log
    assert "Traceback" in log, "the log, and it alone, says where it happened"


def test_memory_that_there_is_not_is_told(tmp_path):
    with (
        pytest.raises(SystemExit, match="run with fewer cores, or give the job more memory"),
        job_log(tmp_path / "log"),
    ):
        np.empty(2**60, np.uint8)


def test_a_fault_of_the_program_keeps_its_traceback(tmp_path):
    with pytest.raises(KeyError), job_log(tmp_path / "log"):
        raise KeyError("x")
    assert "KeyError" in (tmp_path / "log").read_text(encoding="utf-8")


@pytest.mark.parametrize("stage", ["discover", "label", "store", "validate", "draw"])
def test_a_mount_that_goes_away_fails_the_job_and_blames_no_slide(cohort, stage):
    cohort.annotate("good")
    (one,) = cohort.plan()
    for before in ("discover", "sample", "label", "store", "validate", "draw"):
        if before == stage:
            break
        getattr(cohort, before)(one, *(["lmdb"] if before == "store" else []))
    made = sorted(cohort.results.rglob("*"))
    away = cohort.folder / "away"
    for folder in (cohort.slides, cohort.annotations):
        folder.rename(away.with_name(f"away-{folder.name}"))
        folder.mkdir()
    with pytest.raises(SlidemillError, match=r"good\.(svs|xml)"):
        getattr(cohort, stage)(one, *(["lmdb"] if stage == "store" else []))
    assert [path for path in sorted(cohort.results.rglob("*")) if path.is_file()] == [
        path for path in made if path.is_file()
    ]
    for folder in (cohort.slides, cohort.annotations):
        folder.rmdir()
        away.with_name(f"away-{folder.name}").rename(folder)
    assert cohort.run()["good.svs"]["status"] == "ok"


def test_a_scratch_folder_that_is_not_there_is_told(tmp_path):
    from slidemill.core.files import scratch_folder

    os.environ["SLIDEMILL_NOWHERE"] = str(tmp_path / "none")
    try:
        with pytest.raises(
            SlidemillError, match=r"scratch is \$SLIDEMILL_NOWHERE: .*none is not a folder here: make it"
        ):
            scratch_folder("$SLIDEMILL_NOWHERE")
    finally:
        del os.environ["SLIDEMILL_NOWHERE"]


@pytest.mark.long
def test_a_record_that_may_not_be_entered_is_told_before_any_job(tmp_path, bound):
    cohort = Cohort(tmp_path)
    cohort.add("good.svs")
    (cohort.results / ".snakemake").mkdir(mode=0)
    settings = tmp_path / "config.yaml"
    settings.write_text(yaml.safe_dump(cohort.config | {"annotations": None}))
    arguments = ["--snakefile", str(ROOT / "workflow/Snakefile"), "--cores", "1", "--configfile", str(settings)]
    done = bound(f"import os\nos.chdir({str(tmp_path)!r})\nfrom snakemake.cli import main\nmain({arguments!r})")
    assert done.returncode == 1
    assert f"{cohort.results}/.snakemake/slidemill.holder: Permission denied: check that disk" in done.stderr
    assert "nothing has been run" in done.stderr
    assert "Traceback" not in done.stderr
