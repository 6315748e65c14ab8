"""Whole slides in DICOM (PS3.3, A.32.8: VL Whole Slide Microscopy), written by pydicom, a file for each level."""

import io
from collections.abc import Callable
from dataclasses import dataclass

import imagecodecs
import numpy as np
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.sequence import Sequence
from pydicom.uid import (
    JPEG2000,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    VLWholeSlideMicroscopyImageStorage,
)

ROOT = "1.2.826.0.1.3680043.8.498.7"
SERIES = f"{ROOT}.1"


@dataclass(frozen=True)
class Layout:
    """How the files of a series are laid out: a name for tests, its frames, their colours, and where they are found."""

    name: str = ""
    tile: tuple = (128, 128)  # width, height
    syntax: str = JPEGBaseline8Bit
    colours: str = ""  # of the transfer syntax, where it is not said
    subsampling: str = "4:2:2"
    table: str = "basic"  # or extended, or none
    fragments: int = 1
    organization: str = "TILED_FULL"
    positions: str = ""  # "rows" or "columns": frames say where they lie
    downsamples: tuple = (1,)
    frame: Callable | None = None
    """``(number, bytes) -> bytes`` may change frames of the first level."""
    edit: Callable | None = None
    """Takes the dataset of the first level before it is written, and may change it."""


COLOURS = {
    JPEGBaseline8Bit: "YBR_FULL_422",
    JPEG2000: "YBR_ICT",
    JPEG2000Lossless: "YBR_RCT",
    ExplicitVRLittleEndian: "RGB",
}

LAYOUTS = [
    Layout("JPEG"),
    Layout("JPEG 4:4:4, extended table", subsampling="4:4:4", table="extended"),
    Layout("JPEG 4:2:0, no table", subsampling="4:2:0", table="none"),
    Layout("JPEG, RGB", colours="RGB"),
    Layout("JPEG, three fragments a frame", fragments=3),
    Layout("JPEG, three fragments a frame, extended table", fragments=3, table="extended"),
    Layout("JPEG, oblong frames", tile=(64, 176)),
    Layout("JPEG, one frame in pieces, no table", tile=(2048, 1024), fragments=4, table="none"),
    Layout("JPEG, frames that say where they lie", positions="rows"),
    Layout("JPEG 2000, ICT", syntax=JPEG2000),
    Layout("JPEG 2000, RCT", syntax=JPEG2000Lossless, table="extended"),
    Layout("JPEG 2000, RGB", syntax=JPEG2000, colours="RGB", table="none"),
    Layout("not compressed", syntax=ExplicitVRLittleEndian),
    Layout("not compressed, odd frames", syntax=ExplicitVRLittleEndian, tile=(61, 37)),
]


def write_dicom(folder, pixels, tile=128, downsamples=(1, 4), mpp=0.5, power=20, syntax=JPEGBaseline8Bit, icc=None):
    """Write a series, ``level-<n>.dcm`` in `folder`; without `syntax` as JPEG, its frames are not compressed."""
    return write_series(
        folder, pixels, Layout(tile=(tile, tile), syntax=syntax, downsamples=downsamples), mpp=mpp, power=power, icc=icc
    )


