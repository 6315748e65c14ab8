"""Folders that are published as a whole."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import h5py

from slidemill.core.files import check_new, replacing, sync
from slidemill.errors import discard_on_error, full_disk_errors


def new_folder(out: Path) -> AbstractContextManager[Path]:
    """Check at once that `out` does not exist; return a context manager that publishes it.

    The context manager yields a new folder to write in, syncs its files, and renames it to `out`. If its block fails,
    nothing is left. Nothing is made before it is entered.

    Raises
    ------
    SlidemillError
        When there is something at `out`, or in place of a folder above it.
    """
    check_new(out)
    return _publishing(out)


@contextmanager
def _publishing(out: Path) -> Iterator[Path]:
    with replacing(out) as aside, full_disk_errors(aside):
        aside.mkdir()
        yield aside
        for file in list_files(aside):
            sync(aside / file)


@contextmanager
def new_hdf5(path: Path) -> Iterator[h5py.File]:
    """Yield an HDF5 file to write, in a folder that is made if necessary."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file, discard_on_error(file):
        yield file


def list_files(folder: Path) -> list[Path]:
    """Return the files below a folder, relative to it and sorted."""
    files = (Path(parent, name) for parent, _, names in os.walk(folder) for name in names)
    return sorted(path.relative_to(folder) for path in files)
