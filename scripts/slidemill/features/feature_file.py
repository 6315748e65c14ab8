"""Features in HDF5, in TRIDENT's layout: one file per slide and model, mapped for reading.

The datasets are ``features`` (n, dim), ``coords`` ``int64 (n, 2)``, the top left of each patch in level-0 pixels,
``patch_id`` (n,) as ASCII bytes, and ``manifest``, UTF-8 JSON as ``uint8``. All are contiguous. The attributes of
``coords`` are those of `PatchPlaces.attributes`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import xxhash

from slidemill.core.files import keep_synced, replacing
from slidemill.core.patch import PatchRef
from slidemill.core.pyramid import SlideInfo
from slidemill.core.specs import GridSpec
from slidemill.core.text import AGAIN
from slidemill.errors import SlidemillError, StoreError, discard_on_error, full_disk_errors, machine_error
from slidemill.features._hdf5 import (
    BROKEN,
    KINDS,
    STRUCTURE,
    open_dataset,
    open_file,
    read_numbers,
    read_values,
    release_room,
    reserve_room,
)
from slidemill.features._manifest import FeatureManifest as FeatureManifest

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class PatchPlaces:
    """The ids and places of a slide's patches, in the order of their features.

    Parameters
    ----------
    ids
        Of each patch, its id.
    coords
        ``int64 (n, 2)``: x and y of each patch's top left, in level-0 pixels.
    attributes
        TRIDENT's: ``patch_size`` and ``overlap`` (pixels that two neighbours share) in pixels of a patch,
        ``patch_size_level0``, ``level0_width`` and ``level0_height`` in level-0 pixels, ``level0_magnification`` and
        ``target_magnification`` where the slide records its objective power or µm per pixel, and ``name``.
    """

    ids: Sequence[str]
    coords: npt.NDArray[np.int64]
    attributes: dict[str, Any]

    @classmethod
    def of(cls, slide: str, patches: Sequence[PatchRef], info: SlideInfo | None, *, grid: GridSpec) -> PatchPlaces:
        """Return the places of a slide's patches; `info` is None for a slide that failed."""
        coords = np.array([(patch.x0, patch.y0) for patch in patches], np.int64).reshape(-1, 2)
        attributes: dict[str, Any] = {"name": slide, "patch_size": grid.patch_size, "overlap": 2 * grid.overlap}
        if info is not None:
            attributes |= {"level0_width": info.size[0], "level0_height": info.size[1]}
        if info is not None and patches:
            width = patches[0].width0
            attributes["patch_size_level0"] = width
            if power := info.objective_power or (10 / info.mpp if info.mpp else None):
                attributes["level0_magnification"] = float(power)
                attributes["target_magnification"] = power * grid.patch_size / width
        return cls([patch.patch_id for patch in patches], coords, attributes)


def write_features(
    path: Path, manifest: FeatureManifest, places: PatchPlaces, *, batches: Iterable[Array], scratch: Path | None = None
) -> FeatureManifest:
    """Publish a slide's features by one rename; return the manifest with its count, dim and content.

    Parameters
    ----------
    path, manifest
        The file, and its manifest.
    places
        The patches.
    batches
        Arrays (b, dim) of one dtype, float16 or float32, in the order of the patches; together as many rows as these.
    scratch
        A folder on a local disk to write in first, or None.

    Raises
    ------
    ValueError
        When there are more or fewer rows than patches.
    """
    count, hashed, written, dim = len(places.ids), xxhash.xxh3_128(), 0, 0
    with (
        replacing(path, scratch) as aside,
        full_disk_errors(aside),
        keep_synced(aside),
        h5py.File(aside, "w", libver="latest", locking=False) as file,
        discard_on_error(file),
    ):
        add = partial(file.create_dataset, track_times=False)
        features = None
        for batch in batches:
            if features is None:
                dim = batch.shape[1]
                ids_bytes = sum(map(len, places.ids))
                reserve_room(file, batch.itemsize * count * dim + places.coords.nbytes + ids_bytes + STRUCTURE)
                features = add("features", (count, dim), batch.dtype, fill_time="never")
            features[written : written + len(batch)] = batch
            hashed.update(np.ascontiguousarray(batch).data)
            written += len(batch)
        if written != count:
            raise ValueError(f"{path}: {written} rows for {count} patches")
        if features is None:
            features = add("features", (0, 0), np.float32)
        features.attrs["name"], features.attrs["encoder"] = manifest.slide, manifest.name
        coords = add("coords", data=places.coords)
        coords.attrs.update(places.attributes)
        ids = np.array([patch_id.encode() for patch_id in places.ids], "S") if count else np.array([], "S1")
        add("patch_id", data=ids)
        hashed.update(places.coords.tobytes() + "\n".join(places.ids).encode())
        whole = replace(manifest, count=count, dim=dim, content=hashed.hexdigest())
        add("manifest", data=np.frombuffer(whole.to_bytes(), np.uint8))
        release_room(file)
    return whole


