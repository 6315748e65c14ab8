"""Reader of a store, which all backends share."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Self

import numpy as np

from slidemill.core.encodings import RAW, Buffer, Pixels, Shape, decode_patch
from slidemill.core.text import AGAIN
from slidemill.errors import MachineError, StoreError, machine_error, machine_errors
from slidemill.stores.arrays import View, output_array, turn_into
from slidemill.stores.manifest import Manifest

BLOCK = 16
"""Patches that a thread of `Store.read_many` reads at once."""

LentBytes = tuple[Buffer, object]
"""Bytes in a store's own memory, and the object that keeps them there while it lives."""


class Store(ABC):
    """A store of patches, open for reading; use it in a with block or close it.

    It goes on reading after a fork, and a pickled store is opened again where it is unpickled.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._closed = False
        try:
            self.manifest = self._open()
        except (OSError, MemoryError) as error:
            raise self._fault(error, f"cannot be opened ({error}): is a run at work there?") from None
        self._cuts = self.manifest.cuts(self.path)
        if len(self.stored_names) != len(self.manifest.byte_digests):
            raise StoreError(f"{path}: its manifest lists other tiles than its patches touch: {AGAIN}")
        self._places = {name: place for place, name in enumerate(self.stored_names)}
        self._patches = dict.fromkeys(self.manifest.ids) if self._cuts else self._places
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

    @property
    def stored_names(self) -> Sequence[str]:
        """Names of what is stored: ids of the patches, or of strips of the tiles that they are cut out of."""
        return self._cuts.names if self._cuts else self.manifest.ids

    @property
    def holds_tiles(self) -> bool:
        """Whether patches are cut out of stored tiles."""
        return self._cuts is not None

    def __len__(self) -> int:
        return len(self.manifest.ids)

    def __contains__(self, patch_id: object) -> bool:
        return patch_id in self._patches

    def read(self, patch_id: str) -> Pixels:
        """Return a copy of a patch's pixels, ``uint8 (height, width, 3)``, RGB.

        Raises
        ------
        StoreError
            When the store is closed, has no such patch, or its bytes are broken.
        """
        try:
            if self._codec is RAW:
                return self._read_raw(patch_id)
            if self._cuts:
                return self._cut_into(patch_id, np.empty(self._shape, np.uint8))
            data, _keeper = self._lend(patch_id)
            try:
                return decode_patch(self._codec, data, self._shape)
            except StoreError as error:
                raise StoreError(f"{self.path}: patch {patch_id}: {error}") from None
        except (MemoryError, ImportError) as error:
            raise machine_error(error, self.path) or error from None

    def read_into(self, patch_id: str, out: Pixels, symmetry: int = 0) -> None:
        """Write a patch's pixels to an array; raw pixels are copied once.

        Parameters
        ----------
        patch_id
            The patch.
        out
            ``uint8 (height, width, 3)``, writable and C-contiguous.
        symmetry
            How the patch is turned, see `slidemill.stores.arrays`.

        Raises
        ------
        StoreError
            As in `read`, and when `out` is not such an array.
        """
        output_array(out, self._shape)  # OpenCV would write to a new array where this one does not fit
        if self._codec is RAW:
            data, _keeper = self._lend(patch_id)
            pixels = self._raw(data, patch_id)
        elif self._cuts and not symmetry:
            with machine_errors(self.path):
                self._cut_into(patch_id, out)
            return
        else:
            pixels = self.read(patch_id)
        if symmetry:
            turn_into(pixels, symmetry, out)
        else:
            out[:] = pixels

    def read_many(self, patch_ids: Iterable[str], out: Pixels | None = None, threads: int = 1) -> Pixels:
        """Return the pixels of several patches in the requested order.

        Parameters
        ----------
        patch_ids
            The patches; ids may repeat.
        out
            The array to write to and return, ``uint8 (patches, height, width, 3)``, RGB; None for a new one.
        threads
            How many threads copy and decode.

        Raises
        ------
        StoreError
            As in `read`, and when `out` has another shape.
        """
        wanted = list(patch_ids)  # a pandas series would take places for labels
        with machine_errors(self.path):
            pixels = output_array(out, (len(wanted), *self._shape))

        def read(start: int) -> None:
            for patch_id, own in zip(wanted[start : start + BLOCK], pixels[start:], strict=False):
                self.read_into(patch_id, own)

        starts = range(0, len(wanted), BLOCK)
        with ThreadPoolExecutor(threads) if min(threads, len(starts)) > 1 else nullcontext() as pool:
            deque((pool.map if pool else map)(read, starts), maxlen=0)
        return pixels

    def read_bytes(self, patch_id: str) -> bytes:
        """Return a patch's bytes as stored.

        Raises
        ------
        StoreError
            As in `read`, and when the patch is cut out of tiles.
        """
        if self._cuts:
            self._check_patch(patch_id)
            raise StoreError(
                f"{self.path}: patch {patch_id} is not stored as bytes, because the store holds the slide's tiles: "
                "read its pixels"
            )
        return self.read_stored(patch_id)

    def read_stored(self, name: str) -> bytes:
        """Return the bytes that are stored by one of `stored_names`; raises as `read` does."""
        with machine_errors(self.path):
            data, _keeper = self._lend(name)
            return bytes(data)

    def view(self, patch_id: str) -> Pixels:
        """Return a read-only view of a raw patch, ``uint8 (height, width, 3)``, RGB.

        It lies in the mapped file and may outlive the store: the mapping is released with its last view.

        Raises
        ------
        StoreError
            As in `read`, and when the patches are encoded.
        """
        if self._codec is not RAW:
            raise StoreError(f"{self.path}: its patches are {self._codec.name}: only raw ones can be viewed; read them")
        data, keeper = self._lend(patch_id)
        return np.asarray(View(self._raw(data, patch_id), keeper))

    def close(self) -> None:
        """Close the store; closing it twice is allowed."""
        if not self._closed:
            self._closed = True
            if self._cuts:
                self._cuts.close()
            self._release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[type[Store], tuple[Path]]:
        return type(self), (self.path,)

    @abstractmethod
    def stored_ids(self) -> list[str]:
        """Return the `stored_names` that are really stored, independent of the manifest.

        Raises
        ------
        StoreError
            When they cannot be read, or another store has replaced the opened one.
        """

    def index_digest(self) -> str:
        """Return a digest of the index as stored now; empty where the backend has none.

        Raises
        ------
        StoreError
            When the index cannot be read, or another store has replaced the opened one.
        """
        return ""

    @abstractmethod
    def _open(self) -> Manifest:
        """Open the store, and return its manifest; raise StoreError on failure."""

    def _fault(self, error: BaseException, message: str) -> MachineError | StoreError:
        return machine_error(error, self.path) or StoreError(f"{self.path}: {message}")

    def _check_patch(self, patch_id: str) -> None:
        """Raise a StoreError if the store is closed or has no such patch."""
        if self._closed:
            raise StoreError(f"{self.path}: the store is closed: open it again to read from it")
        if patch_id not in self._patches:
            raise StoreError(f"{self.path}: has no patch {patch_id!r}: its ids are in store.ids")

    def _cut_into(self, patch_id: str, out: Pixels) -> Pixels:
        """Cut a patch out of its tiles into `out`, and return that."""
        assert self._cuts is not None
        self._check_patch(patch_id)
        keepers = []

        def lend(name: str) -> Buffer:
            data, keeper = self._lend(name)
            keepers.append(keeper)
            return data

        self._cuts.read_into(patch_id, out, lend)
        return out

    def _lend(self, name: str) -> LentBytes:
        """Return the bytes of a patch or tile in the store's memory; raise StoreError if none."""
        place = self._places.get(name)
        if self._closed or place is None:
            self._check_patch(name)
        lent = None if place is None else self._get(place, name)
        if lent is None:
            kind = "strip of tiles" if self._cuts else "patch"
            raise StoreError(f"{self.path}: {kind} {name} is missing or cut short: {AGAIN}")
        return lent

    def _read_raw(self, patch_id: str) -> Pixels:
        """Return a copy of a raw patch; backends may override it with a faster way."""
        data, _keeper = self._lend(patch_id)
        return self._raw(data, patch_id).copy()

    def _raw(self, data: Buffer, patch_id: str) -> Pixels:
        """Return the pixels of a raw patch in lent bytes, valid as long as these."""
        if len(data) != self._raw_size:
            raise StoreError(f"{self.path}: patch {patch_id} has {len(data)} bytes: {AGAIN}")
        return np.ndarray(self._shape, np.uint8, data)

    @abstractmethod
    def _get(self, place: int, patch_id: str) -> LentBytes | None:
        """Return a patch's bytes, or None if missing; StoreError if closed."""

    @abstractmethod
    def _release(self) -> None:
        """Close what `_open` opened."""
