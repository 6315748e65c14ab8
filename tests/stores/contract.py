"""What every backend must do; a test module binds it in two lines, a class and its ``backend``."""

import multiprocessing
import os
import pickle
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pandas
import pytest

from slidemill.core.encodings import ENCODINGS, digest, encode_patch
from slidemill.core.files import remove
from slidemill.core.pyramid import Pyramid
from slidemill.core.results_layout import SUFFIXES
from slidemill.core.specs import GridSpec, StoreSpec
from slidemill.errors import SlidemillError, StoreError
from slidemill.slides.grid import Grid
from slidemill.stages.store import new_manifest
from slidemill.stages.validate import psnr
from slidemill.stores.manifest import Manifest
from slidemill.stores.registry import STORES, open_store
from slidemill.stores.writer import write_store
from tests.stores.elsewhere import first_id

SIZE = 32
COLUMNS, ROWS = 12, 3
ENCODED = ["raw", "png", "jpeg", "zstd"]


def patches_and_pixels(noise, smooth=False):
    """36 patches with pixels: noise, or gradients where a lossy encoding must come near."""
    grid = Grid(Pyramid(((SIZE * COLUMNS, SIZE * ROWS),), (1.0,)), GridSpec(SIZE, level=0))
    patches = list(grid.patches())
    pixels = noise(len(patches), SIZE)
    if smooth:
        ramp = np.linspace(0, 200, SIZE).astype(np.uint8)
        pixels = np.broadcast_to(ramp[None, :, None, None], (len(patches), SIZE, SIZE, 3)) + np.arange(
            len(patches), dtype=np.uint8
        ).reshape(-1, 1, 1, 1)
    return patches, pixels


def as_stored(manifest, pairs):
    """Pairs of a patch and its pixels, as a store takes them."""
    for patch, pixels in pairs:
        yield patch, encode_patch(manifest.codec, manifest.quality, pixels)


def write_patches(folder, noise, backend="hdf5", encoding="raw", *, smooth=False, name="s", fingerprint="f"):
    """Write these patches as a store, and return its path, the patches and their pixels."""
    kind = STORES[backend]
    spec = StoreSpec(encoding, 90 if encoding == "jpeg" else None)
    manifest = new_manifest(kind, spec, name, fingerprint=fingerprint, grid=GridSpec(SIZE, level=0))
    patches, pixels = patches_and_pixels(noise, smooth)
    path = folder / f"{name}{SUFFIXES[backend]}"
    path.parent.mkdir(exist_ok=True)
    write_store(kind, path, manifest, patches=patches, stored=as_stored(manifest, zip(patches, pixels, strict=True)))
    return path, patches, pixels


