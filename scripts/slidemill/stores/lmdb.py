"""Patches in LMDB: one file per slide, with patch ids as keys."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from weakref import WeakSet, WeakValueDictionary

import lmdb
import numpy as np

from slidemill.core.encodings import UINT8, Buffer, Pixels
from slidemill.core.files import identity, keep_synced
from slidemill.core.patch import PatchRef
from slidemill.core.text import AGAIN
from slidemill.errors import StoreError, machine_error
from slidemill.stores.backend import Backend
from slidemill.stores.base import LentBytes, Store
from slidemill.stores.manifest import Manifest

PAGE = 4096
MANIFEST_KEY = b"__manifest__"
COMMIT_BYTES = 768 * 1024
"""Bytes of patches per transaction, four raw ones of 256 pixels: dirty pages stay in the processor's cache."""

MOST_EXTRA = 1000
"""Keys that are read beyond the number in the manifest."""

KEY_AND_DIGESTS = 160
"""Upper estimate of a patch's bytes besides its value: key, page headers, manifest."""

SPARE = 64 * PAGE
"""Bytes of the map for what a transaction writes besides its values."""

CLOSING = [0.001 * 2**number for number in range(9)]
"""Seconds to wait, one after another, for an environment that another thread is still closing."""


class SharedEnvironments:
    """Open LMDB environments of this process, shared by their readers.

    LMDB rejects a second environment on the same file.
    An environment is closed with the last store, reading thread or view that refers to it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: WeakValueDictionary[tuple[int, int], lmdb.Environment] = WeakValueDictionary()

    def take(self, path: Path) -> tuple[tuple[int, int], lmdb.Environment]:
        """Return a file's identity and its environment, opened if necessary."""
        file = identity(path)
        with self._lock:
            env = self._open.get(file)
            if env is None:
                self._open[file] = env = _open_environment(path)
        return file, env

    def renew_lock(self) -> None:
        """Replace the lock after a fork, since a thread of the parent may hold it."""
        self._lock = threading.Lock()


def _open_environment(path: Path) -> lmdb.Environment:
    """Open an LMDB file for reading, and check its length."""
    # Reading beyond the end of a truncated file would kill the process.
    remedy = "it is truncated or not an LMDB file; remove it and run again"
    if path.stat().st_size < 2 * PAGE:
        raise StoreError(f"{path}: {path.stat().st_size} bytes are not an LMDB store: {remedy}")
    waits = iter(CLOSING)
    while True:
        try:
            env = lmdb.open(os.fspath(path), subdir=False, lock=False, readonly=True)
            break
        except lmdb.Error as error:
            if "already open" in str(error):
                if (wait := next(waits, None)) is not None:
                    time.sleep(wait)
                    continue
                remedy = "close the environment that this process has open on it, or only read it through open_store"
            raise machine_error(error, path) or StoreError(f"{path}: LMDB cannot open it ({error}): {remedy}") from None
    needed = (env.info()["last_pgno"] + 1) * env.stat()["psize"]
    if path.stat().st_size < needed:
        env.close()
        raise StoreError(f"{path}: has {path.stat().st_size} bytes of {needed}: {remedy}")
    return env


class LmdbWriter:
    """Writer of patches in small transactions, which enlarges the map in time."""

    def __init__(self, env: lmdb.Environment) -> None:
        self._env = env
        self._page = env.stat()["psize"]
        self._begin()

    def add(self, patch: PatchRef, data: Buffer) -> None:
        """Store the encoded `data` of the next patch."""
        self._put(patch.patch_id.encode(), data, append=True)
        if self._bytes >= COMMIT_BYTES:
            self._transaction.commit()
            self._begin()

    def index(self) -> str:
        """Return no digest: the keys are the index."""
        return ""

    def finish(self, manifest: Manifest) -> None:
        """Store the manifest under its reserved key, and shrink the map to its use."""
        self._transaction.commit()
        data = manifest.to_bytes()
        # Each transaction records the map's size in the file: the last one records the size in use.
        self._env.set_mapsize(self._used() + len(data) + SPARE)
        self._begin()
        self._put(MANIFEST_KEY, data, append=False)
        self._transaction.commit()

    def _begin(self) -> None:
        self._transaction = self._env.begin(write=True)
        self._bytes = 0
        self._room = self._env.info()["map_size"] - self._used() - SPARE

    def _put(self, key: bytes, data: Buffer, append: bool) -> None:
        size = len(data)
        if self._bytes + size > self._room:
            # A map can only grow between transactions.
            self._transaction.commit()
            self._env.set_mapsize(2 * self._env.info()["map_size"] + size)
            self._begin()
        self._transaction.put(key, data, append=append)
        self._bytes += size + self._page

    def _used(self) -> int:
        return (self._env.info()["last_pgno"] + 1) * self._page


