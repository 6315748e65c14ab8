"""The errors that slidemill raises on purpose.

Every message names the subject, the value and the remedy, and can be shown to a user.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from mmap import mmap
from pathlib import Path
from typing import Any

FULL = (errno.ENOSPC, errno.EDQUOT)
AWAY = (
    errno.EIO,
    errno.ESTALE,
    errno.ETIMEDOUT,
    errno.ENOTCONN,
    errno.ENODEV,
    errno.ENOMEM,
    errno.EMFILE,
    errno.ENFILE,
    errno.EHOSTDOWN,
    errno.EHOSTUNREACH,
    errno.ENETDOWN,
    errno.ENETUNREACH,
)
CRAMPED = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN)
"""This process or its machine lacks a resource; no file is at fault."""
FORBIDDEN = (errno.EACCES, errno.EPERM)
MACHINE = (*FULL, *AWAY, *CRAMPED, *FORBIDDEN)
"""Error numbers that say nothing about a file's content."""

UNLOADED = errno.ENOEXEC
"""The error number for a library that could not be loaded; the process does not try again."""

IN_WORDS = re.compile(r"errno ?=? ?(\d+)", re.IGNORECASE)
"""How HDF5 and Arrow write an error number into their messages."""
NO_MEMORY = re.compile(
    r"(not enough|out of|insufficient|cannot allocate) memory|memory allocation failed|read\(nbytes\) on source failed",
    re.IGNORECASE,
)
"""Messages of libraries that do not raise MemoryError."""
NO_THREAD = "can't start new thread"
INTERRUPTED = 130
"""Exit code of a command or a run that Ctrl-C ended."""

ROOM = 1_048_576
"""Free bytes of a disk below which an unexplained write error is called a full disk."""

ENOUGH = 64 * 1024 * 1024
"""Bytes that any work on a store needs."""


class SlidemillError(Exception):
    """The base of all errors that slidemill raises on purpose."""


class ConfigError(SlidemillError):
    """The configuration or the sheet of slides is wrong; no job has run."""


class SlideError(SlidemillError):
    """A slide's content cannot be used; the slide fails and the others continue."""


class UnreadablePatchError(SlideError):
    """A patch's pixels cannot be read.

    The slide's other patches are stored; the key `unreadable_patches` decides whether the slide fails.
    """


class AnnotationError(SlideError):
    """A slide's annotation cannot be used; its slide fails and the others continue."""


class StoreError(SlidemillError):
    """A store is missing, closed, damaged, not slidemill's, or lacks a patch."""


class ModelError(SlidemillError):
    """A model cannot be loaded, or does not return one row of numbers per patch."""


class SplitError(SlidemillError):
    """Slides cannot be split as requested, or folds do not belong to these slides."""


class LeakageError(SlidemillError):
    """Training and test data share a patient, a slide or a part of one."""


class MachineError(SlidemillError, OSError):
    """The machine failed, not the file.

    It lacks memory, permissions or open files, or a drive is not available.

    Parameters
    ----------
    code
        The error number, also in the attribute `errno`.
    message
        The whole message for the user.
    """

    def __init__(self, code: int, message: str) -> None:
        super().__init__(code, message)

    def __str__(self) -> str:
        return str(self.strerror)


def is_machine_fault(error: Exception) -> bool:
    """Return whether the machine caused an error: out of memory, or a lost drive."""
    if isinstance(error, MachineError | MemoryError):
        return True
    return isinstance(error, OSError) and error.errno in AWAY


def machine_error(error: BaseException, subject: object) -> MachineError | None:
    """Return a `MachineError` if the machine caused an error.

    Return None if the content of `subject` may have caused it.

    Parameters
    ----------
    error
        What a library raised. LMDB, HDF5 and Arrow have the error number in attributes or messages.
    subject
        The file or folder.
    """
    if isinstance(error, MachineError):
        return error
    code = None if isinstance(error, SlidemillError) else _machine_code(error, subject)
    return None if code is None else MachineError(code, _advice(code, subject))


@contextmanager
def machine_errors(subject: object) -> Iterator[None]:
    """Raise a `MachineError` when the block fails because of the machine."""
    try:
        yield
    except Exception as error:
        if fault := machine_error(error, subject):
            raise fault from error
        raise


