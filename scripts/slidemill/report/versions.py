"""Provenance of a run: parameters, versions, command and date."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from slidemill._version import __version__
from slidemill.core.results_layout import WORKER

LIBRARIES = (
    "snakemake",
    "openslide-python",
    "numpy",
    "lmdb",
    "h5py",
    "imagecodecs",
    "pandas",
    "pillow",
    "simplejpeg",
    "zstandard",
    "tifffile",
    "shapely",
    "matplotlib",
)


@dataclass(frozen=True, slots=True)
class Run:
    """Provenance of a run's results.

    Parameters
    ----------
    parameters, versions
        Parameters by section, and versions of libraries by name.
    command, date
        The command line, and when it was run.
    warnings
        Warnings about the whole run, found while it was planned.
    folder
        The results folder; empty if it is unknown.
    seconds
        Duration of the run until the report was made; None if it is unknown.
    memory
        Bytes of the machine's memory; None if they are unknown.
    """

    parameters: Mapping[str, Any]
    versions: Mapping[str, str]
    command: str
    date: str
    warnings: tuple[str, ...] = ()
    folder: str = ""
    seconds: float | None = None
    memory: int | None = None

    @property
    def project(self) -> str:
        """The last two parts of the results folder's path, such as ``study/results``."""
        return "/".join(Path(self.folder).parts[-2:]).replace("//", "/")


def this_run(parameters: Mapping[str, Any], command: str, warnings: Sequence[str] = ()) -> Run:
    """Return the provenance of the run in the working directory, its results folder.

    Parameters
    ----------
    parameters, command, warnings
        As of `Run`.
    """
    import openslide

    versions = {
        "slidemill": __version__,
        "OpenSlide": openslide.__library_version__,
        "Python": platform.python_version(),
        **{name: version(name) for name in LIBRARIES},
        "machine": f"{platform.platform()}, {platform.machine()}",
    }
    return Run(
        parameters,
        versions,
        command,
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        tuple(warnings),
        str(Path.cwd()),
        # The run wrote this file when it began.
        max(time.time() - WORKER.stat().st_mtime, 0) if WORKER.exists() else None,
        _memory(),
    )


def _memory() -> int | None:
    """Return the bytes of memory of this machine, if it names them."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (OSError, ValueError):
        return None
