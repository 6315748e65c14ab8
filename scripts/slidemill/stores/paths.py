"""How stores are named; free of any backend's library, so that the Snakefile can import it."""

from __future__ import annotations

from pathlib import Path

SUFFIXES = {"lmdb": ".lmdb", "hdf5": ".h5", "disk": "", "tar": ".tar"}
"""What the name of each backend's stores ends in; a folder's in nothing."""

JOINED = Path("stores") / "hdf5" / "all.h5"
"""The one file over the cohort's stores in HDF5, relative to the results; no slide is called so."""

MANIFEST = "manifest.json"
"""The file that a store which is a folder holds beside its patches."""


def store_path(backend: str, slide: str) -> Path:
    """Return where a slide's store stands, relative to the results."""
    return Path("stores") / backend / f"{slide}{SUFFIXES[backend]}"


def store_file(backend: str, slide: str) -> Path:
    """Return the file by which Snakemake knows a slide's store: of a folder its manifest.

    A folder that is an output is removed file by file before its job runs again, and readers would see what is left.
    """
    path = store_path(backend, slide)
    return path if SUFFIXES[backend] else path / MANIFEST


def store_of_file(file: Path) -> Path:
    """Return the store that `store_file` gave a file of."""
    return file.parent if file.name == MANIFEST else file
