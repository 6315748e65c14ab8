"""What a backend is: a writer of stores, and their reader."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from slidemill.core.encodings import Buffer
from slidemill.core.patch import PatchRef
from slidemill.core.specs import TILE_BACKENDS
from slidemill.stores.base import Store
from slidemill.stores.manifest import Manifest

OFFERED = ("raw", "zstd", "png", "jpeg", "source")
"""All encodings, as the configuration names them."""
FILES_OFFERED = tuple(name for name in OFFERED if name != "zstd")
"""The encodings of patches that other programs read as single files."""


class Writer(Protocol):
    """Writer of a store: patches in the order of their ids, index and manifest."""

    def add(self, patch: PatchRef, data: Buffer) -> None:
        """Store the encoded `data` of the next patch; its memory may be reused."""

    def index(self) -> str:
        """Store the index, and return its digest as `Store.index_digest` does."""

    def finish(self, manifest: Manifest) -> None:
        """Store the manifest, which completes the store."""


@dataclass(frozen=True, slots=True)
class Backend:
    """A backend: a kind of store.

    Parameters
    ----------
    name
        Its name in the configuration and in manifests.
    writing
        Returns a context manager of a `Writer` for a path, patches, and a manifest without patches.
    reading
        The class that opens a store for reading.
    raw_encoding
        The encoding that ``raw`` means in this backend.
    offered
        The encodings that the configuration may name.
    files
        The names of the files of a store that is a folder; None where a store is a file.
    """

    name: str
    writing: Callable[[Path, Sequence[PatchRef], Manifest], AbstractContextManager[Writer]]
    reading: type[Store]
    raw_encoding: str = "raw"
    offered: Sequence[str] = OFFERED
    files: re.Pattern[str] | None = None

    @property
    def holds_tiles(self) -> bool:
        """Whether its stores can hold the slide's tiles, out of which patches of any grid are cut."""
        return self.name in TILE_BACKENDS

    def encoding(self, name: str) -> str:
        """Return the encoding that the configuration's `name` means."""
        return self.raw_encoding if name == "raw" else name
