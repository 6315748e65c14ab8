"""Patches in LMDB: one file a slide, keys are the patches' ids, values their encoded bytes."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import lmdb

from slidemill.errors import StoreError
from slidemill.files import sync
from slidemill.patches import PatchRef
from slidemill.stores.manifest import Manifest
from slidemill.stores.protocol import Backend, Store

MANIFEST_KEY = b"__manifest__"
PAGE = 4096
COMMIT_BYTES = 768 * 1024
"""Of patches in one transaction, four raw ones of 256 pixels: dirty pages stay in the processor's cache and memory
is bounded; one sync at the end makes all last."""

KEY_AND_DIGESTS = 160
"""Generous estimate of the bytes that a patch takes beside its value: key, page headers, manifest."""


class LmdbWriter:
    """Writes patches in the order of their keys, in small transactions, and grows the map where it must."""

    def __init__(self, env: lmdb.Environment) -> None:
        self._env = env
        self._pending: list[tuple[bytes, bytes]] = []
        self._bytes = 0

    def add(self, patch: PatchRef, data: bytes) -> None:
        """Store the encoded `data` of the next patch."""
        self._pending.append((patch.patch_id.encode(), data))
        self._bytes += len(data)
        if self._bytes >= COMMIT_BYTES:
            self._commit(append=True)

    def finish(self, manifest: Manifest) -> None:
        """Store the manifest under its reserved key, and fit the map to what is used."""
        self._commit(append=True)
        data = manifest.to_bytes()
        page = self._env.stat()["psize"]
        used = (self._env.info()["last_pgno"] + 1) * page
        # The file records the map's size with each transaction: the last one records what is needed.
        self._env.set_mapsize(used + len(data) + 64 * page)
        self._pending.append((MANIFEST_KEY, data))
        self._commit(append=False)

    def _commit(self, append: bool) -> None:
        while self._pending:
            try:
                with self._env.begin(write=True) as transaction:
                    for key, value in self._pending:
                        transaction.put(key, value, append=append)
            except lmdb.MapFullError:
                self._env.set_mapsize(2 * self._env.info()["map_size"])
            else:
                self._pending.clear()
                self._bytes = 0


@contextmanager
def writing(path: Path, patches: Sequence[PatchRef], manifest: Manifest) -> Iterator[LmdbWriter]:
    """Open a new store at `path` for writing; it is on the disk when the block ends."""
    raw_bytes = manifest.patch_size**2 * 3
    # The number of patches is known, and of raw ones the size; encoded ones start at an eighth of it and the
    # map doubles where that is too little.
    pages = -(-(raw_bytes + 16) // PAGE) if manifest.encoding == "raw" else raw_bytes // 8 // PAGE + 1
    map_size = 64 * PAGE + len(patches) * (pages * PAGE + KEY_AND_DIGESTS) * 17 // 16
    env = lmdb.open(
        os.fspath(path),
        map_size=map_size // PAGE * PAGE,
        subdir=False,
        lock=False,
        sync=False,
        metasync=False,
    )
    try:
        yield LmdbWriter(env)
    finally:
        env.close()
    sync(path)


class LmdbStore(Store):
    """An LMDB store, opened for reading without locks."""

    def stored_ids(self) -> list[str]:
        """Return the keys that are really there, the manifest's left out."""
        try:
            with self._environment().begin() as transaction:
                keys = list(transaction.cursor().iternext(values=False))
        except lmdb.Error as error:
            raise StoreError(f"{self.path}: its keys cannot be read ({error}): store the slide again") from None
        return [key.decode("utf-8", "backslashreplace") for key in keys if key != MANIFEST_KEY]

    def _open(self) -> Manifest:
        self._file = _SHARED.take(self.path)
        try:
            return Manifest.from_bytes(self._get(-1, MANIFEST_KEY.decode()) or b"", self.path)
        except BaseException:
            _SHARED.give_back(self._file)
            raise

    def _get(self, place: int, patch_id: str) -> bytes | None:
        try:
            with self._environment().begin(buffers=True) as transaction:
                value = transaction.get(patch_id.encode())
                return None if value is None else bytes(value)
        except lmdb.Error as error:
            raise StoreError(f"{self.path}: patch {patch_id}: {error}: the store is damaged; store it again") from None

    def _release(self) -> None:
        _SHARED.give_back(self._file)

    def _environment(self) -> lmdb.Environment:
        return _SHARED.environment(self._file, self.path)


class _SharedEnvironments:
    """The LMDB environments that this process has open, each once: LMDB refuses a second one on one file."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[tuple[int, int], lmdb.Environment] = {}
        self._users: Counter[tuple[int, int]] = Counter()
        os.register_at_fork(after_in_child=self._forget)

    def take(self, path: Path) -> tuple[int, int]:
        """Open the file at `path`, or share it where it is open, and return its key."""
        status = path.stat()
        file = (status.st_dev, status.st_ino)
        with self._lock:
            if file not in self._open:
                self._open[file] = _opened(path)
            self._users[file] += 1
        return file

    def environment(self, file: tuple[int, int], path: Path) -> lmdb.Environment:
        """Return the environment of a file that was taken, opened anew in a forked process."""
        with self._lock:
            if file not in self._open:
                status = path.stat()
                if (status.st_dev, status.st_ino) != file:
                    raise StoreError(f"{path}: another store has taken its place: open it again")
                self._open[file] = _opened(path)
            return self._open[file]

    def give_back(self, file: tuple[int, int]) -> None:
        """Close the file's environment when its last user gives it back."""
        with self._lock:
            self._users[file] -= 1
            if self._users[file] == 0:
                del self._users[file]
                env = self._open.pop(file, None)
                if env is not None:
                    env.close()

    def _forget(self) -> None:
        """Drop the parent's environments in a forked child; without locks this touches the child alone."""
        self._lock = threading.Lock()
        for env in self._open.values():
            env.close()
        self._open.clear()


def _opened(path: Path) -> lmdb.Environment:
    """Open an LMDB file for reading, after seeing that all of it is there.

    LMDB maps the file into memory: reading what was cut off would end the process.
    """
    remedy = "it is truncated or no LMDB file; remove it and run again"
    if path.stat().st_size < 2 * PAGE:
        raise StoreError(f"{path}: {path.stat().st_size} bytes are no LMDB store: {remedy}")
    try:
        env = lmdb.open(os.fspath(path), subdir=False, lock=False, readonly=True)
    except lmdb.Error as error:
        if "already open" in str(error):
            remedy = "close the environment that this process has open on it, or read it through open_store alone"
        raise StoreError(f"{path}: LMDB cannot open it ({error}): {remedy}") from None
    needed = (env.info()["last_pgno"] + 1) * env.stat()["psize"]
    if path.stat().st_size < needed:
        env.close()
        raise StoreError(f"{path}: has {path.stat().st_size} bytes of {needed}: {remedy}")
    return env


_SHARED = _SharedEnvironments()
BACKEND = Backend("lmdb", writing, LmdbStore)
