"""Hundreds of random damages: each that changes what a reader gets is found, and its patch named where it is one's.

What a reader gets is looked at without the checks: by slidemill's reader, and by h5py, lmdb and plain files.
"""

import io
import json
import os
import random
import re
import shutil
import subprocess
import tarfile
from dataclasses import replace
from pathlib import Path

import h5py
import imagecodecs
import lmdb
import numpy as np
import pytest
import xxhash

from slidemill.core.child_process import ChildCrashedError, ChildProcess
from slidemill.core.encodings import ENCODINGS, decode_patch, digest
from slidemill.core.results_layout import SUFFIXES
from slidemill.errors import StoreError
from slidemill.stores.checks import Expected, check_in_child, check_store
from slidemill.stores.registry import open_store
from slidemill.stores.zarr import crc32c
from tests.results import PATCHES, SIZE, write_a_store

pytestmark = pytest.mark.cases

CASES = [
    ("lmdb", "raw"), ("lmdb", "zstd"), ("lmdb", "jpeg"), ("hdf5", "raw"), ("hdf5", "png"), ("hdf5", "zstd"),
    ("disk", "raw"), ("disk", "png"), ("disk", "jpeg"), ("tar", "raw"), ("tar", "png"),
    ("zarr", "raw"), ("zarr", "zstd"),
]  # fmt: skip
EACH = 70
IDS = [patch.patch_id for patch in PATCHES]
COORDINATES = ("column", "row", "x0", "y0", "width0", "height0")


def tried(read):
    """What `read` returns, or that it raises."""
    try:
        return read()
    except Exception:
        return "raised"


def gotten(path):
    """What readers get of a store: the part, a patch's id or another name, to its value."""
    return slidemills(path) | OTHERS[path.suffix](path)


def slidemills(path):
    try:
        store = open_store(path)
    except Exception:
        return {("opens", ""): "raised"}
    with store:
        found = {("patch", one): tried(lambda one=one: digest(store.read(one))) for one in store.ids}
        return found | {("ids", ""): list(store.ids), ("manifest", ""): repr(store.manifest)}


def by_h5py(path):
    found = {}
    try:
        with h5py.File(path, locking=False) as file:
            for name in file:
                got = tried(lambda name=name: (str(file[name].dtype), file[name].shape, file[name][:].tobytes()))
                found["h5py", name] = got
            if "patches" in file:
                pixels = tried(lambda: file["patches"][:])
                found.pop(("h5py", "patches"))
                found |= {("patch by h5py", one): digest(pixels[place]) for place, one in enumerate(IDS)}
            elif "payload" in file:
                payload, offsets = file["payload"][:], file["offsets"][:]
                found.pop(("h5py", "payload"))
                for place, one in enumerate(IDS):
                    found["patch by h5py", one] = payload[offsets[place] : offsets[place + 1]].tobytes()
    except Exception:
        found["h5py", "opens"] = "raised"
    return found


def by_lmdb(path):
    found = {}
    try:
        with lmdb.open(os.fspath(path), subdir=False, lock=False, readonly=True) as env:
            for one in (*IDS, "__manifest__"):
                # Each by itself: a page that is bad spoils a transaction for the next read.
                with env.begin() as transaction:
                    kind = "patch by lmdb" if one in IDS else "lmdb"
                    found[kind, one] = tried(lambda one=one, txn=transaction: txn.get(one.encode()))
            with env.begin() as transaction:
                found["lmdb", "count"] = transaction.stat()["entries"]
    except Exception:
        found["lmdb", "opens"] = "raised"
    return found


def by_files(path):
    found = {}
    for file in path.iterdir():
        kind = "patch by file" if file.stem in IDS else "file"
        found[kind, file.stem if file.stem in IDS else file.name] = file.read_bytes()
    return found


def by_tarfile(path):
    found = {}
    try:
        with tarfile.open(path) as file:
            for place, member in enumerate(file):
                one = Path(member.name).stem
                kind = "patch by tarfile" if one in IDS else "tarfile"
                found[kind, one] = (place, member.name, tried(lambda m=member: file.extractfile(m).read()))
    except Exception:
        found["tarfile", "opens"] = "raised"
    return found


def by_zarr(path):
    found = {("file", name): tried((path / name).read_bytes) for name in ("index.csv", "manifest.json")}
    try:
        import zarr
    except ModuleNotFoundError:
        return found
    try:
        array = zarr.open_array(path, mode="r")
        found["zarr", "array"] = (array.shape, array.dtype, array.metadata.dimension_names, dict(array.attrs))
        return found | {
            ("patch by zarr", one): tried(lambda p=place: digest(array[p])) for place, one in enumerate(IDS)
        }
    except Exception:
        return found | {("zarr", "opens"): "raised"}


