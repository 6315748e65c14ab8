"""A small slide of each format that can be written in a few lines, with what OpenSlide must say of it.

What tells a format, and where its resolution and objective power stand: https://openslide.org/formats/.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import tifffile
from PIL import Image
from pydicom.uid import ExplicitVRLittleEndian

from slidemill.testing import write_svs
from tests.dicoms import Layout, write_dicom, write_series
from tests.tiffs import Structure, write

SCN = "http://www.leica-microsystems.com/scn/2010/10/01"
CORNER = (32, 16)
"""Where Leica's image lies on the slide, in its own pixels."""


@dataclass(frozen=True)
class Format:
    """How a slide of 1024 x 768 pixels is written, and what comes out of it.

    `write` takes a folder and the pixels, and returns the file that is the slide. `why` is part of the reason for
    the reader, and `power` and `mpp` are None where the format has no place for them.
    """

    name: str
    vendor: str
    write: Callable
    downsamples: tuple
    mpp: float | None = 0.5
    power: float | None = 20
    reader: str = "tiles"
    why: str = "are as OpenSlide reads them"
    bounds: tuple | None = None


def _reduced(pixels, downsample):
    return np.asarray(Image.fromarray(pixels).reduce(downsample)) if downsample > 1 else pixels


def _generic(folder, pixels, unit="CENTIMETER", dots=20_000, **options):
    path = folder / "generic.tif"
    with tifffile.TiffWriter(path) as file:
        for downsample in (1, 2, 4):
            file.write(
                _reduced(pixels, downsample),
                **{"tile": (128, 128), "photometric": "rgb", "compression": "jpeg", "metadata": None, **options},
                subfiletype=0 if downsample == 1 else 1,
                resolution=(dots / downsample, dots / downsample),
                resolutionunit=unit,
            )
    return path


def _inches(folder, pixels):
    return _generic(folder, pixels, unit="INCH", dots=50_800, compression="lzw")


def _unitless(folder, pixels):
    return _generic(folder, pixels, unit="NONE", dots=1, compression="deflate")


def _structured(name, suffix, **structure):
    def written(folder, pixels):
        path = folder / f"{name}{suffix}"
        write(path, pixels, Structure(name, vendor=name, downsamples=(1, 2), **structure))
        return path

    return written


def _aperio(folder, pixels):
    write_svs(folder / "aperio.svs", pixels)
    return folder / "aperio.svs"


def _dicom(folder, pixels):
    return write_dicom(folder / "series", pixels)


def _plain_dicom(folder, pixels):
    return write_dicom(folder / "series", pixels, syntax=ExplicitVRLittleEndian)


def _sparse_dicom(folder, pixels):
    layout = Layout(organization="TILED_SPARSE", positions="rows", downsamples=(1, 4))
    return write_series(folder / "series", pixels, layout)


def _trestle(folder, pixels):
    path = folder / "trestle.tif"
    with tifffile.TiffWriter(path) as file:
        for downsample in (1, 2):
            file.write(
                _reduced(pixels, downsample),
                tile=(128, 128),
                photometric="rgb",
                compression="jpeg",
                metadata=None,
                software="MedScan",
                description="Background Color=F0F0F0;Objective Power=20;OverlapsXY= 0 0 0 0",
                resolution=(0.5 * downsample, 0.5 * downsample),
                resolutionunit="NONE",
            )
    return path


def _hamamatsu(folder, pixels):
    """A level is one JPEG with restart markers, which OpenSlide jumps between and shrinks by eight to more levels."""
    path = folder / "hamamatsu.ndpi"
    with tifffile.TiffWriter(path) as file:
        for downsample in (1, 4):
            level = _reduced(pixels, downsample)
            stream = io.BytesIO()
            Image.fromarray(level).save(stream, "jpeg", quality=90, subsampling=0, restart_marker_blocks=8)
            file.write(
                iter([stream.getvalue()]),
                shape=level.shape,
                dtype=np.uint8,
                photometric="ycbcr",
                subsampling=(1, 1),
                compression="jpeg",
                rowsperstrip=level.shape[0],
                metadata=None,
                resolution=(20_000 / downsample, 20_000 / downsample),
                resolutionunit="CENTIMETER",
                # The format's version, the lens, and the focal plane.
                extratags=[(65420, 4, 1, 1, True), (65421, 11, 1, 20.0 / downsample, True), (65424, 9, 1, 0, True)],
            )
    return path


