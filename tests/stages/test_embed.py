"""A job that embeds patches: its faults, its memory, and kills at one moment after another."""

import errno
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from contextlib import chdir
from dataclasses import replace
from itertools import count

import h5py
import numpy as np
import pytest

from slidemill.core.outcomes import read_outcome
from slidemill.core.results_layout import store_path
from slidemill.core.specs import FeatureSpec, GridSpec
from slidemill.errors import MachineError, ModelError, SlidemillError, StoreError
from slidemill.features.feature_file import open_features
from slidemill.features.models import open_encoder
from slidemill.stages import embed
from slidemill.stages.embed import EmbedJob, embed_patches
from slidemill.stores.registry import open_store
from slidemill.testing import write_svs
from tests.conftest import ROOT, painted
from tests.faults.conftest import Cohort

pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch")

from tests.features import tiny
from tests.stages.stored_job import write_job

EVENTS = ((tiny.Mean, "forward"), (os, "fsync"), (os, "rename"), (os, "replace"))


def embed_killed(job, moment):
    """Embed, and be killed in the place of an event: a batch, a synced file, or a rename."""
    events = count()

    def counted(function):
        def call(*given, **named):
            if next(events) == moment:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*given, **named)

        return call

    for owner, name in EVENTS:
        setattr(owner, name, counted(getattr(owner, name)))
    embed_patches(job)


def a_job(cohort, folder):
    (slide,) = (path.stem for path in (cohort.results / "patches").iterdir())
    return EmbedJob(
        root=cohort.checked.root,
        patches=cohort.results / f"patches/{slide}.csv",
        found=cohort.results / f"outcomes/sample_patches/{slide}.json",
        name="mean",
        spec=FeatureSpec("tests.features.tiny:mean", batch=2),
        grid=GridSpec(64, level=0),
        features=folder / "features" / f"{slide}.h5",
        outcome=folder / "outcomes" / f"{slide}.json",
        sample=3,
        device="cpu",
    )


@pytest.mark.long
def test_job_killed_at_any_moment_loses_nothing(tmp_path):
    """The file is absent or whole after each kill; a plain run makes it, and leaves nothing over."""
    cohort = Cohort(tmp_path)
    write_svs(cohort.slides / "a.svs", painted(512, 384))
    cohort.config |= {"stores": {}, "sampling": {"patch_size": 64, "level": 0}}
    cohort.run()
    alone, job = a_job(cohort, tmp_path / "alone"), a_job(cohort, tmp_path / "killed")
    embed_patches(alone)
    expected = alone.features.read_bytes()
    # Jobs are forked from a process that has loaded torch and has used none of its threads.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "slidemill.stages.embed", "tests.features.tiny"])
    ends = []
    while not ends or ends[-1]:
        process = context.Process(target=embed_killed, args=(job, len(ends)))
        process.start()
        process.join()
        ends.append(process.exitcode)
        assert not job.features.exists() or job.features.read_bytes() == expected
    assert set(ends[:-1]) == {-signal.SIGKILL}
    assert len(ends) > 20
    assert job.features.read_bytes() == expected
    assert {path.name for path in (tmp_path / "killed").rglob("*") if path.is_file()} == {
        job.features.name,
        job.outcome.name,
    }


def published(job):
    """The files that a job has published or left."""
    folders = (job.features.parent, job.outcome.parent)
    return [path for folder in folders if folder.exists() for path in folder.iterdir()]


def test_features_of_store_are_those_of_its_patches(tmp_path):
    job = write_job(tmp_path, 11)
    embed_in(tmp_path, job)
    with open_store(tmp_path / store_path("lmdb", "slide")) as store:
        expected = store.read_many(store.ids).mean(axis=(1, 2))
    found = open_features(job.features)
    assert np.allclose(found.features(), expected, rtol=1e-5)
    assert found.patch_ids == list(store.ids)
    outcome = read_outcome(job.outcome)
    assert (outcome.status, outcome.features.rows, outcome.features.dim) == ("ok", 11, 3)
    assert {check["status"] for check in outcome.features.checks} == {"ok"}


def embed_in(folder, job):
    """Embed with `folder` as working directory, which is the results folder of a run."""
    with chdir(folder):
        embed_patches(job)


def test_nan_fails_the_slide_and_names_the_patch(tmp_path):
    job = write_job(tmp_path, model="tests.features.tiny:nan_where_dark")
    embed_in(tmp_path, job)
    outcome = read_outcome(job.outcome)
    assert (outcome.status, outcome.stage) == ("failed", "embed_patches")
    assert "returns NaN or infinity for patch r" in outcome.message
    assert len(open_features(job.features)) == 0


