"""The rivals' environments, one each, and what is installed where."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.entrants import RIVALS, Rival

OWN_PACKAGES = (
    "numpy",
    "openslide-python",
    "openslide-bin",
    "tifffile",
    "imagecodecs",
    "simplejpeg",
    "pillow",
    "lmdb",
    "h5py",
    "xxhash",
    "snakemake",
)

_VERSIONS = "; import importlib.metadata as m, json, sys; print(json.dumps({n: m.version(n) for n in sys.argv[1:]}))"


class NotRacedError(Exception):
    """An entrant cannot race; the message says why."""


def python_of(folder: Path, name: str) -> tuple[Path, dict[str, str]]:
    """Return a rival's Python and the versions of its packages; the environment is made where it is missing.

    Parameters
    ----------
    folder
        Where all environments lie, each under the rival's name.
    name
        A key of `RIVALS`.

    Raises
    ------
    NotRacedError
        When the packages cannot be installed, or do not work.
    """
    rival, place = RIVALS[name], folder / name
    # Not resolved: a virtual environment's Python is a link, and found to be one by its name.
    python = place.absolute() / "bin" / "python"
    if python.exists():
        versions, _ = _probed(python, rival)
        if versions:
            return python, versions
    print(f"race: making the environment {place}: {' '.join(rival.packages)}", file=sys.stderr)
    _call([sys.executable, "-m", "venv", str(place)])
    _call([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *rival.packages])
    versions, fault = _probed(python, rival)
    if not versions:
        raise NotRacedError(f"its packages are installed and do not work ({fault})")
    return python, versions


def own_versions() -> dict[str, str]:
    """Return the versions of what slidemill and the limits use here."""
    found = {}
    for name in OWN_PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def pywsi_version(checkout: Path) -> str:
    """Return the version that a checkout of py-wsi says it is."""
    setup = checkout / "setup.py"
    said = re.search(r"""version=['"]([^'"]+)""", setup.read_text(encoding="utf-8")) if setup.exists() else None
    return said[1] if said else "of unknown version"


def last_line(text: str) -> str:
    """Return the last line that is not empty: of a traceback, the error."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no message"


def _probed(python: Path, rival: Rival) -> tuple[dict[str, str], str]:
    """Return the versions of a rival's packages, or nothing, and why."""
    command = [str(python), "-c", rival.probe + _VERSIONS, *rival.packages]
    result = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if result.returncode:
        return {}, last_line(result.stderr)
    versions: dict[str, str] = json.loads(last_line(result.stdout))
    return versions, ""


def _call(command: list[str]) -> None:
    result = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if result.returncode:
        raise NotRacedError(f"its environment cannot be made ({last_line(result.stderr)})")
