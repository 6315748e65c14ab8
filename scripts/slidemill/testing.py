"""Write synthetic slides with an H&E look, and their annotations.

Slides are pyramidal .svs files, annotations those of ImageScope. The demo and the tests use them; they have the same
bytes in every run.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import quoteattr

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

from slidemill.core.encodings import Pixels
from slidemill.core.files import replacing

Box = tuple[int, int, int, int]
"""``(left, top, right, bottom)`` in level-0 pixels."""

BLANK = (243, 242, 244)
STROMA = (228, 160, 192)
NUCLEUS = (84, 52, 122)


@dataclass(frozen=True, slots=True)
class Tissue:
    """An ellipse of tissue.

    Parameters
    ----------
    name
        Its label in the annotation.
    box
        Its bounding box.
    density
        Nuclei per 10,000 square pixels.
    radius
        Mean radius of a nucleus in pixels.
    stroma
        Colour between the nuclei, RGB.
    """

    name: str
    box: Box
    density: float
    radius: float
    stroma: tuple[int, int, int] = STROMA


@dataclass(frozen=True, slots=True)
class Scan:
    """µm per pixel and objective power in a slide's metadata; None omits one."""

    mpp: float | None = 0.5
    power: int | None = 20


def paint(width: int, height: int, background: Tissue, *, areas: Sequence[Tissue], seed: int) -> Pixels:
    """Return a picture of tissue on blank glass, ``uint8 (height, width, 3)``.

    Parameters
    ----------
    width, height
        Size in pixels.
    background
        The tissue around the areas.
    areas
        Painted in this order over the background.
    seed
        Equal seeds give equal pictures.
    """
    generator = np.random.default_rng(seed)
    image = Image.new("RGB", (width, height), BLANK)
    for tissue in (background, *areas):
        mask = Image.new("L", (width, height))
        ImageDraw.Draw(mask).ellipse(tissue.box, fill=255)
        layer = Image.new("RGB", (width, height), tissue.stroma)
        _nuclei(ImageDraw.Draw(layer), tissue, generator)
        image.paste(layer, mask=mask.filter(ImageFilter.GaussianBlur(2)))
    image = image.filter(ImageFilter.GaussianBlur(0.8))
    pixels = np.asarray(image, np.int16)
    # Fibres and uneven stain: noise of a coarse and of a fine grain.
    coarse = generator.normal(0, 7, (height // 48 + 2, width // 48 + 2)).astype(np.float32)
    grain = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    noise = np.asarray(grain)[:, :, None] + generator.normal(0, 3, (height, width, 1)).astype(np.float32)
    stained = np.clip(pixels + noise, 0, 255)
    blank = (pixels == BLANK).all(axis=2, keepdims=True)
    return np.where(blank, pixels, stained).astype(np.uint8)


def write_svs(
    path: Path,
    pixels: Pixels,
    downsamples: Sequence[int] = (1, 4, 16),
    *,
    tile: int = 256,
    scan: Scan = Scan(),
    quality: int = 85,
) -> None:
    """Publish a slide in Aperio's format: a TIFF of tiled levels in JPEG.

    Parameters
    ----------
    path
        The file.
    pixels
        Full resolution, ``uint8 (height, width, 3)``.
    downsamples
        Downsample of each level; the first is 1.
    tile
        Width and height of the tiles, a multiple of 16.
    scan
        Metadata of the scan.
    quality
        Quality of the JPEG, 0 to 100.
    """
    from tifffile import TiffWriter

    stated = ("AppMag", scan.power), ("MPP", scan.mpp)
    facts = "".join(f"|{name} = {value}" for name, value in stated if value is not None)
    height, width = pixels.shape[:2]
    with replacing(path) as aside, TiffWriter(aside, bigtiff=False) as file:
        for downsample in downsamples:
            image = Image.fromarray(pixels)
            if downsample > 1:
                image = image.reduce(downsample)
            file.write(
                _tiles(image, tile, quality),
                shape=(image.height, image.width, 3),
                dtype=np.uint8,
                tile=(tile, tile),
                photometric="ycbcr",
                subsampling=(1, 1),
                compression="jpeg",
                subfiletype=0 if downsample == 1 else 1,
                description=f"Aperio Image Library v0.0.0\r\n{width}x{height} ({tile}x{tile}) JPEG Q={quality}{facts}",
                metadata=None,
                software=False,
                datetime=None,
            )


def write_annotation(path: Path, areas: Sequence[Tissue], mpp: float = 0.5) -> None:
    """Publish an ImageScope annotation of ellipses, with their names as attributes.

    Parameters
    ----------
    path, areas
        The file, and the areas in the order of painting.
    mpp
        µm per pixel.
    """
    regions = "".join(
        f'<Region Id="{number}" Type="2" Text="" NegativeROA="0" InputRegionId="0">'
        f'<Attributes><Attribute Name="1" Id="0" Value={quoteattr(area.name)}/></Attributes>'
        f'<Vertices><Vertex X="{area.box[0]}" Y="{area.box[1]}" Z="0"/>'
        f'<Vertex X="{area.box[2]}" Y="{area.box[3]}" Z="0"/></Vertices></Region>\n'
        # The area painted last is on top, and the first region of a point names it.
        for number, area in enumerate(reversed(areas), start=1)
    )
    with replacing(path) as aside:
        aside.write_text(
            f'<?xml version="1.0" encoding="UTF-8"?>\n<Annotations MicronsPerPixel="{mpp}">\n'
            f'<Annotation Id="1" Name="" Type="4"><Regions>\n{regions}</Regions></Annotation>\n</Annotations>\n',
            encoding="utf-8",
        )


def _nuclei(pen: ImageDraw.ImageDraw, tissue: Tissue, generator: np.random.Generator) -> None:
    left, top, right, bottom = tissue.box
    count = int((right - left) * (bottom - top) / 10_000 * tissue.density)
    centres: npt.NDArray[np.float64] = generator.uniform((left, top), (right, bottom), (count, 2))
    radii = np.maximum(generator.normal(tissue.radius, tissue.radius / 5, (count, 2)), 1.5)
    shades = generator.integers(-18, 19, count)
    for (x, y), (across, down), shade in zip(centres.tolist(), radii.tolist(), shades.tolist(), strict=True):
        colour = tuple(value + shade for value in NUCLEUS)
        pen.ellipse((x - across, y - down, x + across, y + down), fill=colour)


def _tiles(image: Image.Image, tile: int, quality: int) -> Iterator[bytes]:
    """Yield an image's tiles as JPEG, padded with blank glass at the edges."""
    for top in range(0, image.height, tile):
        for left in range(0, image.width, tile):
            canvas = Image.new("RGB", (tile, tile), BLANK)
            canvas.paste(image.crop((left, top, min(left + tile, image.width), min(top + tile, image.height))))
            data = io.BytesIO()
            canvas.save(data, "jpeg", quality=quality, subsampling=0)
            yield data.getvalue()
