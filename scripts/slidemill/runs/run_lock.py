"""Lock a results folder, and detect locks left by killed runs.

Snakemake's lock is files. They stay when its process is killed, and two runs that start at the same moment may both
make them. The operating system's lock ends with its process, and only one process gets it.
"""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from slidemill.core.files import RUN
from slidemill.core.results_layout import HOLDER, LOCKS, RECORD, WORKER
from slidemill.errors import SlidemillError

try:
    import fcntl
except ImportError:  # on Windows, which has only Snakemake's lock
    fcntl = None  # type: ignore[assignment]

ROOM = 65536
"""Bytes that must be free for a run to start."""

_TAKEN: set[tuple[int, Path]] = set()
"""Each process and results folder that it has taken."""

LOOK_AGAIN = 75
"""Exit code of a run that another run at work blocks; EX_TEMPFAIL of sysexits.h."""


def hold(results: Path) -> str:
    """Lock the results folder until this process ends; clear a killed run's lock.

    Only the lock of a run that was killed on this machine is removed. Snakemake's own lock decides if another process
    holds the folder, if the file system has no locks, or if the last run was on another machine and left its lock: the
    operating system's lock may not reach this machine.

    Returns
    -------
    str
        As of `look_on`.

    Raises
    ------
    OSError
        When the folder cannot be written to.
    """
    message = ""
    (results / RECORD).mkdir(parents=True, exist_ok=True)
    # Never closed: the lock ends with the process. Child processes do not inherit it.
    file = os.open(results / HOLDER, os.O_RDWR | os.O_CREAT, 0o666)
    # On a full disk Snakemake would end in a traceback over its lock; this ends in one sentence.
    with tempfile.TemporaryFile(dir=results / RECORD) as probe:
        probe.write(bytes(ROOM))
    if fcntl is None:
        return message
    with suppress(OSError):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if any((results / LOCKS).glob("*")):
                message = _looking_on(results)
        else:
            _clear(results / LOCKS, file)
        # Shared by runs and calls such as --summary: nobody removes locks while one of them lives.
        fcntl.flock(file, fcntl.LOCK_SH)
    return message


def look_on(results: Path) -> str:
    """Return the message of a dry run on the active run here; empty without one.

    Nothing is written or locked.
    """
    return _looking_on(results) if working(results) and _is_at_work(results) else ""


def _looking_on(results: Path) -> str:
    return f"{_at_work(results)}; this call may look on, and will run nothing"


def check_unlocked(results: Path) -> None:
    """Check that no other run has Snakemake's lock, before Snakemake does.

    Snakemake advises to remove the lock, and then two runs would overwrite each other's results.

    Raises
    ------
    SlidemillError
        When a run is active there, or was killed there and its lock could not be removed.
    """
    if not working(results):
        return
    if _is_at_work(results):
        raise SlidemillError(_at_work(results))
    raise SlidemillError(
        f"{results}: is locked by a run{_who(results)} that is at work on another machine, or was killed: check "
        "whether that process lives there, and on a cluster whether squeue has jobs of it; where it is dead, call "
        "Snakemake with the same configuration and --unlock, which removes the lock, and run again"
    )


def take(results: Path) -> None:
    """Mark `results` as used by this run until its process ends.

    A second call does nothing.

    Raises
    ------
    SlidemillError
        When another run is active there.
    """
    owner = (os.getpid(), results.resolve())
    if owner in _TAKEN:
        return
    file = os.open(results / WORKER, os.O_RDWR | os.O_CREAT, 0o666)
    if fcntl is None:
        return
    with suppress(OSError):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SlidemillError(_at_work(results)) from None
        _TAKEN.add(owner)
        os.ftruncate(file, 0)
        os.pwrite(file, (name := f"process {os.getpid()} on {platform.node()}").encode(), 0)
        # Jobs inherit it, and publish nothing after another run has taken the results.
        os.environ[RUN] = name


def working(results: Path) -> str:
    """Return a sentence on the run that locks `results`; empty if none does.

    The run is active, or was killed there.

    `results` may be read-only.
    """
    # Without Snakemake's lock nobody works, and a run that starts now must not find its own lock taken.
    if not any((results / LOCKS).glob("*")):
        return ""
    if _is_at_work(results):
        return f"{results}: a run is at work here{_who(results)}"
    return f"{results}: is locked: a run was killed here, or is at work on another machine"


def _is_at_work(results: Path) -> bool:
    """Return whether an active run holds the operating system's lock.

    The lock may not reach other machines.
    """
    worker = results / WORKER
    if fcntl is not None and worker.exists():
        with suppress(OSError):
            file = os.open(worker, os.O_RDONLY)
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
            finally:
                os.close(file)
    return False


@contextmanager
def at_rest(results: Path) -> Iterator[None]:
    """Check that no run uses `results`, and prevent new ones in the block.

    Raises
    ------
    SlidemillError
        When a run is active there, or was killed and not rerun.
    """
    if any((results / LOCKS).glob("*")):
        raise SlidemillError(
            f"{results}: is locked: a run is at work there, or was killed; let one run to its end first"
        )
    if fcntl is None or not (results / HOLDER).exists():
        yield
        return
    file = os.open(results / HOLDER, os.O_RDWR)  # which NFS wants for a lock
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise SlidemillError(f"{results}: a run is at work there: wait for its end") from None
    except OSError:
        pass  # a file system without locks; Snakemake's own lock has been checked
    else:
        yield
        return
    finally:
        os.close(file)
    yield


def unrecorded(results: Path, made: Iterable[str]) -> list[str]:
    """Return which of the files `made` exist without a Snakemake record.

    The record lists what a file was made from.

    Records are missing or empty after a full disk, or after Snakemake's folder was removed. Then Snakemake does not
    notice that the configuration has changed since.
    """
    names = {folder: _sizes(results / RECORD / folder) for folder in ("metadata", "incomplete")}
    if any(name.startswith("@") for name in names["metadata"]):
        return []  # on a file system of short names, records are in folders
    # Incomplete files are made again in any case; their marks may be empty.
    known = {name for name, size in names["metadata"].items() if size} | names["incomplete"].keys()
    bare = (name for name in made if urlsafe_b64encode(os.fsencode(name)).decode() not in known)
    return [name for name in bare if (results / name).exists()]


def _sizes(folder: Path) -> dict[str, int]:
    """Return the size in bytes of each file in a folder, by name.

    It is empty if the folder does not exist.
    """
    found = {}
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            # A run at work removes files.
            with suppress(FileNotFoundError):
                found[entry.name] = entry.stat().st_size
    return found


def _at_work(results: Path) -> str:
    """Return a message on the active run in `results`."""
    return f"{results}: another run is at work here{_who(results)}: wait until it has ended, and run again"


def _who(results: Path) -> str:
    """Return the active process and its machine, in brackets; empty if unknown."""
    try:
        who = (results / WORKER).read_text(encoding="utf-8", errors="replace")
    except OSError:
        who = ""
    return f" ({who})" if who else ""


def _clear(locks: Path, file: int) -> None:
    """Remove locks left on this machine, or record this machine if there are none."""
    here = platform.node().encode()
    if os.pread(file, 1024, 0) == here:
        shutil.rmtree(locks, ignore_errors=True)
    elif not any(locks.glob("*")):
        os.ftruncate(file, 0)
        os.pwrite(file, here, 0)
