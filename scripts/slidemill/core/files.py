"""Publish files by one rename, so that a file under its final name is complete."""

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
"""The ending of the names of unfinished files."""

RUN = "SLIDEMILL_RUN"
"""Environment variable of a run's jobs: the content of `WORKER` when the run began."""

SYNC_EVERY = 0.05
"""Seconds between two syncs of a file that is being written."""


@contextmanager
def replacing(path: Path, scratch: Path | None = None) -> Iterator[Path]:
    """Yield a path to write to, and publish the result at `path` by one rename.

    The result is a file or folder. When the block fails, `path` is as before. What killed processes left next to it,
    or in `scratch`, is removed first.
    Names are never used twice, so that a job that outlived its run cannot publish what another job has half written.

    Parameters
    ----------
    path
        The final path.
    scratch
        A folder on a local disk to write in first; the result is copied from there and compared.

    Raises
    ------
    SlidemillError
        When another run has removed what was written, or has taken over.
    """
    # A folder aside that another run has removed is not made again.
    if not path.parent.name.endswith(ASIDE):
        path.parent.mkdir(parents=True, exist_ok=True)
    # Several runs may share a scratch folder.
    places = (scratch or path.parent, xxhash.xxh32_hexdigest(os.fsencode(path.absolute())) if scratch else "")
    for left in asides(path) + (asides(path, *places) if scratch else []):
        remove(left)
    aside, old, claim = (_aside(path, path.parent) for _ in range(3))
    written = aside if scratch is None else _aside(path, *places)
    # While work goes on in scratch, this file shows whether another run has taken over.
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
    """Check that no later run has used the results.

    A job goes on when its run is killed.

    Raises
    ------
    SlidemillError
        When one has.
    """
    own = os.environ.get(RUN)
    with suppress(OSError):
        if own is not None and (now := WORKER.read_text(encoding="utf-8", errors="replace")) and now != own:
            raise SlidemillError(f"{path}: is not published: this job's run ({own}) has ended, and {now} took over")


def _publish(aside: Path, path: Path, old: Path) -> None:
    """Rename `aside` to `path`; keep an old folder at `old`, restored on failure."""
    if not (path.is_dir() or (aside.is_dir() and path.exists())):
        aside.replace(path)
        return
    path.rename(old)
    try:
        aside.replace(path)
    except BaseException:
        # Another run has just removed it, or the user pressed Ctrl-C.
        if not path.exists():
            old.rename(path)
        raise


def scratch_folder(name: str | None) -> Path | None:
    """Return the folder that `scratch` names, with this machine's ``$VARIABLES``.

    Raises
    ------
    SlidemillError
        When there is no such folder.
    """
    if name is None:
        return None
    folder = Path(os.path.expandvars(name))
    if not folder.is_dir():
        raise SlidemillError(f"scratch is {name}: {folder} is not a folder here: make it, or name another, or null")
    return folder


def asides(path: Path, folder: Path | None = None, mark: str = "") -> list[Path]:
    """Return unfinished files of `path`, left by killed or running processes.

    Parameters
    ----------
    path
        The final path.
    folder
        Where to look; None for the folder of `path`.
    mark
        The first digits of the names.
    """
    name = re.compile(rf"\.{re.escape(path.name)}\.{mark}[0-9a-f]+{re.escape(ASIDE)}")
    return [file for file in (folder or path.parent).iterdir() if name.fullmatch(file.name)]


def _aside(path: Path, folder: Path, mark: str = "") -> Path:
    """Return a new path in `folder` for an unfinished file of `path`."""
    return folder / f".{path.name}.{mark}{secrets.token_hex(4)}{ASIDE}"


def copy_checked(source: Path, target: Path) -> None:
    """Copy a file or a folder of files, sync the copy, and compare both.

    Raises
    ------
    SlidemillError
        When they differ.
    """
    files = sorted(source.iterdir()) if source.is_dir() else [source]
    if source.is_dir():
        target.mkdir()
    for file in files:
        copy = target / file.name if source.is_dir() else target
        shutil.copyfile(file, copy)
        with copy.open("rb") as written:
            os.fsync(written.fileno())
            # Without this, the page cache would be compared.
            if hasattr(os, "posix_fadvise"):
                os.posix_fadvise(written.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        if file_digest(file) != file_digest(copy):
            raise SlidemillError(f"{copy}: is not what was copied there: check that disk, and run again")
    sync(target)


def check_new(path: Path, kind: str = "folder") -> None:
    """Raise a SlidemillError if something is at `path`, broken links included, or in place of a folder above it."""
    if path.exists() or path.is_symlink():
        raise SlidemillError(f"{path}: already exists: remove it, or name another {kind}")
    above = next(folder for folder in path.absolute().parents if folder.exists() or folder.is_symlink())
    if not above.is_dir():
        raise SlidemillError(f"{path}: {above} is not a folder: name another {kind}")


def is_folder(path: Path) -> bool:
    """Return whether `path` is a folder; False also where it cannot be reached."""
    try:
        return path.is_dir()
    except OSError:
        return False


def walk_folder(root: Path, key: str) -> Iterator[tuple[str, list[str], list[str]]]:
    """Walk as `os.walk` does, but refuse a folder that cannot be searched.

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
    """Return device and inode of the file at `path`, or of an open descriptor."""
    status = path.stat() if isinstance(path, Path) else os.fstat(path)
    return status.st_dev, status.st_ino


def file_digest(path: Path) -> str:
    """Return the digest (XXH3-128) of a file's bytes, 32 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, xxhash.xxh3_128).hexdigest()


def remove(path: Path) -> None:
    """Remove the file or folder at `path`, if any; a folder is renamed first."""
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
        return
    own = path.name if path.name.endswith(ASIDE) else f".{path.name}.{ASIDE}"
    hidden = path.with_name(own.removesuffix(ASIDE) + secrets.token_hex(4) + ASIDE)
    # Another process may be removing it.
    with suppress(FileNotFoundError):
        path.rename(hidden)
        shutil.rmtree(hidden)


def check_readable(path: Path) -> None:
    """Read a file, or the files of a folder, to the end.

    Raises
    ------
    MachineError
        When the disk or the permissions prevent it.
    """
    with machine_errors(path):
        for file in sorted(path.iterdir()) if path.is_dir() else [path]:
            if file.is_file():
                file_digest(file)


def sync(path: Path) -> None:
    """Sync the file or folder at `path` to its disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def keep_synced(path: Path) -> Iterator[None]:
    """Sync the file at `path`, which the block writes, early and at the end.

    Syncing early leaves little to wait for: 1.7 s in place of 1.9 for 1.4 GB (benchmarks/RESULTS.md).
    """
    # One descriptor for all syncs: a write error is reported once to each descriptor that was open then.
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
