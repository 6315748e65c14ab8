"""Open the tiles of a slide's level, whatever its format."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from slidemill.core.pyramid import SlideInfo
from slidemill.tiles import _dicom, _tiff
from slidemill.tiles.tiled_level import TiledLevel, TilesError


@contextmanager
def open_level(path: Path, info: SlideInfo, level: int) -> Iterator[TiledLevel]:
    """Open a native level's tiles for reading; close it when the block ends.

    Raises
    ------
    TilesError
        When its structure is unknown; the message says what is.
    """
    size = info.dimensions[level]
    if info.vendor in _tiff.VENDORS:
        opened = _tiff.open_tiff(path, size)
    elif info.vendor == _dicom.VENDOR:
        opened = _dicom.open_dicom(path, size)
    else:
        raise TilesError(f"format {info.vendor} is read only by OpenSlide")
    with opened as tiles:
        yield tiles
