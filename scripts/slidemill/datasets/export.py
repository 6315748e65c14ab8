"""Export patches of a cohort to one file: their stored bytes and table rows.

A ``.h5`` file has ``patches``, ``uint8 (n, height, width, 3)``, where they are raw, else ``payload`` and ``offsets``,
as a store in HDF5 has them. The group ``table`` has a dataset for each column; the attribute ``encoding`` names the
encoding, ``labels`` the labels as JSON, and ``provenance`` is JSON too.

A ``.tar`` file begins with ``__provenance__``, which the webdataset library skips. For each patch it has
``SLIDE/PATCH_ID.png`` (or the suffix of its encoding; ``.npy`` for raw) and its row, ``SLIDE/PATCH_ID.json``.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from slidemill._version import __version__
from slidemill.core.encodings import NPY, RAW, Buffer, Encoding, Shape, decode_patch, digest, encode_patch
from slidemill.core.files import replacing, synced
from slidemill.datasets.dataset import Dataset
from slidemill.errors import SlidemillError, StoreError
from slidemill.stores.base import Store
from slidemill.stores.hdf5_writer import EncodedPatches, RawPatches, discard_on_error
from slidemill.stores.tar import BUFFER, PROVENANCE, Members, header
from slidemill.stores.writer import full_disk_errors

if TYPE_CHECKING:
    import pandas

BLOCK = 4096
"""Rows of the table that are converted at once."""

Progress = Callable[[int], None]


def export(dataset: Dataset, out: Path, progress: Progress = lambda _: None) -> Encoding:
    """Write all patches of a dataset to one file.

    Parameters
    ----------
    dataset
        The patches, in the order of the file.
    out
        The file, which must not exist; its suffix, ``.h5``, ``.hdf5`` or ``.tar``, selects the format.
    progress
        Called after each patch with the number of written ones.

    Returns
    -------
    Encoding
        The encoding of the patches.

    Raises
    ------
    SlidemillError
        When no patch is selected, the file exists or has another suffix, or a store is damaged or unlike the first.
    """
    write = {".h5": _write_hdf5, ".hdf5": _write_hdf5, ".tar": _write_tar}.get(out.suffix)
    if write is None:
        raise SlidemillError(f"{out}: is neither .h5 nor .tar: name a file that ends in one of them")
    if out.exists():
        raise SlidemillError(f"{out}: is there already: remove it, or name another file")
    if not len(dataset):
        raise SlidemillError(f"{dataset.results}: no patch is selected: ask for other slides, labels, or a wider query")
    with dataset.stored.pool.open(dataset.slides[0]) as store:
        kind = store.manifest
    with replacing(out) as aside, full_disk_errors(aside), synced(aside):
        write(aside, dataset, kind.codec, kind.shape, progress)
    return kind.codec


def _write_hdf5(path: Path, dataset: Dataset, codec: Encoding, shape: Shape, progress: Progress) -> None:
    with (
        h5py.File(path, "w", libver="latest", locking=False) as file,
        discard_on_error(file),
        tempfile.TemporaryFile(dir=path.parent) as spool,
    ):
        raw = codec in (RAW, NPY)
        patches = RawPatches(file, len(dataset), shape) if raw else EncodedPatches(file, spool)
        slides: dict[str, Any] = {}
        for done, (_, data) in enumerate(_patches(dataset, codec, shape, slides=slides), start=1):
            # The array has no room for the header of a .npy file.
            patches.add(decode_patch(NPY, data, shape).data.cast("B") if codec is NPY else data)
            progress(done)
        patches.end()
        for name, column in dataset.table.items():
            write_column(file, f"table/{str(name).replace('/', '_')}", column)
        file.attrs["encoding"] = (RAW if raw else codec).name
        file.attrs["labels"] = json.dumps(dict(dataset.classes))
        file.create_dataset("provenance", data=json.dumps(_provenance(dataset, slides)), track_times=False)


def write_column(file: h5py.File, name: str, column: pandas.Series) -> None:
    """Write a column as a dataset: numbers unchanged, texts as UTF-8."""
    import pandas as pd

    if pd.api.types.is_numeric_dtype(column.dtype):
        file.create_dataset(name, data=column.to_numpy(), compression="gzip", shuffle=True, track_times=False)
        return
    codes, names = pd.factorize(column)
    texts = np.array([str(text).encode() for text in names] or [b""], "S")
    kind = h5py.string_dtype("utf-8", texts.dtype.itemsize)
    file.create_dataset(name, data=texts.astype(kind)[codes], compression="gzip", shuffle=True, track_times=False)


def _write_tar(path: Path, dataset: Dataset, codec: Encoding, shape: Shape, progress: Progress) -> None:
    slides: dict[str, Any] = {}
    # Facts on the stores come first, where a stream begins.
    for slide in dataset.slides:
        with _opened(dataset, slide, codec, shape=shape) as store:
            slides[slide] = _said(store)
    with path.open("wb", buffering=BUFFER) as file:
        members = Members(file)

        def add(name: str, data: Buffer) -> None:
            members.add(header(name, len(data)), data)

        add(PROVENANCE, json.dumps(_provenance(dataset, slides)).encode())
        patches = zip(_rows(dataset.table), _patches(dataset, codec, shape, slides=slides), strict=True)
        for done, (row, (key, data)) in enumerate(patches, start=1):
            if codec is RAW:
                add(f"{key}{NPY.suffix}", encode_patch(NPY, None, decode_patch(RAW, data, shape)).data)
            else:
                add(f"{key}{codec.suffix}", data)
            add(f"{key}.json", json.dumps(row).encode())
            progress(done)
        members.end()


def _patches(dataset: Dataset, codec: Encoding, shape: Shape, *, slides: dict[str, Any]) -> Iterator[tuple[str, bytes]]:
    """Yield each patch's name and checked bytes; add store facts to `slides`."""
    pairs = zip(dataset.table["slide"].astype(str), dataset.table["patch_id"], strict=True)
    for slide, own in groupby(pairs, itemgetter(0)):
        with _opened(dataset, slide, codec, shape=shape) as store:
            slides[slide] = _said(store)
            digests = dict(zip(store.ids, store.manifest.byte_digests, strict=True))
            for _, patch_id in own:
                data = store.read_bytes(patch_id)
                if digest(data) != digests[patch_id]:
                    raise StoreError(
                        f"{store.path}: patch {patch_id} is not what was written: see slidemill verify, and store the "
                        "slide again"
                    )
                yield f"{slide}/{patch_id}", data


