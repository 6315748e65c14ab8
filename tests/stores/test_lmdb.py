import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import lmdb
import numpy as np
import pytest

from slidemill import open_store
from slidemill.core.child_process import ChildCrashedError, ChildProcess
from slidemill.core.pyramid import Pyramid
from slidemill.core.specs import GridSpec, StoreSpec, ValidationSpec
from slidemill.errors import SlidemillError, StoreError
from slidemill.slides.grid import Grid
from slidemill.stages.store import new_manifest
from slidemill.stages.validate import SlideStores, validate_slide
from slidemill.stores.checks import Expected, check_in_child
from slidemill.stores.lmdb import MANIFEST_KEY, LmdbStore
from slidemill.stores.registry import STORES
from slidemill.stores.writer import write_store
from tests.results import write_a_store
from tests.stores.contract import StoreContract, as_stored


class TestLmdb(StoreContract):
    backend = "lmdb"

    @pytest.mark.parametrize("encoding", ["raw", "png"])
    def test_the_map_fits_what_is_stored(self, tmp_path, noise, encoding):
        """A defect of py-wsi: a map of 28 to 32 bytes for each byte stored."""
        path, *_ = self.write(tmp_path, noise, encoding)
        with lmdb.open(str(path), map_size=1, subdir=False, lock=False, readonly=True) as env:
            assert env.info()["map_size"] <= path.stat().st_size + 128 * 4096

    def test_the_map_grows_where_encoded_patches_take_more_than_expected(self, tmp_path, noise):
        pixels = noise(20, 256)
        grid = GridSpec(256, level=0)
        patches = list(Grid(Pyramid(((20 * 256, 256),), (1.0,)), grid).patches())
        manifest = new_manifest(STORES["lmdb"], StoreSpec("png"), "slide", fingerprint="f", grid=grid)
        path = tmp_path / "large.lmdb"
        write_store(
            STORES["lmdb"],
            path,
            manifest,
            patches=patches,
            stored=as_stored(manifest, zip(patches, pixels, strict=True)),
        )
        assert path.stat().st_size > 2 * pixels.nbytes // 8
        with open_store(path) as store:
            for patch, expected in zip(patches, pixels, strict=True):
                np.testing.assert_array_equal(store.read(patch.patch_id), expected)

    def test_keys_that_cannot_be_read_are_a_finding(self, tmp_path, noise, monkeypatch):
        path, patches, _ = self.write(tmp_path, noise)

        def fail(_self):
            raise StoreError("its keys cannot be read")

        monkeypatch.setattr(LmdbStore, "stored_ids", fail)
        spec = ValidationSpec(sample=0, min_psnr=30)
        stores = SlideStores("slide", {"lmdb": path}, GridSpec(32, level=0), patches)
        found = validate_slide(stores, spec, seed=0)
        assert [(row.check, row.message) for row in found if row.status == "failed"] == [
            ("ids", "its keys cannot be read")
        ]

    def test_it_reads_without_slidemill(self, tmp_path, noise):
        path, patches, pixels = self.write(tmp_path, noise)
        with lmdb.open(str(path), subdir=False, lock=False, readonly=True) as env, env.begin() as transaction:
            keys = [key for key, _ in transaction.cursor() if key != MANIFEST_KEY]
            assert keys == [patch.patch_id.encode() for patch in patches]
            assert transaction.get(keys[5]) == pixels[5].tobytes()

    def test_environments_are_closed(self, tmp_path, noise):
        """A defect of py-wsi: environments were never closed, and LMDB refuses a second one."""
        path, *_ = self.write(tmp_path, noise)
        with open_store(path):
            pass
        lmdb.open(str(path), subdir=False, lock=False, readonly=True).close()

    def test_a_store_that_took_its_place_is_not_read_for_it_after_a_fork(self, tmp_path, noise):
        path, *_ = self.write(tmp_path, noise)
        other, *_ = self.write(tmp_path, noise, name="other")
        with open_store(path) as store:
            other.replace(path)
            reading, writing = os.pipe()
            child = os.fork()
            if child == 0:
                try:
                    store.read(store.ids[0])
                except StoreError as error:
                    os.write(writing, str(error).encode())
                finally:
                    os._exit(0)
            os.close(writing)
            with os.fdopen(reading) as pipe:
                assert "another store has taken its place: open it again" in pipe.read()
            os.waitpid(child, 0)

    def test_a_store_that_another_program_writes_to_is_told(self, tmp_path, noise):
        """LMDB refuses to begin a transaction on a file that has outgrown its map."""
        path, *_ = self.write(tmp_path, noise)
        with open_store(path) as store:
            environment = "import lmdb, sys\nenv = lmdb.open(sys.argv[1], subdir=False, lock=False, map_size=1 << 26)\n"
            write = "with env.begin(write=True) as txn:\n    txn.put(b'other', bytes(1 << 25))\n"
            subprocess.run([sys.executable, "-c", environment + write, str(path)], check=True)
            with pytest.raises(StoreError, match="another program has written to it: open it again"):
                store.stored_ids()
            with ThreadPoolExecutor(1) as pool, pytest.raises(StoreError, match="another program has written to it"):
                pool.submit(store.read, store.ids[0]).result()

    @pytest.mark.parametrize("name", ["MemoryError", "MapResizedError", "Error"])
    def test_whatever_lmdb_raises_is_told_in_words(self, tmp_path, noise, monkeypatch, name):
        path, *_ = self.write(tmp_path, noise)
        with open_store(path) as store:

            class Refusing:
                def begin(self, **_):
                    raise getattr(lmdb, name)("mdb_txn_begin", 24 if name == "Error" else 0)

            monkeypatch.setattr(LmdbStore, "_environment", lambda _self: Refusing())
            store._renew()
            with pytest.raises(SlidemillError, match=str(path)):
                store.read(store.ids[0])

    def test_a_bad_page_spoils_the_reading_of_no_other(self, tmp_path, noise):
        """LMDB lets a transaction that has met a bad page read nothing more."""
        path = tmp_path / "a.lmdb"
        write_a_store("lmdb", path, "raw", noise(6, 16))
        whole = path.read_bytes()
        found = []
        with ChildProcess() as process:
            for page in range(2 * 4096, len(whole), 4096):
                # A leaf of the tree says that it is a branch, too.
                path.write_bytes(whole[: page + 10] + bytes([whole[page + 10] ^ 1]) + whole[page + 11 :])
                with suppress(ChildCrashedError, StoreError):
                    found.append(process.call(unread, path))
        for one_by_one, read, read_bytes in found:
            assert one_by_one == read == read_bytes
        assert any(0 < len(one_by_one) < 6 for one_by_one, *_ in found)