OTHERS = {".h5": by_h5py, ".lmdb": by_lmdb, "": by_files, ".tar": by_tarfile, ".zarr": by_zarr}


def flip(path, draw):
    """Change one byte anywhere."""
    file = a_file(path, draw)
    data = bytearray(file.read_bytes())
    data[draw.randrange(len(data))] ^= draw.randrange(1, 256)
    file.write_bytes(data)


def cut(path, draw):
    """Cut a file short."""
    file = a_file(path, draw)
    os.truncate(file, draw.randrange(file.stat().st_size))


def delete_patch(path, draw):
    one = draw.choice(IDS)
    if path.suffix == ".zarr":
        edit_shard(path, lambda places: places.__setitem__(IDS.index(one), 2**64 - 1))
    elif path.is_dir():
        patch_file(path, one).unlink()
    elif path.suffix == ".tar":
        edit_tar(path, lambda members: [each for each in members if one not in each[0].name])
    elif path.suffix == ".lmdb":
        edit_lmdb(path, lambda transaction: transaction.delete(one.encode()))
    else:
        with h5py.File(path, "r+") as file:
            left = [each for each in file["ids"][:] if each != one.encode()]
            del file["ids"]
            file["ids"] = np.array(left)


def add_patch(path, draw):
    """Give a patch that is there to an id that is not."""
    one, other = draw.choice(IDS), f"r{draw.randrange(5, 99):05d}_c00000"
    if path.suffix == ".zarr":
        rows = (path / "index.csv").read_text().splitlines(keepends=True)
        row = next(row for row in rows if row.startswith(one))
        (path / "index.csv").write_text("".join([*rows, row.replace(one, other)]))
    elif path.is_dir():
        shutil.copyfile(patch_file(path, one), patch_file(path, one).with_stem(other))
    elif path.suffix == ".tar":
        with tarfile.open(path, "a") as file:
            data = next(data for member, data in members_of(path) if one in member.name)
            member = tarfile.TarInfo(f"slide/{other}.png")
            member.size = len(data)
            file.addfile(member, io.BytesIO(data))
    elif path.suffix == ".lmdb":
        edit_lmdb(path, lambda transaction: transaction.put(other.encode(), transaction.get(one.encode())))
    else:
        with h5py.File(path, "r+") as file:
            ids = [*file["ids"][:], other.encode()]
            del file["ids"]
            file["ids"] = np.array(ids)


def swap_patches(path, draw):
    one, other = draw.sample(IDS, 2)
    if path.suffix == ".zarr":
        pair = [IDS.index(one), IDS.index(other)]
        edit_shard(path, lambda places: places.__setitem__(pair, places[pair[::-1]]))
    elif path.is_dir():
        files = patch_file(path, one), patch_file(path, other)
        values = [file.read_bytes() for file in files]
        for file, value in zip(files, reversed(values), strict=True):
            file.write_bytes(value)
    elif path.suffix == ".tar":

        def renamed(members):
            names = {one: other, other: one}
            for member, _ in members:
                patch_id = Path(member.name).stem
                member.name = member.name.replace(patch_id, names.get(patch_id, patch_id))
            return members

        edit_tar(path, renamed)
    elif path.suffix == ".lmdb":

        def swap(transaction):
            values = transaction.get(one.encode()), transaction.get(other.encode())
            transaction.put(one.encode(), values[1])
            transaction.put(other.encode(), values[0])

        edit_lmdb(path, swap)
    else:
        with h5py.File(path, "r+") as file:
            ids = file["ids"][:]
            places = IDS.index(one), IDS.index(other)
            ids[list(places)] = ids[list(reversed(places))]
            file["ids"][:] = ids