class StoreContract:
    backend: str
    encodings = ENCODED
    views = True
    """Whether raw patches can be viewed in the store's own memory."""

    @pytest.fixture(params=ENCODED)
    def encoding(self, request):
        if request.param not in self.encodings:
            pytest.skip(f"{self.backend} does not offer {request.param}")
        return request.param

    def write(self, folder, noise, encoding="raw", smooth=False, name="slide"):
        return write_patches(folder, noise, self.backend, encoding, smooth=smooth, name=name, fingerprint="f" * 32)

    def test_gives_back_what_was_written(self, tmp_path, noise, encoding):
        path, patches, pixels = self.write(tmp_path, noise, encoding, smooth=encoding == "jpeg")
        with open_store(path) as store:
            assert len(store) == len(patches)
            assert list(store.ids) == [patch.patch_id for patch in patches] == store.stored_ids()
            for patch, expected in zip(patches, pixels, strict=True):
                got = store.read(patch.patch_id)
                assert (got.shape, got.dtype) == ((SIZE, SIZE, 3), np.uint8)
                if encoding == "jpeg":
                    assert psnr(got, expected) > 35
                else:
                    np.testing.assert_array_equal(got, expected)

    def test_what_is_read_is_the_callers_own(self, tmp_path, noise, encoding):
        path, patches, _ = self.write(tmp_path, noise, encoding)
        with open_store(path) as store:
            before = store.read(patches[3].patch_id)
            changed = store.read(patches[3].patch_id)
            changed[:] = 0
            np.testing.assert_array_equal(store.read(patches[3].patch_id), before)

    @pytest.mark.parametrize("threads", [1, 3])
    def test_many_are_read_as_one_is(self, tmp_path, noise, encoding, threads):
        path, *_ = self.write(tmp_path, noise, encoding)
        with open_store(path) as store:
            wanted = [store.ids[place] for place in (35, 0, 7, 7, *range(30))]
            got = store.read_many(wanted, threads=threads)
            assert (got.shape, got.dtype) == ((34, SIZE, SIZE, 3), np.uint8)
            for patch_id, pixels in zip(wanted, got, strict=True):
                np.testing.assert_array_equal(pixels, store.read(patch_id))
            batch = np.zeros_like(got)
            assert store.read_many(wanted, out=batch, threads=threads) is batch
            np.testing.assert_array_equal(batch, got)
            assert store.read_many([]).shape == (0, SIZE, SIZE, 3)
            # As a frame gives them: a shuffled series has labels that are not its places.
            series = pandas.Series(wanted, index=range(len(wanted) - 1, -1, -1))
            for ids in (series, series.to_numpy(), (one for one in wanted)):
                np.testing.assert_array_equal(store.read_many(ids, threads=threads), got)

    def test_many_that_cannot_be_read_are_said(self, tmp_path, noise):
        path, *_ = self.write(tmp_path, noise)
        with open_store(path) as store:
            with pytest.raises(StoreError, match="has no patch 'r9_c9'"):
                store.read_many([store.ids[0], "r9_c9"], threads=2)
            with pytest.raises(
                StoreError, match=r"out is uint8 \(1, 32, 32, 3\): these patches need an array, uint8 \(2, 32"
            ):
                store.read_many(store.ids[:2], out=np.zeros((1, SIZE, SIZE, 3), np.uint8))
            with pytest.raises(StoreError, match="out is list: these patches need an array"):
                store.read_many(store.ids[:2], out=[0, 0])
            locked = np.zeros((2, SIZE, SIZE, 3), np.uint8)
            locked.flags.writeable = False
            with pytest.raises(StoreError, match="out is read-only"):
                store.read_many(store.ids[:2], out=locked)
            with pytest.raises(StoreError, match="out is int32"):
                store.read_many(store.ids[:2], out=np.zeros((2, SIZE, SIZE, 3), np.int32))

    def test_a_view_is_the_store_itself_and_outlives_it(self, tmp_path, noise, encoding):
        path, patches, pixels = self.write(tmp_path, noise, encoding)
        store = open_store(path)
        if encoding != "raw" or not self.views:
            with pytest.raises(StoreError, match="only raw ones can be viewed; read them"):
                store.view(patches[0].patch_id)
            return
        views = {patch.patch_id: store.view(patch.patch_id) for patch in patches}
        again = open_store(path)
        store.close()
        again.close()
        remove(path)
        with pytest.raises(StoreError, match="is closed"):
            store.view(patches[0].patch_id)
        for patch, expected in zip(patches, pixels, strict=True):
            view = views[patch.patch_id]
            np.testing.assert_array_equal(view, expected)
            assert not view.flags.writeable
            assert not view.flags.owndata
            with pytest.raises(ValueError, match="read-only"):
                view[0] = 0

    def test_a_view_is_read_on_in_a_fork(self, tmp_path, noise):
        if not self.views:
            pytest.skip(f"{self.backend} has no views")
        path, _, pixels = self.write(tmp_path, noise)
        with open_store(path) as store:
            view = store.view(store.ids[3])
            reading, writing = os.pipe()
            child = os.fork()
            if child == 0:
                try:
                    store.read(store.ids[0])
                    store.close()
                    os.write(writing, digest(view).encode())
                finally:
                    os._exit(0)
            os.close(writing)
            with os.fdopen(reading) as pipe:
                assert pipe.read() == digest(pixels[3])
            os.waitpid(child, 0)

    def test_closing_while_others_read_ends_no_process(self, tmp_path, noise, encoding):
        path, *_ = self.write(tmp_path, noise, encoding)
        for _ in range(20):
            store = open_store(path)

            def read(patch_id, store=store):
                try:
                    return digest(store.read_bytes(patch_id))
                except StoreError as error:
                    assert "is closed" in str(error)
                    return None

            with ThreadPoolExecutor(3) as pool:
                found = pool.map(read, list(store.ids) * 3)
                next(found)
                store.close()
                known = set(store.manifest.byte_digests)
                assert {one for one in found if one is not None} <= known

    def test_the_manifest_says_what_is_there(self, tmp_path, noise, encoding):
        path, _, pixels = self.write(tmp_path, noise, encoding)
        with open_store(path) as store:
            manifest = store.manifest
            assert (manifest.backend, manifest.slide, manifest.patch_size) == (self.backend, "slide", SIZE)
            assert manifest.encoding == STORES[self.backend].encoding(encoding)
            assert manifest.quality == (90 if encoding == "jpeg" else None)
            assert set(manifest.versions) == {"slidemill", "openslide"}
            for place, patch_id in enumerate(store.ids):
                assert manifest.byte_digests[place] == digest(store.read_bytes(patch_id))
            if ENCODINGS[manifest.encoding].lossless:
                assert list(manifest.pixel_digests) == [digest(array) for array in pixels]
            else:
                assert manifest.pixel_digests == ()

    def test_two_runs_give_equal_bytes(self, tmp_path, noise, encoding):
        one, *_ = self.write(tmp_path / "one", noise, encoding)
        other, *_ = self.write(tmp_path / "other", noise, encoding)
        assert _contents(one) == _contents(other)

    def test_a_store_without_patches_is_a_store(self, tmp_path, encoding):
        kind = STORES[self.backend]
        manifest = new_manifest(kind, StoreSpec(encoding, 90), "empty", fingerprint="f", grid=GridSpec(SIZE, level=0))
        path = tmp_path / f"empty{SUFFIXES[self.backend]}"
        write_store(kind, path, manifest, patches=[], stored=[])
        with open_store(path) as store:
            assert (len(store), list(store.ids), store.stored_ids()) == (0, [], [])

    def test_a_failure_leaves_what_was_there_and_nothing_aside(self, tmp_path, noise):
        path, patches, pixels = self.write(tmp_path, noise)
        before = _contents(path)

        def failing():
            yield patches[0], pixels[0]
            raise OSError("the disk is full")

        kind = STORES[self.backend]
        manifest = new_manifest(kind, StoreSpec("raw"), "slide", fingerprint="f", grid=GridSpec(SIZE, level=0))
        with pytest.raises(OSError, match="disk is full"):
            write_store(kind, path, manifest, patches=patches, stored=as_stored(manifest, failing()))
        assert _contents(path) == before
        assert list(tmp_path.iterdir()) == [path]

    def test_a_store_replaces_another(self, tmp_path, noise):
        path, *_ = self.write(tmp_path, noise, "raw")
        other = self.encodings[1]
        self.write(tmp_path, noise, other)
        with open_store(path) as store:
            assert store.manifest.encoding == other
            assert len(store.stored_ids()) == len(store)

    def test_closed_is_said(self, tmp_path, noise):
        path, patches, _ = self.write(tmp_path, noise)
        store = open_store(path)
        store.close()
        store.close()
        with pytest.raises(SlidemillError, match="is closed: open it again"):
            store.read(patches[0].patch_id)

    def test_an_unknown_patch_is_said(self, tmp_path, noise):
        path, *_ = self.write(tmp_path, noise)
        with open_store(path) as store, pytest.raises(StoreError, match="has no patch 'r9_c9'"):
            store.read("r9_c9")
        assert "__manifest__" not in store

    def test_one_store_may_be_opened_twice_and_closed_in_any_order(self, tmp_path, noise):
        path, patches, _ = self.write(tmp_path, noise)
        one, other = open_store(path), open_store(path)
        one.close()
        assert digest(other.read(patches[0].patch_id)) == other.manifest.pixel_digests[0]
        other.close()
        with open_store(path) as again:
            assert first_id(again)

    def test_threads_read_side_by_side(self, tmp_path, noise, encoding):
        path, *_ = self.write(tmp_path, noise, encoding)
        with open_store(path) as store, ThreadPoolExecutor(4) as pool:
            got = list(pool.map(lambda patch_id: digest(store.read_bytes(patch_id)), list(store.ids) * 5))
            assert got == list(store.manifest.byte_digests) * 5

    @pytest.mark.cases
    @pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
    def test_other_processes_read_what_this_one_opened(self, tmp_path, noise, method):
        path, *_ = self.write(tmp_path, noise)
        with open_store(path) as store:
            context = multiprocessing.get_context(method)
            with ProcessPoolExecutor(2, context) as pool:
                got = list(pool.map(first_id, [store] * 4))
            assert got == [first_id(store)] * 4

    def test_a_fork_reads_on_and_its_parent_too(self, tmp_path, noise):
        path, *_ = self.write(tmp_path, noise)
        with open_store(path) as store:
            expected = first_id(store)
            reading, writing = os.pipe()
            child = os.fork()
            if child == 0:
                try:
                    os.write(writing, first_id(store).encode())
                    store.close()
                finally:
                    os._exit(0)
            os.close(writing)
            with os.fdopen(reading) as pipe:
                assert pipe.read() == expected
            os.waitpid(child, 0)
            assert first_id(store) == expected

    def test_a_pickled_store_opens_where_it_arrives(self, tmp_path, noise):
        path, *_ = self.write(tmp_path, noise)
        with open_store(path) as store, pickle.loads(pickle.dumps(store)) as copy:
            assert copy.ids == store.ids
            assert first_id(copy) == first_id(store)

    def test_reading_changes_no_byte(self, tmp_path, noise):
        """A defect of py-wsi: HDF5 was opened read-write to be read."""
        path, *_ = self.write(tmp_path, noise)
        before, listing = _contents(path), sorted(tmp_path.rglob("*"))
        with open_store(path) as store:
            first_id(store)
        assert (_contents(path), sorted(tmp_path.rglob("*"))) == (before, listing)

    def test_raw_takes_little_more_than_its_pixels(self, tmp_path, noise):
        """Defects of py-wsi: four bytes for a byte, a map of thirty."""
        path, patches, pixels = self.write(tmp_path, noise)
        size = sum(map(len, _contents(path).values()))
        overhead = 64 * 1024 + len(patches) * 5 * 1024
        assert size < pixels.nbytes + overhead

    def test_no_value_is_a_pickle(self, tmp_path, noise, encoding):
        """A defect of py-wsi."""
        path, _, pixels = self.write(tmp_path, noise, encoding)
        with open_store(path) as store:
            codec = ENCODINGS[store.manifest.encoding]
            data = store.read_bytes(store.ids[0])
            assert data == codec.encode(pixels[0], store.manifest.quality)

    def test_cut_short_anywhere_is_said(self, tmp_path, noise, encoding):
        path, *_ = self.write(tmp_path, noise, encoding)
        files = [path] if path.is_file() else sorted(path.iterdir())
        for file in files[:: max(len(files) // 8, 1)]:
            whole = file.read_bytes()
            for length in {0, 1, 100, 4096, 9000, len(whole) // 2, len(whole) - 1}:
                if length < len(whole):
                    file.write_bytes(whole[:length])
                    if file.name != "index.csv":
                        _assert_damage_is_said(path)
            file.write_bytes(whole)

    def test_foreign_and_missing_files_are_said(self, tmp_path):
        path = tmp_path / f"foreign{SUFFIXES[self.backend]}"
        with pytest.raises(StoreError, match="this store does not exist"):
            open_store(path)
        for content in (b"", b"text", os.urandom(100_000)):
            if SUFFIXES[self.backend]:
                path.write_bytes(content)
            else:
                path.mkdir(exist_ok=True)
                (path / "manifest.json").write_bytes(content)
            with pytest.raises(StoreError, match=str(path)):
                open_store(path)

    def test_a_newer_version_is_said(self, tmp_path, noise, monkeypatch):
        monkeypatch.setattr("slidemill.stores.manifest.VERSION", 3)
        path, *_ = self.write(tmp_path, noise)
        monkeypatch.undo()
        with pytest.raises(StoreError, match="version 3 of the format, and this slidemill reads 2"):
            open_store(path)

    @pytest.mark.cases
    @pytest.mark.parametrize("seed", range(5))
    def test_any_order_of_reading_gives_the_same(self, tmp_path, noise, seed):
        path, *_ = self.write(tmp_path, lambda count, size: noise(count, size, seed))
        with open_store(path) as store:
            for place in np.random.default_rng(seed).permutation(len(store)):
                assert digest(store.read(store.ids[place])) == store.manifest.pixel_digests[place]


def _contents(path):
    """Every byte of a store, by file."""
    files = [path] if path.is_file() else sorted(path.iterdir())
    return {file.name: file.read_bytes() for file in files}


def _assert_damage_is_said(path):
    """Reading all patches raises StoreError, or gives bytes that the digests tell from the right ones."""
    try:
        with open_store(path) as store:
            wrong = 0
            for patch_id, expected in zip(store.ids, store.manifest.byte_digests, strict=True):
                wrong += digest(store.read_bytes(patch_id)) != expected
                store.read(patch_id)
    except StoreError:
        return
    assert wrong


def test_a_manifest_gives_itself_back():
    manifest = new_manifest(STORES["lmdb"], StoreSpec("png"), "slide", fingerprint="f", grid=GridSpec(SIZE, level=0))
    whole = replace(manifest, ids=("a", "b"), byte_digests=("1", "2"), pixel_digests=("3", "4"))
    again = Manifest.from_bytes(whole.to_bytes(), "here")
    assert again == replace(whole, sampling=dict(whole.sampling))
