"""Read label images: PNG and TIFF with one integer per pixel.

Each is laid over a whole slide, or over its bounds.

PNG is decoded whole, up to a limit. Of a TIFF one row of tiles or one strip is decoded at a time, so that an image as
large as a slide takes no more memory than a small one.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import PngImagePlugin

from slidemill.annotations.label_image import Bands, Integers, LabelImage, runs, steps
from slidemill.core.pyramid import Size
from slidemill.errors import AnnotationError, is_machine_fault

PNG = b"\x89PNG\r\n\x1a\n"
STARTS = (PNG, b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""The first bytes of images that are read: PNG, and TIFF and BigTIFF in either byte order."""

LARGEST_AT_ONCE = 2**27
"""Bytes that are decoded at once; a few bytes of a file may claim gigabytes."""

MOST_LABELS = 65_536
"""Labels of an image; one with more shows something else."""

PNG_MODES = ("1", "L", "P", "I;16", "I")
LOSSY = ("JPEG", "OJPEG", "JPEG_LOSSY", "WEBP", "JPEGXL", "JPEG2000", "APERIO_JP2000_RGB", "APERIO_JP2000_YCBC")

ORIENTATION = 274
"""The tag of TIFF and Exif for an image's rotation; 1 is as stored."""

TURNED = (
    "its tag Orientation is {}, so that programs show it turned or mirrored: save the image turned, without the tag"
)

KINDS = "give one integer a pixel, 0 to 2**32 - 1: a grey or a palette PNG or TIFF"


def read_label_image(path: Path, canvas: Size, corner: Size = (0, 0), *, other: Size | None = None) -> LabelImage:
    """Return the label image of a slide.

    Parameters
    ----------
    path
        A file that begins as one of `STARTS`.
    canvas, corner
        ``(width, height)`` of the area that the image covers, the slide or its bounds, and the area's first pixel; in
        level-0 pixels.
    other
        ``(width, height)`` of the area with the other origin; the message names it if the image fits.

    Raises
    ------
    AnnotationError
        When the image is broken, holds something else than one integer per pixel, does not fit the slide, or would take
        too much memory.
    """
    with path.open("rb") as file:
        is_png = file.read(len(PNG)) == PNG
    with _library_errors(path):
        size, bands = (_png if is_png else _tiff)(path)
        fault = _misfit(size, canvas)
        if fault and other and other != canvas and not _misfit(size, other):
            fault += f"; it fits the {other[0]} x {other[1]} that it would cover with the other origin"
        if fault:
            raise AnnotationError(f"{path.name}: {fault}")

    def checked_bands(first: int, last: int) -> Iterator[tuple[int, Integers]]:
        with _library_errors(path):
            yield from bands(first, last)

    lows, highs = _extents(path, size, checked_bands)
    scale = np.array(canvas) / size
    corners = [(lows[value] * scale + corner, highs[value] * scale + corner) for value in sorted(lows)]
    bounds = tuple((*low.tolist(), *high.tolist()) for low, high in corners)
    return LabelImage(size, canvas, tuple(sorted(lows)), bounds, checked_bands, corner)


@contextmanager
def _library_errors(path: Path) -> Iterator[None]:
    """Turn any error of a library into an error about the file.

    The bytes of an image may be anything, and libraries raise errors of all kinds.
    """
    try:
        yield
    except AnnotationError:
        raise
    except Exception as error:
        if is_machine_fault(error):
            raise
        raise AnnotationError(
            f"{path.name}: the image cannot be read ({str(error) or type(error).__name__:.200}): check whether it is "
            "whole, or export it again"
        ) from None


