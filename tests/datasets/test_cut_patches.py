"""Datasets whose stores hold a slide's tiles, out of which patches are cut."""

import io
import math
import os
import pickle
import random
import tarfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import h5py
import numpy as np
import pytest
from PIL import Image

from slidemill import open_dataset
from slidemill.cli.commands import main
from slidemill.core.child_process import ChildCrashedError, ChildProcess
from slidemill.core.pyramid import Pyramid
from slidemill.core.results_layout import store_path
from slidemill.core.specs import GridSpec
from slidemill.datasets.joined_hdf5 import join_stores
from slidemill.datasets.shuffle import order
from slidemill.errors import StoreError
from slidemill.slides.grid import Grid
from slidemill.stores import tile_cuts
from slidemill.stores.checks import Expected, check_in_child, check_store
from slidemill.stores.registry import open_store
from slidemill.stores.tile_cuts import TileCache
from slidemill.stores.tile_grid import TileGrid
from tests import results as tables
from tests.results import INFO, PATCHES, SIZE, write_metadata, write_slide, write_stored, write_tables
from tests.tile_stores import TILE, write_tile_store

pytestmark = pytest.mark.cases

SLIDES = ("a-slide", "b-slide")
BACKENDS = ("lmdb", "hdf5")


@pytest.fixture
def cut(tmp_path, monkeypatch):
    """A folder of results whose stores hold tiles, and the pixels of all patches."""
    for backend in BACKENDS:
        monkeypatch.setitem(tables.ENCODING, backend, "source")
    width, height = INFO.dimensions[0]
    found = []
    for number, slide in enumerate(SLIDES):
        write_slide(tmp_path, slide, [], {})
        picture = np.random.default_rng(number).integers(0, 256, (height, width, 3), np.uint8)
        for backend in BACKENDS:
            path = tmp_path / store_path(backend, slide)
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = write_tile_store(backend, path, picture, PATCHES, size=SIZE, slide=slide)
        found.append(pixels)
        write_stored(tmp_path, slide)
    write_tables(tmp_path, dict.fromkeys(SLIDES, "ok"), BACKENDS)
    write_metadata(tmp_path, SLIDES)
    return tmp_path, np.concatenate(found)


@pytest.mark.parametrize("backend", BACKENDS)
def test_dataset_reads_cut_patches(cut, backend):
    folder, truth = cut
    with open_dataset(folder, backend) as dataset:
        np.testing.assert_array_equal(np.stack([one.pixels for one in dataset]), truth)
        places = {name: place for place, name in enumerate(dataset.stored.ids(np.arange(len(dataset))))}
        for shuffle in (True, "exact", False):
            batches = list(dataset.batches(5, shuffle=shuffle, seed=3, workers=2))
            assert sorted(name for batch in batches for name in batch.ids) == sorted(places)
            for batch in batches:
                np.testing.assert_array_equal(batch.pixels, truth[[places[name] for name in batch.ids]])


@pytest.mark.parametrize("backend", BACKENDS)
def test_forks_threads_and_pickles_read_cut_patches(cut, backend):
    folder, truth = cut
    with open_store(folder / store_path(backend, SLIDES[0])) as store:
        with ThreadPoolExecutor(3) as pool:
            for _ in range(20):
                np.testing.assert_array_equal(np.stack(list(pool.map(store.read, store.ids))), truth[: len(store)])
        child = os.fork()
        if child == 0:
            os._exit(0 if np.array_equal(store.read(store.ids[2]), truth[2]) else 1)
        assert os.waitpid(child, 0)[1] == 0
        with pickle.loads(pickle.dumps(store)) as again:
            turned = np.empty(store.shape, np.uint8)
            again.read_into(store.ids[1], turned, symmetry=1)
            store.read_into(store.ids[1], other := np.empty(store.shape, np.uint8), symmetry=1)
            np.testing.assert_array_equal(turned, other)
            np.testing.assert_array_equal(again.read_many(list(store.ids)[::-1], threads=2), truth[: len(store)][::-1])


