"""Layout of TRIDENT: coordinates, outlines of tissue, and features.

As TRIDENT's ``IO.py`` and ``WSIPatcher.py`` of June 2026 write and read them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from slidemill.core.results_layout import TISSUE_MASK
from slidemill.errors import SlidemillError
from slidemill.exchange._features import FeatureSet
from slidemill.exchange._new_folder import new_hdf5
from slidemill.exchange._outlines import outlines, write_outlines
from slidemill.exchange._squares import require_same_square
from slidemill.exchange.exported_slide import ExportedSlide
from slidemill.sampling.tissue_mask import load_mask

MAGNIFICATIONS = ((0.16, 80), (0.2, 60), (0.3, 40), (0.6, 20), (1.2, 10), (2.4, 5))
"""TRIDENT's magnification of a slide: that of the first mpp that the slide's is below."""

NEAR_LEVEL = 0.1
"""TRIDENT reads a level whose downsample differs by at most this from the requested one."""

CRS = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::3857"}}
"""The reference system that TRIDENT names in its outlines, which are pixels."""


def check(own: ExportedSlide) -> None:
    """Check that TRIDENT reads the squares of the patches.

    Raises
    ------
    SlidemillError
        When it would read others, or nothing states the slide's magnification.
    """
    _magnifications(own)
    require_same_square(own, "TRIDENT", _read)


def write(own: ExportedSlide, folder: Path, features: Sequence[FeatureSet]) -> Iterator[int]:
    """Write coordinates, features and outlines of the tissue of a slide; yield the number of patches."""
    target = _magnifications(own)[1]
    grid = folder / f"{target:g}x_{own.spec.patch_size}px_{2 * own.spec.overlap}px_overlap"
    with new_hdf5(grid / "patches" / f"{own.name}_patches.h5") as file:
        _add_coords(file, own)
    for each in features:
        found = each.of(own)
        with new_hdf5(grid / f"features_{each.name}" / f"{own.name}.h5") as file:
            rows = _add(file, "features", (len(own.table), found.dim), found.dtype)
            rows.attrs.update({"name": own.name, "savetodir": "", "encoder": each.name})
            for block, values in found.blocks():
                rows[block] = values
            _add_coords(file, own)
    path = own.patches.results / TISSUE_MASK.format(slide=own.slide)
    mask = load_mask(path, own.info.size) if path.is_file() else None
    if mask is not None:
        header = {"name": own.name, "crs": CRS}
        write_outlines(folder / "contours_geojson" / f"{own.name}.geojson", outlines(mask), header)
    yield len(own.table)


def _add_coords(file: h5py.File, own: ExportedSlide) -> None:
    """Add the dataset ``coords`` with its attributes."""
    coords = _add(file, "coords", (len(own.table), 2), np.dtype(np.int64))
    coords[:] = own.coords
    coords.attrs.update(coords_attributes(own))


def _add(file: h5py.File, name: str, shape: tuple[int, int], dtype: np.dtype[Any]) -> h5py.Dataset:
    """Add a dataset as TRIDENT does: one row per chunk, and any number of rows."""
    chunks, most = (1, shape[1]), (None, shape[1])
    return file.create_dataset(name, shape, dtype, chunks=chunks, maxshape=most, track_times=False)


def coords_attributes(own: ExportedSlide) -> dict[str, Any]:
    """Return the attributes of ``coords``."""
    source, target = _magnifications(own)
    width, height = own.info.size
    return {
        "patch_size": own.spec.patch_size,
        "patch_size_level0": own.side,
        "level0_magnification": source,
        "target_magnification": target,
        "overlap": 2 * own.spec.overlap,
        "name": own.name,
        "savetodir": "",
        "level0_width": width,
        "level0_height": height,
    }


def _magnifications(own: ExportedSlide) -> tuple[float, float]:
    """Return the slide's magnification and that of the patches, from which TRIDENT computes their side.

    They are TRIDENT's own whole numbers where these give the side of the patches; else 10 / mpp, which need not be
    whole, adjusted so that both of TRIDENT's formulas give this side.

    Raises
    ------
    SlidemillError
        When neither the slide nor the configuration states one.
    """
    size, side, downsample = own.spec.patch_size, own.side, own.grid.downsample
    mpp, power = own.info.mpp, own.info.objective_power
    bucket = next((found for most, found in MAGNIFICATIONS if mpp < most), None) if mpp else power
    if bucket:
        source, target = bucket, own.spec.magnification or bucket / downsample
        if source == int(source) and target == int(target) and size * int(source) // int(target) == side:
            return int(source), int(target)
    native = 10 / mpp if mpp else power
    if not native:
        raise SlidemillError(
            f"{own.slide}: TRIDENT needs a magnification, and nothing states the slide's mpp or objective power; give "
            "sampling.assume_mpp, or its mpp in a sheet of slides"
        )
    exact = own.spec.magnification or (10 / own.spec.mpp if own.spec.mpp else native / downsample)
    target = int(exact) if exact == int(exact) else exact
    source = target * side / size
    while size * source // target < side:
        source = math.nextafter(source, math.inf)
    return source, target


def _read(own: ExportedSlide) -> tuple[int, int]:
    """Return the native level from which TRIDENT reads the patches, and their side in pixels of that level."""
    downsample, levels = own.side / own.spec.patch_size, own.info.downsamples
    near = [level for level, found in enumerate(levels) if abs(found - downsample) <= NEAR_LEVEL]
    finer = [level for level, found in enumerate(levels) if found <= downsample]
    level = near[0] if near else max(finer, default=0)
    # TRIDENT cuts the level's downsample to a whole number.
    return level, round(own.side / int(levels[level]))
