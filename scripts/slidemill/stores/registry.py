"""All backends by name, and the way to open a store without knowing which it is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from slidemill.errors import StoreError
from slidemill.stores import disk, hdf5, lmdb, tar
from slidemill.stores.paths import SUFFIXES
from slidemill.stores.protocol import Backend, Store

STORES: Mapping[str, Backend] = {
    backend.name: backend for backend in (lmdb.BACKEND, hdf5.BACKEND, disk.BACKEND, tar.BACKEND)
}


def open_store(path: str | Path) -> Store:
    """Open the store at `path`, of whichever backend, for reading.

    Parameters
    ----------
    path
        A ``.lmdb``, ``.h5`` or ``.tar`` file, or a folder of patches.

    Returns
    -------
    Store
        Close it after use, or use it as a context manager.

    Raises
    ------
    StoreError
        When nothing is there, or it is no whole store of slidemill.
    """
    path = Path(path)
    if not path.exists():
        raise StoreError(f"{path}: there is no such store: run the workflow, or correct the path")
    if path.is_dir():
        return disk.BACKEND.reading(path)
    for name, suffix in SUFFIXES.items():
        if suffix and path.suffix == suffix:
            return STORES[name].reading(path)
    endings = ", ".join(filter(None, SUFFIXES.values()))
    raise StoreError(f"{path}: no store is named like this: a store ends in {endings}, or is a folder")
