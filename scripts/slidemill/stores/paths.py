"""How stores are named; free of any backend's library, so that the Snakefile can import it."""

from __future__ import annotations

from pathlib import Path

SUFFIXES = {"lmdb": ".lmdb", "hdf5": ".h5", "disk": ""}
"""What the name of each backend's stores ends in; a folder's in nothing."""


def store_path(backend: str, slide: str) -> Path:
    """Return where a slide's store stands, relative to the results."""
    return Path("stores") / backend / f"{slide}{SUFFIXES[backend]}"