def _misfit(size: Size, canvas: Size) -> str:
    """Return why an image cannot be laid over a slide, or an empty text if it can."""
    (width, height), (across, down) = size, canvas
    sizes = f"the image has {width} x {height} pixels and the slide {across} x {down}"
    if width > across or height > down:
        return f"{sizes}: a label image may not be finer than its slide: shrink it, by nearest neighbours"
    # Each side may be rounded up or down by less than a pixel.
    if across * (height - 1) >= down * (width + 1) or down * (width - 1) >= across * (height + 1):
        return f"{sizes}, of another aspect: a label image covers the whole slide: export it with all margins"
    return ""


def _extents(path: Path, size: Size, bands: Bands) -> tuple[dict[int, Any], dict[int, Any]]:
    """Return the first and the last corner of each label's pixels.

    This decodes the whole image once.
    """
    lows: dict[int, Any] = {}
    highs: dict[int, Any] = {}
    for top, block in steps(bands, 0, size[1]):
        row, left, right, value = runs(block)
        values, place = np.unique(value, return_inverse=True)
        if len(values) and values[0] < 0:
            raise AnnotationError(f"{path.name}: it contains the integer {values[0]}: {KINDS}")
        corner, far = np.full((len(values), 2), np.iinfo(np.intp).max), np.zeros((len(values), 2), np.intp)
        np.minimum.at(corner, place, np.column_stack([left, top + row]))
        np.maximum.at(far, place, np.column_stack([right, top + row + 1]))
        for number, label in enumerate(values.tolist()):
            lows[label] = np.minimum(lows.get(label, corner[number]), corner[number])
            highs[label] = np.maximum(highs.get(label, far[number]), far[number])
        if len(lows) > MOST_LABELS:
            raise AnnotationError(
                f"{path.name}: it contains more than {MOST_LABELS} integers: a label image has one per label"
            )
    return lows, highs


def _too_large(path: Path, what: str, count: int) -> AnnotationError:
    return AnnotationError(
        f"{path.name}: {what} {count} bytes, and {LARGEST_AT_ONCE} are decoded at once at most: save it as a TIFF of "
        "tiles, or smaller"
    )


def _png(path: Path) -> tuple[Size, Bands]:
    image = PngImagePlugin.PngImageFile(path)  # `Image.open` checks the size by a limit of Pillow's
    with image:
        size, mode = image.size, image.mode
        if getattr(image, "n_frames", 1) > 1:
            raise AnnotationError(f"{path.name}: it is animated: save only the labels, as one image")
    with path.open("rb") as file:
        bits = file.read(25)[24]
    if mode not in PNG_MODES:
        raise AnnotationError(f"{path.name}: its pixels are {mode}, which are colours: {KINDS}")
    count = size[0] * size[1] * (1 if bits <= 8 else 4)
    if count > LARGEST_AT_ONCE:
        raise _too_large(path, "it has", count)

    @cache
    def pixels() -> Integers:
        with warnings.catch_warnings(), PngImagePlugin.PngImageFile(path) as image:
            warnings.simplefilter("ignore")
            try:
                values: Integers = np.asarray(image)
            except MemoryError:
                bytearray(4 * count)  # raises where memory is short; Pillow also raises it for some broken data
                raise ValueError("its data are broken") from None
            turned = image.getexif().get(ORIENTATION, 1)  # it may follow the pixels
        if turned != 1:
            raise AnnotationError(f"{path.name}: {TURNED.format(turned)}")
        if mode == "L" and bits < 8:  # Pillow spreads grey of few bits over the bytes' range
            values = values // (255 // (2**bits - 1))
        return values.astype(np.uint8) if mode == "1" else values

    return size, lambda first, last: iter([(0, pixels())] if first < last else [])


