"""What every backend provides: a writer and a reader."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

from slidemill.encodings import Pixels, decoded
from slidemill.errors import StoreError
from slidemill.patches import PatchRef
from slidemill.stores.manifest import Manifest


class Writer(Protocol):
    """Takes a store's patches in the order of their ids, and its manifest last."""

    def add(self, patch: PatchRef, data: bytes) -> None:
        """Store the encoded `data` of the next patch."""
        ...

    def finish(self, manifest: Manifest) -> None:
        """Store the manifest; the store is whole then."""
        ...


class Store(ABC):
    """A store of patches, opened for reading.

    It may be carried into another process: after a fork it reads on, by a handle of the child's own where the
    backend needs one, and pickled it is opened again where it arrives. Use it as a context manager, or `close`
    it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._closed = False
        self.manifest = self._open()
        self._places = {patch_id: place for place, patch_id in enumerate(self.manifest.ids)}

    @property
    def ids(self) -> Sequence[str]:
        """Ids of the patches, in raster order."""
        return self.manifest.ids

    def __len__(self) -> int:
        return len(self.manifest.ids)

    def __contains__(self, patch_id: object) -> bool:
        return patch_id in self._places

    def read(self, patch_id: str) -> Pixels:
        """Return a patch's pixels, ``uint8 (height, width, 3)``, RGB; the array is the caller's own.

        Raises
        ------
        StoreError
            When the store is closed, has no such patch, or its bytes are broken.
        """
        data = self.read_bytes(patch_id)
        try:
            return decoded(self.manifest.codec, data, self.manifest.shape)
        except StoreError as error:
            raise StoreError(f"{self.path}: patch {patch_id}: {error}") from None

    def read_bytes(self, patch_id: str) -> bytes:
        """Return a patch's bytes as they are stored.

        Raises
        ------
        StoreError
            When the store is closed, or has no such patch.
        """
        if self._closed:
            raise StoreError(f"{self.path}: the store is closed: open it again to read from it")
        place = self._places.get(patch_id)
        if place is None:
            raise StoreError(f"{self.path}: has no patch {patch_id!r}: its ids are in store.ids")
        data = self._get(place, patch_id)
        if data is None:
            raise StoreError(f"{self.path}: patch {patch_id} is missing or cut short: store the slide again")
        return data

    def close(self) -> None:
        """Close the store; closing twice does no harm."""
        if not self._closed:
            self._closed = True
            self._release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[type[Store], tuple[Path]]:
        return type(self), (self.path,)

    @abstractmethod
    def stored_ids(self) -> list[str]:
        """Return the ids of the patches that are really there, by the backend's own count, in its order."""

    @abstractmethod
    def _open(self) -> Manifest:
        """Open the store, keep what reading needs, and return the manifest; StoreError where that fails."""

    @abstractmethod
    def _get(self, place: int, patch_id: str) -> bytes | None:
        """Return a patch's bytes, or None where they are missing or cut short."""

    @abstractmethod
    def _release(self) -> None:
        """Close what `_open` opened."""


@dataclass(frozen=True, slots=True)
class Backend:
    """A kind of store.

    Parameters
    ----------
    name
        Its name in the configuration and in manifests.
    writing
        ``(path, patches, manifest)`` to a context manager that gives a `Writer`; the manifest has no patches yet.
    reading
        The class that opens a store for reading.
    raw_encoding
        Name of the encoding that ``raw`` means in this backend.
    """

    name: str
    writing: Callable[[Path, Sequence[PatchRef], Manifest], AbstractContextManager[Writer]]
    reading: type[Store]
    raw_encoding: str = "raw"

    def encoding(self, name: str) -> str:
        """Return the encoding that a name in the configuration stands for."""
        return self.raw_encoding if name == "raw" else name
