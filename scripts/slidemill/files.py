"""Publishing files whole: what stands under its final name is complete."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from slidemill.errors import SlidemillError

SYNC_EVERY = 0.05
"""Seconds between two times that a file is written to its disk while it is being filled."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a path beside `path` to write to, and rename it to `path` when the block ends well.

    A file or a folder may be written; a folder that stands in the way is removed right before. What an earlier,
    killed process left aside is removed first; when the block fails, `path` is as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.aside")
    remove(aside)
    try:
        yield aside
        if path.is_dir() or aside.is_dir():
            remove(path)
        aside.replace(path)
    finally:
        remove(aside)


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
