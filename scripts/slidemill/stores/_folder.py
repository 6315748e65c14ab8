"""Store in a folder, which is held open to detect that another folder replaces it."""

from __future__ import annotations

import csv
import errno
import os
import stat
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from slidemill.core.files import asides, file_digest, identity
from slidemill.core.results_layout import MANIFEST
from slidemill.core.text import AGAIN
from slidemill.errors import SlidemillError, StoreError, machine_error
from slidemill.stores.base import Store
from slidemill.stores.manifest import Manifest

INDEX = "index.csv"
"""The file in a store that is a folder with the patches' ids and coordinates, in their order."""


class FolderStore(Store):
    """A store in a folder; a backend's `_get` reads patches out of its files."""

    backend: str
    """The name of the backend."""

    def index_digest(self) -> str:
        """Return the digest of index.csv; StoreError as in `stored_ids`."""
        with self._index() as path:
            return file_digest(path)

    @contextmanager
    def _index(self) -> Iterator[Path]:
        """Yield the path of the index; raise StoreError where the block cannot read it."""
        self._check_same()
        path = self.path / INDEX
        try:
            os.close(_open_file(os.fspath(path), os.O_RDONLY))
            yield path
        except (OSError, ValueError, csv.Error, SlidemillError) as error:
            raise self._fault(error, f"its index cannot be read ({error}): {AGAIN}") from None

    def _open(self) -> Manifest:
        try:
            self._folder: Folder | None = Folder(self.path)
            data = self._folder.read(MANIFEST)
        except OSError as error:
            if isinstance(error, FileNotFoundError) and _is_unfinished(self.path):
                raise StoreError(
                    f"{self.path}: is being written, or the job that wrote it was killed: wait for the end of the "
                    "run, and open it again"
                ) from None
            raise self._fault(
                error,
                f"is not a store ({MANIFEST}: {error.strerror}): name one slide's folder of patches, or its .lmdb, "
                ".h5 or .tar file",
            ) from None
        manifest = Manifest.from_bytes(data, self.path)
        if manifest.backend != self.backend:
            raise StoreError(f"{self.path}: lacks a file by which {manifest.backend} is recognized: {AGAIN}")
        return manifest

    def _check_same(self) -> None:
        """Raise a StoreError if another folder has replaced the one that is held open."""
        folder = self._folder
        try:
            same = folder is None or folder.identity == identity(self.path)
        except OSError as error:
            if fault := machine_error(error, self.path):
                raise fault from None
            same = False
        if not same:
            raise StoreError(f"{self.path}: was replaced while it was read: open it again")

    def _release(self) -> None:
        self._folder = None


class Folder:
    """A folder that is held open until nothing refers to it."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        weakref.finalize(self, os.close, self._descriptor)
        self.identity = identity(self._descriptor)

    def read(self, name: str) -> bytes:
        """Return the bytes of a file."""
        with open(name, "rb", buffering=0, opener=self._open) as file:
            return file.read()

    def open(self, name: str) -> int:
        """Open a file for reading, and return its descriptor."""
        return self._open(name, os.O_RDONLY)

    def _open(self, name: str, flags: int) -> int:
        return _open_file(name, flags, self._descriptor)


def _is_unfinished(path: Path) -> bool:
    """Return whether a folder without a manifest belongs to an unfinished job.

    The job is writing the folder, or is about to.

    Snakemake creates a job's folders before it starts, and removes the manifest of a store that will be replaced.
    """
    names = {file.name for file in path.iterdir()}
    return not names or INDEX in names or bool(asides(path))


def _open_file(name: str, flags: int, folder: int | None = None) -> int:
    """Open regular files only, since pipes block and devices have no end."""
    file = os.open(name, flags | os.O_NONBLOCK, dir_fd=folder)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise OSError(errno.EINVAL, "is not a file", name)
    return file
