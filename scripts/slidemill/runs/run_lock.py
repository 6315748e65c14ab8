"""Holding a folder of results, so that what a killed run left locked can be told from a run that is at work.

Snakemake's lock is files, which stay when its process is killed, and which two runs that begin at the same moment may
both make. The operating system's lock goes with the process, and one alone gets it.
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
except ImportError:  # not on Windows, where Snakemake's lock stands alone
    fcntl = None  # type: ignore[assignment]

ROOM = 65536
"""Bytes that must be free for a run to begin."""


_TAKEN: set[tuple[int, Path]] = set()
"""Processes and the results that each has taken."""

LOOK_AGAIN = 75
"""Exit code where a run at work is in the way; EX_TEMPFAIL of sysexits.h."""


def hold(results: Path) -> str:
    """Hold `results` until this process ends, and remove the lock of a run that was killed on this machine.

    Where another process holds them, where the last run was on another machine and has left its lock (the operating
    system's may not reach this one), or where the file system knows no locks, Snakemake's own lock decides.

    Returns
    -------
    str
        What a call that only looks on should be told of the run at work here; nothing where none is.

    Raises
    ------
    OSError
        When nothing can be written there.
    """
    told = ""
    (results / RECORD).mkdir(parents=True, exist_ok=True)
    # Never closed: the lock goes with the process. Children do not inherit it.
    file = os.open(results / HOLDER, os.O_RDWR | os.O_CREAT, 0o666)
    # A full disk is told here in one sentence, where Snakemake would end in a traceback over its lock.
    with tempfile.TemporaryFile(dir=results / RECORD) as probe:
        probe.write(bytes(ROOM))
    if fcntl is None:
        return told
    with suppress(OSError):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if any((results / LOCKS).glob("*")):
                told = f"{_at_work(results)}; this call may look on, and will run nothing"
        else:
            _clear(results / LOCKS, file)
        # Shared by all that are at work or look on, such as --summary: nobody clears anything while one of them lives.
        fcntl.flock(file, fcntl.LOCK_SH)
    return told


def check_unlocked(results: Path) -> None:
    """Check that Snakemake's lock of another run is not in the way, before Snakemake does.

    Snakemake's own message advises to remove the lock, which lets two runs at work write over each other.

    Raises
    ------
    SlidemillError
        When a run is at work there, or was killed there and its lock could not be removed.
    """
    if not working(results):
        return
    if _is_at_work(results):
        raise SlidemillError(_at_work(results))
    raise SlidemillError(
        f"{results}: is locked by a run{_who(results)} that is at work on another machine, or was killed: see whether "
        "that process lives there, and on a cluster whether squeue has jobs of it; where it is dead, call Snakemake "
        "with the same configuration and --unlock, which removes the lock, and run again"
    )


def take(results: Path) -> None:
    """Take `results` for this run to work on, until its process ends; for those that look on `hold` is enough.

    A process that has taken them already keeps them.

    Raises
    ------
    SlidemillError
        When another run is at work there.
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
        # Jobs inherit it, and publish nothing once another run has taken the results.
        os.environ[RUN] = name


def working(results: Path) -> str:
    """Return a sentence on the run that is at work in `results`, or that was killed there; none where they are at rest.

    Results that cannot be written are looked at too.
    """
    # Where Snakemake has no lock nobody works, and a run that begins now is not to find its own lock taken.
    if not any((results / LOCKS).glob("*")):
        return ""
    if _is_at_work(results):
        return f"{results}: a run is at work here{_who(results)}"
    return f"{results}: is locked: a run was killed here, or is at work on another machine"


def _is_at_work(results: Path) -> bool:
    """Return whether a run holds the operating system's lock, which those of other machines may not reach."""
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
    """See that no run works in `results`, and have one that begins now wait until the block ends.

    Raises
    ------
    SlidemillError
        When a run is at work there, or was killed and not run again.
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
        pass  # a file system that knows no locks: Snakemake's own has been looked at
    else:
        yield
        return
    finally:
        os.close(file)
    yield


def unrecorded(results: Path, made: Iterable[str]) -> list[str]:
    """Return which of the files `made` are there without Snakemake's record of what they were made from.

    A full disk leaves no record, or an empty one, and removing Snakemake's folder takes them all away. Then a change of
    the configuration since goes unnoticed.
    """
    names = {folder: _sizes(results / RECORD / folder) for folder in ("metadata", "incomplete")}
    if any(name.startswith("@") for name in names["metadata"]):
        return []  # a file system of short names, where records lie in folders
    # What is marked as begun is made again in any case; such a mark may be empty.
    known = {name for name, size in names["metadata"].items() if size} | names["incomplete"].keys()
    bare = (name for name in made if urlsafe_b64encode(os.fsencode(name)).decode() not in known)
    return [name for name in bare if (results / name).exists()]


def _sizes(folder: Path) -> dict[str, int]:
    """Return the names in a folder and the size of each, none where there is no such folder."""
    found = {}
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            # A run at work removes some.
            with suppress(FileNotFoundError):
                found[entry.name] = entry.stat().st_size
    return found


def _at_work(results: Path) -> str:
    """Return a sentence on the run that works on `results`, and what to do."""
    return f"{results}: another run is at work here{_who(results)}: wait until it has ended, and run again"


def _who(results: Path) -> str:
    """Return which process of which machine works on `results`, in brackets, or nothing where that is not known."""
    try:
        who = (results / WORKER).read_text(encoding="utf-8", errors="replace")
    except OSError:
        who = ""
    return f" ({who})" if who else ""


def _clear(locks: Path, file: int) -> None:
    """Remove the locks where the last run was on this machine; where there are none, note that this one is."""
    here = platform.node().encode()
    if os.pread(file, 1024, 0) == here:
        shutil.rmtree(locks, ignore_errors=True)
    elif not any(locks.glob("*")):
        os.ftruncate(file, 0)
        os.pwrite(file, here, 0)
