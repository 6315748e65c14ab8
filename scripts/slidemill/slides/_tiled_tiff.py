"""Read the tiles of TIFF-based slides.

Unknown structures are rejected with a reason, so that OpenSlide reads them. Structure: TIFF 6.0,
sections 14 and 15, and https://openslide.org/formats/ for what each vendor does with it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import simplejpeg

from slidemill.core import jpeg
from slidemill.core.encodings import Pixels
from slidemill.core.pyramid import Size, SlideInfo
from slidemill.errors import SlideError

if TYPE_CHECKING:
    import tifffile

VENDORS = ("aperio", "generic-tiff", "philips", "ventana")
"""OpenSlide's names of formats whose levels may be plain tiled TIFF images."""

LIBRARY_CODECS = ("NONE", "LZW", "ADOBE_DEFLATE", "DEFLATE", "APERIO_JP2000_RGB")
"""Compressions besides JPEG that tifffile decodes as OpenSlide does, by tifffile's names."""

JPEG2000_FORMS = {"APERIO_JP2000_RGB": "jpeg2000"}
"""Of these, the compressions whose tiles are JPEG 2000 codestreams."""

LARGEST_TILE = 64 * 1024 * 1024
"""Bytes of a decoded tile; a few bytes of a file may claim gigabytes."""

Decode = Callable[[bytes, Pixels], Pixels]
"""From a tile's bytes and an array to reuse to its pixels, ``uint8 (height, width, 3)``."""


class TilesError(SlideError):
    """The tiles of a slide cannot be read here; OpenSlide may be able to read them."""


@dataclass(frozen=True, slots=True)
class TiledLevel:
    """One level of a slide as the tiles of an open file.

    Parameters
    ----------
    size
        ``(width, height)`` of the level in its pixels; the last tiles may reach beyond it.
    tile
        ``(width, height)`` of a tile.
    across
        Tiles in a row; they are numbered row by row from 0 at the top left.
    offsets, counts
        Where each tile's bytes begin in the file, and how many there are.
    jpeg_head
        What `jpeg.complete_tile` puts in front of a tile; empty for other compressions.
    form
        ``"jpeg"`` or ``"jpeg2000"`` for tiles that are image files by themselves; else empty.
    """

    size: Size
    tile: Size
    across: int
    offsets: Sequence[int]
    counts: Sequence[int]
    jpeg_head: bytes
    _decode: Decode
    _file: int
    form: str = ""

    def data(self, numbers: Sequence[int]) -> Iterator[bytes]:
        """Yield the bytes of tiles as they are stored; adjacent tiles are read at once.

        Raises
        ------
        TilesError
            When they cannot be read.
        """
        ends = [self.offsets[number] + self.counts[number] for number in numbers]
        first = 0
        for last, end in enumerate(ends):
            if last + 1 < len(ends) and self.offsets[numbers[last + 1]] == end:
                continue
            start = self.offsets[numbers[first]]
            try:
                block = os.pread(self._file, end - start, start)
            except OSError as error:
                raise TilesError(f"tile {numbers[first]} cannot be read ({error.strerror})") from None
            if len(block) != end - start:
                raise TilesError(f"tile {numbers[first]} or one after it is cut off by the end of the file")
            for place in range(first, last + 1):
                yield block[self.offsets[numbers[place]] - start : ends[place] - start]
            first = last + 1

    def standalone(self, number: int, data: bytes) -> bytes:
        """Return a tile's bytes as a JPEG file, without decoding it.

        Any program decodes it to the slide's pixels.

        Raises
        ------
        TilesError
            When it is a JPEG of another kind than the TIFF says.
        """
        try:
            return jpeg.complete_tile(self.jpeg_head, data, self.tile)
        except (ValueError, IndexError) as error:
            raise TilesError(f"tile {number} is not what the TIFF says ({error})") from None

    def headless(self, number: int, data: bytes) -> bytes:
        """Return a tile's bytes without `jpeg_head`; JPEG 2000 tiles as they are.

        Raises
        ------
        TilesError
            When it is of another size or kind than the TIFF says.
        """
        try:
            if self.jpeg_head:
                return jpeg.complete_tile(b"", data, self.tile)
            if jpeg.jpeg2000_size(data) != self.tile:
                raise ValueError("it has another size")
        except (ValueError, IndexError) as error:
            raise TilesError(f"tile {number} is not what the TIFF says ({error})") from None
        return data

    def pixels(self, number: int, data: bytes, buffer: Pixels) -> Pixels:
        """Return a tile's pixels, ``uint8 (height, width, 3)``.

        They may be in `buffer`, an array of the same shape.

        Raises
        ------
        TilesError
            When it cannot be decoded.
        """
        try:
            pixels = self._decode(self.standalone(number, data) if self.jpeg_head else data, buffer)
        except (ValueError, RuntimeError, OSError, TypeError) as error:
            raise TilesError(f"tile {number} cannot be decoded ({error})") from None
        if pixels.shape != buffer.shape or pixels.dtype != np.uint8:
            raise TilesError(f"tile {number} is {pixels.dtype} {pixels.shape}, not {buffer.shape}")
        return pixels

    def buffer(self) -> Pixels:
        """Return a new array for `pixels`."""
        return np.empty((self.tile[1], self.tile[0], 3), np.uint8)


@contextmanager
def open_level(path: Path, info: SlideInfo, level: int) -> Iterator[TiledLevel]:
    """Open a native level's tiles for reading; close it when the block ends.

    Raises
    ------
    TilesError
        When its structure is unknown; the message says what is.
    """
    if info.vendor not in VENDORS:
        raise TilesError(f"format {info.vendor} is read only by OpenSlide")
    import tifffile

    try:
        tiff = tifffile.TiffFile(path)
    except Exception as error:  # OpenSlide may read what tifffile cannot
        raise TilesError(f"tifffile cannot open it ({error})") from None
    with tiff:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            yield _tiled_level(tiff, info.dimensions[level], descriptor)
        finally:
            os.close(descriptor)


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
            offsets=page.dataoffsets,
            counts=page.databytecounts,
            jpeg_head=head,
            _decode=_decode_jpeg if head else _library_decoder(page),
            _file=file,
            form="jpeg" if head else JPEG2000_FORMS.get(page.compression.name, ""),
        )
    except TilesError:
        raise
    except Exception as error:  # tags may be anything
        raise TilesError(f"tifffile cannot make out its structure ({error!r})") from None


def _decode_jpeg(data: bytes, out: Pixels) -> Pixels:
    pixels: Pixels = simplejpeg.decode_jpeg(data, "RGB", buffer=out)
    return pixels


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
    if page.tilewidth * page.tilelength * 3 > LARGEST_TILE:
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
