"""Find the compressed frames of a DICOM file by its tables of offsets or its fragments.

Structure: PS3.5, A.4 (fragments, basic offset table), and PS3.3, C.7.6.3.1.8 (extended offset table).
"""

from __future__ import annotations

import os
import struct

import numpy as np
import numpy.typing as npt

from slidemill.tiles.dicom_elements import ITEM, SEQUENCE_END, UNDEFINED
from slidemill.tiles.tiled_level import TilesError

BASIC, EXTENDED = "<u4", "<u8"
"""NumPy's names of the numbers in both tables of offsets."""

ITEM_TAG = b"\xfe\xff\x00\xe0"
ITEM_HEADER = 8
FARTHEST = 1 << 62
"""An offset that no file reaches, and that fits into ``int64`` with any start."""

Places = npt.NDArray[np.int64]
"""Where frames begin, or end, in the file."""


def find_frames(file: int, start: int, count: int, *, offsets: Places | None) -> tuple[Places, Places]:
    """Return where compressed frames begin and end.

    Parameters
    ----------
    file, start
        The open file, and where its pixels begin: with an item that holds the basic table of offsets, or nothing.
    count
        Number of frames.
    offsets
        The extended table of offsets, ``int64 (count,)``, or None. Both count from the first fragment's header.

    Returns
    -------
    Places, Places
        Each frame with the headers of its fragments, which `join_fragments` takes away.

    Raises
    ------
    TilesError
        When fragments and tables contradict each other.
    """
    length = _item(file, start)
    first = start + ITEM_HEADER + length
    if length < 0 or (length and offsets is not None):
        raise TilesError("its pixels begin with no table of offsets, or with a second one")
    if length:
        offsets = read_table(file, start + ITEM_HEADER, length, count=count, kind=BASIC)
    if offsets is None:
        # One fragment a frame; a single frame may have several.
        begins, place = np.empty(count, np.int64), first
        for number in range(count):
            begins[number], place = place, _after(file, place)
        if count > 1 and _item(file, place) >= 0:
            raise TilesError("it has more fragments than frames, and no table of offsets")
    else:
        begins = first + offsets
        if begins[0] != first:
            raise TilesError("its table of offsets does not begin with its first frame")
    place = int(begins[-1])
    while _item(file, place) >= 0:
        place = _after(file, place)
    return begins, np.append(begins[1:], place)


def read_table(file: int, start: int, length: int, *, count: int, kind: str) -> Places:
    """Return a table of offsets, one for each frame, as ``int64 (count,)``.

    Raises
    ------
    TilesError
        When it has another length, or reaches beyond any file.
    """
    size = np.dtype(kind).itemsize
    data = os.pread(file, length, start) if length == count * size else b""
    if len(data) != count * size:
        raise TilesError(f"its table of offsets has {length} bytes, and {count} frames need {count * size}")
    table = np.frombuffer(data, kind)
    if table.max() > FARTHEST:
        raise TilesError("the file ends before its last frame")
    return table.astype(np.int64)


def join_fragments(data: bytes) -> bytes:
    """Return a compressed frame from its fragments with their headers.

    Raises
    ------
    ValueError
        When these are not all that there is.
    """
    place, parts = 0, []
    while place < len(data):
        length = int.from_bytes(data[place + 4 : place + ITEM_HEADER], "little")
        start = place + ITEM_HEADER
        place = start + length
        if data[start - ITEM_HEADER : start - 4] != ITEM_TAG or place > len(data):
            raise ValueError("no fragment has its length")
        parts.append(data[start:place])
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _item(file: int, place: int) -> int:
    """Return the length of the fragment whose header is at a place; -1 for the end of all fragments."""
    header = os.pread(file, ITEM_HEADER, place)
    if len(header) < ITEM_HEADER:
        raise TilesError("the file ends before its last frame")
    group, element, length = struct.unpack("<HHI", header)
    if group << 16 | element not in (ITEM, SEQUENCE_END) or length == UNDEFINED:
        raise TilesError("its frames are not where its table of offsets says, or are broken")
    return length if element == ITEM & 0xFFFF else -1


def _after(file: int, place: int) -> int:
    """Return where the fragment after the one at a place begins."""
    length = _item(file, place)
    if length < 0:
        raise TilesError("it has fewer fragments than frames")
    return place + ITEM_HEADER + length
