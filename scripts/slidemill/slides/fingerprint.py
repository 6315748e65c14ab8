"""Compute a cheap fingerprint of a slide that shows whether its content changed."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

from slidemill.errors import SlidemillError

BLOCK = 65_536
BLOCKS = 8
UNREADABLE = "unreadable:"
"""Begins, before the reason, the fingerprint of a slide that cannot be read."""


def fingerprint(path: Path) -> str:
    """Return a slide's cheap fingerprint, or the reason why it cannot be read.

    It covers the file's size and up to eight blocks of 64 KiB, spread evenly from the first byte to the last (all of a
    file up to 512 KiB), and the names and sizes of the files that belong to it (a .mrxs file's folder, the other .dcm
    files of a folder). Neither times nor the folder count.
    """
    digest = hashlib.blake2b(digest_size=16)
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return f"{UNREADABLE} not a file"
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            digest.update(size.to_bytes(8, "big"))
            reach = max(size - BLOCK, 0)
            for block in range(BLOCKS):
                file.seek(reach * block // (BLOCKS - 1))
                digest.update(file.read(BLOCK))
        for companion in companions(path):
            digest.update(os.fsencode(companion.name) + b"\0")
            digest.update(companion.stat().st_size.to_bytes(8, "big"))
    except OSError as error:
        return f"{UNREADABLE} {error.strerror}"
    return digest.hexdigest()


def check_unchanged(path: Path, expected: str | None, what: str = "slide") -> None:
    """Check that the content of a slide or another file has not changed.

    `what` names the file's kind in the message.

    Nothing is checked where `expected` is None, as for a slide without an annotation.

    Raises
    ------
    SlidemillError
        When it has another fingerprint than `expected`.
    """
    if expected is None:
        return
    found = fingerprint(path)
    if found != expected:
        now = found if found.startswith(UNREADABLE) else "other content"
        raise SlidemillError(
            f"{path.name}: the {what} is not what it was when the run was planned ({now}): wait until it is "
            "copied, check that its disk is there, and run again"
        )


def companions(path: Path) -> list[Path]:
    """Return the further files of a slide that has several, sorted.

    They are the files in a .mrxs file's folder, or the other .dcm files of a folder.
    """
    if path.suffix.lower() == ".mrxs":
        folder = path.with_suffix("")
        return sorted(file for file in folder.rglob("*") if file.is_file()) if folder.is_dir() else []
    if path.suffix.lower() == ".dcm":
        return sorted(file for file in path.parent.iterdir() if file.suffix.lower() == ".dcm" and file != path)
    return []
