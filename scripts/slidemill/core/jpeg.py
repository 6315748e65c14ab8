"""Complete JPEG streams from the tiles of a TIFF, and the sizes of JPEG 2000 ones.

A TIFF may keep the tables of all its tiles in one tag (JPEGTables), and record outside the tiles whether they are RGB
or YCbCr (TIFF Technical Note 2, 1995). A complete stream contains both.
"""

from __future__ import annotations

from functools import lru_cache

START = b"\xff\xd8"
END = b"\xff\xd9"
SOS_MARKER = b"\xff\xda"
DHT, DQT, DRI, COM, APP0, APP14, APP15 = 0xC4, 0xDB, 0xDD, 0xFE, 0xE0, 0xEE, 0xEF
FRAMES = (0xC0, 0xC1, 0xC2)
"""Markers of ITU-T T.81, table B.1; the frames are baseline, extended and progressive, with Huffman codes."""

THREE_BYTES = b"\x00\x03" + 3 * b"\x07\x01\x01"
"""In JPEG 2000: number of components, and for each its bits less one and its steps along x and y."""

_ADOBE = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00"
"""Adobe's APP14 segment without its last byte, the transform: 0 for RGB, 1 for YCbCr (ITU-T T.872, 6.5.3)."""


def tile_head(tables: bytes, rgb: bool) -> bytes:
    """Return the shared start of all tiles' streams: colour space and tables.

    `tables` is the TIFF's JPEGTables, empty where every tile has its own; tiles are YCbCr if not `rgb`.

    Raises
    ------
    ValueError
        When the tables are not JPEG segments, or set a restart interval.
    """
    shared = b""
    segments = _segments(tables.removesuffix(END)) if tables else []
    if segments is None:
        raise ValueError("its shared tables are not JPEG")
    for marker, segment in segments:
        if marker == DRI:
            raise ValueError("its shared tables set a restart interval")
        if marker in (DQT, DHT):
            shared += segment
    return START + _ADOBE + (b"\x00" if rgb else b"\x01") + shared


def complete_tile(head: bytes, tile: bytes, size: tuple[int, int]) -> bytes:
    """Return a tile as a complete stream: `head`, its segments and its scans.

    These may state another colour space than the TIFF, which is the one that OpenSlide uses.

    Parameters
    ----------
    head
        What `tile_head` returns.
    tile
        The tile as stored.
    size
        ``(width, height)`` that the tile must have.

    Raises
    ------
    ValueError
        When the tile is not a JPEG of three 8-bit components and that size, or has an application segment that
        libjpeg warns about and OpenSlide rejects.
    """
    place = tile.find(SOS_MARKER)
    while place >= 0:
        kept = _keep_segments(tile[:place], size)
        if kept is not None:
            return b"".join((head, kept, memoryview(tile)[place:]))
        # These two bytes belong to a segment.
        place = tile.find(SOS_MARKER, place + 2)
    raise ValueError(f"no JPEG that begins with segments: {tile[:4].hex()}")


def jpeg2000_size(data: bytes | memoryview) -> tuple[int, int]:
    """Return ``(width, height)`` of a bare codestream of three 8-bit components.

    Its size is in the SIZ segment, which comes first: the far corner, then the near one, and at its end the components
    with their bits and their steps (ISO/IEC 15444-1, A.5.1).

    Raises
    ------
    ValueError
        When it is not a bare codestream: OpenSlide takes no other, and decoders also those in a file's boxes. When its
        components are others, which decoders convert in ways of their own.
    """
    if bytes(data[:4]) != b"\xff\x4f\xff\x51":
        raise ValueError("no JPEG 2000 codestream")
    right, bottom, left, top = (int.from_bytes(data[place : place + 4], "big") for place in (8, 12, 16, 20))
    if left or top or bytes(data[40:51]) != THREE_BYTES:
        raise ValueError("JPEG 2000, but not three 8-bit components of full size")
    return right, bottom


@lru_cache(maxsize=64)
def _keep_segments(before: bytes, size: tuple[int, int]) -> bytes | None:
    """Return the segments needed before the first scan; None if malformed.

    Nearly all tiles of a slide begin with the same bytes.
    """
    kept = b""
    segments = _segments(before)
    if segments is None:
        return None
    for marker, segment in segments:
        if marker in FRAMES:
            height, width = int.from_bytes(segment[5:7], "big"), int.from_bytes(segment[7:9], "big")
            if (width, height) != size or segment[4] != 8 or segment[9] != 3:
                raise ValueError(f"{width} x {height} pixels of {segment[9]} components of {segment[4]} bits")
        if marker == APP0 and segment[4:9] == b"JFIF\0" and segment[9] != 1:
            raise ValueError(f"JFIF of version {segment[9]}")
        if marker == APP14 and segment[4:9] == b"Adobe" and segment[15:16] not in (b"\0", b"\1"):
            raise ValueError(f"an Adobe segment with transform {segment[15:16].hex() or 'missing'}")
        if not (APP0 <= marker <= APP15 or marker == COM):
            kept += segment
    return kept


def _segments(stream: bytes) -> list[tuple[int, bytes]] | None:
    """Return the segments after a stream's start; None if one is incomplete.

    ITU-T T.81, B.1.1.4: 0xFF, the marker, and a length of two bytes, which counts itself and the content.
    """
    if not stream.startswith(START):
        return None
    segments, place = [], 2
    while place < len(stream):
        length = int.from_bytes(stream[place + 2 : place + 4], "big")
        if stream[place] != 0xFF or length < 2 or place + 2 + length > len(stream):
            return None
        segments.append((stream[place + 1], stream[place : place + 2 + length]))
        place += 2 + length
    return segments