def write_series(folder, pixels, layout, mpp=0.5, power=20, icc=None):
    """Write a series of a layout, ``level-<n>.dcm`` in `folder`, and return its first file."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, downsample in enumerate(layout.downsamples):
        level = np.asarray(Image.fromarray(pixels).reduce(downsample)) if downsample > 1 else pixels
        dataset = _instance(number, level, layout.tile, mpp * downsample if mpp else None, power, icc)
        frames = [_frame(block, layout) for block in _blocks(level, layout.tile)]
        if layout.frame and not number:
            frames = [layout.frame(place, data) for place, data in enumerate(frames)]
        dataset.NumberOfFrames = len(frames)
        dataset.file_meta.TransferSyntaxUID = layout.syntax
        dataset.PhotometricInterpretation = _colours(layout)
        dataset.DimensionOrganizationType = layout.organization
        if not layout.organization:
            del dataset.DimensionOrganizationType
        if layout.positions:
            dataset.PerFrameFunctionalGroupsSequence = _positions(level, layout)
        _add_pixels(dataset, frames, layout)
        if layout.edit and not number:
            layout.edit(dataset)
        dataset.save_as(folder / f"level-{number}.dcm", enforce_file_format=True)
    return folder / "level-0.dcm"


def _colours(layout):
    return layout.colours or COLOURS[layout.syntax]


def _add_pixels(dataset, frames, layout):
    if layout.syntax == ExplicitVRLittleEndian:
        dataset.PixelData = b"".join(frames)
        dataset.PixelData += bytes(len(dataset.PixelData) % 2)
    elif layout.table == "extended":
        if layout.fragments > 1:
            # pydicom writes it for single fragments.
            data = encapsulate(frames, fragments_per_frame=layout.fragments, has_bot=True)
            count = len(frames)
            offsets = np.frombuffer(data, "<u4", count, 8).astype("<u8").tobytes()
            dataset.PixelData = data[:4] + bytes(4) + data[8 + 4 * count :]
            dataset.ExtendedOffsetTable = offsets
            dataset.ExtendedOffsetTableLengths = np.array([len(one) for one in frames], "<u8").tobytes()
        else:
            data, offsets, lengths = encapsulate_extended(frames)
            dataset.PixelData = data
            dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths = offsets, lengths
    else:
        dataset.PixelData = encapsulate(frames, fragments_per_frame=layout.fragments, has_bot=layout.table == "basic")
    dataset["PixelData"].VR = "OB"
    if layout.syntax != ExplicitVRLittleEndian:
        dataset.LossyImageCompression = "01"
        dataset["PixelData"].is_undefined_length = True


def _positions(level, layout):
    """Where each frame begins, row by row, or column by column."""
    width, height = layout.tile
    places = [(x, y) for y in range(0, level.shape[0], height) for x in range(0, level.shape[1], width)]
    if layout.positions == "columns":
        places.sort()
    items = []
    for x, y in places:
        position, item = Dataset(), Dataset()
        position.ColumnPositionInTotalImagePixelMatrix = x + 1
        position.RowPositionInTotalImagePixelMatrix = y + 1
        item.PlanePositionSlideSequence = Sequence([position])
        items.append(item)
    return Sequence(items)


def _instance(number, level, tile, mpp, power, icc):
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = VLWholeSlideMicroscopyImageStorage
    meta.MediaStorageSOPInstanceUID = f"{ROOT}.2.{number}"
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = Dataset()
    dataset.file_meta = meta
    dataset.SOPClassUID = meta.MediaStorageSOPClassUID
    dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    dataset.StudyInstanceUID = f"{ROOT}.3"
    dataset.SeriesInstanceUID = SERIES
    dataset.FrameOfReferenceUID = f"{ROOT}.4"
    dataset.Modality = "SM"
    dataset.Manufacturer = "slidemill's tests"
    dataset.InstanceNumber = number + 1
    dataset.ImageType = ["DERIVED" if number else "ORIGINAL", "PRIMARY", "VOLUME", "RESAMPLED" if number else "NONE"]
    dataset.Columns, dataset.Rows = tile
    dataset.TotalPixelMatrixRows, dataset.TotalPixelMatrixColumns = level.shape[:2]
    dataset.SamplesPerPixel = 3
    dataset.PlanarConfiguration = 0
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit = 7
    dataset.PixelRepresentation = 0
    path = Dataset()
    path.OpticalPathIdentifier = "0"
    if power:
        path.ObjectiveLensPower = power
    if icc:
        path.ICCProfile = icc
    dataset.OpticalPathSequence = Sequence([path])
    if mpp:
        measures, groups = Dataset(), Dataset()
        measures.PixelSpacing = [mpp / 1000, mpp / 1000]
        groups.PixelMeasuresSequence = Sequence([measures])
        dataset.SharedFunctionalGroupsSequence = Sequence([groups])
    return dataset


def _blocks(level, tile):
    """Yield the level's tiles row by row (TILED_FULL), those at the edges filled up."""
    width, height = tile
    for top in range(0, level.shape[0], height):
        for left in range(0, level.shape[1], width):
            block = level[top : top + height, left : left + width]
            beyond = ((0, height - block.shape[0]), (0, width - block.shape[1]), (0, 0))
            yield np.ascontiguousarray(np.pad(block, beyond, "edge"))


def _frame(block, layout):
    if layout.syntax == ExplicitVRLittleEndian:
        return block.tobytes()
    if layout.syntax in (JPEG2000, JPEG2000Lossless):
        level, lossless = (0, True) if layout.syntax == JPEG2000Lossless else (40, False)
        mct = _colours(layout) != "RGB"
        return imagecodecs.jpeg2k_encode(block, level=level, codecformat="J2K", mct=mct, reversible=lossless)
    data, rgb = io.BytesIO(), _colours(layout) == "RGB"
    subsampling = "4:4:4" if rgb else layout.subsampling
    Image.fromarray(block).save(data, "jpeg", quality=90, subsampling=subsampling, keep_rgb=rgb)
    return data.getvalue()
