"""Patches as files: one folder a slide, one file a patch, ``index.csv`` and ``manifest.json``."""

from __future__ import annotations

import csv
import os
import weakref
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from slidemill.encodings import Buffer
from slidemill.errors import SlidemillError, StoreError
from slidemill.files import file_digest, sync
from slidemill.patches import PatchRef
from slidemill.stores.manifest import Manifest
from slidemill.stores.paths import MANIFEST
from slidemill.stores.protocol import Backend, Lent, Store
from slidemill.tables import read_table, write_table

INDEX = "index.csv"
INDEX_COLUMNS = ("patch_id", "file", "column", "row", "x0", "y0", "width0", "height0")
SYNCING = 16
"""Files that are on their way to the disk at once."""


class DiskWriter:
    """Writes one file a patch."""

    def __init__(self, folder: Path, suffix: str) -> None:
        self._folder = folder
        self._prefix = f"{folder}{os.sep}"
        self._suffix = suffix
        self._patches: list[PatchRef] = []

    def add(self, patch: PatchRef, data: Buffer) -> None:
        """Store the encoded `data` of the next patch."""
        # Python's own files ask for each one's status first, which network drives answer slowly.
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
    """Make a new store, the folder `path`, for writing; its files are on the disk when the block ends."""
    path.mkdir()
    yield DiskWriter(path, manifest.codec.suffix)
    # Threads that wait for the disk, and for nothing else: one after another, files take it three times as long.
    files = list(path.iterdir())
    with ThreadPoolExecutor(SYNCING) as pool:
        for _ in pool.map(_sync_all, (files[start::SYNCING] for start in range(SYNCING))):
            pass
    sync(path)


def _sync_all(files: Sequence[Path]) -> None:
    for file in files:
        sync(file)


class DiskStore(Store):
    """A folder of patches, which is held open: nothing is read from another one that takes its place."""

    def stored_ids(self) -> list[str]:
        """Return the ids that the index has and whose files are there, then the names of files that it lacks."""
        try:
            index = {row["file"]: row["patch_id"] for row in read_table(self.path / INDEX, INDEX_COLUMNS)}
        except (OSError, ValueError, csv.Error, SlidemillError) as error:
            raise StoreError(f"{self.path}: its index cannot be read ({error}): store the slide again") from None
        files = {file.name for file in self.path.iterdir() if not file.name.startswith(".")} - {INDEX, MANIFEST}
        return [index[file] for file in index if file in files] + sorted(files - set(index))

    def index_digest(self) -> str:
        """Return the digest of index.csv."""
        try:
            return file_digest(self.path / INDEX)
        except OSError as error:
            raise StoreError(f"{self.path}: its index cannot be read ({error}): store the slide again") from None

    def _open(self) -> Manifest:
        try:
            self._folder: _Folder | None = _Folder(self.path)
            data = self._folder.read(MANIFEST)
        except OSError as error:
            raise StoreError(
                f"{self.path}: is no store ({MANIFEST}: {error.strerror}): name one slide's folder of patches, or its "
                ".lmdb, .h5 or .tar file"
            ) from None
        return Manifest.from_bytes(data, self.path)

    def _get(self, place: int, patch_id: str) -> Lent | None:
        try:
            folder = self._folder  # another thread may close the store meanwhile
            return (folder.read(f"{patch_id}{self._codec.suffix}"), None) if folder else None
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError(f"{self.path}: patch {patch_id}: {error.strerror}: see the file's permissions") from None

    def _release(self) -> None:
        self._folder = None


class _Folder:
    """A folder that is held open, and closed when nothing refers to it any more."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        weakref.finalize(self, os.close, self._descriptor)

    def read(self, name: str) -> bytes:
        with open(name, "rb", buffering=0, opener=self._opened) as file:
            return file.read()

    def _opened(self, name: str, flags: int) -> int:
        return os.open(name, flags, dir_fd=self._descriptor)


BACKEND = Backend("disk", writing, DiskStore, raw_encoding="npy")
