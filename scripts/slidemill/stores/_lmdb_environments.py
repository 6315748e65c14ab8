"""Open LMDB environments, each at most once per process."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from weakref import WeakValueDictionary

import lmdb

from slidemill.core.files import identity
from slidemill.errors import StoreError, machine_error

PAGE = 4096
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
                self._open[file] = env = _open(path)
        return file, env

    def renew_lock(self) -> None:
        """Replace the lock after a fork, since a thread of the parent may hold it."""
        self._lock = threading.Lock()


def _open(path: Path) -> lmdb.Environment:
    """Open an LMDB file for reading, and check its length."""
    # Reading beyond the end of a truncated file would kill the process.
    remedy = "it is truncated or no LMDB file; remove it and run again"
    if path.stat().st_size < 2 * PAGE:
        raise StoreError(f"{path}: {path.stat().st_size} bytes are no LMDB store: {remedy}")
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


SHARED = SharedEnvironments()
os.register_at_fork(after_in_child=SHARED.renew_lock)
