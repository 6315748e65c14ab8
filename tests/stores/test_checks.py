"""What checks of a slide's stores decode, and that what they do not decode is checked as well."""

import numpy as np
import pytest

from slidemill.core.results_layout import SUFFIXES
from slidemill.stores import checks
from slidemill.stores.checks import Expected, check_agreement, check_store
from slidemill.stores.registry import STORES
from slidemill.stores.tile_grid import TileGrid
from tests.results import INFO, PATCHES, SIZE, write_a_store
from tests.tile_stores import write_tile_store


@pytest.fixture
def decoded(monkeypatch):
    """The number of bytes of all patches and tiles that are decoded."""
    sizes, patch, tile = [], checks.decode_patch, TileGrid.decode

    def decode_a_patch(codec, data, shape):
        sizes.append(len(data))
        return patch(codec, data, shape)

    def decode_a_tile(grid, data, memory=None):
        sizes.append(len(data))
        return tile(grid, data, memory)

    monkeypatch.setattr(checks, "decode_patch", decode_a_patch)
    monkeypatch.setattr(TileGrid, "decode", decode_a_tile)
    return sizes


def check_all(paths):
    """Check stores one after another, as a validation does."""
    found = {}
    for backend, path in paths.items():
        known = [one.decoded for one in found.values() if one.decoded]
        found[backend] = check_store(path, Expected("slide", backend), known=known)
    return found


def messages(found):
    return [row.message for one in found.values() for row in one.findings] + [
        row.message for row in check_agreement("slide", found)
    ]


@pytest.mark.parametrize("encoding", ["zstd", "png", "jpeg", "source"])
def test_equal_bytes_are_decoded_once(tmp_path, noise, decoded, encoding):
    pixels, paths = noise(len(PATCHES), SIZE), {}
    for backend in (name for name, kind in STORES.items() if encoding in kind.offered):
        paths[backend] = tmp_path / f"s{SUFFIXES[backend]}"
        write_a_store(backend, paths[backend], encoding, pixels)
    found = check_all(paths)
    assert len(decoded) == len(PATCHES)
    assert set(messages(found)) == {""}
    assert len({one.pixel_digests for one in found.values()}) == 1


def test_raw_patches_are_not_decoded(tmp_path, noise, decoded):
    paths = {backend: tmp_path / f"s{SUFFIXES[backend]}" for backend in ("lmdb", "hdf5")}
    for backend, path in paths.items():
        write_a_store(backend, path, "raw", noise(len(PATCHES), SIZE))
    assert set(messages(check_all(paths))) == {""}
    assert decoded == []


def test_other_encodings_are_decoded(tmp_path, noise, decoded):
    paths = {"lmdb": tmp_path / "s.lmdb", "hdf5": tmp_path / "s.h5"}
    for (backend, path), encoding in zip(paths.items(), ("zstd", "png"), strict=True):
        write_a_store(backend, path, encoding, noise(len(PATCHES), SIZE))
    assert set(messages(check_all(paths))) == {""}
    assert len(decoded) == 2 * len(PATCHES)


def test_tiles_of_two_stores_are_decoded_once(tmp_path, decoded):
    width, height = INFO.dimensions[0]
    picture = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    paths = {"lmdb": tmp_path / "s.lmdb", "hdf5": tmp_path / "s.h5"}
    for backend, path in paths.items():
        write_tile_store(backend, path, picture, PATCHES, size=SIZE)
    one = check_store(paths["lmdb"], Expected("slide", "lmdb"))
    alone = len(decoded)
    other = check_store(paths["hdf5"], Expected("slide", "hdf5"), known=[one.decoded])
    assert len(decoded) == alone > 0
    assert one.pixel_digests == other.pixel_digests
    assert set(messages({"lmdb": one, "hdf5": other})) == {""}


@pytest.mark.parametrize(("first", "second"), [("lmdb", "hdf5"), ("hdf5", "lmdb")])
def test_broken_patch_of_one_store_is_decoded_in_the_other(tmp_path, noise, first, second):
    """The first store is damaged, or the second."""
    pixels = noise(len(PATCHES), SIZE)
    paths = {backend: tmp_path / f"s{SUFFIXES[backend]}" for backend in (first, second)}
    for backend, path in paths.items():
        write_a_store(backend, path, "zstd", pixels)
    data = bytearray(paths["hdf5"].read_bytes())
    # Within a patch's frame, which begins with zstd's magic number.
    data[data.index(b"\x28\xb5\x2f\xfd") + 200] ^= 255
    paths["hdf5"].write_bytes(data)
    found = check_all(paths)
    assert {row.check for row in found["hdf5"].findings if row.message} >= {"digests"}
    assert not any(row.message for row in found["lmdb"].findings)
    assert found == {own: check_store(path, Expected("slide", own)) for own, path in paths.items()}


def test_patches_in_another_order_are_decoded(tmp_path, noise, decoded):
    """Places are compared, so that stores must hold the same patches."""
    pixels = noise(len(PATCHES), SIZE)
    write_a_store("lmdb", tmp_path / "s.lmdb", "zstd", pixels)
    write_a_store("hdf5", tmp_path / "s.h5", "zstd", pixels[1:], patches=PATCHES[1:])
    found = check_all({"lmdb": tmp_path / "s.lmdb", "hdf5": tmp_path / "s.h5"})
    assert len(decoded) == 2 * len(PATCHES) - 1
    assert any("r00000_c00000 differs" in one for one in messages(found))
