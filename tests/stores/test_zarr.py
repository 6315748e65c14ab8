"""Zarr stores against zarr-python, and what only they have."""

import json
import os
import tracemalloc

import numpy as np
import pandas
import pytest

from slidemill import open_store
from slidemill.core.encodings import ZSTD_LEVEL, encode_patch
from slidemill.core.pyramid import Pyramid
from slidemill.core.specs import GridSpec, StoreSpec
from slidemill.errors import StoreError
from slidemill.slides.grid import Grid
from slidemill.stages.store import new_manifest
from slidemill.stores.checks import Expected, check_store
from slidemill.stores.registry import STORES
from slidemill.stores.writer import write_store
from slidemill.stores.zarr import array_metadata, crc32c, shard_patches
from tests.stores.contract import COLUMNS, ROWS, SIZE, StoreContract

SMALL = 8
"""Patches of a shard in these tests."""


class TestZarr(StoreContract):
    backend = "zarr"
    encodings = ("raw", "zstd")

    @pytest.fixture(autouse=True)
    def small_shards(self, monkeypatch):
        """Five shards, of which the last is not full."""
        monkeypatch.setattr("slidemill.stores.zarr.SHARD_BYTES", SMALL * SIZE * SIZE * 3 + 5)
        monkeypatch.setattr("slidemill.stores.zarr.OPEN", 2)

    def test_zarr_python_reads_it_in_three_lines(self, tmp_path, noise, encoding):
        zarr = pytest.importorskip("zarr", "3")
        path, patches, pixels = self.write(tmp_path, noise, encoding)
        array = zarr.open_array(path, mode="r")
        index = pandas.read_csv(path / "index.csv")
        got = array[5]
        np.testing.assert_array_equal(got, pixels[5])
        np.testing.assert_array_equal(array[:], pixels)
        assert array.dtype == np.uint8
        assert index["patch_id"].tolist() == [patch.patch_id for patch in patches]
        for name in ("column", "row", "x0", "y0", "width0", "height0"):
            assert index[name].tolist() == [getattr(patch, name) for patch in patches]

    def test_metadata_is_what_zarr_python_writes(self, tmp_path, noise, encoding):
        zarr = pytest.importorskip("zarr", "3")
        path, patches, _ = self.write(tmp_path, noise, encoding)
        codec = zarr.codecs.ZstdCodec(level=ZSTD_LEVEL, checksum=True)
        other = zarr.create_array(
            tmp_path / "other",
            shape=(len(patches), SIZE, SIZE, 3),
            dtype="uint8",
            chunks=(1, SIZE, SIZE, 3),
            shards=(SMALL, SIZE, SIZE, 3),
            compressors=[codec] if encoding == "zstd" else None,
            fill_value=0,
            chunk_key_encoding={"name": "default", "separator": "."},
            dimension_names=["patch", "y", "x", "channel"],
            attributes={"slide": "slide", "index": "index.csv", "manifest": "manifest.json"},
        )
        assert zarr.open_array(path, mode="r").metadata == other.metadata

    def test_raw_shard_is_what_zarr_python_writes(self, tmp_path, noise):
        zarr = pytest.importorskip("zarr", "3")
        path, _, pixels = self.write(tmp_path, noise)
        (tmp_path / "other").mkdir()
        (tmp_path / "other/zarr.json").write_bytes((path / "zarr.json").read_bytes())
        zarr.open_array(tmp_path / "other", mode="r+")[:] = pixels
        shards = sorted(path.glob("c.*"))
        assert [shard.name for shard in shards] == [f"c.{number}.0.0.0" for number in range(5)]
        for shard in shards:
            assert shard.read_bytes() == (tmp_path / "other" / shard.name).read_bytes()

    @pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.long)])
    def test_data_loader_reads_in_workers(self, tmp_path, noise, method):
        data = pytest.importorskip("torch.utils.data")
        path, _, pixels = self.write(tmp_path, noise, "zstd")
        with open_store(path) as store:
            store.read(store.ids[0])
            loader = data.DataLoader(_Patches(store), 6, num_workers=2, multiprocessing_context=method)
            np.testing.assert_array_equal(np.concatenate([batch.numpy() for batch in loader]), pixels)

    def test_missing_shard_is_named_by_its_patches(self, tmp_path, noise):
        path, *_ = self.write(tmp_path, noise)
        (path / "c.1.0.0.0").unlink()
        with open_store(path) as store:
            assert store.stored_ids() == [*store.ids[:SMALL], *store.ids[2 * SMALL :]]
            with pytest.raises(StoreError, match=f"patch {store.ids[SMALL]} is missing or cut short"):
                store.read(store.ids[SMALL])
            store.read(store.ids[2 * SMALL])

    def test_replaced_store_is_detected(self, tmp_path, noise):
        path, *_ = self.write(tmp_path, noise)
        with open_store(path) as store:
            self.write(tmp_path, noise)
            with pytest.raises(StoreError, match="was replaced while it was read"):
                store.read(store.ids[0])

    def test_lost_metadata_is_reported(self, tmp_path, noise):
        path, *_ = self.write(tmp_path, noise)
        (path / "zarr.json").unlink()
        with pytest.raises(StoreError, match="lacks a file by which zarr is recognized"):
            open_store(path)

    def test_file_of_another_program_is_unexpected(self, tmp_path, noise):
        path, *_ = self.write(tmp_path, noise)
        (path / "note.txt").write_text("mine")
        with open_store(path) as store:
            assert store.stored_ids()[-1] == "note.txt"

    @pytest.mark.parametrize("each", [0, -1, 1 << 40, 8.5, True, None])
    def test_claimed_size_of_shards_takes_no_memory(self, tmp_path, noise, each):
        path, *_ = self.write(tmp_path, noise)
        values = json.loads((path / "zarr.json").read_bytes())
        values["chunk_grid"]["configuration"]["chunk_shape"][0] = each
        (path / "zarr.json").write_text(json.dumps(values))
        tracemalloc.start()
        with pytest.raises(StoreError, match="does not fit 36 patches"):
            open_store(path)
        assert tracemalloc.get_traced_memory()[1] < 5e6
        tracemalloc.stop()

    @pytest.mark.parametrize("edit", ["beyond", "overflow", "negative"])
    def test_places_beyond_the_shard_are_missing(self, tmp_path, noise, edit):
        path, *_ = self.write(tmp_path, noise)
        place = {"beyond": (1 << 40, SIZE * SIZE * 3), "overflow": (8, 2**64 - 8), "negative": (2**63, 16)}[edit]
        with (path / "c.0.0.0.0").open("r+b") as file:
            file.seek(-(SMALL * 16 + 4), os.SEEK_END)
            file.write(np.array(place, "<u8").tobytes())
        with open_store(path) as store, pytest.raises(StoreError, match="is missing or cut short"):
            store.read(store.ids[0])
        found = check_store(path, Expected("slide", "zarr"))
        assert {one.check for one in found.findings if one.message} == {"index", "decodes"}

    def test_unreadable_patches_leave_no_holes(self, tmp_path, noise):
        """Fewer patches than were expected: the array has as many as were stored."""
        zarr = pytest.importorskip("zarr", "3")
        patches = list(Grid(Pyramid(((SIZE * COLUMNS, SIZE * ROWS),), (1.0,)), GridSpec(SIZE, level=0)).patches())
        kind, pixels = STORES["zarr"], noise(len(patches), SIZE)
        manifest = new_manifest(kind, StoreSpec("zstd"), "slide", fingerprint="f", grid=GridSpec(SIZE, level=0))
        stored = ((patch, encode_patch(manifest.codec, None, one)) for patch, one in zip(patches, pixels, strict=True))
        kept = [pair for place, pair in enumerate(stored) if place % 3]
        write_store(kind, tmp_path / "s.zarr", manifest, patches=patches, stored=kept)
        assert not any(one.message for one in check_store(tmp_path / "s.zarr", Expected("slide", "zarr")).findings)
        array = zarr.open_array(tmp_path / "s.zarr", mode="r")
        np.testing.assert_array_equal(array[:], [one for place, one in enumerate(pixels) if place % 3])