def edit_index(path, draw):
    """Change one number beside the pixels; LMDB has none."""
    if path.suffix == ".zarr" and draw.random() < 0.5:
        place, column, change = draw.randrange(len(IDS)), draw.randrange(2), draw.choice((-1, 1, 4096))
        edit_shard(
            path, lambda places: places.__setitem__((place, column), int(places[place, column]) + change & 2**64 - 1)
        )
    elif path.is_dir():
        text = (path / "index.csv").read_text()
        place = draw.choice([match.start() for match in re.finditer(r"\d", text)])
        digit = str((int(text[place]) + draw.randrange(1, 10)) % 10)
        (path / "index.csv").write_text(text[:place] + digit + text[place + 1 :])
    elif path.suffix == ".h5":
        with h5py.File(path, "r+") as file:
            name = draw.choice([*COORDINATES, *({"offsets"} & {*file})])
            file[name][draw.randrange(len(IDS))] += draw.choice((-1, 1, 4096))
    elif path.suffix == ".tar":
        with path.open("r+b") as file:
            file.seek(512 + 8 * draw.randrange(2 * len(IDS)))
            number = int.from_bytes(file.read(8), "little") + draw.choice((-1, 1, 4096))
            file.seek(-8, os.SEEK_CUR)
            file.write(number.to_bytes(8, "little"))
    else:
        edit_manifest(path, draw)


def edit_manifest(path, draw):
    """Change what a store says of itself, and leave the seal as it was."""

    def edited(data):
        values = json.loads(data)
        key = draw.choice([key for key in values if key not in ("format", "seal")])
        value = values[key]
        if isinstance(value, list) and value:
            draw.shuffle(value)
            value[0] = draw.choice([value[0], value[0][:-1] + draw.choice("0123456789")])
        elif isinstance(value, dict):
            value[draw.choice([*value])] = 7
        elif isinstance(value, int):
            values[key] = value + draw.choice((-1, 1))
        else:
            values[key] = "other"
        return json.dumps(values, separators=(",", ":")).encode()

    if path.is_dir():
        (path / "manifest.json").write_bytes(edited((path / "manifest.json").read_bytes()))
    elif path.suffix == ".tar":
        edit_tar(path, lambda members: [(m, edited(data) if "manifest" in m.name else data) for m, data in members])
    elif path.suffix == ".lmdb":
        edit_lmdb(path, lambda txn: txn.put(b"__manifest__", edited(txn.get(b"__manifest__"))))
    else:
        with h5py.File(path, "r+") as file:
            data = edited(file["manifest"][:].tobytes())
            del file["manifest"]
            file["manifest"] = np.frombuffer(data, np.uint8)


def a_file(path, draw):
    """A file of the store; of a folder, the index and the manifest as often as the patches."""
    if not path.is_dir():
        return path
    if path.suffix == ".zarr":
        return path / draw.choice(["index.csv", "manifest.json", "zarr.json", "c.0.0.0.0", "c.0.0.0.0"])
    return path / draw.choice(
        ["index.csv", "manifest.json", *(patch_file(path, one).name for one in draw.choices(IDS, k=2))]
    )


def patch_file(path, patch_id):
    return next(path.glob(f"{patch_id}.*"))


def edit_shard(path, change):
    """Change a shard's index, and renew its checksum."""
    data = (path / "c.0.0.0.0").read_bytes()
    size = 16 * len(IDS)
    places = np.frombuffer(data[-size - 4 : -4], "<u8").reshape(-1, 2).copy()
    change(places)
    index = places.tobytes()
    (path / "c.0.0.0.0").write_bytes(data[: -size - 4] + index + crc32c(index).to_bytes(4, "little"))


def members_of(path):
    with tarfile.open(path) as file:
        return [(member, file.extractfile(member).read()) for member in file]


def edit_tar(path, change):
    """Write a tar file anew, as a program would that knows nothing of the offsets."""
    members = change(members_of(path))
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as file:
        for member, data in members:
            member.size = len(data)
            file.addfile(member, io.BytesIO(data))


def edit_lmdb(path, change):
    with lmdb.open(os.fspath(path), subdir=False, lock=False, map_size=1 << 22) as env, env.begin(write=True) as txn:
        change(txn)


DAMAGES = [*[flip] * 6, cut, cut, delete_patch, add_patch, swap_patches, edit_index, edit_manifest]


