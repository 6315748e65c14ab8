"""Patches in HDF5: one file per slide, mapped for reading.

Raw patches are the dataset ``patches``, ``uint8 (n, height, width, 3)``. Encoded ones are ``payload``,
``uint8 (bytes,)``, and ``offsets``, ``int64 (n + 1,)``: patch ``i`` is ``payload[offsets[i]:offsets[i + 1]]``.
The other datasets are ``ids``, ``column``, ``row``, ``x0``, ``y0``, ``width0``, ``height0`` (n,), and ``manifest``
(UTF-8 JSON as ``uint8``).
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
from slidemill.core.files import keep_synced
from slidemill.core.patch import PatchRef
from slidemill.errors import StoreError, discard_on_error
from slidemill.stores._mapped import REMEDY, MappedStore
from slidemill.stores.backend import Backend
from slidemill.stores.hdf5_writer import EncodedPatches, RawPatches
from slidemill.stores.manifest import Manifest

COORDINATES = ("column", "row", "x0", "y0", "width0", "height0")
KINDS = dict.fromkeys(COORDINATES, "i") | {"ids": "S", "offsets": "i", "patches": "u", "payload": "u", "manifest": "u"}
"""The datasets of a store, with NumPy's letter for the kind of each."""
LONGEST_ID = 64
"""Most bytes of a patch's id."""
_PIXELS = ("patches", "payload")
_NOTHING: Pixels = np.empty(0, np.uint8)
_BROKEN = (KeyError, TypeError, ValueError, AttributeError, OSError, RuntimeError)
"""What h5py raises on a broken structure."""


class Hdf5Writer:
    """Writer of patches, with `pixels`, and of the index."""

    def __init__(self, file: h5py.File, pixels: RawPatches | EncodedPatches) -> None:
        self._file = file
        self._pixels = pixels

    def add(self, patch: PatchRef, data: Buffer) -> None:
        """Store the encoded `data` of the next patch."""
        self._pixels.add(data)

    def index(self) -> str:
        """Complete the patches, and return the digest of the index."""
        self._pixels.end()
        return _index_digest(self._file)

    def finish(self, manifest: Manifest) -> None:
        """Store the manifest."""
        data = np.frombuffer(manifest.to_bytes(), np.uint8)
        self._file.create_dataset("manifest", data=data, track_times=False)


@contextmanager
def writing(path: Path, patches: Sequence[PatchRef], manifest: Manifest) -> Iterator[Hdf5Writer]:
    """Create a store at `path` for writing; it is synced when the block ends."""
    with keep_synced(path), h5py.File(path, "w", libver="latest", locking=False) as file, discard_on_error(file):
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
    """An HDF5 store, mapped for reading; only opening and checks need h5py."""

    _all = _NOTHING
    """All raw patches in the mapped file, ``uint8 (n, height, width, 3)``."""

    def stored_ids(self) -> list[str]:
        """Return the dataset of ids; StoreError where it cannot be read."""
        with self._structure("its ids cannot be read") as file:
            ids = _dataset(file, "ids", len(self.stored_names))[:]
            return [bytes(patch_id).decode("utf-8", "backslashreplace") for patch_id in ids]

    def index_digest(self) -> str:
        """Return the digest of the index; StoreError where it cannot be read."""
        with self._structure("its index cannot be read") as file:
            for name in {*file} - {"manifest"}:
                _dataset(file, name, len(self.stored_names))
            return _index_digest(file)

    @contextmanager
    def _structure(self, fault: str) -> Iterator[h5py.File]:
        """Open the file with h5py; raise StoreError if its structure is broken."""
        try:
            file = h5py.File(self.path, "r", locking=False)  # network drives often refuse locks
        except OSError as error:
            raise self._fault(error, f"HDF5 cannot open it ({error}): {REMEDY}") from None
        with file:
            self._check_same()
            try:
                yield file
            except _BROKEN as error:
                raise self._fault(error, f"{fault} ({error}): {REMEDY}") from None

    def _open(self) -> Manifest:
        self._map()
        with self._structure("a dataset is missing or broken") as file:
            # Not read by h5py, which would allocate any size that the file claims.
            dataset = _dataset(file, "manifest")
            place = dataset.id.get_offset() or 0
            manifest = Manifest.from_bytes(self._data[place : place + dataset.nbytes], self.path)
            count = len(manifest.byte_digests)
            if manifest.encoding == "raw":
                patches = _dataset(file, "patches")
                if patches.shape != (count, *manifest.shape):
                    raise StoreError(f"{self.path}: holds {patches.shape} for {count} patches: {REMEDY}")
                sizes = math.prod(manifest.shape) * np.arange(count + 1, dtype=np.int64)
                offsets: npt.NDArray[np.int64] = (patches.id.get_offset() or 0) + sizes
            else:
                offsets = (_dataset(file, "payload").id.get_offset() or 0) + _dataset(file, "offsets", count)[:]
        if len(offsets) != count + 1 or (np.diff(offsets) < 0).any():
            raise StoreError(f"{self.path}: the offsets do not fit {count} patches: {REMEDY}")
        if offsets[-1] > len(self._data):
            raise StoreError(f"{self.path}: the file ends before its last patch: {REMEDY}")
        if manifest.encoding == "raw":
            self._all = np.ndarray((count, *manifest.shape), UINT8, self._data, int(offsets[0]))
        places = offsets.tolist()
        self._starts, self._ends = places[:-1], places[1:]
        return manifest

    def _read_raw(self, patch_id: str) -> Pixels:
        # As few calls as possible: the copy takes as long as about ten. An item of an array is made in a third of the
        # time of an array over a buffer.
        try:
            pixels: Pixels = self._all[self._places[patch_id]].copy()
            return pixels
        except (KeyError, TypeError, IndexError):
            return super()._read_raw(patch_id)  # which reports what is wrong

    def _release(self) -> None:
        self._all = _NOTHING
        super()._release()


def _dataset(file: h5py.File, name: str, count: int | None = None) -> h5py.Dataset:
    """Return a contiguous dataset of this file, with `count` patches if given.

    HDF5 follows links into other files, keeps bytes in any file that a dataset names, and allows small files to claim
    terabytes. A hostile store must not make the reader open another file, nor take more memory than its size.

    Raises
    ------
    StoreError
        When the dataset is not slidemill's, not contiguous, in another file, or of another type or size.
    """
    if name not in KINDS:
        raise StoreError(f"{file.filename}: {name!r} is not part of a store: {REMEDY}")
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
        raise StoreError(f"{file.filename}: {name}, {size} bytes, is not in one piece in it: {REMEDY}")
    if count is not None and name not in _PIXELS and dataset.shape != (count + (name == "offsets"),):
        raise StoreError(f"{file.filename}: {name} has the shape {dataset.shape} for {count} patches: {REMEDY}")
    return dataset


def _index_digest(file: h5py.File) -> str:
    """Return a digest of all datasets except pixel values and the manifest."""
    parts = []
    for name in sorted({*file} - {"manifest"}):
        dataset = file[name]
        parts.append(f"{name} {dataset.dtype.str} {dataset.shape} {sorted(dataset.attrs)}".encode())
        if name not in _PIXELS:
            parts.append(dataset[:].tobytes())
    return digest(b"\n".join(parts))


BACKEND = Backend("hdf5", writing, Hdf5Store)
