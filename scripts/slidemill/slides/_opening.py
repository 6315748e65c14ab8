"""What is checked before a slide is opened, and why OpenSlide does not open it.

A header of a hundred bytes can claim any size. OpenSlide takes minutes and gigabytes to open a sparse file of 4e12
pixels, since it looks at every tile.
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
"""Pixels of full resolution; 75 x 50 mm of glass at 0.1 micrometres per pixel have a third of it."""

MOST_IMAGES = 1000
"""Images of a TIFF that are looked at."""

MOST_TAGS = 4096
"""Tags of an image that are looked at."""

WIDTH, HEIGHT = 256, 257
VALUES = {3: "H", 4: "I", 16: "Q"}
"""Types of TIFF tags that a width can have, and how one value of them is unpacked."""


def check_claim(name: str, size: Size) -> None:
    """Check that a slide of `size` pixels can be.

    Raises
    ------
    SlideError
        When it has more than `MOST_PIXELS`.
    """
    width, height = size
    if width * height > MOST_PIXELS:
        raise SlideError(
            f"{name}: claims {width:,} x {height:,} pixels, and no slide has more than {MOST_PIXELS:,}: see whether "
            "it is whole, and a slide"
        )


def claimed_sizes(path: Path) -> Iterator[Size]:
    """Yield the sizes of a TIFF's images without reading their tiles' places; nothing of other and of broken files."""
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
    """Return why OpenSlide refuses the slide at `path`, and what to do.

    Parameters
    ----------
    path
        The slide's file.
    said
        OpenSlide's own message; nothing where it knows no format that the file has.
    """
    if not said:
        if _has_no_tiles(path):
            return f"{path.name}: OpenSlide knows no format that this file has, a TIFF that is not in tiles: {CONVERT}"
        return f"{path.name}: OpenSlide knows no format that this file has: see whether it is whole, and a slide"
    if number := re.search(r"Unsupported TIFF compression: (\d+)", said):
        name = _compression(int(number[1]))
        return f"{path.name}: compression {number[1]}{name} is not supported by OpenSlide: {CONVERT}"
    if re.search("unsupported|not supported", said, re.IGNORECASE):
        return f"{path.name}: OpenSlide does not support this kind of slide ({said}): {CONVERT}"
    return f"{path.name}: OpenSlide cannot open it ({said}): see whether it is whole"


def _compression(number: int) -> str:
    """Return the name of a compression in TIFFs, in brackets, or nothing where it is not known."""
    import tifffile

    try:
        return f" ({tifffile.COMPRESSION(number).name})"
    except ValueError:
        return ""


def _has_no_tiles(path: Path) -> bool:
    """Return whether the file is a TIFF whose first image is in strips."""
    import tifffile

    try:
        with tifffile.TiffFile(path) as file:
            return not file.pages.first.is_tiled
    except Exception:  # whatever tifffile stumbles over: the file is no sound TIFF
        return False
