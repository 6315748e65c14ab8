"""Publishing files whole: what stands under its final name is complete."""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import xxhash

from slidemill.errors import SlidemillError

ASIDE = ".aside"
"""What the names of files end in that are not yet whole."""

SYNC_EVERY = 0.05
"""Seconds between two times that a file is written to its disk while it is being filled."""


@contextmanager
def replacing(path: Path, scratch: Path | None = None) -> Iterator[Path]:
    """Yield a path to write to, and publish at `path` what is there when the block ends well, by one rename.

    A file or a folder may be written. When the block fails, `path` is as it was. What killed processes left aside
    is removed first. Names are never used twice: a job that outlived its run finds its file gone, and cannot
    publish what another has only half written.

    Parameters
    ----------
    path
        Where it will stand.
    scratch
        A folder on a disk of this machine to write in; the whole is moved from there, and compared.

    Raises
    ------
    SlidemillError
        When what was written is gone, since another run has taken over.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in asides(path):
        remove(left)
    aside, old = (path.with_name(f".{path.name}.{secrets.token_hex(4)}{ASIDE}") for _ in range(2))
    written = aside if scratch is None else scratch / aside.name
    try:
        yield written
        if written != aside:
            copy_checked(written, aside)
        if not aside.exists():
            raise SlidemillError(f"{path}: what was written for it is gone: is another run at work here?")
        if path.is_dir() or (aside.is_dir() and path.exists()):
            # A folder cannot be replaced, and must not be seen half removed.
            path.rename(old)
        aside.replace(path)
    finally:
        for left in (aside, old, written):
            remove(left)


def scratch_folder(name: str | None) -> Path | None:
    """Return the folder that a configuration's `scratch` names, whose ``$VARIABLES`` are those of this machine.

    Raises
    ------
    SlidemillError
        When there is no such folder.
    """
    if name is None:
        return None
    folder = Path(os.path.expandvars(name))
    if not folder.is_dir():
        raise SlidemillError(f"scratch is {name}: {folder} is no folder here: make it, or name another, or null")
    return folder


def asides(path: Path) -> list[Path]:
    """Return what processes that were killed, or are at work, have left beside `path`."""
    name = re.compile(rf"\.{re.escape(path.name)}\.[0-9a-f]+{re.escape(ASIDE)}")
    return [file for file in path.parent.iterdir() if name.fullmatch(file.name)]


def copy_checked(source: Path, target: Path) -> None:
    """Copy a file or a folder of files to a new place, see that it is on the disk, read it again and compare.

    Raises
    ------
    SlidemillError
        When what is read there is not what was written.
    """
    files = sorted(source.iterdir()) if source.is_dir() else [source]
    if source.is_dir():
        target.mkdir()
    for file in files:
        copy = target / file.name if source.is_dir() else target
        shutil.copyfile(file, copy)
        descriptor = os.open(copy, os.O_RDONLY)
        try:
            os.fsync(descriptor)
            # Else the kernel's own memory of it would be compared.
            if hasattr(os, "posix_fadvise"):
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)
        if file_digest(file) != file_digest(copy):
            raise SlidemillError(f"{copy}: is not what was copied there: see to that disk, and run again")
    sync(target)


def file_digest(path: Path) -> str:
    """Return a digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, xxhash.xxh3_128).hexdigest()


def remove(path: Path) -> None:
    """Remove the file or the folder at `path`, if there is one."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Make the operating system write the file or the folder at `path` to its disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def synced(path: Path) -> Iterator[None]:
    """See that the file at `path`, which the block makes and fills, is on its disk when the block ends.

    Another thread has it written there from the beginning, so that little is left to wait for in the end: for
    1.4 GB, 1.7 s in place of 1.9 (benchmarks/RESULTS.md).
    """
    # One descriptor for all: what the disk refuses is reported once to each that was open then.
    descriptor = os.open(path, os.O_RDONLY | os.O_CREAT, 0o666)
    ended = threading.Event()

    def write_early() -> None:
        while not ended.wait(SYNC_EVERY):
            os.fsync(descriptor)

    try:
        with ThreadPoolExecutor(1) as pool:
            early = pool.submit(write_early)
            try:
                yield
            finally:
                ended.set()
            early.result()
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: Path, value: Any) -> None:
    """Publish `value` as JSON at `path`."""
    with replacing(path) as aside:
        aside.write_text(json.dumps(value, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Return the value of the JSON file at `path`.

    Raises
    ------
    SlidemillError
        When the file is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise SlidemillError(f"{path}: not a JSON file of slidemill ({error}): remove it and run again") from None
