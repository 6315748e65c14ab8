"""Why OpenSlide opens a file not, in words that tell a damaged file from one that it has no support for."""

from __future__ import annotations

import re
from pathlib import Path

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
