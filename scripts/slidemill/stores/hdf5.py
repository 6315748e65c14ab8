"""Patches in HDF5: one file a slide, whose patches lie one after another, so that they can be mapped.

Raw patches are one dataset ``patches``, ``uint8 (n, height, width, 3)``, contiguous. Encoded ones are one
dataset ``payload``, ``uint8 (bytes,)``, contiguous, and ``offsets``, ``int64 (n + 1,)``: patch ``i`` is
``payload[offsets[i]:offsets[i + 1]]``. Beside them lie ``ids``, ``column``, ``row``, ``x0``, ``y0``,
``width0``, ``height0`` (n,) and ``manifest`` (UTF-8 JSON as ``uint8``).
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt

from slidemill.core.encodings import UINT8, Buffer, Pixels, digest
from slidemill.core.files import synced
from slidemill.core.patch import PatchRef
from slidemill.errors import StoreError, machine_error
from slidemill.stores._mapped import REMEDY, MappedStore
from slidemill.stores.base import Backend
from slidemill.stores.hdf5_writer import EncodedPatches, RawPatches, discard_on_error
from slidemill.stores.manifest import Manifest

COORDINATES = ("column", "row", "x0", "y0", "width0", "height0")
KINDS = dict.fromkeys(COORDINATES, "i") | {"ids": "S", "offsets": "i", "patches": "u", "payload": "u", "manifest": "u"}
"""What a store may hold, and NumPy's letter for the type of each."""
LONGEST_ID = 64
"""Bytes that a patch's id may have."""


class Hdf5Writer:
    """Writes patches by `pixels`, and what lies beside them."""

    def __init__(self, file: h5py.File, pixels: RawPatches | EncodedPatches) -> None:
        self._file = file
        self._pixels = pixels

    def add(self, patch: PatchRef, data: Buffer) -> None:
        """Store the encoded `data` of the next patch."""
        self._pixels.add(data)

    def index(self) -> str:
        """Return the digest of what lies beside the patches."""
        self._pixels.end()
        return _index_digest(self._file)

    def finish(self, manifest: Manifest) -> None:
        """Store the manifest."""
        data = np.frombuffer(manifest.to_bytes(), np.uint8)
        self._file.create_dataset("manifest", data=data, track_times=False)


@contextmanager
def writing(path: Path, patches: Sequence[PatchRef], manifest: Manifest) -> Iterator[Hdf5Writer]:
    """Open a new store at `path` for writing; it is on the disk when the block ends."""
    with synced(path), h5py.File(path, "w", libver="latest", locking=False) as file, discard_on_error(file):
        ids = np.array([patch.patch_id.encode() for patch in patches], dtype="S")
        file.create_dataset("ids", data=ids if len(ids) else np.array([], "S1"), track_times=False)
        for name in COORDINATES:
            values = np.array([getattr(patch, name) for patch in patches], np.int64)
            file.create_dataset(name, data=values, track_times=False)
        if manifest.encoding == "raw":
            yield Hdf5Writer(file, RawPatches(file, len(patches), manifest.shape))
        else:
            with tempfile.TemporaryFile(dir=path.parent) as spool:
                yield Hdf5Writer(file, EncodedPatches(file, spool))


