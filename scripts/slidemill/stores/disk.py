"""Patches as files: one folder per slide with an index and a manifest."""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from slidemill.core.csv_tables import read_table, write_table
from slidemill.core.encodings import ENCODINGS, Buffer
from slidemill.core.files import file_digest, sync
from slidemill.core.patch import PatchRef
from slidemill.core.results_layout import MANIFEST
from slidemill.core.text import AGAIN
from slidemill.stores._folder import INDEX, FolderStore
from slidemill.stores.backend import FILES_OFFERED, Backend
from slidemill.stores.base import LentBytes
from slidemill.stores.manifest import PATCH_ID, Manifest

INDEX_COLUMNS = ("patch_id", "file", "column", "row", "x0", "y0", "width0", "height0")
_SUFFIXES = "|".join(re.escape(encoding.suffix) for encoding in ENCODINGS.values())
FILES = re.compile(rf"{re.escape(INDEX)}|{re.escape(MANIFEST)}|{PATCH_ID.pattern}({_SUFFIXES})")
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


class DiskStore(FolderStore):
    """A folder of patches."""

    backend = "disk"

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

    def _get(self, place: int, patch_id: str) -> LentBytes | None:
        try:
            folder = self._folder  # another thread may close the store meanwhile
            return (folder.read(f"{patch_id}{self._codec.suffix}"), None) if folder else None
        except FileNotFoundError:
            self._check_same()
            return None
        except OSError as error:
            raise self._fault(error, f"patch {patch_id}: {error.strerror}: {AGAIN}") from None


BACKEND = Backend("disk", writing, DiskStore, raw_encoding="npy", offered=FILES_OFFERED, files=FILES)
