"""Read coordinates of patches from HDF5, as TRIDENT and CLAM write them.

HDF5 has them in the dataset ``coords``, integers ``(n, 2)``, whose attributes describe the square:

- TRIDENT: ``patch_size``, pixels of the patch, and ``patch_size_level0``, or ``level0_magnification`` and
  ``target_magnification``; ``level0_width``, ``level0_height`` and ``name`` identify the slide.
- CLAM: ``patch_size``, pixels at the native level ``patch_level``; ``level_dim``, the size of that level, and ``name``
  identify the slide.
"""

from __future__ import annotations

import math
import resource
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from slidemill.coordinates._content import TOO_MANY, CoordinateFile, Square
from slidemill.core.pyramid import Size
from slidemill.core.text import format_list
from slidemill.errors import SlideError

COORDS = "coords"
"""The dataset of the coordinates."""

ATTRIBUTES = (
    "patch_size",
    "patch_size_level0",
    "level0_magnification",
    "target_magnification",
    "patch_level",
    "level0_width",
    "level0_height",
    "level_dim",
    "name",
)
"""The attributes that are read, of the dataset or else of the file."""

MOST_COMPRESSED = 1032
"""Bytes that a compressed byte of a file may become: deflate reaches no more, and filters that do are not used here."""

ELSEWHERE = f"{COORDS} is a link, or its data is in another file: write the dataset itself into this file"
"""The message on datasets that are not in the file."""

LONGEST = 60
"""Seconds of work that the structure of a file may take; damage can make HDF5 go round in circles."""

RATE = 10_000
"""Rows per second that are read at least: a tenth of what TRIDENT's chunks of one row allow."""


def read_hdf5(path: Path, most: int) -> CoordinateFile:
    """Return the content of a HDF5 file.

    Errors are any of h5py's. A damaged file may end the process, and one that takes too long does.
    """
    _limit(LONGEST)
    with h5py.File(path, locking=False) as file:
        _check_link(file)
        coords = file.get(COORDS)
        if not isinstance(coords, h5py.Dataset):
            raise SlideError(
                f"has no dataset {COORDS}, but {format_list(file) or 'none'}: is it a file of coordinates?"
            )
        _check_dataset(file, coords, path.stat().st_size, most)
        found = {name: own.attrs[name] for own in (file, coords) for name in ATTRIBUTES if name in own.attrs}
        attributes = {name: _plain(own) for name, own in found.items()}
        _limit(LONGEST + len(coords) // RATE)
        values = coords[:]
        _check_exact(values)
    with np.errstate(invalid="ignore"):
        places = values.astype(np.int64)
    if (wrong := np.flatnonzero((places != values).any(axis=1))).size:
        x, y = values[wrong[0]].tolist()
        raise SlideError(
            f"row {wrong[0]} of {COORDS} is {x:g}, {y:g}: expected whole level-0 pixels; convert them, or round them"
        )
    square = _square(attributes)
    name = attributes.get("name")
    return CoordinateFile(places, square, name if isinstance(name, str) else None, _sizes(attributes, square))


def _limit(seconds: int) -> None:
    """Let a signal end this process after so many more seconds of work, without a core file."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    _, most = resource.getrlimit(resource.RLIMIT_CPU)
    wanted = math.ceil(time.process_time()) + seconds
    resource.setrlimit(resource.RLIMIT_CPU, (wanted if most == resource.RLIM_INFINITY else min(wanted, most), most))


def _check_link(file: h5py.File) -> None:
    """Refuse a link to another place, before it is followed: that may be a pipe, or any file of the machine."""
    links = file.id.links
    if links.exists(COORDS.encode()) and links.get_info(COORDS.encode()).type != h5py.h5l.TYPE_HARD:
        raise SlideError(ELSEWHERE)


def _check_dataset(file: h5py.File, coords: h5py.Dataset, size: int, most: int) -> None:
    """Check the kind of a dataset in a file of `size` bytes, and that it takes no more memory than it may."""
    if coords.ndim != 2 or coords.shape[1] != 2 or coords.dtype.kind not in "iuf":
        raise SlideError(
            f"{COORDS} is {coords.dtype} {coords.shape}: expected integers (n, 2), x and y in level-0 pixels"
        )
    if coords.external or coords.is_virtual:
        raise SlideError(ELSEWHERE)
    if len(coords) > most:
        raise SlideError(TOO_MANY.format(count=len(coords), most=most))
    largest = max(math.prod(shape) for shape in (coords.shape, coords.chunks or (0,))) * coords.dtype.itemsize
    if largest > MOST_COMPRESSED * size:
        raise SlideError(f"{COORDS} takes {largest:,} bytes, and the file has {size:,}: it is damaged; restore it")


def _check_exact(values: npt.NDArray[Any]) -> None:
    """Refuse numbers so large that their type rounds whole pixels."""
    if values.dtype.kind != "f" or not values.size:
        return
    most = 2 ** (np.finfo(values.dtype).nmant + 1)
    if (largest := np.abs(values).max()) > most and np.isfinite(largest):
        raise SlideError(
            f"{COORDS} is {values.dtype}, which rounds pixels beyond {most}, and {largest:g} is among them: write the "
            "file again with integers"
        )


def _plain(value: Any) -> Any:
    """Return an attribute as Python's own value."""
    if isinstance(value, np.ndarray | np.generic):
        # MATLAB and others write each value as an array.
        value = value.item() if value.size == 1 else value.tolist()
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _square(attributes: Mapping[str, Any]) -> Square | None:
    """Return the square that a file's attributes describe; None without such attributes."""
    if "patch_size" not in attributes:
        return None
    side = _whole(attributes, "patch_size", least=1)
    if "patch_size_level0" in attributes:
        return Square(side, side0=_whole(attributes, "patch_size_level0", least=1))
    if "level0_magnification" in attributes and "target_magnification" in attributes:
        source, target = (_number(attributes, f"{name}_magnification") for name in ("level0", "target"))
        # As TRIDENT computes it.
        computed = {"side by its magnifications": side * source // target}
        return Square(side, side0=_whole(computed, "side by its magnifications", least=1))
    if "patch_level" in attributes:
        return Square(side, level=_whole(attributes, "patch_level", least=0))
    return None


def _sizes(attributes: Mapping[str, Any], square: Square | None) -> dict[int, Size]:
    if "level0_width" in attributes and "level0_height" in attributes:
        width, height = (_whole(attributes, f"level0_{side}", least=1) for side in ("width", "height"))
        return {0: (width, height)}
    if square and square.level is not None and "level_dim" in attributes:
        sides = attributes["level_dim"]
        if not (isinstance(sides, list) and len(sides) == 2):
            raise SlideError(f"its attribute level_dim is {sides!r}: expected width and height; write the file again")
        width, height = (_whole({"level_dim": side}, "level_dim", least=1) for side in sides)
        return {square.level: (width, height)}
    return {}


def _number(attributes: Mapping[str, Any], name: str) -> float:
    value = attributes[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
        raise SlideError(f"its attribute {name} is {value!r}: expected a number above 0; write the file again")
    return value


def _whole(attributes: Mapping[str, Any], name: str, *, least: int) -> int:
    value = attributes[name]
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or value != value // 1
        or not least <= value < 2**53
    ):
        raise SlideError(
            f"its attribute {name} is {value!r}: expected a whole number, at least {least}; write the file again"
        )
    return int(value)
