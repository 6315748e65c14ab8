"""Tiled TIFFs of many structures, written tile by tile, for the readers to be held against OpenSlide."""

import io
import struct
from dataclasses import dataclass

import imagecodecs
import numpy as np
import tifffile
from PIL import Image

APERIO = "Aperio Image Library v0.0.0\r\n{width}x{height} ({tile}x{tile}) JPEG Q=80|AppMag = 20|MPP = 0.5"
ISCAN = b'<iScan Magnification="40" ScanRes="0.25"/>'
PHILIPS = (
    '<?xml version="1.0"?><DataObject ObjectType="DPUfsImport"><Attribute Name="PIM_DP_SCANNED_IMAGES"><Array>'
    '<DataObject ObjectType="DPScannedImage"><Attribute Name="PIM_DP_IMAGE_TYPE">WSI</Attribute>'
    '<Attribute Name="DICOM_PIXEL_SPACING">&quot;0.00025&quot; &quot;0.00025&quot;</Attribute>'
    '<Attribute Name="PIIM_PIXEL_DATA_REPRESENTATION_SEQUENCE"><Array>{levels}</Array></Attribute>'
    "</DataObject></Array></Attribute></DataObject>"
)


@dataclass(frozen=True)
class Structure:
    """How a TIFF is laid out: a name for tests, its tiles, how they are compressed, and whose format it is."""

    name: str
    tile: tuple = (128, 128)  # width, height
    compression: str = "jpeg"
    rgb: bool = False
    subsampling: str = "4:4:4"
    shared_tables: bool = True
    jfif: bool = False
    predictor: bool = False
    vendor: str = "aperio"
    downsamples: tuple = (1,)


STRUCTURES = [
    Structure("RGB, shared tables", rgb=True),
    Structure("RGB, own tables", rgb=True, shared_tables=False),
    Structure("RGB, though JFIF says otherwise", rgb=True, jfif=True),
    Structure("YCbCr 4:4:4, shared tables"),
    Structure("YCbCr 4:2:2, shared tables", subsampling="4:2:2"),
    Structure("YCbCr 4:2:0, own tables", subsampling="4:2:0", shared_tables=False),
    Structure("YCbCr 4:2:0, JFIF, generic", subsampling="4:2:0", jfif=True, vendor="generic-tiff"),
    Structure("tiles of 240 and three levels", tile=(240, 240), rgb=True, downsamples=(1, 4, 16)),
    Structure("oblong tiles", tile=(64, 176), subsampling="4:2:2"),
    Structure("tiles larger than the slide", tile=(2048, 2048)),
    Structure("JPEG 2000", compression="APERIO_JP2000_RGB"),
    Structure("deflate", compression="ADOBE_DEFLATE", vendor="generic-tiff"),
    Structure("deflate with predictor", compression="ADOBE_DEFLATE", predictor=True, vendor="generic-tiff"),
    Structure("LZW with predictor", compression="LZW", predictor=True, vendor="generic-tiff"),
    Structure("Philips", tile=(512, 512), vendor="philips", downsamples=(1, 2)),
    Structure("Ventana", tile=(256, 256), vendor="ventana", rgb=False, subsampling="4:2:0", downsamples=(1, 2)),
    Structure("not compressed", compression="NONE", vendor="generic-tiff", downsamples=(1, 2)),
]


