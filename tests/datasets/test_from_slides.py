"""Datasets that read the slides themselves: the pixels of a lossless store, by tiles or by OpenSlide."""

import gc
import json
import os
import pickle
import shutil
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import closing
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import openslide
import pytest

from slidemill import open_dataset
from slidemill.core.csv_tables import read_table
from slidemill.core.results_layout import COHORT_SEALS, SLIDE_RECORDS
from slidemill.datasets import slide_pool
from slidemill.datasets._slide_patches import SlideSource
from slidemill.datasets.export import export
from slidemill.datasets.shuffle import order
from slidemill.errors import SlideError, SlidemillError
from slidemill.show import stitched_beside_thumbnail
from slidemill.stores.tile_cuts import CACHE, TileCache
from slidemill.testing import write_svs
from slidemill.tiles.tiled_level import TiledLevel, TilesError
from tests.conftest import painted
from tests.faults.conftest import Cohort
from tests.formats import FORMATS
from tests.profiles import matrix_profile
from tests.project.test_recipes import run as run_recipe
from tests.tiffs import STRUCTURES, Structure, write

pytestmark = pytest.mark.cases

LOSSLESS = {"lmdb": {"encoding": "raw"}}
SAMPLING = {
    "overlapping": {"patch_size": 100, "overlap": 10, "level": 0},
    "padded": {"patch_size": 100, "overlap": 7, "level": 0, "edges": "pad"},
    "coarser level": {"patch_size": 48, "level": 1, "edges": "pad"},
    "DeepZoom level between": {"patch_size": 64, "deepzoom_level": 9},
    "mpp": {"patch_size": 64, "mpp": 1.1},
    "magnification": {"patch_size": 50, "overlap": 3, "magnification": 10, "edges": "pad"},
    "tiles": {"patch_size": 128, "level": 0},
}


def run(folder, **config):
    """A finished run of the slides in a folder."""
    cohort = Cohort(folder)
    cohort.config |= {"stores": LOSSLESS, **config}
    cohort.slide_rows = cohort.run()
    assert {row["status"] for row in cohort.slide_rows.values()} == {"ok"}, cohort.slide_rows
    return cohort


