"""The stores of many slides, opened when they are first read and no more than some of them at once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from slidemill.core.results_layout import store_path
from slidemill.errors import StoreError
from slidemill.stores.base import Store
from slidemill.stores.registry import open_store

MOST_OPEN = 64
"""Stores that are held open; each has a handle, and 160 bytes of memory a patch."""


@dataclass(slots=True)
class StorePool:
    """The stores of one backend below a folder of results.

    It may be shared by threads, read after a fork, and pickled: it opens anew where it arrives.

    Parameters
    ----------
    results, backend
        Where the stores lie, and of which kind they are.
    most
        How many are held open; the one that was not read for longest is let go.
    contents
        By slide the `Manifest.content` of the store that the tables tell of; a slide that is not in it may have any.
    """

    results: Path
    backend: str
    most: int = MOST_OPEN
    contents: Mapping[str, str] = field(default_factory=dict, repr=False)
    _open: OrderedDict[str, Store] = field(default_factory=OrderedDict, repr=False)

    def __getitem__(self, slide: str) -> Store:
        """Return a slide's store; StoreError where it cannot be opened, or is another than the tables tell of."""
        store = self._open.get(slide)
        if store is None:
            return self._kept(slide)
        try:
            self._open.move_to_end(slide)
        except KeyError:  # another thread has let it go meanwhile
            self._open[slide] = store
        return store

    def opened(self, slide: str) -> Store:
        """Open a slide's store, for the caller to close; StoreError where it is another than the tables tell of."""
        store = open_store(self.results / store_path(self.backend, slide))
        if self.contents.get(slide, "") not in ("", store.manifest.content):
            store.close()
            raise StoreError(
                f"{store.path}: is another store than stores.csv tells of: let a run come to its end, and open the "
                "dataset again"
            )
        return store

    def _kept(self, slide: str) -> Store:
        store = self.opened(slide)
        # Reading needs no digests, and they are half of what an open store holds in memory.
        store.manifest = replace(store.manifest, byte_digests=(), pixel_digests=())
        self._open[slide] = store
        while len(self._open) > self.most:
            # Not closed: another thread may be reading from it, and the last to let it go closes it.
            with suppress(KeyError):
                self._open.popitem(last=False)
        return store

    def close(self) -> None:
        """Let go of all stores; those that are asked for later are opened again."""
        self._open.clear()

    def __reduce__(self) -> tuple[type[StorePool], tuple[Path, str, int, Mapping[str, str]]]:
        return type(self), (self.results, self.backend, self.most, self.contents)
