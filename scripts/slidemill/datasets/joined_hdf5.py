"""Join a cohort's HDF5 stores in one file that refers to their bytes.

It has the content of an exported file (`slidemill.datasets.export`), but ``patches``, or ``payload``, is a virtual
dataset over the stores, with relative paths: all may be moved together. Row i is row i of metadata.csv.

Where a store holds the slide's tiles, the file has only the table: pixels cut out of tiles are in no file.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt
from h5py import h5d, h5p, h5s, h5t

from slidemill.core.columns import STORE_COLUMNS
from slidemill.core.csv_tables import read_cohort_table
from slidemill.core.encodings import digest
from slidemill.core.files import file_digest, replacing
from slidemill.core.parquet import read_parquet
from slidemill.core.results_layout import METADATA_PARQUET, STORES_TABLE, store_path
from slidemill.datasets.export import write_column
from slidemill.datasets.results import classes_of
from slidemill.errors import SlidemillError, discard_on_error, full_disk_errors, machine_errors
from slidemill.stores.registry import open_store

BACKEND = "hdf5"

TILES = "tiles"
"""The attribute ``encoding`` of a file without pixels, because a store holds the slide's tiles."""

MADE_OF = "made_of"
"""The attribute with a digest of the table and of the stores' contents, by which an outdated file is recognized."""


def join_stores(results: Path, path: Path) -> None:
    """Write the joined file at `path`, in the folder of the stores.

    Parameters
    ----------
    results
        The results folder, with gathered tables.
    path
        The file.

    Raises
    ------
    SlidemillError
        When the stores and the table differ, or patches have several encodings.
    """
    table = read_parquet(results / METADATA_PARQUET)
    # There is no row if all slides have failed before.
    rows = read_cohort_table(results / STORES_TABLE, STORE_COLUMNS)
    own = {row["slide"]: row for row in rows if row["backend"] == BACKEND}
    counts = [(slide, sum(1 for _ in group)) for slide, group in groupby(table["slide"].astype(str))]
    for slide, count in counts:
        if slide not in own or own[slide]["patches"] != str(count):
            raise SlidemillError(
                f"{results / store_path(BACKEND, slide)}: holds {own.get(slide, {}).get('patches', 'no')} "
                f"patches, and the table {count}: run the workflow to its end"
            )
    encodings = sorted({own[slide]["encoding"] for slide, _ in counts}) or ["raw"]
    if len(encodings) > 1:
        raise SlidemillError(f"{path}: the stores are {' and '.join(encodings)}: run the workflow to its end")
    with (
        replacing(path) as aside,
        full_disk_errors(aside),
        h5py.File(aside, "w", libver="latest", locking=False) as file,
        discard_on_error(file),
    ):
        if encodings == ["source"] and _has_tiles(results, counts):
            encodings = [TILES]
        else:
            (_join_raw if encodings == ["raw"] else _join_encoded)(file, results, counts)
        for name, column in table.items():
            write_column(file, f"table/{str(name).replace('/', '_')}", column)
        file.attrs["encoding"] = encodings[0]
        contents = [f"{slide} {own[slide]['content']}" for slide, _ in counts]
        file.attrs[MADE_OF] = digest("\n".join([file_digest(results / METADATA_PARQUET), *contents]).encode())
        file.attrs["labels"] = json.dumps(classes_of(table))


Counts = list[tuple[str, int]]


@contextmanager
def _open_file(store: Path) -> Iterator[h5py.File]:
    with machine_errors(store), h5py.File(store, "r", locking=False) as file:
        yield file


def _has_tiles(results: Path, counts: Counts) -> bool:
    """Return whether a store holds tiles, out of which its patches are cut."""
    for slide, _ in counts:
        with open_store(results / store_path(BACKEND, slide)) as store:
            if store.holds_tiles:
                return True
    return False


def _join_raw(file: h5py.File, results: Path, counts: Counts) -> None:
    shape = (0, 0, 3)
    if counts:
        with _open_file(results / store_path(BACKEND, counts[0][0])) as first:
            shape = first["patches"].shape[1:]
    sizes = [count for _, count in counts]
    _join(file, "patches", shape, slides=[slide for slide, _ in counts], sizes=sizes)


def _join_encoded(file: h5py.File, results: Path, counts: Counts) -> None:
    offsets: list[npt.NDArray[np.int64]] = [np.zeros(1, np.int64)]
    sizes: list[int] = []
    for slide, _ in counts:
        with _open_file(results / store_path(BACKEND, slide)) as store:
            own = store["offsets"][:]
        offsets.append(own[1:] + sum(sizes))
        sizes.append(int(own[-1]))
    _join(file, "payload", (), slides=[slide for slide, _ in counts], sizes=sizes)
    file.create_dataset("offsets", data=np.concatenate(offsets), track_times=False)


def _join(file: h5py.File, name: str, shape: tuple[int, ...], *, slides: list[str], sizes: list[int]) -> None:
    """Create a virtual dataset over the slides' datasets with that name, in order."""
    whole, rest = (sum(sizes), *shape), (0,) * len(shape)
    # Not h5py's VirtualLayout, whose datasets contain their time of creation.
    kind, space, start = h5p.create(h5p.DATASET_CREATE), h5s.create_simple(whole), 0
    kind.set_obj_track_times(False)
    for slide, size in zip(slides, sizes, strict=True):
        space.select_hyperslab((start, *rest), (size, *shape))
        # A name without a folder is next to this file.
        source = os.fsencode(store_path(BACKEND, slide).name)
        kind.set_virtual(space, source, name.encode(), h5s.create_simple((size, *shape)))
        start += size
    h5d.create(file.id, name.encode(), h5t.NATIVE_UINT8, h5s.create_simple(whole), kind)