def write_slides(folder):
    """Three slides: tiles of 128, tiles of 240, and one that OpenSlide reads."""
    slides = folder / "slides"
    slides.mkdir(exist_ok=True)
    write_svs(slides / "a.svs", painted(700, 520, seed=1), tile=128)
    write_svs(slides / "b.svs", painted(530, 640, seed=2), tile=240)
    next(one for one in FORMATS if one.name == "Trestle").write(slides, painted(1024, 768, seed=4))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The results of three slides with a lossless store and one of tiles; nothing may write to them."""
    folder = tmp_path_factory.mktemp("from-slides")
    write_slides(folder)
    return run(folder, sampling={"patch_size": 100, "level": 0})


@pytest.fixture
def both(made):
    with open_dataset(made.results) as stored, open_dataset(made.results, "slides") as straight:
        yield stored, straight


def assert_same(stored, straight, seed=0):
    """The datasets differ in nothing but where their pixels are from, and in the order of blocks."""
    assert straight.table.equals(stored.table)
    assert (straight.slides, dict(straight.classes)) == (stored.slides, dict(stored.classes))
    assert dict(straight.fingerprints) == dict(stored.fingerprints)
    count = len(stored)
    assert count
    places = np.random.default_rng(seed).integers(0, count, 2 * count)
    np.testing.assert_array_equal(straight.read(places), truth := stored.read(places))
    ids = stored.stored.ids(places)
    known = dict(zip(ids, truth, strict=True))
    for shuffle, augment, workers in ((False, False, 0), ("exact", True, 2)):
        asked = {"shuffle": shuffle, "seed": seed, "epoch": 1, "augment": augment, "workers": workers}
        for one, other in zip(stored.batches(7, **asked), straight.batches(7, **asked), strict=True):
            assert one.ids == other.ids
            np.testing.assert_array_equal(one.labels, other.labels)
            np.testing.assert_array_equal(one.pixels, other.pixels)
    seen = []
    for batch in straight.batches(5, shuffle="blocks", seed=seed):
        seen += batch.ids
        for name, pixels in zip(batch.ids, batch.pixels, strict=True):
            if name in known:
                np.testing.assert_array_equal(pixels, known[name], name)
    assert sorted(seen) == sorted(stored.stored.ids(np.arange(count)))


@pytest.mark.long
@pytest.mark.parametrize("kind", FORMATS, ids=lambda one: one.name)
def test_formats_are_read_as_they_are_stored(tmp_path, kind):
    kind.write((tmp_path / "slides").mkdir() or tmp_path / "slides", painted(1024, 768))
    done = run(tmp_path, sampling={"patch_size": 100, "overlap": 10, "level": 0, "edges": "pad"})
    with open_dataset(done.results) as stored, open_dataset(done.results, "slides") as straight:
        assert_same(stored, straight)
        (slide,) = straight.slides
        (row,) = done.slide_rows.values()
        assert straight.stored.pool.reading(slide).reader == row["reader"]


@pytest.mark.parametrize("structure", STRUCTURES, ids=lambda one: one.name)
def test_tiles_of_every_structure_are_read_as_they_are_stored(tmp_path, structure):
    slides = tmp_path / "slides"
    slides.mkdir()
    suffix = {"philips": ".tiff", "ventana": ".bif", "generic-tiff": ".tif"}.get(structure.vendor, ".svs")
    write(slides / f"a{suffix}", painted(620, 410), structure)
    done = run(tmp_path, sampling={"patch_size": 100, "level": 0, "edges": "pad"})
    with open_dataset(done.results) as stored, open_dataset(done.results, "slides") as straight:
        assert_same(stored, straight)


@pytest.mark.long
@pytest.mark.parametrize("name", SAMPLING)
def test_grids_are_read_as_they_are_stored(tmp_path, name):
    slides = tmp_path / "slides"
    slides.mkdir()
    write_svs(slides / "a.svs", painted(1032, 776), tile=128)
    done = run(tmp_path, sampling=SAMPLING[name])
    with open_dataset(done.results) as stored, open_dataset(done.results, "slides") as straight:
        assert_same(stored, straight, seed=3)
        assert straight.stored.pool.reading(straight.slides[0]).reader == "tiles"


@pytest.mark.parametrize("reader", ["auto", "openslide"])
def test_colours_are_converted_as_in_a_store(tmp_path, reader):
    slides = tmp_path / "slides"
    slides.mkdir()
    profile = matrix_profile()
    write(slides / "a.svs", painted(400, 300), Structure("a"), tags=((34675, 7, len(profile), profile, True),))
    done = run(tmp_path, icc="srgb", reader=reader, sampling={"patch_size": 100, "level": 0, "edges": "pad"})
    with open_dataset(done.results) as stored, open_dataset(done.results, "slides") as straight:
        (slide,) = straight.slides
        assert straight.stored.pool.colours(slide) == stored.stored.pool.colours(slide) != "ignore"
        assert straight.stored.pool.reading(slide).reader == ("openslide" if reader == "openslide" else "tiles")
        assert_same(stored, straight)


@pytest.mark.long
def test_blocks_follow_neighbours(made, both):
    """The order of shuffled blocks is that of a store of the slide's tiles."""
    _, straight = both
    own = straight.stored
    wanted = order(own.codes, "blocks", 3, 2, cells=(own.columns, own.rows))
    np.testing.assert_array_equal(own.order("blocks", 3, 2), wanted)
    assert len(own.pool._open) == 0  # an order opens nothing


@pytest.mark.long
def test_datasets_of_slides_are_selected_split_and_shown(made, both):
    stored, straight = both
    assert repr(straight) == f"Dataset({len(stored)} patches of 3 slides, slides, {made.results})"
    assert_same(stored.select(query="column > 1"), straight.select(query="column > 1"))
    for number in range(2):
        folds = [one.split(2, by="slide").fold(number) for one in both]
        assert [own.slides for own in folds[0]] == [own.slides for own in folds[1]]
    assert stitched_beside_thumbnail(straight, "a", made.slides) is not None
    patch = straight[3]
    np.testing.assert_array_equal(patch.pixels, stored[3].pixels)
    assert patch.pixels.flags.writeable


