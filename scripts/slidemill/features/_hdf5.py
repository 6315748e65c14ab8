"""HDF5 by its functions: h5py's objects take four times as long to open, and there are thousands of files."""

from __future__ import annotations

import errno
import math
import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from slidemill.core.text import AGAIN
from slidemill.errors import StoreError

Array = npt.NDArray[Any]

KINDS = {"features": "f", "coords": "i", "patch_id": "S", "manifest": "u"}
"""The datasets of a file, with NumPy's letter for the kind of each."""

BROKEN = (KeyError, TypeError, ValueError, AttributeError, OSError, RuntimeError)
"""What h5py raises on a broken structure."""

STRUCTURE = 65536
"""Upper estimate of the bytes of a file that are not rows: structure, attributes, manifest."""


def open_file(path: Path) -> Any:
    """Open a file for reading, without locks; closing it closes all that was opened in it."""
    access = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
    access.set_fclose_degree(h5py.h5f.CLOSE_STRONG)
    access.set_file_locking(False, False)
    return h5py.h5f.open(os.fsencode(path), h5py.h5f.ACC_RDONLY, access)


def reserve_room(file: h5py.File, size: int) -> None:
    """Allocate `size` bytes of the disk for a file that is being written, before anything is written to it.

    After a write that has failed, HDF5 may end the process at closing. `release_room` cuts off what was not needed.

    Raises
    ------
    OSError
        When the disk is full.
    """
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(file.id.get_vfd_handle(), 0, size)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
                raise


def release_room(file: h5py.File) -> None:
    """Flush a file that has been written, and cut off the rest of what `reserve_room` has allocated."""
    file.flush()
    os.ftruncate(file.id.get_vfd_handle(), file.id.get_filesize())


def open_dataset(file: Any, name: str, path: Path) -> Any:
    """Return a contiguous dataset of an open file.

    Raises
    ------
    StoreError
        When it is missing, is kept in another file, or is of another type or size.
    """
    key = name.encode()
    is_here = file.links.exists(key) and file.links.get_info(key).type == h5py.h5l.TYPE_HARD
    dataset = h5py.h5o.open(file, key) if is_here else None
    layout = dataset.get_create_plist() if isinstance(dataset, h5py.h5d.DatasetID) else None
    whole = layout and layout.get_layout() == h5py.h5d.CONTIGUOUS and not layout.get_external_count()
    dtype = dataset.dtype if dataset is not None and whole else None
    if dataset is None or dtype is None or dtype.kind != KINDS[name] or dtype.itemsize > 64:
        raise StoreError(f"{path}: its dataset {name} is missing or of another kind: {AGAIN}")
    size, start = math.prod(dataset.shape) * dtype.itemsize, dataset.get_offset()
    if size and (start is None or start + size > file.get_filesize()):
        raise StoreError(f"{path}: its dataset {name}, {size} bytes, is not in one piece: {AGAIN}")
    return dataset


def read_values(dataset: Any) -> Array:
    """Return all values of a dataset."""
    found = np.empty(dataset.shape, dataset.dtype)
    if found.size:
        dataset.read(h5py.h5s.ALL, h5py.h5s.ALL, found)
    return found


def read_numbers(file: Any, name: str) -> dict[str, int | float]:
    """Return the attributes of an open file's dataset that are one number.

    Texts are not read: they are in a heap, and HDF5 may search a damaged heap without end.
    """
    dataset, found = h5py.h5o.open(file, name.encode()), {}
    for place in range(h5py.h5a.get_num_attrs(dataset)):
        attribute = h5py.h5a.open(dataset, index=place)
        if attribute.shape == () and attribute.dtype.kind in "iuf" and attribute.dtype.itemsize <= 8:
            value = np.empty((), attribute.dtype)
            attribute.read(value)
            found[attribute.name.decode("ascii")] = value.item()
    return found
