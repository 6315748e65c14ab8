"""Layout of CLAM: coordinates of whole pixels of a level, and features.

As CLAM's ``WholeSlideImage.py``, ``extract_features_fp.py`` and ``file_utils.py`` write them, and its
``dataset_h5.py`` and ``dataset_generic.py`` read them. Of a slide without patches, CLAM has no file.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt

from slidemill.exchange._features import FeatureSet, SlideFeatures
from slidemill.exchange._new_folder import new_hdf5
from slidemill.exchange._squares import require_same_square
from slidemill.exchange.exported_slide import ExportedSlide


def check(own: ExportedSlide) -> None:
    """Check that CLAM reads the squares of the patches.

    Raises
    ------
    SlidemillError
        When it would read others.
    """
    require_same_square(own, "CLAM", _read)


def write(own: ExportedSlide, folder: Path, features: FeatureSet | None) -> Iterator[int]:
    """Write the coordinates of a slide, and its features if there are any; yield the number of patches."""
    if not len(own.table):
        return
    level, patch_size = _read(own)
    width, height = own.info.dimensions[level]
    with new_hdf5(folder / "patches" / f"{own.name}.h5") as file:
        coords = file.create_dataset("coords", data=own.coords, chunks=(1, 2), maxshape=(None, 2), track_times=False)
        coords.attrs["patch_size"] = patch_size
        coords.attrs["patch_level"] = level
        coords.attrs["downsample"] = own.info.size[0] / width, own.info.size[1] / height
        coords.attrs["downsampled_level_dim"] = width, height
        coords.attrs["level_dim"] = width, height
        coords.attrs["name"] = own.name
        coords.attrs["save_path"] = ""
    if features:
        _write_features(own, folder, features.of(own))
    yield len(own.table)


def write_tensors(own: ExportedSlide, folder: Path, features: FeatureSet) -> Iterator[int]:
    """Write the features of a slide as HDF5 and as a tensor of PyTorch; yield the number of patches."""
    if not len(own.table):
        return
    found = features.of(own)
    _write_features(own, folder, found)
    (folder / "pt_files").mkdir(exist_ok=True)
    found.save_tensor(folder / "pt_files" / f"{own.name}.pt")
    yield len(own.table)


def _write_features(own: ExportedSlide, folder: Path, found: SlideFeatures) -> None:
    with new_hdf5(folder / "h5_files" / f"{own.name}.h5") as file:
        features = _add(file, "features", (len(own.table), found.dim), np.float32)
        for block, values in found.blocks():
            features[block] = values
        _add(file, "coords", (len(own.table), 2), np.int32)[:] = own.coords


def _add(file: h5py.File, name: str, shape: tuple[int, int], dtype: npt.DTypeLike) -> h5py.Dataset:
    """Add a dataset as CLAM does: 32 rows per chunk, and any number of rows."""
    chunks, most = (32, shape[1]), (None, shape[1])
    return file.create_dataset(name, shape, dtype, chunks=chunks, maxshape=most, track_times=False)


def _read(own: ExportedSlide) -> tuple[int, int]:
    """Return the native level of the patches, and their side in whole pixels of it."""
    level = own.grid.level
    return level, round(own.side / own.info.downsamples[level])