def _opened(dataset: Dataset, slide: str, codec: Encoding, *, shape: Shape) -> Store:
    """Open a slide's store; check that encoding and shape match the first store."""
    store = dataset.stored.pool.open(slide)
    if store.manifest.codec is not codec or store.manifest.shape != shape:
        store.close()
        found, size = store.manifest.encoding, store.manifest.patch_size
        raise StoreError(
            f"{store.path}: is {found} of {size} pixels, and the first store is {codec.name} of {shape[0]}: one file "
            "has patches of one kind: export these slides one by one, or store them again"
        )
    return store


def _said(store: Store) -> dict[str, Any]:
    manifest = store.manifest
    return {
        "fingerprint": manifest.fingerprint,
        "sampling": dict(manifest.sampling),
        "icc": manifest.icc,
        "quality": manifest.quality,
        "versions": dict(manifest.versions),
    }


def _provenance(dataset: Dataset, slides: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "slidemill": __version__,
        "backend": dataset.backend,
        "patches": len(dataset),
        "labels": dict(dataset.classes),
        "slides": dict(slides),
    }


def _rows(table: pandas.DataFrame) -> Iterator[dict[str, Any]]:
    """Yield the rows as JSON values, with None for unknown values."""
    for start in range(0, len(table), BLOCK):
        for row in table.iloc[start : start + BLOCK].to_dict("records"):
            yield {str(name): None if value != value else value for name, value in row.items()}
