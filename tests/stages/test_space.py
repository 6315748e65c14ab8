"""The check of the free space before the first store."""

import json
import shutil
from types import SimpleNamespace

import pytest

from slidemill.core.results_layout import SPACE, STORE_STAGES, outcome_file, store_path
from slidemill.core.specs import StoreSpec
from slidemill.errors import SlidemillError
from slidemill.stages import space
from slidemill.stages.space import PICTURES, TABLES, SpaceJob, check_space
from tests.measuring.conftest import GRID, sampled

PATCHES, SLIDES = 264, 3


@pytest.fixture
def made(tmp_path):
    return sampled(tmp_path)


@pytest.fixture
def check(made, monkeypatch):
    """Check stores with so many free bytes, and return what was found."""

    def run(free, stores, **settings):
        monkeypatch.setattr(space.shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
        target = made.results / SPACE
        job = SpaceJob(
            root=made.slides,
            sampled=made.outcomes,
            stores={name: StoreSpec(encoding) for name, encoding in stores.items()},
            grid=GRID,
            seed=0,
            space=target,
            **settings,
        )
        check_space(job)
        return json.loads(target.read_text(encoding="utf-8"))

    return run


def stored(made, backend, spec):
    """Write all stores of a backend where a run has them."""
    total = 0
    for slide in made.ids:
        path = made.results / store_path(backend, slide)
        path.parent.mkdir(parents=True, exist_ok=True)
        made.store(backend, spec, slide, path)
        outcome = made.results / outcome_file(STORE_STAGES[backend], slide)
        outcome.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(path.with_name(f"{path.name}.json"), outcome)
        total += sum(file.stat().st_size for file in (path.iterdir() if path.is_dir() else [path]))
    return total


def test_stores_that_fit_pass(check, made):
    found = check(10**12, {"lmdb": "raw", "tar": "png"})
    assert found["needed"] == sum(found["stores"].values()) + PATCHES * TABLES + SLIDES * PICTURES
    assert found["stores"]["tar"] == pytest.approx(stored(made, "tar", StoreSpec("png")), rel=0.1)


@pytest.mark.parametrize("backend", ["lmdb", "hdf5"])
def test_sizes_of_cut_patches_are_those_of_the_tiles(check, made, backend):
    """Patches of 64 px on tiles of 240."""
    found = check(10**12, {backend: "source"})
    assert found["stores"][backend] == pytest.approx(stored(made, backend, StoreSpec("source")), rel=0.1)


def test_sizes_of_raw_stores_need_no_slide(check, made):
    size = stored(made, "lmdb", StoreSpec("raw"))
    shutil.rmtree(made.results / "stores")
    shutil.rmtree(made.slides)
    assert check(10**12, {"lmdb": "raw"})["stores"]["lmdb"] == pytest.approx(size, rel=0.005)


def test_stores_that_do_not_fit_are_refused_with_figures(check, made):
    with pytest.raises(SlidemillError) as refused:
        check(5_000_000, {"lmdb": "raw", "hdf5": "raw"})
    text = str(refused.value)
    assert text.startswith(f"{made.results}: the stores of 264 patches will not fit: the run needs about 10.")
    assert "(lmdb raw 4.43 MB, hdf5 raw 3." in text
    assert "5 MB are free; no store is written." in text
    assert all(word in text for word in ("fewer backends", "zstd", "tissue.min_fraction", "--config force=true"))
    assert not (made.results / SPACE).exists()


def test_a_forced_run_goes_on_with_a_warning(check, caplog):
    assert check(5_000_000, {"lmdb": "raw", "hdf5": "raw"}, force=True)["free"] == 5_000_000
    assert "will not fit" in caplog.text
    assert "continued, since force is true" in caplog.text


def test_finished_stores_need_nothing(check, made):
    stored(made, "lmdb", StoreSpec("raw"))
    assert check(0, {"lmdb": "raw"}) == {"needed": 0, "free": 0, "stores": {"lmdb": 0}}


def test_stores_of_another_encoding_make_room_when_they_are_replaced(check, made):
    old = stored(made, "lmdb", StoreSpec("raw"))
    found = check(10**12, {"lmdb": "png"})
    room = found["stores"]["lmdb"] + PATCHES * TABLES + SLIDES * PICTURES - found["needed"]
    # The largest old store is still there while its successor is written.
    assert 0 < room < old


def test_scratch_must_hold_the_largest_store(check, tmp_path):
    with pytest.raises(
        SlidemillError, match=r"; scratch is .*: the largest store will not fit: it takes about 3\.2\d MB"
    ):
        check(2_000_000, {"lmdb": "raw"}, scratch=tmp_path)


def test_slides_that_cannot_be_read_are_left_to_their_jobs(check, made):
    shutil.rmtree(made.slides)
    assert check(10**12, {"lmdb": "zstd"})["stores"]["lmdb"] == 0
