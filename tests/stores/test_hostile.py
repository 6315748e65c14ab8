"""Stores that somebody made to do harm: an archive that is passed on may hold one."""

import json
import os
import struct
import tarfile
import tracemalloc
import zlib

import h5py
import imagecodecs
import numpy as np
import pytest

from slidemill.cli.commands import main
from slidemill.core.encodings import ENCODINGS, decode_patch, digest
from slidemill.core.results_layout import store_path
from slidemill.errors import StoreError
from slidemill.stores.checks import Expected, PixelDigests, check_store
from slidemill.stores.manifest import Manifest
from slidemill.stores.registry import STORES, open_store
from slidemill.stores.tar import header
from tests.results import PATCHES, write_slide, write_tables
from tests.results import SIZE as RESULTS_SIZE
from tests.stores.contract import SIZE, write_patches


def refuse(path, words):
    with pytest.raises(StoreError, match=words), open_store(path) as store:
        store.stored_ids()
        store.read_many(store.ids)


class TestHdf5:
    @pytest.mark.parametrize("name", ["manifest", "ids", "patches"])
    def test_data_of_another_file_is_not_read(self, tmp_path, noise, name):
        """HDF5 keeps a dataset's bytes in any file that it names, such as /etc/passwd."""
        path = write_patches(tmp_path, noise)[0]
        secret = tmp_path / "secret"
        with h5py.File(path, "a") as file:
            own = file[name]
            secret.write_bytes(own[:].tobytes())
            shape, kind = own.shape, own.dtype
            del file[name]
            file.create_dataset(name, shape, kind, external=[(str(secret), 0, h5py.h5f.UNLIMITED)])
        refuse(path, f"{name}.*another file")

    @pytest.mark.parametrize("name", ["manifest", "ids", "patches"])
    def test_links_and_views_of_other_files_are_not_followed(self, tmp_path, noise, name):
        path = write_patches(tmp_path, noise)[0]
        (tmp_path / "other.h5").write_bytes(path.read_bytes())
        with h5py.File(path, "a") as file:
            shape, kind = file[name].shape, file[name].dtype
            del file[name]
            file[name] = h5py.ExternalLink(str(tmp_path / "other.h5"), name)
        refuse(path, f"{name}.*another file")
        with h5py.File(path, "a") as file:
            del file[name]
            layout = h5py.VirtualLayout(shape, kind)
            layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), name, shape)
            file.create_virtual_dataset(name, layout)
        refuse(path, f"{name}.*another file")

    @pytest.mark.parametrize("name", ["manifest", "ids", "offsets", "payload"])
    def test_a_dataset_that_claims_more_than_the_file_has_takes_no_memory(self, tmp_path, noise, name):
        path = write_patches(tmp_path, noise, encoding="png")[0]
        with h5py.File(path, "a") as file:
            kind = file[name].dtype
            del file[name]
            file.create_dataset(name, (2**34,), kind, chunks=(2**20,), compression="gzip")
        tracemalloc.start()
        refuse(path, f"{name}.*one piece")
        assert tracemalloc.get_traced_memory()[1] < 50e6
        tracemalloc.stop()

    def test_nor_does_one_without_chunks(self, tmp_path, noise):
        path = write_patches(tmp_path, noise)[0]
        with h5py.File(path, "a") as file:
            del file["ids"]
            file.create_dataset("ids", (2**34,), "S16")
        refuse(path, "ids.*one piece")

    def test_ids_of_another_kind_are_refused(self, tmp_path, noise):
        path = write_patches(tmp_path, noise)[0]
        with h5py.File(path, "a") as file:
            del file["ids"]
            file["ids"] = np.arange(36)
        refuse(path, "ids")

    @pytest.mark.parametrize("name", ["column", "stranger"])
    @pytest.mark.parametrize(
        "kind", ["external link", "soft link", "pipe", "view", "terabytes", "group", "type", "holes"]
    )
    def test_check_of_a_hostile_dataset_is_one_finding(self, tmp_path, noise, name, kind):
        """What lies beside the patches is read by the check alone; nothing outside the file is opened."""
        path = write_patches(tmp_path, noise)[0]
        os.mkfifo(tmp_path / "pipe")
        with h5py.File(path, "a") as file:
            if name in file:
                del file[name]
            if kind == "external link":
                file[name] = h5py.ExternalLink(str(tmp_path / "pipe"), "column")
            elif kind == "soft link":
                file[name] = h5py.SoftLink("/row")
            elif kind == "pipe":
                file.create_dataset(name, (36,), "<i8", external=[(str(tmp_path / "pipe"), 0, 288)])
            elif kind == "view":
                layout = h5py.VirtualLayout((36,), "<i8")
                layout[:] = h5py.VirtualSource(str(tmp_path / "pipe"), "column", (36,))
                file.create_virtual_dataset(name, layout)
            elif kind == "terabytes":
                file.create_dataset(name, (2**40,), "<i8", chunks=(2**20,), compression="gzip")
            elif kind == "group":
                file.create_group(name)
            elif kind == "type":
                file[name] = np.dtype("<i8")
            else:
                make_hole(file, name, 2**28)
        tracemalloc.start()
        found = check_store(path, Expected("s", "hdf5"))
        assert tracemalloc.get_traced_memory()[1] < 50e6
        tracemalloc.stop()
        assert found.is_open
        assert [finding.check for finding in found.findings if finding.message] == ["index"]

    @pytest.mark.parametrize("name", ["manifest", "ids", "offsets"])
    def test_holes_of_gigabytes_take_no_memory(self, tmp_path, noise, name):
        """A file with holes has room for what it claims, and takes none of the disk."""
        path = write_patches(tmp_path, noise, encoding="png")[0]
        with h5py.File(path, "a") as file:
            kind = file[name].dtype
            del file[name]
            make_hole(file, name, 2**31 // kind.itemsize, kind)
        assert path.stat().st_size > 2**31 > 100 * 512 * path.stat().st_blocks
        tracemalloc.start()
        refuse(path, "manifest|shape")
        assert tracemalloc.get_traced_memory()[1] < 50e6
        tracemalloc.stop()

    def test_verify_goes_on_after_a_hostile_store(self, tmp_path, noise, capsys):
        results = tmp_path / "results"
        for seed, slide in enumerate(("one", "two")):
            write_slide(results, slide, noise(len(PATCHES), RESULTS_SIZE, seed))
        write_tables(results, {"one": "ok", "two": "ok"})
        path = results / store_path("hdf5", "one")
        with h5py.File(path, "a") as file:
            del file["x0"]
            file.create_dataset("x0", (2**40,), "<i8", chunks=(2**20,))
        (results / store_path("tar", "two")).unlink()
        os.mkfifo(results / store_path("tar", "two"))
        assert main(["verify", str(results)]) == 1
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) == 3
        assert sum(line.startswith(f"{path}: index: ") for line in lines) == 1
        assert sum("is neither a file nor a folder" in line for line in lines) == 1


