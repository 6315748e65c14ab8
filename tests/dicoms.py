"""Whole slides in DICOM (PS3.3, A.32.8: VL Whole Slide Microscopy), written by pydicom, a file for each level."""

import io

import numpy as np
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, JPEGBaseline8Bit, VLWholeSlideMicroscopyImageStorage

ROOT = "1.2.826.0.1.3680043.8.498.7"
SERIES = f"{ROOT}.1"


def write_dicom(folder, pixels, tile=128, downsamples=(1, 4), mpp=0.5, power=20, syntax=JPEGBaseline8Bit, icc=None):
    """Write a series, ``level-<n>.dcm`` in `folder`; without `syntax` as JPEG, its frames are not compressed."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, downsample in enumerate(downsamples):
        level = np.asarray(Image.fromarray(pixels).reduce(downsample)) if downsample > 1 else pixels
        dataset = _instance(number, level, tile, mpp * downsample if mpp else None, power, icc)
        frames = [_frame(block, syntax) for block in _blocks(level, tile)]
        dataset.NumberOfFrames = len(frames)
        dataset.file_meta.TransferSyntaxUID = syntax
        dataset.PhotometricInterpretation = "YBR_FULL_422" if syntax == JPEGBaseline8Bit else "RGB"
        if syntax == JPEGBaseline8Bit:
            dataset.LossyImageCompression = "01"
            dataset.PixelData = encapsulate(frames)
            dataset["PixelData"].VR = "OB"
            dataset["PixelData"].is_undefined_length = True
        else:
            dataset.PixelData = b"".join(frames)
            dataset["PixelData"].VR = "OB"
        dataset.save_as(folder / f"level-{number}.dcm", enforce_file_format=True)
    return folder / "level-0.dcm"


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
    dataset.DimensionOrganizationType = "TILED_FULL"
    dataset.Rows = dataset.Columns = tile
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
    for top in range(0, level.shape[0], tile):
        for left in range(0, level.shape[1], tile):
            block = level[top : top + tile, left : left + tile]
            beyond = ((0, tile - block.shape[0]), (0, tile - block.shape[1]), (0, 0))
            yield np.ascontiguousarray(np.pad(block, beyond, "edge"))


def _frame(block, syntax):
    if syntax != JPEGBaseline8Bit:
        return block.tobytes()
    data = io.BytesIO()
    Image.fromarray(block).save(data, "jpeg", quality=90, subsampling="4:2:2")
    return data.getvalue()
