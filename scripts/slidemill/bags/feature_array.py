"""Features of a dataset's patches as one array over the mapped files of its slides."""

from __future__ import annotations

import errno
from collections import OrderedDict
from typing import Any

import numpy as np
import numpy.typing as npt

from slidemill.bags.feature_rows import Array, FeatureRows, Places, group_places
from slidemill.errors import MachineError, StoreError
from slidemill.features.feature_file import FeatureFile

MOST_MAPPED = 64
"""Files that an array keeps mapped."""


class FeatureArray:
    """Features of a dataset's patches, indexed like an array ``(n, dim)``; row `i` belongs to ``ds[i]``.

    Files are mapped when their rows are read. Rows that follow each other in one file are a read-only view of it, which
    keeps the file open; other rows are a copy. ``numpy.asarray`` returns all rows, a view if they are one slide's.

    Parameters
    ----------
    rows
        The patches, and their files.

    Attributes
    ----------
    shape, dtype
        ``(n, dim)``, and the type of the values.

    Raises
    ------
    StoreError
        When the first slide's features cannot be used.
    """

    ndim = 2

    def __init__(self, rows: FeatureRows) -> None:
        self._rows = rows
        self._mapped: OrderedDict[int, tuple[FeatureFile, Array]] = OrderedDict()
        dim, self.dtype = 0, np.dtype(np.float32)
        if len(rows):
            _, first = self._map(int(rows.codes[0]))
            dim, self.dtype = first.shape[1], first.dtype
        self.shape = len(rows), dim

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        return f"FeatureArray({self._rows.name}, {self.shape}, {self.dtype})"

    def __getitem__(self, index: Any) -> Array:
        """Return rows as NumPy does: by a number, a slice, numbers ``(k,)`` or a mask ``(n,)``.

        A second index applies to the columns.

        Raises
        ------
        IndexError
            When a row does not exist.
        StoreError
            When a file is missing or damaged, lacks a patch, or is of a slide that has changed.
        """
        index, columns = (index[0], index[1:]) if isinstance(index, tuple) else (index, ())
        places = np.arange(len(self))[index]
        if places.ndim > 1:
            raise IndexError(f"rows are {places.shape}: give a number, a slice, or numbers one after another")
        found = self._read(np.atleast_1d(places))
        found = found[0] if places.ndim == 0 else found
        return found[(..., *columns)] if columns else found

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> Array:
        return np.array(self[:], dtype, copy=copy)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_mapped": OrderedDict()}

    def _map(self, code: int) -> tuple[FeatureFile, Array]:
        """Return a slide's file and features, mapped; the files used longest ago are dropped."""
        held = self._mapped.pop(code, None)
        if held is None:
            try:
                held = self._opened(code)
            except MachineError as error:
                if error.errno != errno.EMFILE or not self._mapped:
                    raise
                # Each mapped file has a handle, and the process may open no more.
                self._mapped.clear()
                held = self._opened(code)
        self._mapped[code] = held
        while len(self._mapped) > MOST_MAPPED:
            self._mapped.popitem(last=False)
        return held

    def _opened(self, code: int) -> tuple[FeatureFile, Array]:
        file = self._rows.open(code)
        return file, np.asarray(file.features())

    def _read(self, places: Places) -> Array:
        codes = self._rows.codes[places]
        if len(places) and (codes == codes[0]).all():
            return _view(*self._locate(int(codes[0]), places))
        out = np.empty((len(places), self.shape[1]), self.dtype)
        for code, own in group_places(codes):
            features, rows = self._locate(code, places[own])
            out[own] = features[rows]
        return out

    def _locate(self, code: int, places: Places) -> tuple[Array, Places]:
        """Return a slide's features, and the rows of patches in them."""
        file, features = self._map(code)
        if (features.shape[1], features.dtype) != (self.shape[1], self.dtype):
            raise StoreError(
                f"{file.path}: has {features.shape[1]} values of {features.dtype} per patch, and others "
                f"{self.shape[1]} of {self.dtype}: run the workflow to its end"
            )
        return features, self._rows.rows(file, places)


def _view(features: Array, rows: Places) -> Array:
    """Return rows of an array, without a copy if they follow each other."""
    if len(rows) and np.array_equal(rows, np.arange(rows[0], rows[0] + len(rows))):
        return features[rows[0] : rows[0] + len(rows)]
    return features[rows]
