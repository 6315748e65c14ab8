"""Read files of coordinates: TRIDENT's and CLAM's HDF5, and CSV.

Coordinates are those of the top left corners in level-0 pixels, counted from the corner of the whole slide.
HDF5 has them in the dataset ``coords``, integers ``(n, 2)``, whose attributes describe the square:

- TRIDENT: ``patch_size``, pixels of the patch, and ``patch_size_level0``, or ``level0_magnification`` and
  ``target_magnification``; ``level0_width``, ``level0_height`` and ``name`` identify the slide.
- CLAM: ``patch_size``, pixels at the native level ``patch_level``; ``level_dim``, the size of that level, and ``name``
  identify the slide.

CSV has a header with ``x`` and ``y``, or ``x0`` and ``y0``, and no square.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from slidemill.core.pyramid import Size, SlideInfo
from slidemill.core.text import format_list
from slidemill.errors import SlideError, machine_error

Places = npt.NDArray[np.int64]

COORDS = "coords"
"""The dataset of the coordinates."""

AXES = (("x", "y"), ("x0", "y0"))
"""Names of the columns of a CSV, in lower case."""


@dataclass(frozen=True, slots=True)
class Square:
    """The square of a file's patches.

    Parameters
    ----------
    side
        Pixels of a patch's side as the file has it.
    side0
        Level-0 pixels of the side; None where the level says how many.
    level
        The native level that has `side` pixels; None where `side0` is known.
    """

    side: int
    side0: int | None = None
    level: int | None = None

    def level0_side(self, info: SlideInfo) -> int:
        """Return the side in level-0 pixels; `SlideError` if the slide lacks the level."""
        if self.side0 is not None:
            return self.side0
        level = self.level or 0
        if level >= len(info.downsamples):
            raise SlideError(
                f"patch_level is {level}, and the slide has levels 0 to {len(info.downsamples) - 1}: check whether the "
                "file is this slide's"
            )
        return round(self.side * info.downsamples[level])

    def __str__(self) -> str:
        if self.level is not None:
            return f"{self.side} x {self.side} pixels of level {self.level}"
        return f"{self.side} x {self.side} pixels, of {self.side0} x {self.side0} level-0 pixels"


@dataclass(frozen=True, slots=True, eq=False)
class CoordinateFile:
    """The content of a file of coordinates.

    Parameters
    ----------
    places
        ``int64 (n, 2)``: x and y of the top left corners in level-0 pixels, in the file's order.
    square
        The square of all patches; None if the file does not say.
    name
        The slide's name in the file, or None.
    sizes
        By native level, ``(width, height)`` that the file gives for it.
    """

    places: Places
    square: Square | None = None
    name: str | None = None
    sizes: Mapping[int, Size] | None = None


def read_coordinates(path: Path) -> CoordinateFile:
    """Return the content of a file of coordinates.

    Raises
    ------
    SlideError
        When the file is missing, damaged or of another format, or a coordinate is not a whole number.
    """
    try:
        if path.suffix.lower() == ".csv":
            return CoordinateFile(_csv_places(path))
        return _read_hdf5(path)
    except (OSError, RuntimeError, KeyError, UnicodeDecodeError, csv.Error) as error:
        if fault := machine_error(error, path):
            raise fault from None
        raise SlideError(f"cannot be read ({error}): restore it, or unpack it if it is compressed") from None


def _read_hdf5(path: Path) -> CoordinateFile:
    with h5py.File(path) as file:
        coords = file.get(COORDS)
        if not isinstance(coords, h5py.Dataset):
            raise SlideError(
                f"has no dataset {COORDS}, but {format_list(file) or 'none'}: is it a file of coordinates?"
            )
        if coords.ndim != 2 or coords.shape[1] != 2 or coords.dtype.kind not in "iuf":
            raise SlideError(
                f"{COORDS} is {coords.dtype} {coords.shape}: expected integers (n, 2), x and y in level-0 pixels"
            )
        values = coords[:]
        _check_exact(values)
        attributes = {name: _plain(own) for name, own in {**file.attrs, **coords.attrs}.items()}
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
        return Square(side, side0=int(side * source // target))
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
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value // 1 or value < least:
        raise SlideError(
            f"its attribute {name} is {value!r}: expected a whole number, at least {least}; write the file again"
        )
    return int(value)


def _csv_places(path: Path) -> Places:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file)
        header = [name.strip().lower() for name in next(reader, [])]
        axes = next((pair for pair in AXES if all(name in header for name in pair)), None)
        if axes is None:
            raise SlideError(
                f"has the columns {', '.join(header) or 'none'}: expected x and y, the top left corner in pixels"
            )
        columns = [header.index(name) for name in axes]
        places = []
        for values in filter(None, reader):
            if len(values) != len(header):
                raise SlideError(
                    f"line {reader.line_num} has {len(values)} fields, and the header {len(header)}: correct it"
                )
            places.append([_csv_number(values[column], reader.line_num) for column in columns])
    return np.array(places, np.int64).reshape(-1, 2)


def _csv_number(text: str, line: int) -> int:
    """Return a whole number; pandas writes 12.0 where a column had a gap."""
    try:
        number = float(text.replace("_", "?"))  # to Python, 1_0 is 10
        if number == number // 1 and abs(number) < 2**53:
            return int(number)
    except ValueError:
        pass
    raise SlideError(f"line {line} has {text!r}: expected whole level-0 pixels; correct it, or round it")