@pytest.mark.parametrize("suffix", ["tar", "h5"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_export_writes_images_of_cut_patches(cut, tmp_path_factory, backend, suffix):
    folder, truth = cut
    out = tmp_path_factory.mktemp("out") / f"all.{suffix}"
    assert main(["export", str(folder), str(out), "--backend", backend]) == 0
    if suffix == "h5":
        with h5py.File(out) as file:
            np.testing.assert_array_equal(file["patches"][:], truth)
        return
    with tarfile.open(out) as tar:
        images = [name for name in tar.getnames() if name.endswith(".png")]
        found = [np.asarray(Image.open(io.BytesIO(tar.extractfile(name).read()))) for name in images]
    np.testing.assert_array_equal(np.stack(found), truth)


def test_joined_file_has_the_table_without_pixels(cut):
    folder, truth = cut
    join_stores(folder, folder / "stores/hdf5/all.h5")
    with h5py.File(folder / "stores/hdf5/all.h5") as file:
        assert file.attrs["encoding"] == "tiles"
        assert set(file) == {"table"}
        assert len(file["table/patch_id"]) == len(truth)


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_flipped_byte_of_a_strip_is_found(cut, backend):
    folder, _ = cut
    path = folder / store_path(backend, SLIDES[0])
    with open_store(path) as store:
        data, ids = store.read_stored(store.stored_names[0]), store.ids
    whole = path.read_bytes()
    start = whole.index(data[:64])
    expected = Expected(SLIDES[0], backend, ids)
    assert {one.message for one in check_store(path, expected).findings} == {""}
    for place in range(0, len(data), 97):
        damaged = bytearray(whole)
        damaged[start + place] ^= 0x10
        path.write_bytes(damaged)
        findings = {one.check: one.message for one in check_store(path, expected).findings}
        assert "strip r00000_c00000 of tiles" in findings["digests"]


@pytest.mark.parametrize("backend", BACKENDS)
def test_export_refuses_a_damaged_strip(cut, tmp_path_factory, backend, capsys):
    folder, _ = cut
    path = folder / store_path(backend, SLIDES[0])
    with open_store(path) as store:
        data = store.read_stored(store.stored_names[0])
    damaged = bytearray(path.read_bytes())
    damaged[damaged.index(data[:64]) + len(data) - 40] ^= 1
    path.write_bytes(damaged)
    out = tmp_path_factory.mktemp("out") / "all.tar"
    assert main(["export", str(folder), str(out), "--backend", backend]) == 1
    assert "strip r00000_c00000 of tiles are not those that were written" in capsys.readouterr().err
    assert not out.exists()


def test_manifest_of_other_tiles_is_rejected(cut, monkeypatch):
    folder, _ = cut
    path = folder / store_path("lmdb", SLIDES[0])
    monkeypatch.setattr(
        "slidemill.stores.tile_grid.TileGrid.strips", lambda *_: {(0, 0): [0], (1, 0): [9], (2, 0): [17]}
    )
    with pytest.raises(StoreError, match="lists other tiles than its patches touch"):
        open_store(path)


def test_blocks_share_tiles(tmp_path, monkeypatch):
    """A shuffled epoch decodes each tile about once, and a random one several times."""
    patches = list(Grid(Pyramid(((640, 640),), (1.0,)), GridSpec(SIZE, level=0)).patches())
    picture = np.random.default_rng(0).integers(0, 256, (640, 640, 3), np.uint8)
    write_tile_store("lmdb", tmp_path / "a.lmdb", picture, patches, size=SIZE)
    columns, rows = (np.array([getattr(patch, name) for patch in patches]) for name in ("column", "row"))
    slides = np.zeros(len(patches), int)
    decode, count = TileGrid.decode, Counter()
    name = ""
    monkeypatch.setattr(TileGrid, "decode", lambda *own: count.update([name]) or decode(*own))
    for name, own in (("blocks", (columns, rows)), ("exact", None)):
        places = order(slides, name, 0, 0, cells=own)
        assert sorted(places) == list(range(len(patches)))
        monkeypatch.setattr(tile_cuts, "CACHE", TileCache(100 * math.prod(TILE) * 3))
        with open_store(tmp_path / "a.lmdb") as store:
            for place in places:
                store.read(patches[place].patch_id)
    tiles = -(-640 // TILE[0]) * (640 // TILE[1])
    assert tiles <= count["blocks"] < 2 * tiles
    assert count["exact"] > 2 * count["blocks"]


def gotten(path):
    """What a reader gets: pixels, or an error."""
    try:
        with open_store(path) as store:
            return [store.read(one).tobytes() for one in store.ids], store.manifest.to_bytes()
    except StoreError:
        return None


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_damage_that_changes_what_a_reader_gets_is_found(cut, backend):
    folder, _ = cut
    path = folder / store_path(backend, SLIDES[0])
    whole, wanted = path.read_bytes(), gotten(path)
    with open_store(path) as store:
        expected = Expected(SLIDES[0], backend, store.ids)
    generator = random.Random(4)
    changed = 0
    with ChildProcess() as process:
        for _ in range(120):
            damaged = bytearray(whole)
            damaged[generator.randrange(len(whole))] ^= 1 << generator.randrange(8)
            path.write_bytes(damaged)
            try:
                got = process.call(gotten, path)
            except ChildCrashedError:
                got = None
            if got != wanted:
                changed += 1
                assert any(one.message for one in check_in_child(process, path, expected).findings)
    assert changed > 10
