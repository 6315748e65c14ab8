"""Read the tiles of TIFF-based slides.

Unknown structures are rejected with a reason, so that OpenSlide reads them. Structure: TIFF 6.0,
sections 14 and 15, and https://openslide.org/formats/ for what each vendor does with it.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from slidemill.core import jpeg
from slidemill.core.encodings import Pixels
from slidemill.core.pyramid import Size
from slidemill.tiles import tiled_level
from slidemill.tiles.tiled_level import Decode, TiledLevel, TilesError, decode_jpeg

if TYPE_CHECKING:
    import tifffile

VENDORS = ("aperio", "generic-tiff", "philips", "ventana")
"""OpenSlide's names of formats whose levels may be plain tiled TIFF images."""

LIBRARY_CODECS = ("NONE", "LZW", "ADOBE_DEFLATE", "DEFLATE", "APERIO_JP2000_RGB")
"""Compressions besides JPEG that tifffile decodes as OpenSlide does, by tifffile's names."""

JPEG2000_FORMS = {"APERIO_JP2000_RGB": "jpeg2000"}
"""Of these, the compressions whose tiles are JPEG 2000 codestreams."""


@contextmanager
def open_tiff(path: Path, size: Size) -> Iterator[TiledLevel]:
    """Open the tiles of the level of a size, and close the file when the block ends.

    Raises
    ------
    TilesError
        When its structure is unknown; the message says what is.
    """
    import tifffile

    try:
        tiff = tifffile.TiffFile(path)
    except Exception as error:  # OpenSlide may read what tifffile cannot
        raise TilesError(f"tifffile cannot open it ({error})") from None
    with ExitStack() as stack:
        with tiff:
            descriptor = os.open(path, os.O_RDONLY)
            stack.callback(os.close, descriptor)
            tiles = _tiled_level(tiff, size, descriptor)
        # The tags of all levels take much more memory than one level's tiles.
        del tiff
        yield tiles


def _tiled_level(tiff: tifffile.TiffFile, size: Size, file: int) -> TiledLevel:
    try:
        page = _page(tiff, size)
        fault = _fault(page, size, os.fstat(file).st_size)
        if fault:
            raise TilesError(fault)
        head = jpeg.tile_head(page.jpegtables or b"", page.photometric.name == "RGB") if _is_jpeg(page) else b""
        return TiledLevel(
            size=size,
            tile=(page.tilewidth, page.tilelength),
            across=-(-page.imagewidth // page.tilewidth),
            offsets=array("Q", page.dataoffsets),
            counts=array("Q", page.databytecounts),
            jpeg_head=head,
            _decode=decode_jpeg if head else _library_decoder(page),
            _file=file,
            form="jpeg" if head else JPEG2000_FORMS.get(page.compression.name, ""),
        )
    except TilesError:
        raise
    except Exception as error:  # tags may be anything
        raise TilesError(f"tifffile cannot make out its structure ({error!r})") from None


def _page(tiff: tifffile.TiffFile, size: Size) -> Any:
    """Return the one tiled image of the level's size.

    Philips rounds that size up to whole tiles.
    """
    pages: list[Any] = [page for page in tiff.pages if page.is_tiled]

    def filled_up(page: Any) -> bool:
        over = page.imagewidth - size[0], page.imagelength - size[1]
        return bool(0 <= over[0] < page.tilewidth and 0 <= over[1] < page.tilelength)

    found = [page for page in pages if (page.imagewidth, page.imagelength) == size] or list(filter(filled_up, pages))
    if len(found) != 1:
        raise TilesError(f"{len(found)} of its {len(pages)} tiled images have the level's size, {size[0]} x {size[1]}")
    return found[0]


def _fault(page: Any, size: Size, length: int) -> str:
    """Return why an image's structure is not supported, or an empty text if it is."""
    across, down = -(-page.imagewidth // page.tilewidth), -(-page.imagelength // page.tilelength)
    compression = page.compression.name
    if not (compression == "JPEG" or compression in LIBRARY_CODECS):
        return f"compression {compression} is read only by OpenSlide"
    if not (page.samplesperpixel == 3 and page.dtype == np.uint8 and page.planarconfig == 1 and not page.extrasamples):
        return "its pixels are not three interleaved bytes"
    if page.photometric.name != "RGB" and not (_is_jpeg(page) and page.photometric.name == "YCBCR"):
        return f"its colours are {page.photometric.name}"
    if page.tilewidth * page.tilelength * 3 > tiled_level.LARGEST_TILE:
        return f"its tiles of {page.tilewidth} x {page.tilelength} pixels are larger than are read here"
    orientation = page.tags.get("Orientation")
    if (orientation is not None and orientation.value != 1) or page.fillorder != 1:
        return "it is turned, mirrored, or its bits are"
    if len(page.dataoffsets) != across * down or len(page.databytecounts) != across * down:
        return f"it has {len(page.dataoffsets)} tiles where {across} x {down} are needed"
    missing = sum(1 for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True) if not count * offset)
    if missing:
        return f"{missing} of its {across * down} tiles are missing"
    if compression == "NONE" and set(page.databytecounts) != {page.tilewidth * page.tilelength * 3}:
        return "its tiles are not all of their size, though they are not compressed"
    if max(map(sum, zip(page.dataoffsets, page.databytecounts, strict=True))) > length:
        return "the file ends before its last tile"
    return ""


def _is_jpeg(page: Any) -> bool:
    return bool(page.compression.name == "JPEG")


def _library_decoder(page: Any) -> Decode:
    """Return tifffile's decoder for an image's tiles."""
    decode = page.decode
    jpeg2000 = page.compression.name == "APERIO_JP2000_RGB"

    def decoded(data: bytes, _buffer: Pixels) -> Pixels:
        if jpeg2000 and (size := jpeg.jpeg2000_size(data)) != (page.tilewidth, page.tilelength):
            raise ValueError(f"{size[0]} x {size[1]} pixels")
        pixels: Pixels = decode(data, 0)[0]
        # tifffile adds an axis for the plane: (depth, height, width, 3).
        return pixels.reshape(pixels.shape[-3:])

    return decoded
