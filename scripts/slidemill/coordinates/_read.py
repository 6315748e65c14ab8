"""Read files of coordinates: TRIDENT's and CLAM's HDF5, and CSV.

Coordinates are those of the top left corners in level-0 pixels, counted from the corner of the whole slide.
HDF5 is read in a child process, which damage to the structure of a file may end.
CSV has a header with ``x`` and ``y``, or ``x0`` and ``y0``, and no square.
"""

from __future__ import annotations

import csv
from array import array
from pathlib import Path

import numpy as np

from slidemill.coordinates._content import TOO_MANY, CoordinateFile, Places
from slidemill.coordinates._hdf5 import read_hdf5
from slidemill.core.child_process import ChildCrashedError, ChildProcess
from slidemill.core.specs import MOST_PATCHES
from slidemill.errors import SlideError, machine_error

AXES = (("x", "y"), ("x0", "y0"))
"""Names of the columns of a CSV, in lower case."""


def read_coordinates(path: Path, most: int = MOST_PATCHES) -> CoordinateFile:
    """Return the content of a file of coordinates, which may have at most `most` places.

    Raises
    ------
    SlideError
        When the file is missing, damaged or of another format, has too many places, or a coordinate is not a whole
        number.
    """
    try:
        if path.suffix.lower() == ".csv":
            return CoordinateFile(_csv_places(path, most))
        with ChildProcess() as process:
            return process.call(read_hdf5, path, most)
    except ChildCrashedError as error:
        raise SlideError(f"the process that read it died ({error}): it is damaged; restore it") from None
    except (OSError, RuntimeError, UnicodeDecodeError, csv.Error) as error:
        if fault := machine_error(error, path):
            raise fault from None
        raise SlideError(f"cannot be read ({error}): restore it, or unpack it if it is compressed") from None


def _csv_places(path: Path, most: int) -> Places:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file)
        header = [name.strip().lower() for name in next(reader, [])]
        axes = next((pair for pair in AXES if all(name in header for name in pair)), None)
        if axes is None:
            raise SlideError(
                f"has the columns {', '.join(header) or 'none'}: expected x and y, the top left corner in pixels"
            )
        columns = [header.index(name) for name in axes]
        places = array("q")
        for values in filter(None, reader):
            if len(values) != len(header):
                raise SlideError(
                    f"line {reader.line_num} has {len(values)} fields, and the header {len(header)}: correct it"
                )
            places.extend(_csv_number(values[column], reader.line_num) for column in columns)
    if len(places) > 2 * most:
        raise SlideError(TOO_MANY.format(count=len(places) // 2, most=most))
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