def test_batch_that_exceeds_device_memory_names_batch(tmp_path):
    job = write_job(tmp_path, model="tests.features.tiny:out_of_memory")
    with pytest.raises(ModelError, match=r"features\.own\.batch is 4: the memory of cpu is not enough .* lower it"):
        embed_in(tmp_path, job)
    assert not published(job)


def test_damaged_store_publishes_nothing(tmp_path):
    """The job fails, and blames the store."""
    job = write_job(tmp_path)
    store = tmp_path / store_path("lmdb", "slide")
    with open_store(store) as opened:
        size = len(opened.read_stored(opened.ids[0]))
    assert size == 64 * 64 * 3
    store.write_bytes(store.read_bytes()[: 2 * 4096])
    with pytest.raises(StoreError, match=r"slide\.lmdb: "):
        embed_in(tmp_path, job)
    assert not published(job)


def test_store_of_other_patches_is_refused(tmp_path):
    """Such as one of an earlier run: rows would be those of other squares."""
    write_job(tmp_path / "other", 13)
    job = write_job(tmp_path / "own", 12)
    (tmp_path / "own" / store_path("lmdb", "slide")).unlink()
    (tmp_path / "other" / store_path("lmdb", "slide")).rename(tmp_path / "own" / store_path("lmdb", "slide"))
    with pytest.raises(StoreError, match="its patches are not those of"):
        embed_in(tmp_path / "own", job)
    assert not published(job)


def test_disk_that_fills_in_the_middle_publishes_nothing(tmp_path, monkeypatch):
    """The third batch finds no room: one message, no file; with room again, the job is done."""
    job = write_job(tmp_path)
    write, writes = h5py.Dataset.__setitem__, count()

    def fail(dataset, rows, values):
        if dataset.name == "/features" and next(writes) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(dataset, rows, values)

    with monkeypatch.context() as patched:
        patched.setattr(h5py.Dataset, "__setitem__", fail)
        with pytest.raises((OSError, MachineError), match="No space left on device"):
            embed_in(tmp_path, job)
    assert next(writes) == 3
    assert not published(job)
    embed_in(tmp_path, job)
    assert read_outcome(job.outcome).status == "ok"


def run(code):
    """Run code in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "scripts")])}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)


def test_slide_that_changed_after_the_plan_fails_no_slide(tmp_path):
    """A run without stores reads slides: one that changed ends the job, and no row blames it."""
    cohort = Cohort(tmp_path)
    write_svs(cohort.slides / "a.svs", painted(256, 256))
    cohort.config |= {"stores": {}, "sampling": {"patch_size": 64, "level": 0}}
    cohort.run()
    job = a_job(cohort, tmp_path / "own")
    write_svs(cohort.slides / "a.svs", painted(256, 256)[::-1].copy())
    with pytest.raises(SlidemillError, match="the slide is not what it was when the run was planned"):
        embed_patches(job)
    assert not published(job)


def test_patches_of_slides_are_prepared_while_the_model_works(tmp_path, monkeypatch):
    cohort = Cohort(tmp_path)
    write_svs(cohort.slides / "a.svs", painted(256, 256))
    cohort.config |= {"stores": {}, "sampling": {"patch_size": 64, "level": 0}}
    cohort.run()
    prepared, second = [], threading.Event()

    def open_observed(*given):
        own = open_encoder(*given)

        def prepare(pixels):
            prepared.append(own.prepare(pixels))
            if len(prepared) == 2:
                second.set()
            return prepared[-1]

        def encode(batch):
            # The model has the first batch, and waits for the second to be prepared meanwhile.
            assert second.wait(60)
            return own.encode(batch)

        return replace(own, prepare=prepare, encode=encode)

    monkeypatch.setattr(embed, "open_encoder", open_observed)
    job = a_job(cohort, tmp_path / "own")
    embed_patches(job)
    assert read_outcome(job.outcome).status == "ok"


MEASURING = """
import os
from pathlib import Path
from tests.stages.stored_job import most_memory

os.chdir({folder!r})
print(most_memory(Path({folder!r}), {count}, {batch}))
"""


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_memory_does_not_grow_with_the_number_of_patches(tmp_path):
    """Four times as many patches, 37 MB more, take no more memory than is read ahead; a larger batch does."""
    taken = {}
    for number, (patches, batch) in enumerate(((1000, 32), (4000, 32), (4000, 256))):
        folder = tmp_path / str(number)
        folder.mkdir()
        done = run(MEASURING.format(folder=str(folder), count=patches, batch=batch))
        assert done.returncode == 0, done.stderr
        taken[patches, batch] = float(done.stdout)
    assert taken[4000, 32] < taken[1000, 32] + 8
    assert taken[4000, 256] < 60