class FeatureFile:
    """A slide's features, opened for reading; nothing stays open except mapped arrays while they are in use.

    Parameters
    ----------
    path
        The file.

    Attributes
    ----------
    path, manifest
        The file and its manifest.
    coords
        ``int64 (n, 2)``: x and y of each patch's top left, in level-0 pixels.

    Raises
    ------
    StoreError
        When it is not a complete file of features.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = path = Path(path)
        try:
            # HDF5 would wait for a pipe.
            if not path.is_file():
                raise StoreError(f"{path}: the file of features does not exist: run the workflow, or correct the path")
            file = open_file(path)
            try:
                found = {name: open_dataset(file, name, path) for name in KINDS}
                self.manifest = FeatureManifest.from_bytes(read_values(found["manifest"]).tobytes(), path)
                count, dim = self.manifest.count, self.manifest.dim
                shapes = {"features": (count, dim), "coords": (count, 2), "patch_id": (count,)}
                if wrong := [name for name, shape in shapes.items() if found[name].shape != shape]:
                    raise StoreError(
                        f"{path}: {wrong[0]} has the shape {found[wrong[0]].shape} for {count} patches: {AGAIN}"
                    )
                self.coords: npt.NDArray[np.int64] = read_values(found["coords"])
                self._ids: Array = read_values(found["patch_id"])
                self._place = found["features"].get_offset() or 0
                self._state = _state(file.get_vfd_handle())
                self.dtype: np.dtype[Any] = found["features"].dtype
            finally:
                file.close()
        except BROKEN as error:
            raise _fault(error, path) from None

    def __len__(self) -> int:
        return self.manifest.count

    @property
    def shape(self) -> tuple[int, int]:
        """``(n, dim)``."""
        return self.manifest.count, self.manifest.dim

    @cached_property
    def attributes(self) -> dict[str, Any]:
        """The attributes of ``coords``, read when they are first used.

        Raises
        ------
        StoreError
            When they cannot be read.
        """
        try:
            file = open_file(self.path)
            try:
                return read_numbers(file, "coords") | {"name": self.manifest.slide}
            finally:
                file.close()
        except BROKEN as error:
            raise machine_error(error, self.path) or StoreError(
                f"{self.path}: cannot be read ({error}): {AGAIN}"
            ) from None

    @cached_property
    def patch_ids(self) -> list[str]:
        """The patches' ids, in the order of the rows."""
        return [value.decode("ascii", "backslashreplace") for value in self._ids]

    def features(self) -> Array:
        """Map the features, ``(n, dim)``, read-only; the mapping lives as long as the array.

        Raises
        ------
        StoreError
            When the file has been replaced, written or removed since it was opened.
        """
        if not math.prod(self.shape):
            return np.empty(self.shape, self.dtype)
        try:
            with self.path.open("rb") as file:
                if _state(file.fileno()) == self._state:
                    return np.memmap(file, self.dtype, "r", self._place, self.shape)
        except (OSError, ValueError) as error:
            if fault := machine_error(error, self.path):
                raise fault from None
        raise StoreError(f"{self.path}: was replaced or removed since it was opened: open it again")

    def check(self) -> None:
        """Compare all bytes with the manifest's digest.

        Raises
        ------
        StoreError
            When they differ.
        """
        hashed = xxhash.xxh3_128()
        hashed.update(np.ascontiguousarray(self.features()).data)
        hashed.update(self.coords.tobytes() + b"\n".join(self._ids))
        if hashed.hexdigest() != self.manifest.content:
            raise StoreError(f"{self.path}: its rows are not what was written: it is damaged; {AGAIN}")


def open_features(path: str | Path) -> FeatureFile:
    """Open a slide's features for reading.

    Parameters
    ----------
    path
        A file such as ``results/features/uni/one.h5``.

    Raises
    ------
    StoreError
        When it is not a complete file of features.
    """
    return FeatureFile(path)


def _fault(error: Exception, path: Path) -> SlidemillError:
    return machine_error(error, path) or StoreError(f"{path}: cannot be read ({error}): {AGAIN}")


def _state(descriptor: int) -> tuple[int, int, int, int]:
    """Return what changes when an open file is replaced or written."""
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
