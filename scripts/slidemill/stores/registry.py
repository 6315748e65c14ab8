"""Registry of backends by name; opens a store of any backend."""

from __future__ import annotations

import stat
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from slidemill.core.files import asides
from slidemill.core.results_layout import SUFFIXES
from slidemill.errors import StoreError, machine_error, machine_errors
from slidemill.stores.backend import Backend
from slidemill.stores.base import Store


class _Backends(Mapping[str, Backend]):
    """All backends by name, each imported on first use, since most jobs need one."""

    def __getitem__(self, name: str) -> Backend:
        # Import statements, since the code digest covers only modules that statements import.
        match name:
            case "lmdb":
                from slidemill.stores.lmdb import BACKEND as LMDB

                return LMDB
            case "hdf5":
                from slidemill.stores.hdf5 import BACKEND as HDF5

                return HDF5
            case "disk":
                from slidemill.stores.disk import BACKEND as DISK

                return DISK
            case "tar":
                from slidemill.stores.tar import BACKEND as TAR

                return TAR
            case "zarr":
                from slidemill.stores.zarr import BACKEND as ZARR

                return ZARR
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(SUFFIXES)

    def __len__(self) -> int:
        return len(SUFFIXES)


STORES: Mapping[str, Backend] = _Backends()


def open_store(path: str | Path) -> Store:
    """Open a store of any backend for reading.

    Parameters
    ----------
    path
        A ``.lmdb``, ``.h5`` or ``.tar`` file, or a ``.zarr`` folder or one of patches.

    Returns
    -------
    Store
        Close it after use, or use it as a context manager.

    Raises
    ------
    StoreError
        When there is no store of slidemill, or it is not complete.
    """
    path = Path(path)
    with machine_errors(path):  # backends load their libraries when they are first needed
        return _open(path)


def _open(path: Path) -> Store:
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise machine_error(error, path) or StoreError(f"{path}: {_why_missing(path)}") from None
    if stat.S_ISDIR(mode):
        return STORES["zarr" if (path / "zarr.json").exists() else "disk"].reading(path)
    if not stat.S_ISREG(mode):
        raise StoreError(f"{path}: is neither a file nor a folder: name a store")
    for name, suffix in SUFFIXES.items():
        if suffix and path.suffix == suffix:
            try:
                return STORES[name].reading(path)
            except StoreError:
                if other := _describe_other(path):
                    raise StoreError(other) from None
                raise
    endings = ", ".join(filter(None, SUFFIXES.values()))
    raise StoreError(
        _describe_other(path) or f"{path}: no store is named like this: a store ends in {endings}, or is a folder"
    )


def _why_missing(path: Path) -> str:
    with suppress(OSError):
        if asides(path):
            return (
                "is being written, or the job that wrote it was killed: wait for the end of the run, and open it again"
            )
    return "this store does not exist: run the workflow, or correct the path"


def _describe_other(path: Path) -> str:
    """Return a message if slidemill wrote the file, but not as a store; else ""."""
    if path.suffix == ".tar":
        from slidemill.stores.tar import PROVENANCE

        with suppress(OSError, tarfile.HeaderError), path.open("rb") as tar_file:
            if tarfile.TarInfo.frombuf(tar_file.read(tarfile.BLOCKSIZE), "utf-8", "replace").name == PROVENANCE:
                return f"{path}: is an exported file, and no store: read it as any tar file, by webdataset for example"
    elif path.suffix in (".h5", ".hdf5"):
        import h5py

        with suppress(OSError, RuntimeError), h5py.File(path, "r", locking=False) as file:
            # Only the names of links are used: nothing that they lead to is opened.
            if "manifest" not in file and isinstance(file.get("table", getlink=True), h5py.HardLink):
                what = "an exported file" if "provenance" in file else "the one file over all slides"
                return (
                    f"{path}: is {what}, and no store: read it with h5py, its patches as `patches` (or `payload` and "
                    "`offsets`), its columns below `table`"
                )
    return ""
