"""Write patches into an HDF5 file as one contiguous, mappable dataset."""

from __future__ import annotations

from typing import IO

import h5py
import numpy as np

from slidemill.core.encodings import Buffer, Shape

BLOCK = 8 * 1024 * 1024
"""Bytes that are copied at once."""


class RawPatches:
    """Writer of raw patches into one contiguous dataset, ``patches``."""

    def __init__(self, file: h5py.File, count: int, shape: Shape) -> None:
        self._block = (1, *shape)
        self._next = 0
        # h5py's indexing takes twice as long: it creates both selections for each patch.
        self._patches = _contiguous(file, "patches", (count, *shape)).id
        self._there = self._patches.get_space()
        self._here = h5py.h5s.create_simple(self._block)

    def add(self, data: Buffer) -> None:
        """Store the pixels of the next patch."""
        self._there.select_hyperslab((self._next, 0, 0, 0), self._block)
        self._patches.write(self._here, self._there, np.frombuffer(data, np.uint8))
        self._next += 1

    def end(self) -> None:
        """Do nothing, since all patches are already in the dataset."""


class EncodedPatches:
    """Collector of encoded patches in a temporary file until their size is known."""

    def __init__(self, file: h5py.File, spool: IO[bytes]) -> None:
        self._file = file
        self._spool = spool
        self._offsets = [0]

    def add(self, data: Buffer) -> None:
        """Store the encoded `data` of the next patch."""
        self._offsets.append(self._offsets[-1] + self._spool.write(data))

    def end(self) -> None:
        """Store the ``payload`` and its ``offsets``."""
        payload = _contiguous(self._file, "payload", (self._offsets[-1],))
        self._file.create_dataset("offsets", data=np.array(self._offsets, np.int64), track_times=False)
        self._spool.seek(0)
        start = 0
        while block := self._spool.read(BLOCK):
            payload[start : start + len(block)] = np.frombuffer(block, np.uint8)
            start += len(block)


def _contiguous(file: h5py.File, name: str, shape: tuple[int, ...]) -> h5py.Dataset:
    """Create a contiguous dataset of bytes, without filling it."""
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_layout(h5py.h5d.CONTIGUOUS)
    properties.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    properties.set_obj_track_times(False)
    properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    space = h5py.h5s.create_simple(shape)
    return h5py.Dataset(h5py.h5d.create(file.id, name.encode(), h5py.h5t.NATIVE_UINT8, space, properties))
