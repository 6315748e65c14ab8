"""Patches as files: one folder per slide with an index and a manifest."""

from __future__ import annotations

import csv
import errno
import os
import stat
import weakref
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from slidemill.core.csv_tables import read_table, write_table
from slidemill.core.encodings import Buffer
from slidemill.core.files import asides, file_digest, identity, sync
from slidemill.core.patch import PatchRef
from slidemill.core.results_layout import MANIFEST
from slidemill.core.text import AGAIN
from slidemill.errors import SlidemillError, StoreError, machine_error
from slidemill.stores.backend import Backend
from slidemill.stores.base import LentBytes, Store
from slidemill.stores.manifest import Manifest

INDEX = "index.csv"
INDEX_COLUMNS = ("patch_id", "file", "column", "row", "x0", "y0", "width0", "height0")
SYNCING = 16
"""Threads that sync files at once."""


class DiskWriter:
    """Writer of one file per patch."""

    def __init__(self, folder: Path, suffix: str) -> None:
        self._folder = folder
        self._prefix = f"{folder}{os.sep}"
        self._suffix = suffix
        self._patches: list[PatchRef] = []

    def add(self, patch: PatchRef, data: Buffer) -> None:
        """Store the encoded `data` of the next patch."""
        # open() would also request the file's status, which is slow on network drives.
        file = os.open(f"{self._prefix}{patch.patch_id}{self._suffix}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            left = memoryview(data)
            while left:
                left = left[os.write(file, left) :]
        finally:
            os.close(file)
        self._patches.append(patch)

    def index(self) -> str:
        """Store the index, and return its digest."""
        rows = (
            {
                "file": f"{patch.patch_id}{self._suffix}",
                **{name: getattr(patch, name) for name in INDEX_COLUMNS if name != "file"},
            }
            for patch in self._patches
        )
        write_table(self._folder / INDEX, INDEX_COLUMNS, rows)
        return file_digest(self._folder / INDEX)

    def finish(self, manifest: Manifest) -> None:
        """Store the manifest."""
        (self._folder / MANIFEST).write_bytes(manifest.to_bytes())


@contextmanager
def writing(path: Path, patches: Sequence[PatchRef], manifest: Manifest) -> Iterator[DiskWriter]:
    """Create a store, the folder `path`, for writing; sync it at the end."""
    path.mkdir()
    yield DiskWriter(path, manifest.codec.suffix)
    files = list(path.iterdir())

    def sync_part(start: int) -> None:
        for file in files[start::SYNCING]:
            sync(file)

    # The threads only wait for the disk: one after another, syncing files takes three times as long.
    # One task per thread, since a task per file takes a gigabyte for a million patches.
    with ThreadPoolExecutor(SYNCING) as pool:
        deque(pool.map(sync_part, range(SYNCING)), maxlen=0)
    sync(path)


class DiskStore(Store):
    """A folder of patches, held open to detect that another folder replaces it."""

    def stored_ids(self) -> list[str]:
        """Return indexed ids whose files exist, then files that are not in the index.

        Raises
        ------
        StoreError
            When the index cannot be read, or another folder has replaced the opened one.
        """
        with self._index() as path:
            index = {row["file"]: row["patch_id"] for row in read_table(path, INDEX_COLUMNS)}
            files = {file.name for file in self.path.iterdir() if not file.name.startswith(".")} - {INDEX, MANIFEST}
        return [index[file] for file in index if file in files] + sorted(files - set(index))

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
            self._folder: _Folder | None = _Folder(self.path)
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
        return Manifest.from_bytes(data, self.path)

    def _get(self, place: int, patch_id: str) -> LentBytes | None:
        try:
            folder = self._folder  # another thread may close the store meanwhile
            return (folder.read(f"{patch_id}{self._codec.suffix}"), None) if folder else None
        except FileNotFoundError:
            self._check_same()
            return None
        except OSError as error:
            raise self._fault(error, f"patch {patch_id}: {error.strerror}: {AGAIN}") from None

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


class _Folder:
    """A folder that is held open until nothing refers to it."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        weakref.finalize(self, os.close, self._descriptor)
        self.identity = identity(self._descriptor)

    def read(self, name: str) -> bytes:
        with open(name, "rb", buffering=0, opener=self._open) as file:
            return file.read()

    def _open(self, name: str, flags: int) -> int:
        return _open_file(name, flags, self._descriptor)


BACKEND = Backend("disk", writing, DiskStore, raw_encoding="npy")