def write(path, pixels, structure, damage=None, tags=()):
    """Write a TIFF; `damage`, ``(tile number, bytes) -> bytes``, may change tiles of the first level.

    `tags` are further ones, as tifffile takes them.
    """
    height, width = pixels.shape[:2]
    tables = _split(_jpeg(pixels[: structure.tile[1], : structure.tile[0]], structure))[0]
    with tifffile.TiffWriter(path) as file:
        if structure.vendor == "ventana":
            thumbnail = np.asarray(Image.fromarray(pixels).reduce(16))
            packet = (700, 1, len(ISCAN), ISCAN, True)
            file.write(thumbnail, photometric="rgb", description="Thumbnail", metadata=None, extratags=[packet])
        for downsample in structure.downsamples:
            level = np.asarray(Image.fromarray(pixels).reduce(downsample)) if downsample > 1 else pixels
            known = {}
            if structure.compression == "jpeg" and structure.shared_tables:
                known["jpegtables"] = b"\xff\xd8" + tables + b"\xff\xd9"
            if structure.compression == "jpeg" and structure.rgb:
                # Without it tifffile would call them YCbCr.
                known["compressionargs"] = {"outcolorspace": "rgb"}
            elif structure.compression == "jpeg":
                known["subsampling"] = {"4:4:4": (1, 1), "4:2:2": (2, 1), "4:2:0": (2, 2)}[structure.subsampling]
            known |= _labels(structure, downsample, width, height)
            plain = structure.compression != "jpeg" and not structure.compression.startswith("APERIO")
            common = {
                "shape": level.shape,
                "dtype": np.uint8,
                "tile": structure.tile[::-1],
                "photometric": "rgb" if structure.rgb or structure.compression != "jpeg" else "ycbcr",
                "compression": None if structure.compression == "NONE" else structure.compression,
                "subfiletype": 0 if downsample == 1 or structure.vendor == "aperio" else 1,
                "metadata": None,
                "software": False,
                "extratags": tags,
                **known,
            }
            if plain:
                del common["shape"], common["dtype"]
                file.write(level, predictor=structure.predictor, **common)
            else:
                file.write(_tiles(level, structure, damage if downsample == 1 else None), **common)


def _labels(structure, downsample, width, height):
    """What tells a vendor's format, as OpenSlide looks for it (https://openslide.org/formats/)."""
    if structure.vendor == "aperio":
        return {"description": APERIO.format(width=width, height=height, tile=structure.tile[0])}
    if structure.vendor == "ventana":
        number = structure.downsamples.index(downsample)
        return {"description": f"level={number} mag={40 / downsample:g} quality=90"}
    if structure.vendor == "philips" and downsample == 1:
        levels = "".join(
            '<DataObject ObjectType="PixelDataRepresentation"><Attribute Name="DICOM_PIXEL_SPACING">'
            f"&quot;{own * 0.00025}&quot; &quot;{own * 0.00025}&quot;</Attribute></DataObject>"
            for own in structure.downsamples
        )
        return {"software": "Philips DP v1.0", "description": PHILIPS.format(levels=levels)}
    return {}


def _tiles(level, structure, damage):
    width, height = structure.tile
    number = 0
    for top in range(0, level.shape[0], height):
        for left in range(0, level.shape[1], width):
            block = level[top : top + height, left : left + width]
            beyond = ((0, height - block.shape[0]), (0, width - block.shape[1]), (0, 0))
            block = np.ascontiguousarray(np.pad(block, beyond, "edge"))
            if structure.compression == "jpeg":
                data = _jpeg(block, structure)
                if structure.shared_tables:
                    data = b"\xff\xd8" + _split(data)[1]
                if structure.jfif:
                    data = data[:2] + b"\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00" + data[2:]
            else:
                data = imagecodecs.jpeg2k_encode(block, level=40, codecformat="J2K")
            yield damage(number, data) if damage else data
            number += 1


def _jpeg(block, structure):
    """A JPEG without APPn segments, RGB or YCbCr."""
    data = io.BytesIO()
    picture = Image.fromarray(np.ascontiguousarray(block))
    picture.save(data, "jpeg", quality=80, subsampling=structure.subsampling, keep_rgb=structure.rgb)
    tables, rest = _split(data.getvalue())
    return b"\xff\xd8" + tables + rest


def _split(stream):
    """The tables of a JPEG, and the rest of it, both without start; APPn segments are left out."""
    tables, rest, place = b"", b"", 2
    while stream[place + 1] != 0xDA:
        marker, length = stream[place + 1], struct.unpack(">H", stream[place + 2 : place + 4])[0]
        segment = stream[place : place + 2 + length]
        if marker in (0xDB, 0xC4):
            tables += segment
        elif not 0xE0 <= marker <= 0xEF:
            rest += segment
        place += 2 + length
    return tables, rest + stream[place:]


def break_tile(path, level, number):
    """Overwrite the second half of a tile's bytes, so that no decoder of JPEG accepts it."""
    with tifffile.TiffFile(path) as file:
        page = file.pages[level]
        place, length = page.dataoffsets[number], page.databytecounts[number]
    with path.open("r+b") as file:
        file.seek(place + length - length // 2)
        file.write(bytes(length // 2))
