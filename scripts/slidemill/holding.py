"""Holding a folder of results, so that what a killed run left locked can be told from a run that is at work.

Snakemake's lock is files, which stay when its process is killed. The operating system's lock goes with the process.
"""

from __future__ import annotations

import os
import platform
import shutil
from pathlib import Path

try:
    import fcntl
except ImportError:  # not on Windows, where Snakemake's lock stands alone
    fcntl = None  # type: ignore[assignment]

HOLDER = "slidemill.holder"
"""File in Snakemake's folder: locked for as long as a run lives, and the name of the machine that it runs on."""


def hold(results: Path) -> None:
    """Hold `results` until this process ends, and remove the lock of a run that was killed on this machine.

    Where another process holds them, where the last one ran on another machine (whose locks may not reach this
    one), or where the file system knows no locks, Snakemake's own lock decides.
    """
    record = results / ".snakemake"
    record.mkdir(parents=True, exist_ok=True)
    # Never closed: the lock goes with the process. Children do not inherit it.
    file = os.open(record / HOLDER, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        if fcntl is None:
            return
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return
    here = platform.node().encode()
    if os.read(file, 1024) == here:
        shutil.rmtree(record / "locks", ignore_errors=True)
    os.ftruncate(file, 0)
    os.pwrite(file, here, 0)
