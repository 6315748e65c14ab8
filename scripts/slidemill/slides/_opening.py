"""Check a slide's claimed size, and explain why OpenSlide rejects a file.

A header of a hundred bytes can claim any size. OpenSlide takes minutes and gigabytes to open a sparse file of 4e12
pixels, since it looks up every tile.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from slidemill.core.pyramid import Size
from slidemill.errors import SlideError

MOST_PIXELS = 10**12
"""Pixels of full resolution, three times those of 75 x 50 mm of glass at 0.1 micrometres per pixel."""

MOST_IMAGES = 1000
"""Images of a TIFF that are checked."""

MOST_TAGS = 4096
"""Tags of an image that are checked."""

WIDTH, HEIGHT = 256, 257
VALUES = {3: "H", 4: "I", 16: "Q"}
"""The types of TIFF tags that a width can have, and their format for `struct`."""


def check_claim(name: str, size: Size) -> None:
    """Check that a slide can have `size` pixels.

    Raises
    ------
    SlideError
        When it has more than `MOST_PIXELS`.
    """
    width, height = size
    if width * height > MOST_PIXELS:
        raise SlideError(
            f"{name}: claims {width:,} x {height:,} pixels, and no slide has more than {MOST_PIXELS:,}: check whether "
            "it is whole, and a slide"
        )


def claimed_sizes(path: Path) -> Iterator[Size]:
    """Yield the sizes of a TIFF's images without reading its tables of tiles.

    For other formats it yields nothing, and for a broken TIFF it ends at the damage.
    """
    with path.open("rb") as file:
        try:
            yield from _image_sizes(file)
        except (struct.error, OSError, OverflowError):  # the file ends before a tag, or names a place beyond any file
            return


def _image_sizes(file: BinaryIO) -> Iterator[Size]:
    head = file.read(16)
    order = {b"II": "<", b"MM": ">"}.get(head[:2])
    if order is None:
        return
    (version,) = struct.unpack_from(f"{order}H", head, 2)
    if version not in (42, 43):
        return
    # TIFF 6.0, section 2; BigTIFF has wider counts and offsets.
    count_format, entry, offset_format, first = ("H", "HHI4s", "I", 4) if version == 42 else ("Q", "HHQ8s", "Q", 8)
    (place,) = struct.unpack_from(order + offset_format, head, first)
    entry_size, seen = struct.calcsize(f"<{entry}"), set[int]()
    while place and place not in seen and len(seen) < MOST_IMAGES:
        seen.add(place)
        file.seek(place)
        (count,) = struct.unpack(order + count_format, file.read(struct.calcsize(f"<{count_format}")))
        if count > MOST_TAGS:
            return
        entries = file.read(count * entry_size)
        sides: dict[int, int] = {}
        for tag, kind, values, inline in struct.iter_unpack(order + entry, entries):
            if tag in (WIDTH, HEIGHT) and kind in VALUES and values == 1:
                (sides[tag],) = struct.unpack_from(order + VALUES[kind], inline)
        if len(sides) == 2:
            yield sides[WIDTH], sides[HEIGHT]
        (place,) = struct.unpack(order + offset_format, file.read(struct.calcsize(f"<{offset_format}")))


CONVERT = "convert the slide, for example to a tiled TIFF with JPEG (vips tiffsave --tile --pyramid --compression jpeg)"


def refusal(path: Path, said: str) -> str:
    """Return why OpenSlide rejects the slide at `path`, and the remedy.

    `said` is OpenSlide's message, empty where it does not recognise the file's format.
    """
    import tifffile

    if not said:
        try:
            with tifffile.TiffFile(path) as file:
                in_strips = not file.pages.first.is_tiled
        except Exception:  # the TIFF is broken
            in_strips = False
        if in_strips:
            return f"{path.name}: OpenSlide knows no format that this file has, a TIFF that is not in tiles: {CONVERT}"
        return f"{path.name}: OpenSlide knows no format that this file has: check whether it is whole, and a slide"
    if number := re.search(r"Unsupported TIFF compression: (\d+)", said):
        try:
            name = f" ({tifffile.COMPRESSION(int(number[1])).name})"
        except ValueError:
            name = ""
        return f"{path.name}: compression {number[1]}{name} is not supported by OpenSlide: {CONVERT}"
    # The second is how OpenSlide rejects DICOM pixels of other bits, samples or planes.
    if re.search(r"unsupported|not supported|Attribute \w+ value", said, re.IGNORECASE):
        return f"{path.name}: OpenSlide does not support this kind of slide ({said}): {CONVERT}"
    return f"{path.name}: OpenSlide cannot open it ({said}): check whether it is whole"
