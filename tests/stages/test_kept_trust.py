"""Which reader gives OpenSlide's pixels is found when a slide is sampled, and kept for its stores."""

from dataclasses import replace

import pytest

from slidemill.core.outcomes import read_outcome, write_outcome
from slidemill.core.specs import GridSpec, StoreSpec, WorkSpec
from slidemill.core.stage_facts import ReaderFacts
from slidemill.errors import SlidemillError
from slidemill.slides import reader_choice
from slidemill.stages.store import StoreJob, store_patches
from slidemill.stores.registry import open_store
from slidemill.testing import Scan, write_svs
from slidemill.tiles.tiled_level import TilesError
from tests.conftest import painted
from tests.slide_run import Run

GRID = GridSpec(128, level=0)
LMDB = {"lmdb": StoreSpec("raw")}


def write(folder, picture):
    write_svs(folder / "slide.svs", picture, scan=Scan(0.5, 20), downsamples=(1, 4))
    return folder / "slide.svs"


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A sampled and stored slide, with the names of the slides that were compared since."""
    own = Run(tmp_path, write, painted())
    own.compared = []
    compare = reader_choice._compare
    monkeypatch.setattr(
        reader_choice, "_compare", lambda *given, **named: own.compared.append(1) or compare(*given, **named)
    )
    own.stores(GRID, LMDB)
    assert len(own.compared) == 1  # by the sampling, and not by the store
    return own


def store(run):
    """Store again, and return the facts of the store and its pixels."""
    job = StoreJob(
        root=run.root,
        patches=run.folder / "patches.csv",
        sampled=run.folder / "sampled.json",
        backend="lmdb",
        settings=StoreSpec("raw"),
        grid=GRID,
        work=WorkSpec("auto", 2, seed=1),
        store=run.folder / "again.lmdb",
        outcome=run.folder / "again.json",
    )
    store_patches(job)
    with open_store(job.store) as stored:
        return read_outcome(job.outcome).store, stored.manifest.pixel_digests


def change_reading(run, reading):
    path = run.folder / "sampled.json"
    found = read_outcome(path)
    write_outcome(path, replace(found, sample=replace(found.sample, reading=reading(found.sample.reading))))


CHANGES = {
    "nothing": lambda reading: reading,
    "other libraries": lambda reading: replace(reading, versions={**reading.versions, "simplejpeg": "0"}),
    "no versions": lambda reading: replace(reading, versions={}),
    "not known": lambda reading: None,
    "OpenSlide": lambda reading: ReaderFacts(reader="openslide", reason="its pixels differ"),
}


@pytest.mark.cases
@pytest.mark.parametrize("change", CHANGES)
def test_samples_are_compared_again_unless_trust_holds(run, change):
    before, pixels = store(run)
    change_reading(run, CHANGES[change])
    run.compared.clear()
    facts, again = store(run)
    assert len(run.compared) == (change != "nothing")
    assert facts.reader == before.reader == "tiles"
    assert "parts are as OpenSlide reads them" in facts.reader_reason
    assert again == pixels


def test_outcome_without_its_grid_is_compared_again(run):
    """As earlier versions wrote it: nothing says which grid was compared."""
    path = run.folder / "sampled.json"
    found = read_outcome(path)
    write_outcome(path, replace(found, sample=replace(found.sample, sampling=None)))
    run.compared.clear()
    facts, _ = store(run)
    assert facts.patches
    assert len(run.compared) == 1


def test_trust_that_was_kept_does_not_outlive_the_slide(run):
    """The fingerprint is compared before and after the pixels are read."""
    other = painted(seed=2)
    write(run.root, other)
    with pytest.raises(SlidemillError, match="is not what it was when the run was planned"):
        store(run)


def test_edited_outcome_is_rejected(run):
    """Nobody can lend a slide trust by an edit."""
    change_reading(run, CHANGES["OpenSlide"])
    path = run.folder / "sampled.json"
    text = path.read_text(encoding="utf-8")
    assert '"reader": "openslide"' in text or '"reader":"openslide"' in text
    path.write_text(text.replace("its pixels differ", "they are equal"), encoding="utf-8")
    with pytest.raises(SlidemillError, match=r"sampled\.json"):
        store(run)


def test_structure_is_checked_although_trust_is_kept(run, monkeypatch):
    """Only the comparison is spared: a level that cannot be opened by tiles goes to OpenSlide."""

    def fail(*_):
        raise TilesError("a tile is missing")

    _, pixels = store(run)
    monkeypatch.setattr(reader_choice, "open_level", fail)
    facts, again = store(run)
    assert (facts.reader, facts.reader_reason, again) == ("openslide", "a tile is missing", pixels)