@contextmanager
def full_disk_errors(aside: Path) -> Iterator[None]:
    """Raise an OSError with ENOSPC if the block fails because the disk is full.

    HDF5 and LMDB raise other errors, and LMDB gives no reason after a partial write.
    """
    try:
        yield
    except SlidemillError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno in FULL:
            error.filename = error.filename or str(aside.parent)
            raise
        is_named = any(os.strerror(code) in str(error) for code in FULL)
        if not is_named and shutil.disk_usage(aside.parent).free >= ROOM:
            raise
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(aside.parent)) from error


@contextmanager
def discard_on_error(file: Any) -> Iterator[None]:
    """Flush an open file of h5py after the block; on failure, discard unwritten data.

    HDF5 ends the process where it cannot write at closing, such as on a full disk.
    """
    try:
        yield
        file.flush()
    except BaseException:
        if hasattr(os, "memfd_create"):
            nowhere = os.memfd_create("abandoned")
            os.dup2(nowhere, file.id.get_vfd_handle())
            os.close(nowhere)
        raise


def _machine_code(error: BaseException, subject: object) -> int | None:
    """Return the error number of a machine's fault, or None for other errors."""
    if isinstance(error, MemoryError):
        return errno.ENOMEM
    if isinstance(error, ImportError):
        # Codecs are loaded when first needed, and give no reason when that fails.
        lacking = errno.ENOMEM if not _has_memory(subject) else errno.EMFILE if not _has_files() else UNLOADED
        return None if isinstance(error, ModuleNotFoundError) and lacking == UNLOADED else lacking
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno if error.errno in MACHINE else None
    code = getattr(error, "code", None)  # of lmdb.Error
    text = str(error)
    if not isinstance(code, int) and (found := IN_WORDS.search(text)):
        code = int(found[1])
    if code not in MACHINE:
        # OpenSlide only gives the system's message.
        named = (one for one in CRAMPED if os.strerror(one) in text)
        code = errno.ENOMEM if NO_MEMORY.search(text) else errno.EAGAIN if NO_THREAD in text else next(named, None)
    # A damaged file may claim too much memory: check whether there is enough for a whole one.
    return None if code == errno.ENOMEM and _has_memory(subject) else code


def _has_memory(subject: object) -> bool:
    """Return whether memory suffices for the file, and for `ENOUGH` bytes."""
    try:
        size = subject.stat().st_size if isinstance(subject, Path) else 0
        mmap(-1, max(size, ENOUGH)).close()
    except OSError:
        return False
    return True


def _has_files() -> bool:
    """Return whether this process can open another file."""
    try:
        os.close(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        return False
    return True


def _advice(code: int, subject: object) -> str:
    """Return the problem and its remedy for an error number of `MACHINE`."""
    reason = os.strerror(code)
    if code == UNLOADED:
        return f"{subject}: a library that reads it could not be loaded: free memory and start again, or reinstall it"
    if code in FULL:
        return f"the disk of {subject} is full ({reason}): make room and run again"
    if code == errno.EMFILE:
        remedy = "raise `ulimit -n`, or use fewer workers or a smaller most_open"
    elif code == errno.ENFILE:
        remedy = "close other programs, or ask for a higher fs.file-max"
    elif code == errno.ENOMEM:
        remedy = "free memory, raise `ulimit -v` or the job's memory, or use fewer cores or workers"
    elif code == errno.EAGAIN:
        remedy = "raise `ulimit -u` and `ulimit -v`, or use fewer cores or workers"
    elif code in FORBIDDEN:
        reason += f" to user {os.geteuid()}{_ownership(subject)}"
        remedy = "change its permissions or owner, or those of the folders above it"
    else:
        remedy = "check that disk or network drive, and try again"
    return f"{subject}: {reason}: {remedy}"


def explain(error: Exception) -> str | None:
    """Return the message for an error that ends a job, or None if it is a bug."""
    if isinstance(error, SlidemillError):
        return str(error)
    if isinstance(error, MemoryError):
        return "the memory was not enough for this job: run with fewer cores, or give the job more memory"
    if not isinstance(error, OSError):
        return None
    subject = Path(os.fsdecode(error.filename)) if isinstance(error.filename, str | bytes) else Path.cwd()
    if error.errno in (*FULL, *CRAMPED):
        return _advice(error.errno, subject)
    return f"{subject}: {error.strerror or error}: check that disk and its permissions, and run again"


def _ownership(subject: object) -> str:
    """Return a file's owner and mode, or an empty text if they cannot be read."""
    try:
        status = Path(str(subject)).stat()
    except OSError:
        return ""
    return f" (owner {status.st_uid}, mode {stat.filemode(status.st_mode)})"
