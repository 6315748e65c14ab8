"""Layout of slideflow: the patches' pixels as TFRecords, and their features as bags, each with an index.

TFRecords are as ``tfrecord/writer.py`` and ``util/tfrecord2idx.py`` of slideflow 3.0 write and read them. A record is
the length of the payload (8 bytes), the checksum of these, the payload, and its checksum; numbers are little-endian.
The payload is TensorFlow's ``Example`` in Protocol Buffers: https://protobuf.dev/programming-guides/encoding/.

Bags are as ``model/features.py`` writes them, and ``mil/`` and ``dataset.py`` read them: a tensor per slide, the
centres of the patches, and a file that describes how the features of the folder were computed.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import numpy.typing as npt

from slidemill.datasets.export import image_files
from slidemill.exchange._features import FeatureSet, SlideFeatures
from slidemill.exchange.exported_slide import ExportedSlide

MASK = 0xA282EAD8
"""Added to rotated checksums, so that a checksum of data with checksums is as good."""

LENGTH_DELIMITED = 2
"""The wire type of texts, messages and packed numbers in Protocol Buffers."""


def folder_name(own: ExportedSlide) -> str:
    """Return slideflow's name for tiles of a size: pixels and micrometres, such as ``256px_128um``."""
    pixels, width = own.spec.patch_size, _micrometres(own)
    return f"{pixels}px" if width is None else f"{pixels}px_{width}um"


def write(own: ExportedSlide, folder: Path, features: Sequence[FeatureSet], *, pixels: bool) -> Iterator[int]:
    """Write the patches of a slide; yield the number of patches.

    Parameters
    ----------
    own
        The slide; without patches, no file is written.
    folder
        The folder of the export.
    features
        Sets of features, each of which is written as a bag.
    pixels
        Whether TFRecords are written.
    """
    if not len(own.table):
        return
    place = folder / folder_name(own)
    place.mkdir(exist_ok=True)
    centres = own.coords + own.side // 2
    for each in features:
        _write_bag(own, place / f"bags_{each.name}", each.of(own), centres)
    if pixels:
        yield from _write_records(own, place, centres)
    else:
        yield len(own.table)


def _write_records(own: ExportedSlide, place: Path, centres: npt.NDArray[np.int64]) -> Iterator[int]:
    """Write the patches as TFRecords, and their index; yield 1 per patch."""
    from google_crc32c import value as checksum

    spans = np.empty((len(centres), 2), np.int64)
    start = 0
    with (
        (place / f"{own.name}.tfrecords").open("wb") as file,
        closing(image_files(own.patches)) as images,
    ):
        for number, (image, (x, y)) in enumerate(zip(images, centres.tolist(), strict=True)):
            record = _record(_example(image, own.name, x, y), checksum)
            file.write(record)
            spans[number] = start, len(record)
            start += len(record)
            yield 1
    np.savez(place / f"{own.name}.index.npz", arr_0=spans, locations=centres)


def _write_bag(own: ExportedSlide, place: Path, found: SlideFeatures, centres: npt.NDArray[np.int64]) -> None:
    """Write the features of a slide, the centres of its patches, and how the bags of the folder were computed."""
    assert found.file is not None  # of a slide with patches
    place.mkdir(exist_ok=True)
    found.save_tensor(place / f"{own.name}.pt")
    np.savez(place / f"{own.name}.index.npz", arr_0=centres)
    config = place / "bags_config.json"
    if not config.exists():
        model, width = found.file.manifest, _micrometres(own)
        # slideflow imports the class when it computes features itself, and reports that it cannot.
        extractor = {"class": f"slidemill.{model.name}", "kwargs": {"model": model.model, "weights": model.weights}}
        values = {
            "extractor": extractor,
            "normalizer": None,
            "num_features": found.dim,
            "tile_px": own.spec.patch_size,
            **({} if width is None else {"tile_um": width}),
        }
        config.write_text(json.dumps(values, indent=1), encoding="utf-8")


def _micrometres(own: ExportedSlide) -> int | None:
    """Return the side of a patch in whole micrometres; None if the slide's mpp is unknown."""
    mpp = own.info.mpp
    return None if mpp is None else round(mpp * own.grid.downsample * own.spec.patch_size)


def _record(payload: bytes, checksum: Callable[[bytes], int]) -> bytes:
    def masked(data: bytes) -> bytes:
        found = checksum(data)
        # Rotated right by 15 bits.
        return struct.pack("<I", ((found >> 15 | found << 17) + MASK) & 0xFFFFFFFF)

    length = struct.pack("<Q", len(payload))
    return length + masked(length) + payload + masked(payload)


def _example(image: bytes, slide: str, x: int, y: int) -> bytes:
    """Return an ``Example`` with the features of a tile."""
    # Feature is a choice of BytesList (field 1) and Int64List (field 3), each with its values in field 1.
    features = {
        "image_raw": _field(1, _field(1, image)),
        "slide": _field(1, _field(1, slide.encode())),
        "loc_x": _field(3, _field(1, _varint(x))),
        "loc_y": _field(3, _field(1, _varint(y))),
    }
    entries = (_field(1, _field(1, name.encode()) + _field(2, value)) for name, value in features.items())
    return _field(1, b"".join(entries))


def _field(number: int, value: bytes) -> bytes:
    return _varint(number << 3 | LENGTH_DELIMITED) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    """Return a whole number in groups of seven bits, the lowest first; negative ones have 64 bits."""
    value &= 0xFFFF_FFFF_FFFF_FFFF
    groups = bytearray()
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    groups.append(value)
    return bytes(groups)
