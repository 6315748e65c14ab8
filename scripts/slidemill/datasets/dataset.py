"""Dataset: the patches of a cohort as one sequence over its slides' stores."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self, overload

import numpy as np
import numpy.typing as npt

from slidemill.bags.targets import Targets, read_targets
from slidemill.core.columns import PATIENT
from slidemill.core.encodings import Pixels
from slidemill.datasets._row_filter import select_rows
from slidemill.datasets.batches import Batch, Batching, batches
from slidemill.datasets.folds import Splits
from slidemill.datasets.shuffle import Shuffle
from slidemill.datasets.slide_names import slide_ids
from slidemill.datasets.split import every_kth, split
from slidemill.datasets.stored_patches import Patch, Places, StoredPatches, places_of
from slidemill.stores.base import Store
from slidemill.stores.store_pool import require_stores

if TYPE_CHECKING:
    import pandas

    from slidemill.bags.bags import Bags, Level
    from slidemill.bags.feature_array import FeatureArray
    from slidemill.bags.feature_rows import FeatureRows


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Dataset:
    """Patches of a cohort with their metadata, from `slidemill.open_dataset`.

    Parameters
    ----------
    table
        A row per patch, numbered from 0, with the columns of metadata.csv and of the sheet.
    stored
        The stores, and the place of each patch in them.
    fingerprints
        By slide, the fingerprint of its content.
    classes
        By label, from 0, its name; those of all patches of the results, selected or not.
    paths
        By id of each slide of the results, its path as in ``slides.csv``.
    """

    table: pandas.DataFrame
    stored: StoredPatches
    fingerprints: Mapping[str, str]
    classes: Mapping[int, str]
    paths: Mapping[str, str]

    @property
    def results(self) -> Path:
        """The results folder."""
        return self.stored.pool.results

    @property
    def backend(self) -> str:
        """The backend whose stores are read, or ``"slides"``; empty if the run wrote no stores."""
        return self.stored.pool.backend

    @property
    def slides(self) -> Sequence[str]:
        """Ids of the slides with patches in this dataset, in the table's order."""
        return self.stored.slides

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """The patches' labels, ``int64 (n,)``; -1 if `labels.map` lacks the name."""
        labels: npt.NDArray[np.int64] = self.table["label"].to_numpy()
        return labels

    def targets(self, column: str) -> Targets:
        """Return the slides' values of a column of the sheet: ``ds.targets("diagnosis")["case-01"]``.

        Raises
        ------
        SlidemillError
            When the sheet had no such column.
        """
        return read_targets(self.table, self.slides, column)

    def features(self, name: str) -> FeatureArray:
        """Return the features of all patches by the model of this name, an array ``(n, dim)`` over mapped files.

        Raises
        ------
        StoreError
            When slides have no such features.
        """
        from slidemill.bags.feature_array import FeatureArray  # patches need no h5py

        return FeatureArray(self._feature_rows(name))

    def bags(self, name: str, target: str | None = None, level: Level = "slide") -> Bags:
        """Return the features of each slide or patient, with its target: ``ds.bags("uni", target="diagnosis")``.

        Parameters
        ----------
        name
            The name of the features in the configuration.
        target
            A column of the sheet, as of `targets`; None for no target.
        level
            ``"slide"``, or ``"patient"``, a column of the sheet, whose slides make one bag.

        Raises
        ------
        SlidemillError
            When an argument is wrong, slides have no such features, or a patient's slides differ in the target.
        """
        from slidemill.bags.bags import make_bags

        return make_bags(self._feature_rows(name), self.table, target, level)

    def _feature_rows(self, name: str) -> FeatureRows:
        from slidemill.bags.feature_rows import find_features

        stored, prints = self.stored, self.fingerprints
        return find_features(
            self.results, name, self.table, slides=self.slides, codes=stored.codes, fingerprints=prints
        )

    def __len__(self) -> int:
        return len(self.table)

    def __repr__(self) -> str:
        stores = self.backend or "no stores"
        return f"Dataset({len(self):,} patches of {len(self.slides):,} slides, {stores}, {self.results})"

    @overload
    def __getitem__(self, place: int) -> Patch: ...
    @overload
    def __getitem__(self, place: slice) -> Dataset: ...
    def __getitem__(self, place: int | slice) -> Patch | Dataset:
        """Return a patch; for a slice, return the dataset of its patches."""
        if isinstance(place, slice):
            return self.take(np.arange(len(self))[place])
        if not -len(self) <= place < len(self):
            raise IndexError(f"patch {place} does not exist: there are {len(self)}, counted from 0")
        place %= len(self)
        row = self.table.iloc[place]
        return Patch(
            self.stored.read(np.array([place]))[0],
            *(int(row["label"]), str(row["label_name"]), str(row["slide"]), str(row["patch_id"])),
            *(int(row[name]) for name in ("x0", "y0", "width0", "height0")),
        )

    def __iter__(self) -> Iterator[Patch]:
        return (self[place] for place in range(len(self)))

    def read(self, places: Sequence[int] | Places, out: Pixels | None = None) -> Pixels:
        """Read patches in the given order, ``uint8 (patches, height, width, 3)``.

        Parameters
        ----------
        places
            Their places, from 0.
        out
            An array of that shape to write to and return, in place of a new one.

        Raises
        ------
        StoreError, SlideError
            As `slidemill.datasets.stored_patches.StoredPatches.read` does.
        """
        return self.stored.read(places_of(places, len(self)), out)

    def store(self, slide: str) -> Store:
        """Return the open store of a slide, named as in `select`; the dataset closes it.

        Raises
        ------
        SlidemillError
            When the dataset has no such slide, or several, or reads the slides themselves.
        StoreError
            When the store cannot be opened.
        """
        return require_stores(self.stored.pool)[slide_ids(self.paths, self.slides, [slide])[0]]

    def take(self, places: Sequence[int] | Places | npt.NDArray[np.bool_]) -> Dataset:
        """Return a dataset of some of the patches.

        `places` are whole numbers, ``(n,)``, which may count from the end, or a mask, ``bool (len(self),)``. Whole
        numbers give the order of the patches.

        Raises
        ------
        SlidemillError
            When `places` is neither, or a patch does not exist.
        """
        table = self.table.iloc[places_of(places, len(self))].reset_index(drop=True)
        return replace(self, table=table, stored=StoredPatches.of(self.stored.pool, table))

    def select(
        self,
        slides: Collection[str] | str | None = None,
        labels: Collection[int | str] | int | str | None = None,
        query: str | None = None,
    ) -> Dataset:
        """Return the dataset of patches that match slides, labels and a query.

        Parameters
        ----------
        slides
            A slide or several, each by its id, path, file name or stem: ``"CMU-1"``; None for all.
        labels
            Labels, or their names; None for all.
        query
            A condition on columns of `table` for `pandas.DataFrame.eval`: ``"tissue_fraction > 0.5"``. Columns of a
            sheet are texts, which may be empty: ``"patient == 'P1'"``.

        Raises
        ------
        SlidemillError
            When a slide or a label does not exist, several slides have a name, or the query is not a condition.
        """
        if slides is not None:
            slides = slide_ids(self.paths, self.slides, [slides] if isinstance(slides, str) else slides)
        return self.take(select_rows(self.table, self.classes, slides=slides, labels=labels, query=query))

    def batches(
        self,
        size: int,
        shuffle: Shuffle | bool = True,
        seed: int = 0,
        epoch: int = 0,
        augment: bool = False,
        drop_last: bool = False,
        workers: int = 0,
        one_hot: bool = False,
    ) -> Iterator[Batch]:
        """Yield all patches once, in batches of pixels, labels and ids.

        Parameters
        ----------
        size
            Patches per batch; the last may have fewer.
        shuffle
            ``"blocks"`` (or True) reads short runs of patches of a few slides at a time, which suits disks. ``"exact"``
            is a uniform random permutation, and slow with more slides than open stores. False keeps the table's order.
        seed, epoch
            Determine order and augmentation, which are the same on every machine.
        augment
            Whether to transform each patch by one of the eight symmetries of the square.
        drop_last
            Whether to leave out a smaller last batch.
        workers
            Threads that read ahead of the caller; 0 reads each batch on request.
        one_hot
            Whether labels are rows of zeros with a one, ``float32 (size, classes)``. Patches with label -1 are then
            left out, with a warning.

        Yields
        ------
        Batch
            ``pixels``, ``uint8 (size, height, width, 3)``; ``labels``, ``int64 (size,)``; ``ids``, a list of names.

        Raises
        ------
        SlidemillError
            When an argument is out of range.
        StoreError
            When a patch cannot be read.
        """
        chosen = Batching(size, shuffle, seed, epoch, augment, drop_last, workers, one_hot)
        return batches(self.stored, self.labels, max(self.classes, default=-1) + 1, chosen)

    def split(
        self, folds: int = 5, by: str = PATIENT, stratify: str | None = "label", seed: int = 0
    ) -> Splits[Dataset]:
        """Split the slides into folds: ``train, test = ds.split(5).fold(0)``.

        Arguments and errors are those of `slidemill.datasets.split.split`.
        """
        return split(self, folds, by, stratify=stratify, seed=seed)

    def sets(self, total: int) -> Splits[Dataset]:
        """Return py-wsi's sets as folds, each with every `total`-th slide."""
        return every_kth(self, total)

    def close(self) -> None:
        """Close the stores or slides; reading reopens them."""
        self.stored.pool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()