class _Patches:
    """A store as a dataset of PyTorch."""

    def __init__(self, store):
        self.store = store

    def __len__(self):
        return len(self.store)

    def __getitem__(self, place):
        return self.store.read(self.store.ids[place])


def test_checksum_is_crc32c():
    """The check value of the algorithm: https://reveng.sourceforge.io/crc-catalogue/17plus.htm#crc.cat.crc-32-iscsi."""
    assert crc32c(b"123456789") == 0xE3069283


@pytest.mark.parametrize(
    ("size", "count", "expected"),
    [
        (256, 10**6, 512),
        (256, 100, 100),
        (224, 10**6, 512),
        (1024, 10**6, 32),
        (4096, 9, 2),
        (8, 10**6, 4096),
        (9, 0, 1),
    ],
)
def test_shards_have_100_megabytes_or_the_slide(size, count, expected):
    assert shard_patches((size, size, 3), count) == expected


def test_writing_holds_no_shard_in_memory(tmp_path):
    size, count = 256, 600
    patches = list(Grid(Pyramid(((size * count, size),), (1.0,)), GridSpec(size, level=0)).patches())
    kind = STORES["zarr"]
    manifest = new_manifest(kind, StoreSpec("raw"), "slide", fingerprint="f", grid=GridSpec(size, level=0))
    one = encode_patch(manifest.codec, None, np.zeros((size, size, 3), np.uint8))
    tracemalloc.start()
    write_store(kind, tmp_path / "s.zarr", manifest, patches=patches, stored=((patch, one) for patch in patches))
    assert tracemalloc.get_traced_memory()[1] < 5e6
    tracemalloc.stop()
    assert sorted(path.name for path in (tmp_path / "s.zarr").glob("c.*")) == ["c.0.0.0.0", "c.1.0.0.0"]


def test_metadata_of_no_patches_is_an_array(tmp_path):
    zarr = pytest.importorskip("zarr", "3")
    manifest = new_manifest(STORES["zarr"], StoreSpec("raw"), "s", fingerprint="f", grid=GridSpec(SIZE, level=0))
    (tmp_path / "zarr.json").write_bytes(array_metadata(manifest, 1, 0))
    assert zarr.open_array(tmp_path, mode="r")[:].shape == (0, SIZE, SIZE, 3)
