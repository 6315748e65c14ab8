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
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import xxhash

from slidemill.core.results_layout import WORKER
from slidemill.errors import ConfigError, SlidemillError, machine_errors

ASIDE = ".aside"
"""What the names of files end in that are not yet whole."""

RUN = "SLIDEMILL_RUN"
"""Environment variable that a run's jobs inherit: what `WORKER` held when the run began."""

SYNC_EVERY = 0.05
"""Seconds between two times that a file is written to its disk while it is being filled."""


@contextmanager
def replacing(path: Path, scratch: Path | None = None) -> Iterator[Path]:
    """Yield a path to write to, and publish at `path` what is there when the block ends well, by one rename.

    A file or a folder may be written. When the block fails, `path` is as it was. What killed processes left aside
    is removed first, in `scratch` too. Names are never used twice: a job that outlived its run finds its file gone,
    and cannot publish what another has only half written. Nor does it publish over what a later run has made.

    Parameters
    ----------
    path
        Where it will stand.
    scratch
        A folder on a disk of this machine to write in; the whole is moved from there, and compared.

    Raises
    ------
    SlidemillError
        When what was written is gone, or is not published, since another run has taken over.
    """
    # What is itself in a folder aside stands or falls with that: a folder that another run removed is not made again.
    if not path.parent.name.endswith(ASIDE):
        path.parent.mkdir(parents=True, exist_ok=True)
    places = (path.parent, "") if scratch is None else (scratch, f"{_own_place(path):08x}")
    for left in asides(path) + (asides(path, *places) if scratch else []):
        remove(left)
    aside, old, claim = (_aside(path, path.parent) for _ in range(3))
    written = aside if scratch is None else _aside(path, *places)
    # Where the work goes on elsewhere, this alone tells whether another run has taken over meanwhile.
    if scratch is not None:
        claim.touch()
    try:
        yield written
        if written != aside and written.exists():
            copy_checked(written, aside)
        if not aside.exists() or not (scratch is None or claim.exists()):
            raise SlidemillError(f"{path}: what was written for it is gone: is another run at work here?")
        _check_run(path)
        _publish(aside, path, old)
    finally:
        for left in (aside, old, claim, written):
            remove(left)


def _check_run(path: Path) -> None:
    """Check that no later run works, or has worked, in the results since this job's run began.

    A job goes on when its run is killed. One that had only just begun removes nothing of the next run, and would be
    whole after that has ended: with the settings of another time.
    """
    own = os.environ.get(RUN)
    if own is None:
        return
    with suppress(OSError):
        if (now := WORKER.read_text(encoding="utf-8", errors="replace")) and now != own:
            raise SlidemillError(f"{path}: is not published: this job's run ({own}) has ended, and {now} took over")


def _publish(aside: Path, path: Path, old: Path) -> None:
    """Rename `aside` to `path`; what stands there goes to `old` where a folder is concerned, or stays if that fails."""
    # A folder cannot be replaced, and must not be seen half removed.
    if not (path.is_dir() or (aside.is_dir() and path.exists())):
        aside.replace(path)
        return
    path.rename(old)
    try:
        aside.replace(path)
    except BaseException:
        # Another run took it away in this very moment, or Ctrl-C came: what has been published stays.
        if not path.exists():
            old.rename(path)
        raise


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


def asides(path: Path, folder: Path | None = None, mark: str = "") -> list[Path]:
    """Return what processes that were killed, or are at work, have left beside `path`, or in a `folder` elsewhere.

    `mark` are the first digits of the names to look for.
    """
    name = re.compile(rf"\.{re.escape(path.name)}\.{mark}[0-9a-f]+{re.escape(ASIDE)}")
    return [file for file in (folder or path.parent).iterdir() if name.fullmatch(file.name)]


def _aside(path: Path, folder: Path, mark: str = "") -> Path:
    """Return a new name for what is to stand at `path`, in `folder`."""
    return folder / f".{path.name}.{mark}{secrets.token_hex(4)}{ASIDE}"


def _own_place(path: Path) -> int:
    """Return a number for where `path` lies: several runs may share a folder for scratch."""
    return xxhash.xxh32_intdigest(os.fsencode(path.absolute()))


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


def is_folder(path: Path) -> bool:
    """Return whether there is a folder at `path`; False also where a folder above it may not be entered."""
    try:
        return path.is_dir()
    except OSError:
        return False


def walk_folder(root: Path, key: str) -> Iterator[tuple[str, list[str], list[str]]]:
    """Walk as `os.walk` does, but refuse a folder that cannot be searched: files in it would be missing.

    `key` is the configuration's key that names `root`.

    Raises
    ------
    ConfigError
        When a folder cannot be searched.
    """

    def refuse(error: OSError) -> None:
        raise ConfigError(
            f"{key}: the folder {error.filename} cannot be searched ({error.strerror}): see its permissions and its "
            "disk, or move it elsewhere"
        )

    return os.walk(root, onerror=refuse)


def identity(path: Path | int) -> tuple[int, int]:
    """Return what tells the file at `path`, or an open one by its descriptor, from others, whatever its name."""
    status = path.stat() if isinstance(path, Path) else os.fstat(path)
    return status.st_dev, status.st_ino


def file_digest(path: Path) -> str:
    """Return a digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, xxhash.xxh3_128).hexdigest()


def remove(path: Path) -> None:
    """Remove the file or the folder at `path`, if there is one.

    A folder is hidden first, by one rename: nobody sees half of it, and a job that outlived its run adds nothing to it.
    """
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
        return
    own = path.name if path.name.endswith(ASIDE) else f".{path.name}.{ASIDE}"
    hidden = path.with_name(own.removesuffix(ASIDE) + secrets.token_hex(4) + ASIDE)
    # Another may be removing the same.
    with suppress(FileNotFoundError):
        path.rename(hidden)
        shutil.rmtree(hidden)


def check_readable(path: Path) -> None:
    """Read a file, or the files of a folder, to the end, and keep nothing.

    Raises
    ------
    MachineError
        When the disk or the permissions do not allow it.
    """
    with machine_errors(path):
        for file in sorted(path.iterdir()) if path.is_dir() else [path]:
            if file.is_file():
                file_digest(file)


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
