"""Patches in HDF5: one file a slide, whose patches lie one after another, so that they can be mapped.

Raw patches are one dataset ``patches``, ``uint8 (n, height, width, 3)``, contiguous. Encoded ones are one
dataset ``payload``, ``uint8 (bytes,)``, contiguous, and ``offsets``, ``int64 (n + 1,)``: patch ``i`` is
``payload[offsets[i]:offsets[i + 1]]``. Beside them lie ``ids``, ``column``, ``row``, ``x0``, ``y0``,
``width0``, ``height0`` (n,) and ``manifest`` (UTF-8 JSON as ``uint8``).
"""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import h5py
import numpy as np
import numpy.typing as npt

from slidemill.encodings import UINT8, Buffer, Pixels, digest
from slidemill.errors import StoreError
from slidemill.files import synced
from slidemill.patches import PatchRef
from slidemill.stores.manifest import Manifest
from slidemill.stores.mapped import REMEDY, MappedStore
from slidemill.stores.protocol import Backend, Writer

COORDINATES = ("column", "row", "x0", "y0", "width0", "height0")
BLOCK = 8 * 1024 * 1024


class RawWriter:
    """Writes raw patches straight into their place in one contiguous dataset."""

    def __init__(self, file: h5py.File, count: int, manifest: Manifest) -> None:
        self._file = file
        self._block = (1, *manifest.shape)
        self._next = 0
        # h5py's own indexing takes twice as long: it makes the two selections anew for each patch.
        self._patches = _contiguous(file, "patches", (count, *manifest.shape)).id
        self._there = self._patches.get_space()
        self._here = h5py.h5s.create_simple(self._block)

    def add(self, patch: PatchRef, data: Buffer) -> None:
        """Store the encoded `data` of the next patch."""
        self._there.select_hyperslab((self._next, 0, 0, 0), self._block)
        self._patches.write(self._here, self._there, np.frombuffer(data, np.uint8))
        self._next += 1

    def index(self) -> str:
        """Return the digest of what lies beside the patches already."""
        return _index_digest(self._file)

    def finish(self, manifest: Manifest) -> None:
        """Store the manifest."""
        _write_manifest(self._file, manifest)


class EncodedWriter:
    """Collects encoded patches in a nameless file, and writes them as one dataset when their size is known."""

    def __init__(self, file: h5py.File, spool: IO[bytes]) -> None:
        self._file = file
        self._spool = spool
        self._offsets = [0]

    def add(self, patch: PatchRef, data: Buffer) -> None:
        """Store the encoded `data` of the next patch."""
        self._offsets.append(self._offsets[-1] + self._spool.write(data))

    def index(self) -> str:
        """Store the payload and its offsets, and return the digest of what lies beside it."""
        payload = _contiguous(self._file, "payload", (self._offsets[-1],))
        self._file.create_dataset("offsets", data=np.array(self._offsets, np.int64), track_times=False)
        self._spool.seek(0)
        start = 0
        while block := self._spool.read(BLOCK):
            payload[start : start + len(block)] = np.frombuffer(block, np.uint8)
            start += len(block)
        return _index_digest(self._file)

    def finish(self, manifest: Manifest) -> None:
        """Store the manifest."""
        _write_manifest(self._file, manifest)


@contextmanager
def writing(path: Path, patches: Sequence[PatchRef], manifest: Manifest) -> Iterator[Writer]:
    """Open a new store at `path` for writing; it is on the disk when the block ends."""
    with synced(path), h5py.File(path, "w", libver="latest", locking=False) as file, _abandoned(file):
        ids = np.array([patch.patch_id.encode() for patch in patches], dtype="S")
        file.create_dataset("ids", data=ids if len(ids) else np.array([], "S1"), track_times=False)
        for name in COORDINATES:
            values = np.array([getattr(patch, name) for patch in patches], np.int64)
            file.create_dataset(name, data=values, track_times=False)
        if manifest.encoding == "raw":
            yield RawWriter(file, len(patches), manifest)
        else:
            with tempfile.TemporaryFile(dir=path.parent) as spool:
                yield EncodedWriter(file, spool)


@contextmanager
def _abandoned(file: h5py.File) -> Iterator[None]:
    """Write all that HDF5 still holds when the block ends; where that or the block fails, have the rest go nowhere.

    HDF5 ends the process where it cannot write at closing, on a full disk for example.
    """
    try:
        yield
        file.flush()
    except BaseException:
        if hasattr(os, "memfd_create"):
            nowhere = os.memfd_create("abandoned")
            os.dup2(nowhere, file.id.get_vfd_handle())
            os.close(nowhere)
        raise


