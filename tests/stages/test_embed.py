"""A job that embeds patches, killed at one moment after another."""

import multiprocessing
import os
import signal
from itertools import count

import pytest

from slidemill.core.specs import FeatureSpec, GridSpec
from slidemill.features.models import Encoder
from slidemill.stages.embed import EmbedJob, embed_patches
from slidemill.testing import write_svs
from tests.conftest import painted
from tests.faults.conftest import Cohort

pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch")

EVENTS = ((Encoder, "embed"), (os, "fsync"), (os, "rename"), (os, "replace"))


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