class Hdf5Store(MappedStore):
    """An HDF5 store, mapped into memory for reading; h5py is needed to open it alone."""

    def stored_ids(self) -> list[str]:
        """Return the ids that lie beside the patches."""
        with _opened(self.path) as file:
            self._check_same()
            with _told(self.path, "its ids cannot be read"):
                ids = _own(file, "ids", len(self))[:]
                return [bytes(patch_id).decode("utf-8", "backslashreplace") for patch_id in ids]

    def index_digest(self) -> str:
        """Return the digest of what h5py gives beside the pixels and the manifest."""
        with _opened(self.path) as file:
            self._check_same()
            with _told(self.path, "its index cannot be read"):
                for name in {*file} - {"manifest"}:
                    _own(file, name, len(self))
                return _index_digest(file)

    def _open(self) -> Manifest:
        self._map()
        with _opened(self.path) as file:
            self._check_same()
            with _told(self.path, "a dataset is missing or broken"):
                # Not read by h5py, which would take as much memory as the file claims to need.
                lies = _own(file, "manifest")
                place, size = lies.id.get_offset() or 0, lies.nbytes
                manifest = Manifest.from_bytes(self._data[place : place + size], self.path)
                count = len(manifest.ids)
                if manifest.encoding == "raw":
                    patches = _own(file, "patches")
                    start = patches.id.get_offset() or 0
                    size = int(np.prod(manifest.shape))
                    if patches.shape != (count, *manifest.shape):
                        raise StoreError(f"{self.path}: holds {patches.shape} for {count} patches: {REMEDY}")
                    offsets: npt.NDArray[np.int64] = start + size * np.arange(count + 1, dtype=np.int64)
                else:
                    offsets = (_own(file, "payload").id.get_offset() or 0) + _own(file, "offsets", count)[:]
        if len(offsets) != count + 1 or (np.diff(offsets) < 0).any():
            raise StoreError(f"{self.path}: the offsets do not fit {count} patches: {REMEDY}")
        if offsets[-1] > len(self._data):
            raise StoreError(f"{self.path}: the file ends before its last patch: {REMEDY}")
        places = offsets.tolist()
        self._starts, self._ends = places[:-1], places[1:]
        return manifest

    def _read_raw(self, patch_id: str) -> Pixels:
        # The copy takes as long as some ten calls do, and so this makes as few as it can.
        try:
            start = self._starts[self._places[patch_id]]
            return np.ndarray(self._shape, UINT8, self._data, start).copy()
        except (KeyError, TypeError):
            return super()._read_raw(patch_id)  # which says what is wrong


_PIXELS = ("patches", "payload")
_BROKEN = (KeyError, TypeError, ValueError, AttributeError, OSError, RuntimeError)
"""What h5py raises where a file's structure is not what it should be."""


@contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    """Open an HDF5 file read-only and without a lock, which network drives often refuse."""
    try:
        file = h5py.File(path, "r", locking=False)
    except OSError as error:
        raise machine_error(error, path) or StoreError(f"{path}: HDF5 cannot open it ({error}): {REMEDY}") from None
    with file:
        yield file


@contextmanager
def _told(path: Path, what: str) -> Iterator[None]:
    """Raise a StoreError that says `what` is wrong when the block meets a broken structure."""
    try:
        yield
    except _BROKEN as error:
        raise machine_error(error, path) or StoreError(f"{path}: {what} ({error}): {REMEDY}") from None


def _own(file: h5py.File, name: str, count: int | None = None) -> h5py.Dataset:
    """Return a dataset of slidemill's that lies in this very file in one piece; of `count` patches if that is given.

    HDF5 follows links into other files, keeps the bytes of a dataset in any file that it names, and has datasets of
    few bytes that claim terabytes: a store from elsewhere shall read no other file, nor take more memory than its size.
    """
    if name not in KINDS:
        raise StoreError(f"{file.filename}: {name!r} is no part of a store: {REMEDY}")
    if not isinstance(file.get(name, getlink=True) or h5py.HardLink(), h5py.HardLink):
        raise StoreError(f"{file.filename}: {name} is a link into another file or place: {REMEDY}")
    dataset = file[name]
    if dataset.external or dataset.is_virtual:
        raise StoreError(f"{file.filename}: {name} keeps its bytes in another file: {REMEDY}")
    if dataset.dtype.kind != KINDS[name] or dataset.dtype.itemsize > LONGEST_ID:
        raise StoreError(f"{file.filename}: {name} holds {dataset.dtype}: {REMEDY}")
    size, start = math.prod(dataset.shape) * dataset.dtype.itemsize, dataset.id.get_offset()
    contiguous = dataset.id.get_create_plist().get_layout() == h5py.h5d.CONTIGUOUS
    if size and not (contiguous and start is not None and start + size <= file.id.get_filesize()):
        raise StoreError(f"{file.filename}: {name}, {size} bytes, does not lie in it in one piece: {REMEDY}")
    if count is not None and name not in _PIXELS and dataset.shape != (count + (name == "offsets"),):
        raise StoreError(f"{file.filename}: {name} has the shape {dataset.shape} for {count} patches: {REMEDY}")
    return dataset


def _index_digest(file: h5py.File) -> str:
    """Return a digest of every dataset's name, type, shape and, but for pixels and manifest, values."""
    parts = []
    for name in sorted({*file} - {"manifest"}):
        dataset = file[name]
        parts.append(f"{name} {dataset.dtype.str} {dataset.shape} {sorted(dataset.attrs)}".encode())
        if name not in _PIXELS:
            parts.append(dataset[:].tobytes())
    return digest(b"\n".join(parts))


BACKEND = Backend("hdf5", writing, Hdf5Store)
