"""Find the elements of a DICOM file, and read the series UID.

Values are skipped, so that time and memory are bounded by the number of elements (PS3.5, 7).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

PREAMBLE = 128
TRANSFER_SYNTAX, SOP_CLASS, SERIES = 0x0002_0010, 0x0008_0016, 0x0020_000E
ITEM, ITEM_END, SEQUENCE_END = 0xFFFE_E000, 0xFFFE_E00D, 0xFFFE_E0DD
WHOLE_SLIDE = b"1.2.840.10008.5.1.4.1.1.77.1.6"
IMPLICIT = b"1.2.840.10008.1.2"
UNDEFINED = 0xFFFF_FFFF
LONG = frozenset((b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"))
"""Value representations whose length has four bytes."""

WINDOW = 16_384
"""Bytes that are read at once while elements are sought."""
LONGEST_HEADER = 12
LONGEST_VALUE = 1024
"""Bytes of the values that are kept; those that are needed here are numbers, names and UIDs."""
MOST_ELEMENTS = 1 << 24
"""Elements, those in sequences included, above which a file is rejected: a million frames have about ten each."""


class DicomError(ValueError):
    """A file ends within an element, or holds what is not an element."""


class Element(NamedTuple):
    """Where an element begins, where its value begins, and the value's length in bytes, which may be `UNDEFINED`."""

    tag: int
    place: int
    start: int
    length: int


def elements(file: int) -> Iterator[Element]:
    """Yield the elements of an open DICOM file in order, except those in sequences.

    After one of undefined length, a sequence or compressed pixels, comes the one that follows its end.

    Raises
    ------
    DicomError
        When it is not a DICOM file, or is broken here.
    """
    begin, window = 0, os.pread(file, WINDOW, 0)
    if window[PREAMBLE : PREAMBLE + 4] != b"DICM":
        raise DicomError("it is not a DICOM file")
    place, depth, last, is_implicit = PREAMBLE + 4, 0, 0, False
    for _ in range(MOST_ELEMENTS):
        if place + LONGEST_HEADER > begin + len(window):
            begin, window = place, os.pread(file, WINDOW, place)
            if not window and not depth:
                return
        try:
            tag, skipped, length = _header(window, place - begin, is_implicit)
        except struct.error:
            raise DicomError("it ends within an element") from None
        start = place + skipped
        # Elements are in the order of their tags. Sequences and items of undefined length end with a delimiter, and
        # nest.
        if not depth:
            if tag <= last or tag in (ITEM, ITEM_END, SEQUENCE_END):
                raise DicomError(f"element {tag:08x} comes after {last:08x}")
            last = tag
            yield Element(tag, place, start, length)
            if tag == TRANSFER_SYNTAX:
                is_implicit = text_of(value_of(file, start, length)) == IMPLICIT
        if length == UNDEFINED:
            depth, length = depth + 1, 0
        elif tag in (ITEM_END, SEQUENCE_END):
            depth -= 1
        place = start + length
    raise DicomError(f"it has more than {MOST_ELEMENTS:,} elements")


def value_of(file: int, start: int, length: int) -> bytes:
    """Return at most `LONGEST_VALUE` bytes of a value."""
    return os.pread(file, min(length, LONGEST_VALUE), start)


def text_of(value: bytes | None) -> bytes:
    """Return a text's bytes without padding; empty where the value is missing."""
    return (value or b"").rstrip(b"\0 ")


def series_of(path: Path) -> bytes | None:
    """Return the series UID of a whole-slide file, or None for other files."""
    found: dict[int, bytes] = {}
    file = os.open(path, os.O_RDONLY)
    try:
        for tag, _, start, length in elements(file):
            if tag > SERIES:
                break
            if tag in (SOP_CLASS, SERIES):
                found[tag] = text_of(value_of(file, start, length))
    except DicomError:
        return None
    finally:
        os.close(file)
    return found.get(SERIES) if found.get(SOP_CLASS) == WHOLE_SLIDE else None


def _header(data: bytes, place: int, is_implicit: bool) -> tuple[int, int, int]:
    """Return the tag of the element at a place, the size of its header, and the length of its value."""
    group, element = struct.unpack_from("<HH", data, place)
    if group == 0xFFFE or (is_implicit and group > 2):
        return group << 16 | element, 8, struct.unpack_from("<I", data, place + 4)[0]
    if data[place + 4 : place + 6] in LONG:
        return group << 16 | element, 12, struct.unpack_from("<I", data, place + 8)[0]
    return group << 16 | element, 8, struct.unpack_from("<H", data, place + 6)[0]
