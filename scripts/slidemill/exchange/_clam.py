"""Layout of CLAM: coordinates of whole pixels of a level.

As CLAM's ``WholeSlideImage.py`` and ``file_utils.py`` write them, and its ``dataset_h5.py`` reads them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import h5py

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


def write(own: ExportedSlide, folder: Path) -> Iterator[int]:
    """Write the coordinates of a slide, and yield the number of patches; without patches, CLAM has no file."""
    count = len(own.table)
    if not count:
        return
    level, patch_size = _read(own)
    path = folder / "patches" / f"{own.name}.h5"
    path.parent.mkdir(parents=True, exist_ok=True)
    width, height = own.info.dimensions[level]
    with h5py.File(path, "w") as file:
        coords = file.create_dataset("coords", data=own.coords, chunks=(1, 2), maxshape=(None, 2), track_times=False)
        coords.attrs["patch_size"] = patch_size
        coords.attrs["patch_level"] = level
        coords.attrs["downsample"] = own.info.size[0] / width, own.info.size[1] / height
        coords.attrs["downsampled_level_dim"] = width, height
        coords.attrs["level_dim"] = width, height
        coords.attrs["name"] = own.name
        coords.attrs["save_path"] = ""
    yield count


def _read(own: ExportedSlide) -> tuple[int, int]:
    """Return the native level of the patches, and their side in whole pixels of it."""
    level = own.grid.level
    return level, round(own.side / own.info.downsamples[level])
