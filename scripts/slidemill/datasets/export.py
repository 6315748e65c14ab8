"""Export patches of a cohort to one file, with their table rows.

By default, patches are images that other programs open; with ``stored``, they keep the bytes of the stores.

A ``.h5`` file has ``patches``, ``uint8 (n, height, width, 3)``. With ``stored`` and an encoding other than raw, it has
``payload`` and ``offsets`` instead, as a store in HDF5 has them. The group ``table`` has a dataset for each column; the
attribute ``encoding`` names the encoding, ``labels`` the labels as JSON, and ``provenance`` is JSON too.

A ``.tar`` file begins with ``__provenance__``, which the webdataset library skips. Each patch has three members:
``SLIDE/PATCH_ID.png`` (or the suffix of its encoding), its row, ``.json``, and the number of its label, ``.cls``.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from slidemill._version import __version__
from slidemill.core.encodings import (
    JPEG,
    NPY,
    PNG,
    RAW,
    SOURCE,
    Buffer,
    Encoding,
    Shape,
    decode_patch,
    digest,
    encode_patch,
)
from slidemill.core.files import check_new, keep_synced, replacing
from slidemill.core.ordered_threads import Step, run_in_order
from slidemill.datasets.dataset import Dataset
from slidemill.errors import SlidemillError, StoreError, discard_on_error, full_disk_errors
from slidemill.stores.base import Store
from slidemill.stores.checks import changed_tiles
from slidemill.stores.hdf5_writer import EncodedPatches, RawPatches
from slidemill.stores.store_pool import require_stores
from slidemill.stores.tar import BUFFER, PROVENANCE, Members, header

if TYPE_CHECKING:
    import pandas

BLOCK = 4096
"""Rows of the table that are converted at once."""
AHEAD = 64
"""Patches that are read before their turn; this bounds memory."""

IMAGES, STORED = "images", "stored"
ENCODINGS_OF_FILES = (IMAGES, STORED)
"""How the patches of an exported file are encoded; the first is the default."""

Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class _Form:
    """The encoding and shape of all patches in the stores, and the encoding in the file."""

    stored: Encoding
    shape: Shape
    written: Encoding

    def convert(self, key: str, data: bytes) -> tuple[str, Buffer]:
        """Return a patch's name, and its bytes in the file."""
        if self.written is self.stored:
            return key, data
        return key, encode_patch(self.written, None, decode_patch(self.stored, data, self.shape)).data


def export(dataset: Dataset, out: Path, progress: Progress = lambda _: None, *, encoding: str = IMAGES) -> Encoding:
    """Write all patches of a dataset to one file.

    Parameters
    ----------
    dataset
        The patches, in the order of the file.
    out
        The file, which must not exist; its suffix, ``.h5``, ``.hdf5`` or ``.tar``, selects the format.
    progress
        Called after each patch with the number of written ones.
    encoding
        ``"images"`` for PNG or JPEG files in a tar file and an array in HDF5; ``"stored"`` for the bytes of the stores.

    Returns
    -------
    Encoding
        The encoding of the patches in the file.

    Raises
    ------
    SlidemillError
        When no patch is selected, the file exists or has another suffix, the encoding is unknown, or a store is damaged
        or unlike the first.
    """
    is_tar = out.suffix == ".tar"
    if not is_tar and out.suffix not in (".h5", ".hdf5"):
        raise SlidemillError(f"{out}: is neither .h5 nor .tar: name a file that ends in one of them")
    if encoding not in ENCODINGS_OF_FILES:
        raise SlidemillError(f"encoding: unknown value {encoding!r}; choose from {', '.join(ENCODINGS_OF_FILES)}")
    check_new(out, "file")
    if not len(dataset):
        raise SlidemillError(f"{dataset.results}: no patch is selected: ask for other slides, labels, or a wider query")
    write, written = (_write_tar, _in_tar) if is_tar else (_write_hdf5, _in_hdf5)
    form = _form(dataset, encoding, written)
    with replacing(out) as aside, full_disk_errors(aside), keep_synced(aside):
        write(aside, dataset, form, progress)
    return form.written


def image_files(dataset: Dataset) -> Generator[bytes]:
    """Yield each patch as a file that other programs open: JPEG or PNG as the stores have it, else PNG.

    Raises
    ------
    StoreError
        When there are no stores, or a store is damaged or unlike the first.
    """
    for _, data in _convert_patches(dataset, _form(dataset, IMAGES, _in_tar), {}):
        yield bytes(data)


def _form(dataset: Dataset, encoding: str, written: Callable[[Encoding, str], Encoding]) -> _Form:
    """Return the form of the patches, of which the first slide's store decides."""
    with require_stores(dataset.stored.pool).open(dataset.slides[0]) as store:
        return _Form(_kept_encoding(store), store.manifest.shape, written(_kept_encoding(store), encoding))


def _in_tar(stored: Encoding, encoding: str) -> Encoding:
    """Return the encoding of a tar file's patches."""
    if encoding == IMAGES:
        return stored if stored in (PNG, JPEG, SOURCE) else PNG
    return NPY if stored is RAW else stored