@pytest.mark.long
def test_guide_runs(made):
    left = run_recipe("docs/how-to/training-without-stores.md", {"results": made.results, "slides": made.slides})
    assert left["ds"].backend == "slides"
    assert len(left["batch"].ids) == 64


def test_what_needs_a_store_says_so(made, both, tmp_path):
    _, straight = both
    for needing in (lambda: straight.store("a"), lambda: export(straight, tmp_path / "out.tar")):
        with pytest.raises(SlidemillError, match=r"reads the slides themselves .*open the dataset with the backend"):
            needing()
    with pytest.raises(SlidemillError, match="only backend 'slides' reads slides"):
        open_dataset(made.results, "lmdb", slides=made.slides)


@pytest.mark.long
def test_threads_forks_and_pickles_read_slides(both):
    stored, straight = both
    truth = stored.read(range(len(stored)))
    straight.read([0, len(truth) - 1])  # a handle of each kind is open

    def read(place):
        return np.array_equal(straight.read([place])[0], truth[place])

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(read, [*range(len(truth))] * 2))
    children = []
    for _ in range(2):
        child = os.fork()
        if child == 0:
            os._exit(0 if np.array_equal(straight.read(range(len(truth))), truth) else 1)
        children.append(child)
    assert all(read(place) for place in range(0, len(truth), 3))
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
    again = pickle.loads(pickle.dumps(straight.stored))
    np.testing.assert_array_equal(again.read(np.arange(len(truth))), truth)
    assert len(pickle.dumps(straight.stored)) < 40_000


def read_all(stored):
    """Run by a spawned process."""
    return stored.read(np.arange(len(stored)))


@pytest.mark.long
def test_spawned_processes_read_slides(both):
    stored, straight = both
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        for found in pool.map(read_all, [straight.stored] * 2):
            np.testing.assert_array_equal(found, stored.read(range(len(stored))))


@pytest.mark.long
def test_torch_serves_slides(both):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch")
    from slidemill.torch import PatchDataset, PatchStream

    stored, straight = both
    for workers in (0, 2):
        loaded = [
            list(torch.utils.data.DataLoader(PatchDataset(one, augment=True), batch_size=6, num_workers=workers))
            for one in (stored, straight)
        ]
        for (one, label), (other, same) in zip(*loaded, strict=True):
            assert torch.equal(one, other)
            assert torch.equal(label, same)
    streams = [PatchStream(one, 6, shuffle="exact") for one in (stored, straight)]
    for (one, label), (other, same) in zip(*streams, strict=True):
        assert torch.equal(one, other)
        assert torch.equal(label, same)


def open_files():
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.long
def test_open_slides_are_bounded(made):
    before = open_files()
    with open_dataset(made.results, "slides", most_open=1) as dataset:
        for seed in range(3):
            for _ in dataset.batches(9, shuffle="exact", seed=seed, workers=2):
                assert len(dataset.stored.pool._open) <= 3  # threads may each have just opened one
        dataset.read([0])
        assert len(dataset.stored.pool._open) == 1
        assert open_files() <= before + 4
    assert open_files() == before
    assert dataset.stored.pool._cache is None  # what OpenSlide has decoded goes with the slides


def test_decoded_tiles_are_bounded_and_dropped(made, monkeypatch):
    cache = TileCache(3 * 240 * 240 * 4)
    monkeypatch.setattr("slidemill.datasets._slide_patches.CACHE", cache)
    with open_dataset(made.results, "slides") as dataset:
        for _ in dataset.batches(8):
            assert cache._bytes <= 3 * 240 * 240 * 4
        assert cache._tiles
    del dataset
    assert not cache._tiles
    assert cache._bytes == 0
    assert CACHE is not cache


def copied(made, folder):
    """A copy of results and slides that a test may change."""
    for name in ("slides", "results"):
        shutil.copytree(getattr(made, name), folder / name)
    path = folder / "results" / SLIDE_RECORDS
    return folder / "results", folder / "slides", path


