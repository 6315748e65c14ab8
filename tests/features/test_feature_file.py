"""A file of features: what is written is read, and damage is found."""

import os

import h5py
import numpy as np
import pytest

from slidemill.core.patch import PatchRef
from slidemill.core.pyramid import SlideInfo
from slidemill.core.specs import FeatureSpec, GridSpec
from slidemill.errors import ModelError, StoreError
from slidemill.features.checks import finite_rows
from slidemill.features.feature_file import FeatureManifest, PatchPlaces, open_features, write_features

INFO = SlideInfo("aperio", ((1000, 800),), (1.0,), None, 0.25, 0.25, 40.0, "FFFFFF")
MANIFEST = FeatureManifest(name="uni", slide="one", fingerprint="f", model="timm:x", versions={"torch": "2"})


def patch(column, row):
    return PatchRef(column, row, column * 128, row * 128, 128, 128, 0, 0, 0, (128, 128), (64, 64), (0, 0))


PATCHES = [patch(column, row) for row in range(2) for column in range(3)]
PLACES = PatchPlaces.of("one", PATCHES, INFO, grid=GridSpec(64, 8, mpp=0.5))
ROWS = np.random.default_rng(0).normal(size=(6, 5))


def write(path, dtype="float32", manifest=MANIFEST):
    rows = ROWS.astype(dtype)
    return write_features(path, manifest, PLACES, batches=[rows[:4], rows[4:]])


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_features_round_trip(tmp_path, dtype):
    whole = write(tmp_path / "features/uni/one.h5", dtype)
    found = open_features(tmp_path / "features/uni/one.h5")
    assert (found.manifest, found.shape, len(found)) == (whole, (6, 5), 6)
    assert np.array_equal(found.features(), ROWS.astype(dtype))
    assert not found.features().flags.writeable
    assert found.patch_ids == [one.patch_id for one in PATCHES]
    assert found.coords.tolist() == [[one.x0, one.y0] for one in PATCHES]
    assert found.attributes == PLACES.attributes
    found.check()


def test_file_has_trident_layout(tmp_path):
    write(tmp_path / "one.h5")
    with h5py.File(tmp_path / "one.h5") as file:
        assert (file["features"].shape, file["features"].attrs["encoder"]) == ((6, 5), "uni")
        assert (file["coords"].dtype, file["coords"].shape) == (np.int64, (6, 2))
        assert dict(file["coords"].attrs) == {
            "patch_size": 64,
            "patch_size_level0": 128,
            "level0_magnification": 40,
            "target_magnification": 20,
            "overlap": 16,
            "name": "one",
            "level0_width": 1000,
            "level0_height": 800,
        }


def test_two_writes_are_equal_bytes(tmp_path):
    write(tmp_path / "a.h5"), write(tmp_path / "b.h5")
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_no_patches_are_a_file_too(tmp_path):
    places = PatchPlaces.of("one", [], None, grid=GridSpec())
    write_features(tmp_path / "one.h5", MANIFEST, places, batches=[])
    found = open_features(tmp_path / "one.h5")
    assert (found.shape, found.features().shape, found.patch_ids) == ((0, 0), (0, 0), [])
    found.check()


@pytest.mark.parametrize("rows", [5, 7])
def test_other_rows_than_patches_publish_nothing(tmp_path, rows):
    with pytest.raises((ValueError, TypeError)):
        write_features(tmp_path / "one.h5", MANIFEST, PLACES, batches=[np.zeros((rows, 5), np.float32)])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["features", "coords", "patch_id", "manifest"])
def test_flipped_byte_of_dataset_is_found(tmp_path, name):
    """Other bytes are HDF5's own structure: `verify` compares the digest of the whole file before HDF5 reads it."""
    write(tmp_path / "one.h5")
    whole = (tmp_path / "one.h5").read_bytes()
    with h5py.File(tmp_path / "one.h5") as file:
        start, size = file[name].id.get_offset(), file[name].nbytes
    for place in range(start, start + size, 7):
        damaged = bytearray(whole)
        damaged[place] ^= 0x55
        (tmp_path / "two.h5").write_bytes(damaged)
        with pytest.raises(StoreError, match=r"two\.h5: its"):
            open_features(tmp_path / "two.h5").check()


def test_damaged_heap_of_texts_is_not_read(tmp_path):
    """HDF5 may search a damaged heap without end; what it holds is in the manifest too."""
    write(tmp_path / "one.h5")
    whole = bytearray((tmp_path / "one.h5").read_bytes())
    start = whole.index(b"GCOL")
    whole[start + 8 : start + 200] = b"\xff" * 192
    (tmp_path / "one.h5").write_bytes(whole)
    found = open_features(tmp_path / "one.h5")
    assert found.attributes == PLACES.attributes
    found.check()


@pytest.mark.parametrize(
    ("content", "problem"),
    [(None, "the file of features does not exist"), (b"text", "cannot be read"), (b"", "cannot be read")],
)
def test_other_files_are_rejected(tmp_path, content, problem):
    if content is not None:
        (tmp_path / "one.h5").write_bytes(content)
    with pytest.raises(StoreError, match=problem):
        open_features(tmp_path / "one.h5")


def test_dataset_in_another_file_is_rejected(tmp_path):
    write(tmp_path / "one.h5")
    with h5py.File(tmp_path / "one.h5", "a") as file:
        del file["features"]
        file["features"] = h5py.ExternalLink("elsewhere.h5", "/features")
    with pytest.raises(StoreError, match="features is missing"):
        open_features(tmp_path / "one.h5")


def test_manifest_of_later_version_says_so(monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr("slidemill.features._manifest.VERSION", 9)
        data = MANIFEST.to_bytes()
    with pytest.raises(StoreError, match="has version 9 of the format, and this slidemill reads 1: upgrade it"):
        FeatureManifest.from_bytes(data, "one.h5")


@pytest.mark.parametrize("change", ["remove", "cut", "replace", "write"])
def test_file_that_changed_since_it_was_opened_is_not_mapped(tmp_path, change):
    """Its coordinates were read before: the rows of another file would be of other patches."""
    path = tmp_path / "one.h5"
    write(path)
    found = open_features(path)
    data = path.read_bytes()
    match change:
        case "remove":
            path.unlink()
        case "cut":
            path.write_bytes(data[:100])
        case "replace":
            write(path)
        case "write":
            path.write_bytes(data + b" ")
    with pytest.raises(StoreError, match=r"one\.h5: was replaced or removed since it was opened: open it again"):
        found.features()


def test_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "one.h5")
    with pytest.raises(StoreError, match="the file of features does not exist"):
        open_features(tmp_path / "one.h5")


@pytest.mark.parametrize("second", [np.zeros((2, 1), np.float32), np.zeros((2, 5), np.float16)])
def test_rows_of_several_kinds_are_refused(second):
    """HDF5 would repeat a row's only value, and convert another type."""
    batches = finite_rows("uni", FeatureSpec("m:f"), [np.zeros((4, 5), np.float32), second], ids=list("abcdef"))
    message = f"it returns {second.shape[1]} values of {second.dtype} per patch for 2 patches after 5 values of float32"
    with pytest.raises(ModelError, match=message):
        list(batches)