def _leica(folder, pixels):
    """The image lies at `CORNER` of a slide of 1200 x 1000 pixels; a picture of the whole slide goes before it."""
    levels = [_reduced(pixels, downsample) for downsample in (16, 1, 4)]
    macro = _scn_image(levels, [0], (600_000, 500_000), (0, 0), 0.6)
    image = _scn_image(levels, [1, 2], (512_000, 384_000), tuple(500 * side for side in CORNER), 20)
    described = (
        f'<?xml version="1.0"?><scn xmlns="{SCN}"><collection name="c" sizeX="600000" sizeY="500000">'
        f"{macro}{image}</collection></scn>"
    )
    path = folder / "leica.scn"
    with tifffile.TiffWriter(path, bigtiff=True) as file:
        for number, (level, downsample) in enumerate(zip(levels, (16, 1, 4), strict=True)):
            file.write(
                level,
                tile=(128, 128),
                photometric="rgb",
                compression="jpeg",
                metadata=None,
                description=None if number else described,
                resolution=(20_000 / downsample, 20_000 / downsample),
                resolutionunit="CENTIMETER",
            )
    return path


def _scn_image(levels, numbers, size, place, power):
    dimensions = "".join(
        f'<dimension sizeX="{levels[number].shape[1]}" sizeY="{levels[number].shape[0]}" r="{order}" ifd="{number}"/>'
        for order, number in enumerate(numbers)
    )
    height, width = levels[numbers[0]].shape[:2]
    return (
        f'<image><device model="m" version="1"/><pixels sizeX="{width}" sizeY="{height}">{dimensions}</pixels>'
        f'<view sizeX="{size[0]}" sizeY="{size[1]}" offsetX="{place[0]}" offsetY="{place[1]}"/><scanSettings>'
        f"<objectiveSettings><objective>{power}</objective></objectiveSettings><illuminationSettings>"
        "<numericalAperture>0.4</numericalAperture><illuminationSource>brightfield</illuminationSource>"
        "</illuminationSettings></scanSettings></image>"
    )


ALONE = "is read only by OpenSlide"
FORMATS = [
    Format("Aperio", "aperio", _aperio, (1, 4, 16)),
    Format("generic, per centimetre", "generic-tiff", _generic, (1, 2, 4), power=None),
    Format("generic, per inch", "generic-tiff", _inches, (1, 2, 4), power=None),
    Format("generic, no unit", "generic-tiff", _unitless, (1, 2, 4), mpp=None, power=None),
    Format("Philips", "philips", _structured("philips", ".tiff", tile=(512, 512)), (1, 2), mpp=0.25, power=None),
    Format("Ventana", "ventana", _structured("ventana", ".bif", tile=(256, 256)), (1, 2), mpp=0.25, power=40),
    Format("DICOM, JPEG", "dicom", _dicom, (1, 4)),
    Format("DICOM, plain", "dicom", _plain_dicom, (1, 4)),
    Format("DICOM, sparse", "dicom", _sparse_dicom, (1, 4), reader="openslide", why="laid out as TILED_SPARSE"),
    Format("Hamamatsu", "hamamatsu", _hamamatsu, (1, 2, 4, 8, 16, 32), reader="openslide", why=ALONE),
    Format("Trestle", "trestle", _trestle, (1, 2), reader="openslide", why=ALONE),
    Format("Leica", "leica", _leica, (1, 4), reader="openslide", why=ALONE, bounds=(*CORNER, 1024, 768)),
]