def make_hole(file, name, count, kind="<i8"):
    """Make a dataset whose bytes are a hole in the file."""
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_layout(h5py.h5d.CONTIGUOUS)
    properties.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    kind = h5py.h5t.py_create(np.dtype(kind))
    h5py.h5d.create(file.id, name.encode(), kind, h5py.h5s.create_simple((count,)), properties)
    file.create_dataset("end", data=np.zeros(1))
    del file["end"]


class TestTar:
    def edited(self, path, place, value):
        data = bytearray(path.read_bytes())
        data[place : place + 8] = struct.pack("<q", value)
        path.write_bytes(data)

    @pytest.mark.parametrize("value", [-(2**63), -512, 0, 1, 511, 2**40, 2**63 - 1])
    @pytest.mark.parametrize("pair", [0, 1, 20, 36])
    @pytest.mark.parametrize("half", [0, 8])
    def test_offsets_that_lead_elsewhere_are_refused(self, tmp_path, noise, value, pair, half):
        path = write_patches(tmp_path, noise, "tar", "png")[0]
        self.edited(path, 512 + 16 * pair + half, value)
        refuse(path, "offsets|manifest")

    def test_a_member_that_claims_more_than_the_file_has_takes_no_memory(self, tmp_path, noise):
        path = write_patches(tmp_path, noise, "tar", "png")[0]
        with tarfile.open(path) as file:
            place = file.getmembers()[5].offset
        data = bytearray(path.read_bytes())
        data[place : place + 512] = header("s/r00000_c00004.png", 8**11 - 1)
        path.write_bytes(data)
        tracemalloc.start()
        refuse(path, "header at byte")
        assert tracemalloc.get_traced_memory()[1] < 50e6
        tracemalloc.stop()


@pytest.mark.parametrize("backend", STORES)
def test_a_store_that_went_away_a_moment_ago_is_told_as_such(tmp_path, noise, backend):
    path = write_patches(tmp_path, noise, backend, "raw")[0]
    path.rename(tmp_path / "gone")
    with pytest.raises(StoreError, match=str(path)):
        STORES[backend].reading(path)


def png_that_claims(width, height):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(10**6))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def jpeg_that_claims(width, height):
    data = bytearray(imagecodecs.jpeg_encode(np.zeros((SIZE, SIZE, 3), np.uint8)))
    place = data.index(b"\xff\xc0")
    data[place + 5 : place + 9] = struct.pack(">HH", height, width)
    return bytes(data)