def rewrite(path, change):
    """Change the records of slides, without seals."""
    value = json.loads(path.read_text())
    change(value)
    del value["seal"]
    path.write_text(json.dumps(value))
    (path.parent / COHORT_SEALS).unlink(missing_ok=True)


def test_moved_slides_are_named(made, both, tmp_path):
    stored, _ = both
    results, slides, path = copied(made, tmp_path)
    rewrite(path, lambda value: value.update(root=str(tmp_path / "away")))
    with open_dataset(results, "slides") as dataset, pytest.raises(SlideError, match=r"slides=FOLDER") as raised:
        dataset.read([0])
    assert str(tmp_path / "away" / "a.svs") in str(raised.value)
    with open_dataset(results, "slides", slides=slides) as dataset:
        assert_same(stored, dataset)


def test_changed_slide_is_refused_by_its_fingerprint(made, tmp_path):
    results, slides, _ = copied(made, tmp_path)
    whole = (slides / "a.svs").read_bytes()
    (slides / "a.svs").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with open_dataset(results, "slides", slides=slides) as dataset:
        slide = dataset.slides[0]
        with pytest.raises(
            SlideError, match=rf"a\.svs: is not the slide that was sampled .*{dataset.fingerprints[slide]}"
        ):
            dataset.read([0])
        others = np.flatnonzero(dataset.table["slide"] != slide)
        assert len(dataset.read(others)) == len(others) > 0


