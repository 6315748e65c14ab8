"""Stores of many slides, opened on first read, with a limit on open ones."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from slidemill.core.encodings import Pixels, Shape
from slidemill.core.results_layout import store_path
from slidemill.core.specs import SLIDES, GridSpec
from slidemill.errors import SlidemillError, StoreError
from slidemill.stores.base import Store
from slidemill.stores.registry import open_store

MOST_OPEN = 64
"""Stores that are held open; each has a file handle, and 160 bytes of memory per patch."""


def no_pixels(results: Path) -> str:
    """Return the message for results whose run wrote no stores."""
    return (
        f"{results}: the run wrote no stores (stores: {{}}), so the results have no pixels: read the slides with "
        f"backend {SLIDES!r}, or name a backend, such as stores: {{lmdb: {{encoding: zstd}}}}, and run again"
    )


class PatchSource(Protocol):
    """Reads the patches of one slide: its store, or the slide itself."""

    path: Path

    @property
    def shape(self) -> Shape:
        """``(height, width, 3)`` of every patch."""
        ...

    def read_into(self, patch_id: str, out: Pixels, symmetry: int = 0) -> None:
        """Write a patch's pixels to an array, as `slidemill.stores.base.Store.read_into` does."""
        ...


Source = TypeVar("Source", bound=PatchSource)


@dataclass(slots=True)
class Pool(ABC, Generic[Source]):
    """What the patches of many slides are read from, with a limit on how much is open.

    Threads may share it, it goes on reading after a fork, and a pickled pool opens its files again.

    Parameters
    ----------
    results, backend
        The results folder, and the backend's name.
    most
        How many slides are held open; the least recently read one is dropped.
    """

    results: Path
    backend: str
    most: int = MOST_OPEN
    _open: OrderedDict[str, Source] = field(default_factory=OrderedDict, repr=False, init=False)

    def __getitem__(self, slide: str) -> Source:
        """Return what a slide's patches are read from; raises as `open` does."""
        source = self._open.get(slide)
        if source is None:
            return self._keep(slide)
        try:
            self._open.move_to_end(slide)
        except KeyError:  # another thread has dropped it
            self._open[slide] = source
        return source

    @abstractmethod
    def open(self, slide: str) -> Source:
        """Open what a slide's patches are read from; the caller closes it."""

    @abstractmethod
    def shares_tiles(self, slide: str) -> bool:
        """Return whether neighbouring patches of a slide are cut out of the same tiles."""

    @abstractmethod
    def grid(self, slide: str) -> GridSpec:
        """Return the grid of a slide's patches."""

    @abstractmethod
    def colours(self, slide: str) -> str:
        """Return how the colours of a slide's patches are converted, as manifests record it."""

    def close(self) -> None:
        """Drop all that is open; it is reopened when needed."""
        self._open.clear()

    def _keep(self, slide: str) -> Source:
        source = self._open[slide] = self._keep_open(self.open(slide))
        while len(self._open) > self.most:
            # Not closed, since another thread may be reading: the last one that drops it closes it.
            with suppress(KeyError):
                self._open.popitem(last=False)
        return source

    def _keep_open(self, source: Source) -> Source:
        """Return an opened source as it is held open."""
        return source


@dataclass(slots=True)
class StorePool(Pool[Store]):
    """The stores of one backend in a results folder.

    Parameters
    ----------
    results, backend, most
        As of `Pool`; the backend is empty where a run wrote no stores, so that none can be opened.
    contents
        The `Manifest.content` by slide that the tables list; other slides may have any.
    """

    contents: Mapping[str, str] = field(default_factory=dict, repr=False)

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

    def shares_tiles(self, slide: str) -> bool:
        """Return whether a slide's store holds tiles."""
        return self[slide].holds_tiles

    def grid(self, slide: str) -> GridSpec:
        """Return the grid in the manifest of a slide's store."""
        return GridSpec(**self[slide].manifest.sampling)

    def colours(self, slide: str) -> str:
        """Return the conversion in the manifest of a slide's store."""
        return self[slide].manifest.icc

    def _keep_open(self, source: Store) -> Store:
        # Reading needs no digests, which are half of an open store's memory.
        source.manifest = replace(source.manifest, byte_digests=(), pixel_digests=())
        return source

    def __reduce__(self) -> tuple[type[StorePool], tuple[Path, str, int, Mapping[str, str]]]:
        return type(self), (self.results, self.backend, self.most, self.contents)


def require_stores(pool: Pool[Any]) -> StorePool:
    """Return a pool of stores.

    Raises
    ------
    SlidemillError
        When the patches are read from the slides.
    """
    if not isinstance(pool, StorePool):
        raise SlidemillError(
            f"{pool.results}: the dataset reads the slides themselves (backend {pool.backend!r}), and this needs a "
            "store: open the dataset with the backend of a store"
        )
    return pool
