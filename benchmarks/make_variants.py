"""Make other slides from one: YCbCr tiles of 256 pixels, JPEG 2000, and four times as large.

    python -m benchmarks.make_variants SLIDE FOLDER [--only ycc256,jp2k,large] [--crop 6000x5000]

Each has the full resolution alone, opens in OpenSlide as 'aperio', and is made in bounded memory: pixels are read
row of tiles by row of tiles, and the large one repeats the slide's own JPEG tiles as they are.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import openslide
import simplejpeg
import tifffile

from slidemill.core.encodings import Pixels
from slidemill.core.files import replacing

TILE = 256
QUALITY = 70
JPEG2000_LEVEL = 50
"""Of imagecodecs' `jpeg2k_encode`: PSNR in dB that is aimed at."""
BIG = 3_900_000_000
"""Bytes from which on offsets of 32 bits may not reach."""


def write_aperio(path: Path, tiles: Iterator[bytes], width: int, height: int, tile: int, **options: Any) -> None:
    """Publish a slide in Aperio's format with one level, from tiles that are compressed already."""
    about = f"Aperio Image Library v11.2.1 \r\n{width}x{height} ({tile}x{tile}) JPEG Q={QUALITY}"
    big = bool(options.pop("big", False))
    with replacing(path) as aside, tifffile.TiffWriter(aside, bigtiff=big) as file:
        file.write(
            tiles,
            shape=(height, width, 3),
            dtype=np.uint8,
            tile=(tile, tile),
            description=f"{about}|AppMag = 20|MPP = 0.4990",
            metadata=None,
            software=False,
            **options,
        )


def ycbcr(source: Path, path: Path) -> None:
    """Write the slide's pixels once more, as JPEG tiles of 256 pixels, YCbCr with colour at half the width."""
    with openslide.OpenSlide(source) as slide:
        width, height = slide.dimensions
        tiles = (simplejpeg.encode_jpeg(one, QUALITY, "RGB", "422") for one in cut_tiles(slide, width, height))
        write_aperio(path, tiles, width, height, TILE, compression="jpeg", photometric="ycbcr", subsampling=(2, 1))


def jpeg2000(source: Path, path: Path, crop: tuple[int, int]) -> None:
    """Write the slide's top left as Aperio's JPEG 2000 of RGB (compression 33005)."""
    with openslide.OpenSlide(source) as slide:
        width, height = min(crop[0], slide.dimensions[0]), min(crop[1], slide.dimensions[1])
        tiles = (
            imagecodecs.jpeg2k_encode(one, level=JPEG2000_LEVEL, codecformat="j2k", mct=False)
            for one in cut_tiles(slide, width, height)
        )
        write_aperio(path, tiles, width, height, TILE, compression="APERIO_JP2000_RGB", photometric="rgb")


def large(source: Path, path: Path) -> None:
    """Write twice the width and twice the height, of whole tiles, by repeating the slide's own."""
    with tifffile.TiffFile(source) as tiff:
        page: Any = tiff.pages[0]
        columns, rows = page.imagewidth // page.tilewidth, page.imagelength // page.tilelength
        repeated(source, path, 2 * columns * page.tilewidth, 2 * rows * page.tilelength)


def repeated(source: Path, path: Path, width: int, height: int) -> None:
    """Write a slide of any size whose JPEG tiles are those of `source`, whole ones, over and over.

    Raises
    ------
    SystemExit
        When the source's tiles are not square JPEG tiles.
    """
    with tifffile.TiffFile(source) as tiff, source.open("rb") as file:
        page: Any = tiff.pages[0]
        if not page.is_tiled or page.compression.name != "JPEG" or page.tilewidth != page.tilelength:
            raise SystemExit(f"{source}: its tiles are not square JPEG tiles: name a slide that has such")
        tile = page.tilewidth
        across, columns, rows = -(-page.imagewidth // tile), page.imagewidth // tile, page.imagelength // tile

        def tiles() -> Iterator[bytes]:
            for row in range(-(-height // tile)):
                for column in range(-(-width // tile)):
                    number = row % rows * across + column % columns
                    yield os.pread(file.fileno(), page.databytecounts[number], page.dataoffsets[number])

        rgb = page.photometric.name == "RGB"
        area = width * height / (page.imagewidth * page.imagelength)
        write_aperio(
            path,
            tiles(),
            width,
            height,
            tile,
            big=sum(page.databytecounts) * area > BIG,
            compression="jpeg",
            photometric="rgb" if rgb else "ycbcr",
            # Told to keep RGB, tifffile writes photometric RGB; the tiles are not touched.
            compressionargs={"outcolorspace": "rgb"} if rgb else None,
            subsampling=None if rgb else page.subsampling,
            jpegtables=page.jpegtables,
        )


def cut_tiles(slide: openslide.OpenSlide, width: int, height: int) -> Iterator[Pixels]:
    """Yield tiles of the slide's top left, row by row; those at the edges are filled up with their last pixels."""
    for top in range(0, height, TILE):
        rows = min(TILE, height - top)
        strip = np.asarray(slide.read_region((0, top), 0, (width, rows)).convert("RGB"))
        strip = np.pad(strip, ((0, TILE - rows), (0, -width % TILE), (0, 0)), "edge")
        for left in range(0, width, TILE):
            yield np.ascontiguousarray(strip[:, left : left + TILE])


def size_of(text: str) -> tuple[int, int]:
    """Return the width and the height that ``WIDTHxHEIGHT`` says, in pixels."""
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise argparse.ArgumentTypeError(f"{text!r} is no size: write one such as 6000x5000")
    return int(width), int(height)


def main() -> None:
    """Make the slides that the command line asks for, and say where each lies."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("slide", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", default="ycc256,jp2k,large", help="which slides to make")
    parser.add_argument("--crop", type=size_of, default=(6000, 5000), help="the size of the JPEG 2000 one")
    options = parser.parse_args()
    makers = {
        "ycc256": ycbcr,
        "jp2k": lambda source, path: jpeg2000(source, path, options.crop),
        "large": large,
    }
    for name in options.only.split(","):
        if name not in makers:
            parser.error(f"{name!r} is none of {', '.join(makers)}: name some of these")
        path = options.folder / f"{name}.svs"
        makers[name](options.slide, path)
        print(f"{path}  {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