class Hdf5Store(MappedStore):
    """An HDF5 store, mapped into memory for reading; h5py is needed to open it alone."""

    def stored_ids(self) -> list[str]:
        """Return the ids that lie beside the patches."""
        with _opened(self.path) as file:
            try:
                ids = _own(file, "ids", "S")[:]
                return [bytes(patch_id).decode("utf-8", "backslashreplace") for patch_id in ids]
            except _BROKEN as error:
                raise StoreError(f"{self.path}: its ids cannot be read ({error}): {REMEDY}") from None

    def index_digest(self) -> str:
        """Return the digest of what h5py gives beside the pixels and the manifest."""
        with _opened(self.path) as file:
            try:
                return _index_digest(file)
            except _BROKEN as error:
                raise StoreError(f"{self.path}: its index cannot be read ({error}): {REMEDY}") from None

    def _open(self) -> Manifest:
        with _opened(self.path) as file:
            try:
                manifest = Manifest.from_bytes(_own(file, "manifest", "u")[:].tobytes(), self.path)
                count = len(manifest.ids)
                if manifest.encoding == "raw":
                    patches = _own(file, "patches", "u")
                    start = patches.id.get_offset() or 0
                    size = int(np.prod(manifest.shape))
                    if patches.shape != (count, *manifest.shape):
                        raise StoreError(f"{self.path}: holds {patches.shape} for {count} patches: {REMEDY}")
                    offsets: npt.NDArray[np.int64] = start + size * np.arange(count + 1, dtype=np.int64)
                else:
                    offsets = (_own(file, "payload", "u").id.get_offset() or 0) + _own(file, "offsets", "i")[:]
            except _BROKEN as error:
                raise StoreError(f"{self.path}: a dataset is missing or broken ({error}): {REMEDY}") from None
        if len(offsets) != count + 1 or (np.diff(offsets) < 0).any():
            raise StoreError(f"{self.path}: the offsets do not fit {count} patches: {REMEDY}")
        if offsets[-1] > self.path.stat().st_size:
            raise StoreError(f"{self.path}: the file ends before its last patch: {REMEDY}")
        self._map()
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
        raise StoreError(f"{path}: HDF5 cannot open it ({error}): {REMEDY}") from None
    with file:
        yield file


def _own(file: h5py.File, name: str, kind: str) -> h5py.Dataset:
    """Return a dataset of numbers or bytes of that kind (NumPy's letter), which lies in this very file in one piece.

    HDF5 follows links into other files, keeps the bytes of a dataset in any file that it names, and has datasets of
    few bytes that claim terabytes: a store from elsewhere shall read no other file, nor take more memory than its size.
    """
    if not isinstance(file.get(name, getlink=True) or h5py.HardLink(), h5py.HardLink):
        raise StoreError(f"{file.filename}: {name} is a link into another file or place: {REMEDY}")
    dataset = file[name]
    if dataset.external or dataset.is_virtual:
        raise StoreError(f"{file.filename}: {name} keeps its bytes in another file: {REMEDY}")
    if dataset.dtype.kind != kind:
        raise StoreError(f"{file.filename}: {name} holds {dataset.dtype}: {REMEDY}")
    size, start = math.prod(dataset.shape) * dataset.dtype.itemsize, dataset.id.get_offset()
    contiguous = dataset.id.get_create_plist().get_layout() == h5py.h5d.CONTIGUOUS
    if size and not (contiguous and start is not None and start + size <= file.id.get_filesize()):
        raise StoreError(f"{file.filename}: {name}, {size} bytes, does not lie in it in one piece: {REMEDY}")
    return dataset


def _contiguous(file: h5py.File, name: str, shape: tuple[int, ...]) -> h5py.Dataset:
    """Create a dataset of bytes whose place in the file is fixed at once, and which is not filled first."""
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_layout(h5py.h5d.CONTIGUOUS)
    properties.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    properties.set_obj_track_times(False)
    properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    space = h5py.h5s.create_simple(shape)
    return h5py.Dataset(h5py.h5d.create(file.id, name.encode(), h5py.h5t.NATIVE_UINT8, space, properties))


def _index_digest(file: h5py.File) -> str:
    """Return a digest of every dataset's name, type, shape and, but for pixels and manifest, values."""
    parts = []
    for name in sorted({*file} - {"manifest"}):
        dataset = file[name]
        parts.append(f"{name} {dataset.dtype.str} {dataset.shape} {sorted(dataset.attrs)}".encode())
        if name not in _PIXELS:
            parts.append(dataset[:].tobytes())
    return digest(b"\n".join(parts))


def _write_manifest(file: h5py.File, manifest: Manifest) -> None:
    file.create_dataset("manifest", data=np.frombuffer(manifest.to_bytes(), np.uint8), track_times=False)


BACKEND = Backend("hdf5", writing, Hdf5Store)
