"""Searching folders: what may not be searched is told, since what lies in it would be missing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from slidemill.errors import ConfigError


def is_folder(path: Path) -> bool:
    """Return whether a folder stands at `path`, and can be looked at."""
    try:
        return path.is_dir()
    except OSError:  # such as a folder above it that may not be entered
        return False


def walked(root: Path, key: str) -> Iterator[tuple[str, list[str], list[str]]]:
    """Walk as `os.walk` does, but refuse a folder that cannot be searched.

    Parameters
    ----------
    root
        The folder.
    key
        The configuration's key that names it.

    Raises
    ------
    ConfigError
        When a folder in it cannot be searched.
    """

    def refuse(error: OSError) -> None:
        raise ConfigError(
            f"{key}: the folder {error.filename} cannot be searched ({error.strerror}): see its permissions and its "
            "disk, or move it elsewhere"
        )

    return os.walk(root, onerror=refuse)