def _in_hdf5(stored: Encoding, encoding: str) -> Encoding:
    """Return the encoding of an HDF5 file's patches."""
    # An array has no room for the header of a .npy file.
    return RAW if encoding == IMAGES or stored is NPY else stored


def _write_hdf5(path: Path, dataset: Dataset, form: _Form, progress: Progress) -> None:
    with (
        h5py.File(path, "w", libver="latest", locking=False) as file,
        discard_on_error(file),
        tempfile.TemporaryFile(dir=path.parent) as spool,
    ):
        count = len(dataset)
        patches = RawPatches(file, count, form.shape) if form.written is RAW else EncodedPatches(file, spool)
        slides: dict[str, Any] = {}
        with closing(_convert_patches(dataset, form, slides)) as converted:
            for done, (_, data) in enumerate(converted, start=1):
                patches.add(data)
                progress(done)
        patches.end()
        for name, column in dataset.table.items():
            write_column(file, f"table/{str(name).replace('/', '_')}", column)
        file.attrs["encoding"] = form.written.name
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


def _write_tar(path: Path, dataset: Dataset, form: _Form, progress: Progress) -> None:
    slides: dict[str, Any] = {}
    # Facts on the stores come first, where a stream begins.
    for slide in dataset.slides:
        with _open_checked(dataset, slide, form) as store:
            slides[slide] = _describe_store(store)
    with path.open("wb", buffering=BUFFER) as file:
        members = Members(file)

        def add(name: str, data: Buffer) -> None:
            members.add(header(name, len(data)), data)

        add(PROVENANCE, json.dumps(_provenance(dataset, slides)).encode())
        with closing(_convert_patches(dataset, form, slides)) as converted:
            for done, (row, (key, data)) in enumerate(zip(_rows(dataset.table), converted, strict=True), start=1):
                add(f"{key}{form.written.suffix}", data)
                add(f"{key}.json", json.dumps(row).encode())
                add(f"{key}.cls", str(row["label"]).encode())
                progress(done)
        members.end()


def _convert_patches(dataset: Dataset, form: _Form, slides: dict[str, Any]) -> Generator[tuple[str, Buffer]]:
    """Yield each patch's name and its bytes in the file; add store facts to `slides`."""
    with closing(_patches(dataset, form, slides)) as patches:
        # One thread at a time reads; all of them convert.
        threads = 1 if form.written is form.stored else os.cpu_count() or 1
        yield from run_in_order(_steps(patches, form), len(dataset), threads, ahead=AHEAD)


def _steps(patches: Iterator[tuple[str, bytes]], form: _Form) -> Iterator[Step[tuple[str, Buffer]]]:
    """Yield a step for the conversion of each patch."""

    def convert(place: int, key: str, data: bytes) -> list[tuple[int, tuple[str, Buffer]]]:
        return [(place, form.convert(key, data))]

    for place, (key, data) in enumerate(patches):
        yield Step(place, partial(convert, place, key, data))


def _patches(dataset: Dataset, form: _Form, slides: dict[str, Any]) -> Generator[tuple[str, bytes]]:
    """Yield each patch's name and its checked bytes in the store; add store facts to `slides`."""
    pairs = zip(dataset.table["slide"].astype(str), dataset.table["patch_id"], strict=True)
    for slide, own in groupby(pairs, itemgetter(0)):
        with _open_checked(dataset, slide, form) as store:
            slides[slide] = _describe_store(store)
            if store.holds_tiles:
                if fault := next(changed_tiles(store), ""):
                    raise StoreError(f"{store.path}: {fault}: see slidemill verify, and store the slide again")
                yield from ((f"{slide}/{patch_id}", store.read(patch_id).tobytes()) for _, patch_id in own)
                continue
            digests = dict(zip(store.ids, store.manifest.byte_digests, strict=True))
            for _, patch_id in own:
                data = store.read_bytes(patch_id)
                if digest(data) != digests[patch_id]:
                    raise StoreError(
                        f"{store.path}: patch {patch_id} is not what was written: see slidemill verify, and store the "
                        "slide again"
                    )
                yield f"{slide}/{patch_id}", data


def _open_checked(dataset: Dataset, slide: str, form: _Form) -> Store:
    """Open a slide's store; check that encoding and shape match the first store."""
    store = require_stores(dataset.stored.pool).open(slide)
    if _kept_encoding(store) is not form.stored or store.manifest.shape != form.shape:
        store.close()
        found, size = _kept_encoding(store).name, store.manifest.patch_size
        raise StoreError(
            f"{store.path}: is {found} of {size} pixels, and the first store is {form.stored.name} of {form.shape[0]}: "
            "one file has patches of one kind: export these slides one by one, or store them again"
        )
    return store


def _kept_encoding(store: Store) -> Encoding:
    """Return the encoding of a store's patches; raw for patches that are cut out of tiles."""
    return RAW if store.holds_tiles else store.manifest.codec


def _describe_store(store: Store) -> dict[str, Any]:
    manifest = store.manifest
    return {
        "fingerprint": manifest.fingerprint,
        "sampling": dict(manifest.sampling),
        "encoding": manifest.encoding,
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