def claim(path, patch_id, size):
    """Have LMDB's node of a patch claim that its value has `size` bytes."""
    data = bytearray(path.read_bytes())
    # A node: the value's size in 4 bytes, flags, the key's size, the key. Pages that are no longer used hold it too.
    key = len(patch_id).to_bytes(2, "little") + patch_id.encode()
    for found in re.finditer(re.escape(key), bytes(data)):
        data[found.start() - 6 : found.start() - 2] = size.to_bytes(4, "little")
    path.write_bytes(data)


def read_in_all_ways(path, patch_id):
    with open_store(path) as store:
        for read in (store.read, store.view, lambda one: store.read_many([one])):
            with pytest.raises(StoreError, match=f"patch {patch_id} has"):
                read(patch_id)


@pytest.mark.parametrize("size", [16, 256])
class TestValueLength:
    """Small values lie in a page of the tree, large ones in pages of their own."""

    @pytest.fixture
    def store(self, tmp_path, noise, size):
        path = tmp_path / "s.lmdb"
        grid = GridSpec(size, level=0)
        patches = list(Grid(Pyramid(((size * 6, size),), (1.0,)), grid).patches())
        manifest = new_manifest(STORES["lmdb"], StoreSpec("raw"), "s", fingerprint="f", grid=grid)
        stored = as_stored(manifest, zip(patches, noise(6, size), strict=True))
        write_store(STORES["lmdb"], path, manifest, patches=patches, stored=stored)
        return path

    @pytest.mark.parametrize("change", [-100, -1, 1, 100])
    def test_a_wrong_length_within_the_file_is_said(self, store, size, change):
        claim(store, "r00000_c00002", 3 * size**2 + change)
        with ChildProcess() as process:
            process.call(read_in_all_ways, store, "r00000_c00002")

    def test_an_impossible_length_is_a_finding(self, store, size):
        """LMDB checks small values; of a large one py-lmdb touches each page before it returns it, and dies of that."""
        claim(store, "r00000_c00002", 2**31)
        with ChildProcess() as process:
            found = check_in_child(process, store, Expected("s", "lmdb"))
            messages = [one.message for one in found.findings if one.message]
            assert messages
            for message in messages:
                words = "MDB_CORRUPTED" if size == 16 else f"{store}: the process that read it died (signal "
                assert words in message
            # Neither this process nor the next check is harmed.
            claim(store, "r00000_c00002", 3 * size**2)
            assert not any(one.message for one in check_in_child(process, store, Expected("s", "lmdb")).findings)


def unread(path):
    """The patches that cannot be read: each by a reader of its own, by one for all, and by one for all their bytes."""

    def failing(store, read):
        failed = []
        for one in store.ids:
            try:
                read(one)
            except StoreError:
                failed.append(one)
        return failed

    alone = []
    with open_store(path) as store:
        ids = store.ids
    for one in ids:
        with open_store(path) as store:
            try:
                store.read(one)
            except StoreError:
                alone.append(one)
    with open_store(path) as store, open_store(path) as other:
        return alone, failing(store, store.read), failing(other, other.read_bytes)