@pytest.mark.parametrize(("backend", "encoding"), CASES)
def test_every_damage_that_changes_what_a_reader_gets_is_found(tmp_path, noise, backend, encoding):
    assert len(CASES) * EACH >= 500
    whole = tmp_path / f"whole{SUFFIXES[backend]}"
    write_a_store(backend, whole, encoding, noise(len(PATCHES), SIZE))
    expected = Expected("slide", backend)
    missed, unnamed, changing = [], [], 0
    with ChildProcess() as process:
        before = process.call(gotten, whole)
        checked = check_in_child(process, whole, expected)
        assert all(finding.message == "" for finding in checked.findings)
        assert "raised" not in before.values()
        known = [checked.decoded] if checked.decoded else []
        for number in range(EACH):
            draw = random.Random(f"{backend} {encoding} {number}")
            damage = DAMAGES[number % len(DAMAGES)]
            path = tmp_path / f"{number}{SUFFIXES[backend]}"
            (shutil.copytree if whole.is_dir() else shutil.copyfile)(whole, path)
            damage(path, draw)
            changed = changes(process, before, path)
            found = check_in_child(process, path, expected)
            # What is known of an intact store hides no damage of another.
            assert check_in_child(process, path, expected, known=known).findings == found.findings
            said = "; ".join(finding.message for finding in found.findings)
            tale = f"{damage.__name__} {number}: {sorted(changed)}: {said}"
            if changed:
                changing += 1
                if not said.strip("; "):
                    missed.append(tale)
                patches = {one for kind, one in changed if kind.startswith("patch")}
                alone = all(kind.startswith("patch") for kind, _ in changed) and len(patches) == 1
                if alone and next(iter(patches)) not in said:
                    unnamed.append(tale)
    assert missed == []
    assert unnamed == []
    assert changing > EACH // 2


def changes(process: ChildProcess, before, path: Path):
    """What is no longer as it was, by part and name."""
    try:
        after = process.call(gotten, path)
    except ChildCrashedError:
        return {("process", "died")}
    return {key for key in before | after if before.get(key) != after.get(key)}


def test_every_flipped_bit_of_a_zstd_frame_is_refused(noise):
    """Without a checksum, nearly all of them decode to other pixels."""
    pixels = noise(1, 64)[0] // 8
    data = ENCODINGS["zstd"].encode(pixels, None)
    np.testing.assert_array_equal(decode_patch(ENCODINGS["zstd"], data, pixels.shape), pixels)
    draw = random.Random(1)
    for place in draw.sample(range(len(data)), min(len(data), 600)):
        broken = bytearray(data)
        broken[place] ^= 1 << draw.randrange(8)
        with pytest.raises(StoreError):
            # A bit that the format leaves unused changes nothing.
            if np.array_equal(decode_patch(ENCODINGS["zstd"], bytes(broken), pixels.shape), pixels):
                raise StoreError("the same pixels")


@pytest.mark.parametrize("shape", [(1, 1, 3), (16, 16, 3), (33, 47, 3), (256, 256, 3), (1024, 1024, 3)])
@pytest.mark.parametrize("fill", ["noise", "flat"])
def test_zstd_checksum_is_the_formats_own(tmp_path, shape, fill):
    """The zstd program, where there is one, reads the frame and its checksum."""
    pixels = np.full(shape, 7, np.uint8)
    if fill == "noise":
        pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    data = ENCODINGS["zstd"].encode(pixels, None)
    # RFC 8878, 3.1.1: a flag in the descriptor, and at the end the low 32 bits of XXH64, little-endian.
    assert data[4] & 0b100
    assert data[-4:] == (xxhash.xxh64_intdigest(pixels.tobytes()) & 0xFFFFFFFF).to_bytes(4, "little")
    np.testing.assert_array_equal(decode_patch(ENCODINGS["zstd"], data, shape), pixels)
    np.testing.assert_array_equal(decode_patch(ENCODINGS["zstd"], imagecodecs.zstd_encode(pixels), shape), pixels)
    if shutil.which("zstd"):
        (tmp_path / "frame.zst").write_bytes(data)
        said = subprocess.run(["zstd", "-lv", tmp_path / "frame.zst"], capture_output=True, text=True, check=True)
        assert "XXH64" in said.stdout
        subprocess.run(["zstd", "-t", tmp_path / "frame.zst"], capture_output=True, check=True)


def test_zstd_stores_without_checksums_are_still_read(tmp_path, noise, monkeypatch):
    pixels = noise(len(PATCHES), SIZE)
    plain = replace(ENCODINGS["zstd"], encode=lambda one, _: imagecodecs.zstd_encode(one, level=1))
    monkeypatch.setitem(ENCODINGS, "zstd", plain)
    write_a_store("lmdb", tmp_path / "s.lmdb", "zstd", pixels)
    monkeypatch.undo()
    with open_store(tmp_path / "s.lmdb") as store:
        np.testing.assert_array_equal(store.read_many(store.ids), pixels)
    assert not any(one.message for one in check_store(tmp_path / "s.lmdb", Expected("slide", "lmdb")).findings)