def _tiff(path: Path) -> tuple[Size, Bands]:
    import tifffile

    with tifffile.TiffFile(path) as tiff:
        page: Any = tiff.pages.first
        fault = _unfit(page)
        if not fault and len(tiff.pages) > 1 and tiff.pages[1].shape == page.shape:
            fault = "it has several images of one size: save only the labels"
        elif not fault and len(tiff.pages) > 1 and tiff.pages[1].size > page.size:
            fault = "its first image is smaller than its second: save only the labels, or the largest first"
        if fault:
            raise AnnotationError(f"{path.name}: {fault}")
        width, height = page.imagewidth, page.imagelength
        deep = page.tilelength if page.is_tiled else min(page.rowsperstrip, height)
        plain = page.is_contiguous and not page.is_tiled and page.compression == page.fillorder == 1
        plain = plain and page.bitspersample >= 8
        wide = -(-width // page.tilewidth) * page.tilewidth if page.is_tiled else width
        if not plain and deep * wide * page.dtype.itemsize > LARGEST_AT_ONCE:
            raise _too_large(path, "a row of its tiles, or a strip, has", deep * wide * page.dtype.itemsize)

    def bands(first: int, last: int) -> Iterator[tuple[int, Integers]]:
        with tifffile.TiffFile(path) as tiff:
            page: Any = tiff.pages.first
            rows = max(LARGEST_AT_ONCE // 16 // (width * page.dtype.itemsize), 1) if plain else deep
            for top in range(first // rows * rows, last, rows):
                read: Callable[..., Integers] = _plain_rows if plain else _decoded_rows
                yield top, read(tiff, page, top, rows=min(rows, height - top))

    return (width, height), bands


def _unfit(page: Any) -> str:
    """Return why a TIFF is not a label image, or an empty text if it is one."""
    if not page.imagewidth or not page.imagelength:
        return "it holds no image: export it again"
    if page.samplesperpixel != 1 or page.imagedepth != 1:
        return f"it has {page.samplesperpixel} values a pixel ({page.photometric.name}): {KINDS}"
    if page.dtype is None or page.dtype.kind not in "iub" or page.dtype.itemsize > 4:
        return f"its pixels are {page.dtype}: {KINDS}"
    turned = page.tags.get("Orientation")
    if turned is not None and turned.value != 1:
        return TURNED.format(turned.value)
    if page.photometric.name == "MINISWHITE":
        return "its TIFF says that 0 is white (MINISWHITE), so that 0 may not be outside: save it with 0 as black"
    if page.compression.name in LOSSY:
        return f"it is compressed as {page.compression.name}, which keeps no integers: save it with deflate, or without"
    return ""


def _plain_rows(tiff: Any, page: Any, top: int, *, rows: int) -> Integers:
    """Return rows of an uncompressed image that is one contiguous block."""
    dtype = page.dtype.newbyteorder(tiff.byteorder)
    count = rows * page.imagewidth
    tiff.filehandle.seek(page.dataoffsets[0] + top * page.imagewidth * dtype.itemsize)
    data = tiff.filehandle.read(count * dtype.itemsize)
    if len(data) < count * dtype.itemsize:
        raise ValueError("it is cut off")
    values: Integers = np.frombuffer(data, dtype).reshape(rows, page.imagewidth)
    return values.astype(page.dtype)


def _decoded_rows(tiff: Any, page: Any, top: int, *, rows: int) -> Integers:
    """Return a row of tiles, or a strip; tiles missing in the file are 0."""
    deep = page.tilelength if page.is_tiled else page.rowsperstrip
    tile = page.tilewidth if page.is_tiled else page.imagewidth
    across = -(-page.imagewidth // tile)
    values = np.zeros((rows, page.imagewidth), np.uint8 if page.bitspersample == 1 else page.dtype)
    for column in range(across):
        number = top // deep * across + column
        offset, count = page.dataoffsets[number], page.databytecounts[number]
        if not offset or not count:
            continue
        tiff.filehandle.seek(offset)
        data = tiff.filehandle.read(count)
        if len(data) < count:
            raise ValueError("it is cut off")
        segment = page.decode(data, number)[0]
        part = segment.reshape(segment.shape[-3:-1])[:rows, : page.imagewidth - column * tile]
        values[: len(part), column * tile : column * tile + part.shape[1]] = part
    return values
