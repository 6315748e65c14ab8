"""A temporary image of the results, in which a dry run may write."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from slidemill.core.results_layout import LOCKS, RECORD

IO_CACHE = "iocache"
"""Folder in Snakemake's record that each plan rewrites."""


def mirror_results(results: Path) -> Path:
    """Return a temporary folder with links to all results, removed when the process exits.

    Snakemake makes its working directory, its record and its locks in a dry run too. In this folder they change
    nothing, and the plan is the same.

    Parameters
    ----------
    results
        The folder of results; it need not exist, and may be read-only.
    """
    folder = Path(tempfile.mkdtemp(prefix="slidemill-plan-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    (folder / RECORD).mkdir()
    _link_entries(results, folder, without=(RECORD,))
    _link_entries(results / RECORD, folder / RECORD, without=(LOCKS.name, IO_CACHE))
    return folder


def _link_entries(source: Path, target: Path, *, without: tuple[str, ...]) -> None:
    """Link the entries of a folder, each with its time, by which Snakemake decides what is outdated."""
    with suppress(FileNotFoundError), os.scandir(source) as entries:
        for entry in entries:
            if entry.name in without:
                continue
            link = target / entry.name
            link.symlink_to(entry.path)
            # A run at work removes files.
            with suppress(FileNotFoundError):
                status = entry.stat()
                os.utime(link, ns=(status.st_atime_ns, status.st_mtime_ns), follow_symlinks=False)
