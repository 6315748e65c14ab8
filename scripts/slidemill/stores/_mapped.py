"""Store in a mapped file, whose patches are contiguous."""

from __future__ import annotations

import mmap
from collections.abc import Sequence

from slidemill.core.files import identity
from slidemill.core.text import AGAIN
from slidemill.errors import StoreError
from slidemill.stores.base import LentBytes, Store

REMEDY = f"it is damaged or from elsewhere; {AGAIN}"


class MappedStore(Store):
    """A store in a mapped file; a backend's `_open` maps it and locates patches."""

    _data: memoryview
    _starts: Sequence[int]
    _ends: Sequence[int]

    def _map(self) -> None:
        """Map the file; the mapping survives a fork, so that nothing is reopened."""
        with self.path.open("rb") as raw:
            self._file = identity(raw.fileno())
            try:
                self._data = memoryview(mmap.mmap(raw.fileno(), 0, access=mmap.ACCESS_READ))
            except ValueError:
                raise StoreError(f"{self.path}: is empty: {REMEDY}") from None

    def _check_same(self) -> None:
        """Raise a StoreError if another store has replaced the mapped one."""
        if identity(self.path) != self._file:
            raise StoreError(f"{self.path}: was replaced while it was read: open it again")

    def _get(self, place: int, patch_id: str) -> LentBytes | None:
        data = self._data
        if not len(data):
            raise StoreError(f"{self.path}: the store is closed: open it again to read from it")
        # The slice keeps the mapping alive.
        return data[self._starts[place] : self._ends[place]], None

    def _release(self) -> None:
        # Not None, of which NumPy would make an uninitialized array.
        self._data = memoryview(b"")
