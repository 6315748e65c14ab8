"""Read the series UID of a DICOM file.

Only elements at the file's beginning are read, so that time and memory are bounded (PS3.5, 7).
"""

from __future__ import annotations

import struct
from pathlib import Path

from slidemill.errors import SlideError

HEAD = 1_048_576
"""Bytes at the beginning of a file that are read; the pixels follow all elements that are needed here."""

PREAMBLE = 128
TRANSFER_SYNTAX, SOP_CLASS, SERIES = 0x0002_0010, 0x0008_0016, 0x0020_000E
ITEM, ITEM_END, SEQUENCE_END = 0xFFFE_E000, 0xFFFE_E00D, 0xFFFE_E0DD
WHOLE_SLIDE = b"1.2.840.10008.5.1.4.1.1.77.1.6"
IMPLICIT = b"1.2.840.10008.1.2"
UNDEFINED = 0xFFFF_FFFF
LONG = frozenset((b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"))
"""Value representations whose length has four bytes."""


def check_one_series(path: Path) -> None:
    """Check that the .dcm files next to a slide belong to one series.

    Slides of other formats pass.

    Raises
    ------
    SlideError
        When they are of several series, of which OpenSlide would read one, or cannot be read.
    """
    if path.suffix.lower() != ".dcm":
        return
    try:
        files = [file for file in path.parent.iterdir() if file.suffix.lower() == ".dcm" and file.is_file()]
        found = {series for series in map(series_of, files) if series}
    except OSError as error:
        raise SlideError(f"{path.name}: {error.strerror}: check that all .dcm files next to it may be read") from None
    if len(found) > 1:
        raise SlideError(f"{path.name}: its folder holds {len(found)} series: put each in a folder of its own")


def series_of(path: Path) -> bytes | None:
    """Return the series UID of a whole-slide file, or None for other files."""
    with path.open("rb") as file:
        data = file.read(HEAD)
    if data[PREAMBLE : PREAMBLE + 4] != b"DICM":
        return None
    try:
        known = _elements(data)
    except struct.error:  # the file ends within an element
        return None
    return known.get(SERIES) if known.get(SOP_CLASS) == WHOLE_SLIDE else None


def _elements(data: bytes) -> dict[int, bytes]:
    """Return the needed elements, except those in sequences."""
    found: dict[int, bytes] = {}
    # Elements are in the order of their tags. Sequences and items of undefined length end with a delimiter, and nest.
    place, depth = PREAMBLE + 4, 0
    while SERIES not in found:
        tag, explicit = _tag(data, place), True
        if tag in (ITEM, ITEM_END, SEQUENCE_END):
            explicit = False
        elif tag >> 16 > 2:
            explicit = found.get(TRANSFER_SYNTAX) != IMPLICIT
            if not depth and tag > SERIES:
                break
        start, length = _length(data, place, explicit)
        if length == UNDEFINED:
            depth, length = depth + 1, 0
        elif tag in (ITEM_END, SEQUENCE_END):
            depth -= 1
        elif not depth and tag in (TRANSFER_SYNTAX, SOP_CLASS, SERIES):
            found[tag] = data[start : start + length].rstrip(b"\0 ")
        place = start + length
    return found


def _tag(data: bytes, place: int) -> int:
    group, element = struct.unpack_from("<HH", data, place)
    return int(group) << 16 | int(element)


def _length(data: bytes, place: int, explicit: bool) -> tuple[int, int]:
    """Return where an element's value starts, and its length."""
    if not explicit:
        return place + 8, struct.unpack_from("<I", data, place + 4)[0]
    if data[place + 4 : place + 6] in LONG:
        return place + 12, struct.unpack_from("<I", data, place + 8)[0]
    return place + 8, struct.unpack_from("<H", data, place + 6)[0]
