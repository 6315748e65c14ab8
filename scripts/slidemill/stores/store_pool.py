"""Stores of many slides, opened on first read, with a limit on open ones."""

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
"""Stores that are held open; each has a file handle, and 160 bytes of memory per patch."""


def no_pixels(results: Path) -> str:
    """Return the message for results whose run wrote no stores."""
    return (
        f"{results}: the run wrote no stores (stores: {{}}), so there are no pixels, only tables: name a backend, such "
        "as stores: {lmdb: {encoding: zstd}}, and run again"
    )


@dataclass(slots=True)
class StorePool:
    """The stores of one backend in a results folder.

    Threads may share it, it goes on reading after a fork, and a pickled pool opens its stores where it is unpickled.

    Parameters
    ----------
    results, backend
        The results folder, and the backend's name; empty where a run wrote no stores, so that none can be opened.
    most
        How many stores are held open; the least recently read one is dropped.
    contents
        The `Manifest.content` by slide that the tables list; other slides may have any.
    """

    results: Path
    backend: str
    most: int = MOST_OPEN
    contents: Mapping[str, str] = field(default_factory=dict, repr=False)
    _open: OrderedDict[str, Store] = field(default_factory=OrderedDict, repr=False)

    def __getitem__(self, slide: str) -> Store:
        """Return a slide's store; StoreError as in `open`."""
        store = self._open.get(slide)
        if store is None:
            return self._keep(slide)
        try:
            self._open.move_to_end(slide)
        except KeyError:  # another thread has dropped it
            self._open[slide] = store
        return store

    def open(self, slide: str) -> Store:
        """Open a slide's store, which the caller closes.

        Raises
        ------
        StoreError
            When it cannot be opened, does not match the tables, or the run wrote no stores.
        """
        if not self.backend:
            raise StoreError(no_pixels(self.results))
        store = open_store(self.results / store_path(self.backend, slide))
        if self.contents.get(slide, "") not in ("", store.manifest.content):
            store.close()
            raise StoreError(f"{store.path}: does not match stores.csv: finish the run, and reopen the dataset")
        return store

    def _keep(self, slide: str) -> Store:
        store = self.open(slide)
        # Reading needs no digests, which are half of an open store's memory.
        store.manifest = replace(store.manifest, byte_digests=(), pixel_digests=())
        self._open[slide] = store
        while len(self._open) > self.most:
            # Not closed, since another thread may be reading: the last one that drops it closes it.
            with suppress(KeyError):
                self._open.popitem(last=False)
        return store

    def close(self) -> None:
        """Drop all stores; they are reopened when needed."""
        self._open.clear()

    def __reduce__(self) -> tuple[type[StorePool], tuple[Path, str, int, Mapping[str, str]]]:
        return type(self), (self.results, self.backend, self.most, self.contents)