class TestPictures:
    @pytest.mark.parametrize(
        ("encoding", "data"),
        [("png", png_that_claims(60_000, 60_000)), ("jpeg", jpeg_that_claims(60_000, 60_000))],
    )
    def test_a_picture_that_claims_gigabytes_is_not_decoded(self, encoding, data, monkeypatch):
        """The size in its head is looked at first."""

        def fail(*_args, **_options):
            raise AssertionError("decoded")

        monkeypatch.setattr("imagecodecs.png_decode", fail)
        monkeypatch.setattr("simplejpeg.decode_jpeg", fail)
        with pytest.raises(StoreError, match="60000 x 60000"):
            decode_patch(ENCODINGS[encoding], data, (SIZE, SIZE, 3))

    @pytest.mark.parametrize("encoding", ["png", "jpeg", "source", "zstd", "npy", "raw"])
    @pytest.mark.parametrize("data", [b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"\xff\xd8" + b"\xff" * 100])
    def test_hardly_any_bytes_are_refused(self, encoding, data):
        with pytest.raises(StoreError):
            decode_patch(ENCODINGS[encoding], data, (SIZE, SIZE, 3))

    def test_zstd_that_holds_more_than_a_patch_takes_no_more_memory(self):
        data = imagecodecs.zstd_encode(bytes(2**28))
        with pytest.raises(StoreError):
            decode_patch(ENCODINGS["zstd"], data, (SIZE, SIZE, 3))


def sealed(manifest):
    """A manifest's bytes with a seal that is right: whoever makes up a store can seal it."""
    text = json.dumps({key: value for key, value in manifest.items() if key != "seal"}, separators=(",", ":"))[:-1]
    return f'{text},"seal":"{digest(text.encode())}"}}'.encode()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("ids", "r00000_c00000"),
        ("ids", {"r00000_c00000": 1}),
        ("byte_digests", [1] * 36),
        ("pixel_digests", [None] * 36),
        ("pixel_digests", {"a": 1}),
        ("sampling", 5),
        ("sampling", [1]),
        ("slide", 5),
        ("slide", None),
        ("fingerprint", []),
        ("quality", "high"),
        ("backend", {}),
        ("encoding", []),
        ("patch_size", True),
        ("patch_size", 1e3),
        ("digest", 1),
        ("versions", "1"),
        ("count", "36"),
    ],
)
def test_a_manifest_with_a_value_of_another_kind_is_refused(tmp_path, noise, key, value):
    path = write_patches(tmp_path, noise, "disk", "png")[0]
    manifest = json.loads((path / "manifest.json").read_text())
    Manifest.from_bytes(sealed(manifest), "it")
    with pytest.raises(StoreError, match="manifest") as refused:
        Manifest.from_bytes(sealed(manifest | {key: value}), "it")
    assert "sealed" not in str(refused.value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("ids", ["../r00000_c00000", *(f"r00000_c{column:05d}" for column in range(1, 36))]),
        ("patch_size", 0),
        ("patch_size", 4097),
    ],
)
def test_a_manifest_with_one_bad_id_or_size_is_refused(tmp_path, noise, key, value):
    """Either is enough: an id becomes a file's name, and a size memory."""
    path = write_patches(tmp_path, noise, "disk", "png")[0]
    manifest = json.loads((path / "manifest.json").read_text())
    assert len(manifest["ids"]) == 36
    with pytest.raises(StoreError, match="holds an id or a size that is not valid"):
        Manifest.from_bytes(sealed(manifest | {key: value}), "it")


def test_the_largest_patch_size_is_accepted(tmp_path, noise):
    path = write_patches(tmp_path, noise, "disk", "png")[0]
    manifest = json.loads((path / "manifest.json").read_text())
    assert Manifest.from_bytes(sealed(manifest | {"patch_size": 4096}), "it").patch_size == 4096


@pytest.mark.parametrize("table", [None, h5py.SoftLink("/elsewhere")], ids=["no table", "a soft link"])
def test_hdf5_without_manifest_and_table_is_damaged(tmp_path, table):
    """Only slidemill's own files over all slides, and its exports, are whole without a manifest."""
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        file["patches"] = np.zeros(3)
        if table:
            file["table"] = table
    with pytest.raises(StoreError) as refused:
        open_store(path)
    assert "and no store" not in str(refused.value)


def test_pixel_digests_of_each_patch_are_its_own():
    digests = {f"r00000_c{number:05d}": f"{number:032x}" for number in range(5)}
    found = PixelDigests.of(list(digests), list(digests.values())).by_id()
    assert found == {name: PixelDigests.of([name], [own]).by_id()[name] for name, own in digests.items()}
    assert list(found) == list(digests)
    assert len(set(found.values())) == 5
    assert PixelDigests.of([], []).by_id() == {}
