"""JPEG streams: the tiles of a TIFF made to stand alone, decoded strictly, and encoded.

A TIFF may keep the tables of all its tiles in one place (tag JPEGTables) and say outside the tiles whether
they are RGB or YCbCr (TIFF Technical Note 2, 1995). What is decoded elsewhere must have both in itself.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import simplejpeg

START = b"\xff\xd8"
END = b"\xff\xd9"

_ADOBE = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00"
"""Adobe's APP14 segment but for its last byte, the transform: 0 for RGB, 1 for YCbCr (ITU-T T.872, 6.5.3)."""


def head(tables: bytes, rgb: bool) -> bytes:
    """Return what goes in front of a tile's `body`: start, the colour space, and the shared tables.

    Parameters
    ----------
    tables
        The TIFF's JPEGTables, a stream of its own; empty where every tile has its tables.
    rgb
        Whether the TIFF says that its tiles are RGB; else they are YCbCr.
    """
    shared = _without_applications(tables).removesuffix(END) if tables else b""
    return START + _ADOBE + (b"\x00" if rgb else b"\x01") + shared


def body(tile: bytes) -> bytes:
    """Return a tile's stream without its start and without what applications wrote there.

    A JFIF segment would say YCbCr, whatever the TIFF says.

    Raises
    ------
    ValueError
        When the bytes are no JPEG.
    """
    if not tile.startswith(START):
        raise ValueError(f"not a JPEG: it starts with {tile[:2].hex()}")
    # Nearly always nothing is to be taken away.
    return _without_applications(tile) if tile[3:4] >= b"\xe0" else tile[2:]


def decode(data: bytes | memoryview, out: npt.NDArray[np.uint8] | None = None) -> npt.NDArray[np.uint8]:
    """Return the pixels of a JPEG that stands alone, ``uint8 (height, width, 3)``, RGB.

    Strict as OpenSlide is: what libjpeg only warns of, such as a stream that ends early, is an error.

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


def encode(pixels: npt.NDArray[np.uint8], quality: int) -> bytes:
    """Return pixels, ``uint8 (height, width, 3)`` in C order, as JPEG.

    Colour is kept at full resolution (4:4:4): stains differ by hue, and nuclei are a few pixels wide.
    """
    data: bytes = simplejpeg.encode_jpeg(pixels, quality, "RGB", "444", fastdct=False)
    return data


def _without_applications(stream: bytes) -> bytes:
    """Return a stream without its start, and without the APPn and COM segments that follow right after it."""
    place = 2
    while stream[place : place + 1] == b"\xff" and (0xE0 <= stream[place + 1] <= 0xEF or stream[place + 1] == 0xFE):
        place += 2 + int.from_bytes(stream[place + 2 : place + 4], "big")
    return stream[place:]
