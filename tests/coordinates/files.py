"""Files of coordinates as TRIDENT, CLAM and spreadsheets have them."""

import h5py
import numpy as np


def write_hdf5(path, places, **attributes):
    """Write ``coords`` with its attributes."""
    with h5py.File(path, "w") as file:
        coords = file.create_dataset("coords", data=np.asarray(places).reshape(-1, 2))
        coords.attrs.update(attributes)


def trident(path, places, side, side0, **attributes):
    write_hdf5(path, places, patch_size=side, patch_size_level0=side0, **attributes)


def clam(path, places, side, level=0, **attributes):
    write_hdf5(path, places, patch_size=side, patch_level=level, **attributes)


def table(path, places):
    lines = [f"{x},{y}" for x, y in np.asarray(places).tolist()]
    path.write_text("\n".join(["x,y", *lines, ""]), encoding="utf-8")
