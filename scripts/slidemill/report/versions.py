"""Provenance of a run: parameters, versions, command and date."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from slidemill._version import __version__

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
    """

    parameters: Mapping[str, Any]
    versions: Mapping[str, str]
    command: str
    date: str
    warnings: tuple[str, ...] = ()


def this_run(parameters: Mapping[str, Any], command: str, warnings: Sequence[str] = ()) -> Run:
    """Return the provenance of the current run's results.

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
    return Run(parameters, versions, command, f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC", tuple(warnings))
