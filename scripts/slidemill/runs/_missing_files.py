"""Find which files of all slides do not exist, cheaply for thousands of slides."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path


def missing_in_folder(paths: Sequence[str], results: Path) -> list[str]:
    """Return the paths that do not exist in the results folder, of files in one folder.

    The folder is listed only once, since requesting all files would slow down a plan of thousands of slides.
    """
    if not paths:
        return []
    folder = os.path.join(results, paths[0].rpartition("/")[0])  # noqa: PTH118
    there = frozenset(os.listdir(folder)) if os.path.exists(folder) else frozenset()  # noqa: PTH110, PTH208
    return [path for path in paths if path.rpartition("/")[2] not in there]
