"""How a run's results came about: parameters, versions, command, date."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from slidemill import __version__

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
    """How the results came about: the parameters by section, versions by name, the command, the date."""

    parameters: Mapping[str, Any]
    versions: Mapping[str, str]
    command: str
    date: str


def this_run(parameters: Mapping[str, Any], command: str) -> Run:
    """Return parameters, versions of all that shapes the results, the command, and the date."""
    import openslide

    versions = {
        "slidemill": __version__,
        "OpenSlide": openslide.__library_version__,
        "Python": platform.python_version(),
        **{name: version(name) for name in LIBRARIES},
        "machine": f"{platform.platform()}, {platform.machine()}",
    }
    return Run(parameters, versions, command, f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC")
