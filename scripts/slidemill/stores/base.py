"""What every backend provides: a writer and a reader."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol, Self

import numpy as np

from slidemill.core.encodings import RAW, Buffer, Pixels, Shape, decode_patch
from slidemill.core.ordered_threads import Step, run_in_order
from slidemill.core.patch import PatchRef
from slidemill.core.text import AGAIN
from slidemill.errors import StoreError, machine_error, machine_errors
from slidemill.stores.arrays import View, output_array
from slidemill.stores.manifest import Manifest
from slidemill.stores.symmetries import turn_into

BLOCK = 16
"""Patches that a thread of `Store.read_many` reads at once."""


class Writer(Protocol):
    """Takes a store's patches in the order of their ids, its index then, and its manifest last."""

    def add(self, patch: PatchRef, data: Buffer) -> None:
        """Store the encoded `data` of the next patch; its memory may be used for another right after."""

    def index(self) -> str:
        """Store what lies beside the patches, and return its digest as `Store.index_digest` does."""

    def finish(self, manifest: Manifest) -> None:
        """Store the manifest; the store is whole then."""


Lent = tuple[Buffer, object]
"""Bytes in a store's own memory, and what they stay there for as long as it lives."""


class Store(ABC):
    """A store of patches, opened for reading.

    It may be carried into another process: after a fork it reads on, by a handle of the child's own where the
    backend needs one, and pickled it is opened again where it arrives. Use it as a context manager, or `close`
    it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._closed = False
        try:
            self.manifest = self._open()
        except (OSError, MemoryError) as error:
            raise machine_error(error, path) or StoreError(
                f"{path}: cannot be opened ({error}): is a run at work there?"
            ) from None
        self._places = {patch_id: place for place, patch_id in enumerate(self.manifest.ids)}
        self._codec, self._shape = self.manifest.codec, self.manifest.shape
        self._raw_size = math.prod(self._shape) if self._codec is RAW else -1

    @property
    def shape(self) -> Shape:
        """``(height, width, 3)`` of every patch."""
        return self._shape

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
        try:
            if self._codec is RAW:
                return self._read_raw(patch_id)
            data, _keeper = self._lent(patch_id)
        except MemoryError as error:
            raise machine_error(error, self.path) or error from None
        try:
            return decode_patch(self._codec, data, self._shape)
        except StoreError as error:
            raise StoreError(f"{self.path}: patch {patch_id}: {error}") from None
        except (MemoryError, ImportError) as error:
            raise machine_error(error, self.path) or error from None

    def read_into(self, patch_id: str, out: Pixels, symmetry: int = 0) -> None:
        """Write a patch's pixels to an array of their shape, ``uint8``; raw ones are copied once.

        Parameters
        ----------
        patch_id
            Its id.
        out
            The array, in one piece.
        symmetry
            The symmetry of the square that the patch is turned by, see `slidemill.stores.symmetries`.

        Raises
        ------
        StoreError
            As `read` does, and when `out` has another shape, or lies in pieces.
        """
        output_array(out, self._shape)  # OpenCV would write to an array of its own in place of one that does not fit
        if self._codec is RAW:
            data, _keeper = self._lent(patch_id)
            pixels = self._raw(data, patch_id)
        else:
            pixels = self.read(patch_id)
        if symmetry:
            turn_into(pixels, symmetry, out)
        else:
            out[:] = pixels

    def read_many(self, patch_ids: Iterable[str], out: Pixels | None = None, threads: int = 1) -> Pixels:
        """Return the pixels of several patches, ``uint8 (patches, height, width, 3)``, in the order asked for.

        Parameters
        ----------
        patch_ids
            Their ids; one may be there more than once.
        out
            An array to write to, in place of a new one; of that shape, and the result then.
        threads
            How many threads read; copying and decoding go on side by side.

        Raises
        ------
        StoreError
            As `read` does, and when `out` has another shape.
        """
        wanted = list(patch_ids)  # a pandas series would take places for labels
        with machine_errors(self.path):
            pixels = output_array(out, (len(wanted), *self._shape))

        def read(block: int) -> list[tuple[int, None]]:
            for place in range(block * BLOCK, min((block + 1) * BLOCK, len(wanted))):
                self.read_into(wanted[place], pixels[place])
            return [(block, None)]

        blocks = -(-len(wanted) // BLOCK)
        steps = (Step(block, partial(read, block)) for block in range(blocks))
        for _ in run_in_order(steps, blocks, min(threads, blocks), ahead=blocks):
            pass
        return pixels

    def read_bytes(self, patch_id: str) -> bytes:
        """Return a patch's bytes as they are stored; StoreError where the store is closed or has no such patch."""
        with machine_errors(self.path):
            data, _keeper = self._lent(patch_id)
            return bytes(data)

    def view(self, patch_id: str) -> Pixels:
        """Return a raw patch's pixels without a copy, ``uint8 (height, width, 3)``, RGB, read-only.

        The array lies in the store's file, mapped into memory, and may outlive the store: what it lies in is
        released when the last of its views is.

        Raises
        ------
        StoreError
            As `read` does, and when the patches are encoded.
        """
        if self._codec is not RAW:
            raise StoreError(f"{self.path}: its patches are {self._codec.name}: only raw ones can be viewed; read them")
        data, keeper = self._lent(patch_id)
        return np.asarray(View(self._raw(data, patch_id), keeper))

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

    def index_digest(self) -> str:
        """Return a digest of what a reader gets beside the pixels, as it is now; empty where there is nothing."""
        return ""

    @abstractmethod
    def _open(self) -> Manifest:
        """Open the store, keep what reading needs, and return the manifest; StoreError where that fails."""

    def _lent(self, patch_id: str) -> Lent:
        """Return a patch's bytes in the store's own memory."""
        place = self._places.get(patch_id)
        if self._closed:
            raise StoreError(f"{self.path}: the store is closed: open it again to read from it")
        if place is None:
            raise StoreError(f"{self.path}: has no patch {patch_id!r}: its ids are in store.ids")
        lent = self._get(place, patch_id)
        if lent is None:
            raise StoreError(f"{self.path}: patch {patch_id} is missing or cut short: {AGAIN}")
        return lent

    def _read_raw(self, patch_id: str) -> Pixels:
        """Return a raw patch's pixels; backends may have a shorter way."""
        data, _keeper = self._lent(patch_id)
        return self._raw(data, patch_id).copy()

    def _raw(self, data: Buffer, patch_id: str) -> Pixels:
        """Return lent bytes as a raw patch's pixels; valid for as long as the bytes are."""
        if len(data) != self._raw_size:
            raise StoreError(f"{self.path}: patch {patch_id} has {len(data)} bytes: {AGAIN}")
        return np.ndarray(self._shape, np.uint8, data)

    @abstractmethod
    def _get(self, place: int, patch_id: str) -> Lent | None:
        """Return a patch's bytes, or None where they are missing or cut short; StoreError where it is closed."""

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