@pytest.mark.long
@pytest.mark.parametrize("reader", ["auto", "openslide"])
@pytest.mark.parametrize("how", ["replaced", "overwritten", "truncated", "deleted"])
def test_slide_that_changes_while_it_is_open_is_refused(tmp_path, reader, how):
    """OpenSlide opens a file anew while it reads, and both readers would take the pixels of another slide."""
    slides, other = tmp_path / "slides", tmp_path / "other.svs"
    slides.mkdir()
    for path, seed in ((slides / "a.svs", 1), (other, 2)):
        write_svs(path, painted(1000, 800, seed=seed), tile=128)
    done = run(tmp_path, reader=reader, sampling={"patch_size": 100, "level": 0})
    with open_dataset(done.results, "slides") as dataset:
        dataset.read([0])
        slide, size = slides / "a.svs", (slides / "a.svs").stat().st_size
        if how == "replaced":
            other.replace(slide)
        elif how == "overwritten":
            slide.write_bytes(other.read_bytes())
        elif how == "truncated":
            os.truncate(slide, size // 2)
        else:
            slide.unlink()
        for place in range(len(dataset)):
            with pytest.raises(SlideError, match=r"is not the slide that was sampled|the slide does not exist"):
                dataset.read([place])


def test_slide_that_was_copied_over_itself_is_read_on(made, tmp_path):
    results, slides, _ = copied(made, tmp_path)
    with open_dataset(results, "slides", slides=slides) as dataset:
        truth = dataset.read(range(len(dataset)))
        for slide in slides.glob("*.svs"):
            again = slide.with_suffix(".copy")
            again.write_bytes(slide.read_bytes())
            again.replace(slide)
        np.testing.assert_array_equal(dataset.read(range(len(dataset))), truth)


def test_run_without_stores_is_read(made, both, tmp_path):
    write_slides(tmp_path)
    done = run(tmp_path, stores={}, sampling={"patch_size": 100, "level": 0})
    readers = {name: row["reader"] for name, row in done.slide_rows.items()}
    assert readers.pop("a.svs") == readers.pop("b.svs") == "tiles"
    assert set(readers.values()) == {"openslide"}
    assert all(row["reader_reason"] for row in done.slide_rows.values())
    with open_dataset(done.results, "slides") as dataset:
        np.testing.assert_array_equal(dataset.read(range(len(dataset))), both[0].read(range(len(dataset))))
    with open_dataset(done.results) as dataset, pytest.raises(SlidemillError, match="read the slides with backend"):
        dataset.read([0])


@pytest.mark.long
def test_results_of_earlier_versions_earn_trust_when_opened(made, both, tmp_path):
    stored, _ = both
    results, slides, path = copied(made, tmp_path)
    path.unlink()
    (results / COHORT_SEALS).unlink()
    with pytest.raises(SlidemillError, match="do not say where their slides are"):
        open_dataset(results, "slides")
    for outcome in (results / "outcomes/sample_patches").iterdir():
        value = json.loads(outcome.read_text())
        del value["details"]["reading"], value["seal"]
        outcome.write_text(json.dumps(value))
    with pytest.warns(UserWarning, match="compared with OpenSlide's pixels when it is opened"):
        dataset = open_dataset(results, "slides", slides=slides)
    with dataset:
        assert_same(stored, dataset)
        found = [dataset.stored.pool.reading(slide).reader for slide in dataset.slides]
        assert sorted(found) == ["openslide", "tiles", "tiles"]


def test_other_versions_of_libraries_earn_trust_again(made, tmp_path, monkeypatch):
    results, slides, path = copied(made, tmp_path)
    asked = []
    find = slide_pool.find_reader
    monkeypatch.setattr(slide_pool, "find_reader", lambda own, seed: asked.append(own) or find(own, seed))
    with open_dataset(results, "slides", slides=slides) as dataset:
        dataset.read(range(len(dataset)))
        assert not asked

    def other(value):
        for record in value["slides"].values():
            record["reading"]["versions"] = {**record["reading"]["versions"], "simplejpeg": "0"}

    rewrite(path, other)
    with open_dataset(results, "slides", slides=slides, most_open=1) as dataset:
        for _ in range(2):
            dataset.read(range(len(dataset)))
        assert sorted(own.source.name for own in asked) == ["a.svs", "b.svs"]  # once for each that tiles read
        assert all(0 < len(own.patches) < 25 for own in asked)


def test_tiles_that_fail_are_left_to_openslide(both, made, monkeypatch):
    stored, _ = both

    def broken(_self, _numbers):
        raise TilesError("the disk is away")

    with open_dataset(made.results, "slides") as dataset:
        dataset.read([0])
        monkeypatch.setattr(TiledLevel, "data", broken)
        assert_same(stored, dataset)
        assert dataset.stored.pool.reading(dataset.slides[0]).reader == "openslide"


def open_slides():
    """Return the identities of all slides that OpenSlide holds open in this process."""
    return {id(one) for one in gc.get_objects() if isinstance(one, openslide.OpenSlide)}


def test_patch_that_cannot_be_read_ends_no_other(tmp_path):
    slides = tmp_path / "slides"
    slides.mkdir()
    spoilt = lambda number, data: data[:-200] + bytes(200) if number == 5 else data  # noqa: E731
    write(slides / "bad.svs", painted(512, 384), Structure("a", tile=(128, 128)), spoilt)
    done = run(tmp_path, stores={}, sampling={"patch_size": 128, "level": 0})
    before = open_slides()  # what other tests have left
    with open_dataset(done.results, "slides") as dataset:
        places = {name: place for place, name in enumerate(dataset.table["patch_id"])}
        bad = places.pop("r00001_c00001")
        for _ in range(8):
            with pytest.raises(SlideError, match=r"patch r00001_c00001 .* cannot be read"):
                dataset.read([bad])
            assert len(dataset.read(list(places.values()))) == len(places)
        assert len(open_slides() - before) <= 2


def test_records_are_sealed_and_verified(made, tmp_path):
    results, _, path = copied(made, tmp_path)
    path.write_text(path.read_text().replace('"patch_size": 100', '"patch_size": 101'))
    with pytest.raises(SlidemillError, match=r"slide_records\.json"):
        open_dataset(results, "slides")
    assert {row["path"] for row in read_table(results / "slides.csv")} >= {"a.svs", "b.svs"}


def test_thread_reads_on_while_another_falls_back(both):
    """Between a thread's look for tiles and their use, another one finds that they fail."""
    with closing(both[1].stored.pool.open(both[1].slides[0])) as source:
        looks = iter([source._tiles])
        source.__class__ = type("Falling", (SlideSource,), {"_tiles": property(lambda _: next(looks, None))})
        own = np.empty(source.shape, np.uint8)
        source.read_into("r00001_c00001", own)
    place = both[0].table.query("patch_id == 'r00001_c00001'").index[0]
    assert np.array_equal(own, both[0].read([place])[0])