@contextmanager
def writing(path: Path, patches: Sequence[PatchRef], manifest: Manifest) -> Iterator[LmdbWriter]:
    """Create a store at `path` for writing; it is synced when the block ends."""
    raw_bytes = manifest.patch_size**2 * 3
    # Encoded patches are estimated at an eighth of raw ones; the map doubles where that is too little.
    pages = -(-(raw_bytes + 16) // PAGE) if manifest.encoding == "raw" else raw_bytes // 8 // PAGE + 1
    map_size = 2 * SPARE + len(patches) * (pages * PAGE + KEY_AND_DIGESTS) * 17 // 16
    with keep_synced(path):
        map_size = map_size // PAGE * PAGE
        env = lmdb.open(os.fspath(path), map_size=map_size, subdir=False, lock=False, sync=False, metasync=False)
        try:
            yield LmdbWriter(env)
        finally:
            env.close()


class LmdbStore(Store):
    """An LMDB store, open for reading without locks."""

    def stored_ids(self) -> list[str]:
        """Return all stored keys except the manifest's.

        Raises
        ------
        StoreError
            When they cannot be read, or LMDB counts another number.
        """
        try:
            with self._begin() as transaction:
                entries = transaction.stat()["entries"]
                # Damaged pages may refer to each other, and give keys without end.
                most = len(self.stored_names) + MOST_EXTRA
                keys = list(islice(transaction.cursor().iternext(values=False), most))
        except lmdb.Error as error:
            raise self._fault(error, f"its keys cannot be read ({error}): {AGAIN}") from None
        if entries != len(keys) and len(keys) < most:
            raise StoreError(f"{self.path}: counts {entries} keys and has {len(keys)}: {AGAIN}")
        return [bytes(key).decode("utf-8", "backslashreplace") for key in keys if key != MANIFEST_KEY]

    def _open(self) -> Manifest:
        self._env: lmdb.Environment | None
        self._file, self._env = SHARED.take(self.path)
        self._thread: threading.local | None = threading.local()
        self._process = os.getpid()
        _STORES.add(self)
        lent = self._get(-1, MANIFEST_KEY.decode())
        return Manifest.from_bytes(bytes(lent[0]) if lent else b"", self.path)

    def read(self, patch_id: str) -> Pixels:
        """Return a copy of a patch's pixels, as `Store.read` does."""
        # As few calls as possible: the copy takes as long as about ten. NumPy's own copy takes 3 % longer.
        if self._raw_size > 0:
            try:
                data = self._thread.transaction.get(patch_id.encode())  # type: ignore[union-attr]
                if len(data) == self._raw_size and patch_id in self._places:
                    return np.ndarray(self._shape, UINT8, bytearray(data))
            except (AttributeError, TypeError, MemoryError):
                pass
            except lmdb.Error:
                self._renew()
        return super().read(patch_id)  # which reports what is wrong, or begins the thread's transaction

    def _get(self, place: int, patch_id: str) -> LentBytes | None:
        try:
            transaction = self._thread.transaction  # type: ignore[union-attr]
        except AttributeError:
            transaction = self._transaction()
        try:
            value = transaction.get(patch_id.encode())
        except lmdb.Error as error:
            self._renew()
            raise self._fault(error, f"patch {patch_id}: {error}: it is damaged; {AGAIN}") from None
        # Nothing writes to a store, so that the bytes stay as long as the map.
        return None if value is None else (value, transaction)

    def _release(self) -> None:
        self._env = self._thread = None

    def _transaction(self) -> lmdb.Transaction:
        """Begin this thread's transaction, which keeps the environment open."""
        thread = self._thread
        transaction = self._begin()
        if thread is not None:
            thread.transaction = transaction
        return transaction

    def _begin(self) -> lmdb.Transaction[memoryview]:
        env = self._environment()
        try:
            return env.begin(buffers=True)
        except lmdb.MapResizedError:
            raise StoreError(f"{self.path}: another program has written to it: open it again") from None
        except lmdb.Error as error:
            raise self._fault(error, f"cannot be read ({error}): it is damaged; {AGAIN}") from None

    def _renew(self) -> None:
        """Drop this thread's transaction, which a bad page has made unusable."""
        thread = self._thread
        if thread is not None:
            thread.__dict__.pop("transaction", None)

    def _environment(self) -> lmdb.Environment:
        if self._process != os.getpid():
            # A forked child goes on reading through the inherited map.
            if identity(self.path) != self._file:
                raise StoreError(f"{self.path}: another store has taken its place: open it again")
            self._process = os.getpid()
        env = self._env
        if env is None:
            raise StoreError(f"{self.path}: the store is closed: open it again to read from it")
        return env


def _after_fork() -> None:
    """Drop the transactions, so that a forked child checks the file again."""
    for store in list(_STORES):
        if store._thread is not None:
            store._thread = threading.local()


SHARED = SharedEnvironments()
_STORES: WeakSet[LmdbStore] = WeakSet()
os.register_at_fork(after_in_child=SHARED.renew_lock)
os.register_at_fork(after_in_child=_after_fork)
BACKEND = Backend("lmdb", writing, LmdbStore)
