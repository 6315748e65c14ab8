"""The slide that is raced on: its facts, and one that is painted where none is given."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tifffile

from benchmarks.make_variants import repeated
from slidemill.slides.slide_info import open_slide, slide_info
from slidemill.testing import Tissue, paint, write_svs

TILE = 240
PIECE = (12 * TILE, 10 * TILE)
"""Width and height in pixels of what is painted; the slide repeats it."""


@dataclass(frozen=True, slots=True)
class SlideFacts:
    """What is raced on.

    Parameters
    ----------
    path
        The slide's file.
    width, height
        Of the full resolution, in pixels.
    tile
        Width and height of the tiles of the full resolution, or None where they are not square or not known.
    deepzoom_level
        The DeepZoom level that is full resolution.
    summary
        The slide in a few words.
    """

    path: Path
    width: int
    height: int
    tile: int | None
    deepzoom_level: int
    summary: str


def slide_facts(path: Path) -> SlideFacts:
    """Return the facts of a slide.

    Raises
    ------
    SystemExit
        When the slide has bounds: not all entrants know of them.
    SlideError
        When OpenSlide cannot open it.
    """
    with open_slide(path) as slide:
        info = slide_info(slide)
    if info.bounds:
        raise SystemExit(f"{path}: has bounds {info.bounds}, which not all entrants know of: race a slide without any")
    width, height = info.dimensions[0]
    tile, tiles = _tiles(path)
    levels = ", ".join(f"{factor:.4g}" for factor in info.downsamples)
    summary = (
        f"{path.name}: {info.vendor}, {width} x {height} pixels, {tiles}, {path.stat().st_size / 1e6:.1f} MB, "
        f"levels at {levels}"
    )
    return SlideFacts(path, width, height, tile, info.deepzoom_levels(True) - 1, summary)


def painted_slide(folder: Path, width: int, height: int) -> Path:
    """Return a slide painted by slidemill, with JPEG tiles of 240 pixels; it is made where it is not there yet.

    A piece is painted and its tiles are repeated over the slide, so that any size takes the memory of the piece.
    """
    path = folder / f"bench-{width}x{height}.svs"
    if path.exists():
        return path
    piece = folder / "piece.svs"
    across, down = PIECE
    areas = [
        Tissue("Benign", (across // 8, down // 8, across // 2, down // 2), 12.0, 6),
        Tissue("Carcinoma invasive", (across // 3, down // 3, across - across // 6, down - down // 6), 30.0, 8),
    ]
    pixels = paint(across, down, Tissue("Normal", (60, 60, across - 60, down - 60), 5.0, 5), areas=areas, seed=1)
    write_svs(piece, pixels, downsamples=(1,), tile=TILE, quality=70)
    repeated(piece, path, width, height)
    piece.unlink()
    return path


def _tiles(path: Path) -> tuple[int | None, str]:
    """Return the size of square tiles, and the tiles of the full resolution in words."""
    try:
        with tifffile.TiffFile(path) as tiff:
            page: Any = tiff.pages[0]
            if not page.is_tiled:
                return None, "no tiles"
            words = f"tiles of {page.tilewidth} x {page.tilelength}, {page.compression.name} {page.photometric.name}"
            return (page.tilewidth if page.tilewidth == page.tilelength else None), words
    except (tifffile.TiffFileError, OSError):
        return None, "no TIFF"
