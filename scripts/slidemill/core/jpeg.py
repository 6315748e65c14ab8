"""JPEG streams: the tiles of a TIFF made to stand alone, decoded strictly, and encoded.

A TIFF may keep the tables of all its tiles in one place (tag JPEGTables) and say outside the tiles whether
they are RGB or YCbCr (TIFF Technical Note 2, 1995). What is decoded elsewhere must have both in itself.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
import simplejpeg

START = b"\xff\xd8"
END = b"\xff\xd9"
SOS_MARKER = b"\xff\xda"
DHT, DQT, DRI, COM, APP0, APP14, APP15 = 0xC4, 0xDB, 0xDD, 0xFE, 0xE0, 0xEE, 0xEF
FRAMES = (0xC0, 0xC1, 0xC2)
"""Markers of ITU-T T.81, table B.1; the frames are baseline, extended and progressive, by Huffman codes."""

_ADOBE = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00"
"""Adobe's APP14 segment but for its last byte, the transform: 0 for RGB, 1 for YCbCr (ITU-T T.872, 6.5.3)."""


def tile_head(tables: bytes, rgb: bool) -> bytes:
    """Return what goes in front of a tile: start, the colour space, and the shared tables.

    Parameters
    ----------
    tables
        The TIFF's JPEGTables, a stream of its own; empty where every tile has its tables.
    rgb
        Whether the TIFF says that its tiles are RGB; else they are YCbCr.

    Raises
    ------
    ValueError
        When the tables are no JPEG, or hold anything but tables.
    """
    shared = b""
    segments = _segments(tables.removesuffix(END)) if tables else []
    if segments is None:
        raise ValueError("its shared tables are no JPEG")
    for marker, segment in segments:
        if marker == DRI:
            raise ValueError("its shared tables set a restart interval")
        if marker in (DQT, DHT):
            shared += segment
    return START + _ADOBE + (b"\x00" if rgb else b"\x01") + shared


def complete_tile(head: bytes, tile: bytes, size: tuple[int, int]) -> bytes:
    """Return a tile as a complete stream: `head`, and the tile without application segments.

    A JFIF or Adobe segment would tell the colour space, and OpenSlide takes it from the TIFF alone.

    Parameters
    ----------
    head
        What `tile_head` returns.
    tile
        The tile as it is stored.
    size
        ``(width, height)`` that it must have.

    Raises
    ------
    ValueError
        When the bytes are no JPEG of three 8-bit components and that size, or hold an application's segment of a
        kind that libjpeg warns of, and so OpenSlide refuses.
    """
    place = tile.find(SOS_MARKER)
    while place >= 0:
        kept = _kept(tile[:place], size)
        if kept is not None:
            return b"".join((head, kept, memoryview(tile)[place:]))
        # Those two bytes belonged to a segment.
        place = tile.find(SOS_MARKER, place + 2)
    raise ValueError(f"no JPEG that begins with segments: {tile[:4].hex()}")


def decode(data: bytes | memoryview, out: npt.NDArray[np.uint8] | None = None) -> npt.NDArray[np.uint8]:
    """Return the pixels of a JPEG that stands alone, ``uint8 (height, width, 3)``, RGB.

    What libjpeg only warns of, such as a stream that ends early, is an error, as it is for OpenSlide.

    Parameters
    ----------
    data
        The whole stream.
    out
        An array to decode into, in place of a new one; large enough, and in C order.

    Raises
    ------
    ValueError
        When the stream is broken.
    """
    pixels: npt.NDArray[np.uint8] = simplejpeg.decode_jpeg(data, "RGB", buffer=out)
    return pixels


def size(data: bytes | memoryview) -> tuple[int, int]:
    """Return ``(width, height)`` as a JPEG's head has it, without decoding any.

    Raises
    ------
    ValueError
        When the head is broken.
    """
    height, width, *_ = simplejpeg.decode_jpeg_header(data)
    return width, height


def encode(pixels: npt.NDArray[np.uint8], quality: int) -> bytes:
    """Return pixels, ``uint8 (height, width, 3)`` in C order, as JPEG.

    Colour is kept at full resolution (4:4:4): stains differ by hue, and nuclei are a few pixels wide.
    """
    data: bytes = simplejpeg.encode_jpeg(pixels, quality, "RGB", "444", fastdct=False)
    return data


@lru_cache(maxsize=64)
def _kept(before: bytes, size: tuple[int, int]) -> bytes | None:
    """Return what `complete_tile` keeps before the first scan, or None where segments do not end there.

    Tiles of a slide nearly always begin with the same bytes, and those are looked at once.
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
    """Return the segments after a stream's start, marker and all bytes, or None where it is not whole segments.

    ITU-T T.81, B.1.1.4: a marker is 0xFF and a byte, then two bytes give the length from there on.
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
