"""Read the frames of DICOM whole-slide images as tiles.

Unknown structures are rejected with a reason, so that OpenSlide reads them. Structure: PS3.3, A.32.8 and C.7.6.17.3
(TILED_FULL), PS3.5, A.4 (compressed frames, basic offset table), PS3.3, C.7.6.3.1.8 (extended offset table).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import imagecodecs
import numpy as np

from slidemill.core import jpeg
from slidemill.core.encodings import Pixels
from slidemill.core.pyramid import Size
from slidemill.tiles import tiled_level
from slidemill.tiles._dicom_frames import EXTENDED, Places, find_frames, join_fragments, read_table
from slidemill.tiles.dicom_elements import (
    SERIES,
    TRANSFER_SYNTAX,
    UNDEFINED,
    WHOLE_SLIDE,
    DicomError,
    elements,
    text_of,
    value_of,
)
from slidemill.tiles.tiled_level import Decode, TiledLevel, TilesError, decode_jpeg

VENDOR = "dicom"
"""OpenSlide's name of the format."""

SYNTAXES = {
    "1.2.840.10008.1.2.1": ("", ("RGB",)),
    "1.2.840.10008.1.2.4.50": ("jpeg", ("RGB", "YBR_FULL_422")),
    "1.2.840.10008.1.2.4.90": ("jpeg2000", ("RGB", "YBR_RCT")),
    "1.2.840.10008.1.2.4.91": ("jpeg2000", ("RGB", "YBR_RCT", "YBR_ICT")),
}
"""Transfer syntaxes with the form of their frames, and the colours with which OpenSlide reads them.

JPEG decoders need the colours as an argument. JPEG 2000 streams state how their components become RGB.
"""

MEDIA_CLASS, IMAGE_TYPE = 0x0002_0002, 0x0008_0008
CONCATENATION, ORGANIZATION = 0x0020_9161, 0x0020_9311
SAMPLES, PHOTOMETRIC, PLANAR, FRAMES = 0x0028_0002, 0x0028_0004, 0x0028_0006, 0x0028_0008
ROWS, COLUMNS = 0x0028_0010, 0x0028_0011
ALLOCATED, STORED, HIGH_BIT, SIGNED = 0x0028_0100, 0x0028_0101, 0x0028_0102, 0x0028_0103
WIDTH, HEIGHT, FOCAL_PLANES = 0x0048_0006, 0x0048_0007, 0x0048_0303
PER_FRAME, OFFSETS, PIXELS = 0x5200_9230, 0x7FE0_0001, 0x7FE0_0010
KEPT = frozenset(
    {MEDIA_CLASS, TRANSFER_SYNTAX, IMAGE_TYPE, SERIES, CONCATENATION, ORGANIZATION, SAMPLES, PHOTOMETRIC}
    | {PLANAR, FRAMES, ROWS, COLUMNS, ALLOCATED, STORED, HIGH_BIT, SIGNED, WIDTH, HEIGHT, FOCAL_PLANES}
)
BYTES = {SAMPLES: 3, PLANAR: 0, ALLOCATED: 8, STORED: 8, HIGH_BIT: 7, SIGNED: 0}
"""What three interleaved bytes a pixel have."""

POSITION = re.compile(rb"\x48\x00\x1e\x02SL\x04\x00(.{4})\x48\x00\x1f\x02SL\x04\x00(.{4})", re.DOTALL)
"""A frame's first column and row, counted from 1, as signed numbers of 4 bytes."""
POSITION_SIZE = 24
CHUNK = 1 << 20

LONGEST_HEAD = 65_536
"""Bytes that a compressed frame may have in addition to twice its pixels'; more are damage."""

MOST_FRAMES = 1 << 22
"""Frames above which a file is left to OpenSlide; their places take 100 MB."""


@dataclass(frozen=True, slots=True)
class _Instance:
    """A file of the slide, and the values of its elements that are needed, by tag."""

    path: Path
    values: dict[int, bytes]

    def text(self, tag: int) -> str:
        """Return the text of an element; none where it is missing."""
        return text_of(self.values.get(tag)).decode("ascii", "replace")

    def number(self, tag: int, default: int = -1) -> int:
        """Return the integer of an element, written in digits or in bytes."""
        value = self.values.get(tag)
        if value is None:
            return default
        return int(value) if tag == FRAMES else int.from_bytes(value, "little")

    @property
    def is_level(self) -> bool:
        """Whether it is a level of a slide, and not its label or an overview."""
        return self.text(MEDIA_CLASS) == WHOLE_SLIDE.decode() and self.text(IMAGE_TYPE).split("\\")[2:3] == ["VOLUME"]

    @property
    def size(self) -> Size:
        """``(width, height)`` of the level in its pixels."""
        return self.number(WIDTH), self.number(HEIGHT)

    @property
    def tile(self) -> Size:
        """``(width, height)`` of a frame."""
        return self.number(COLUMNS), self.number(ROWS)

    @property
    def frames(self) -> int:
        """Number of frames."""
        return self.number(FRAMES, 1)


@contextmanager
def open_dicom(path: Path, size: Size) -> Iterator[TiledLevel]:
    """Open the frames of the level of a size, and close the file when the block ends.

    Parameters
    ----------
    path
        A file of the slide; the level may be in another one of its folder.
    size
        ``(width, height)`` of the level in its pixels.

    Raises
    ------
    TilesError
        When its structure is unknown; the message says what is.
    """
    try:
        instance = _instance(path, size)
        file = os.open(instance.path, os.O_RDONLY)
    except (ValueError, OSError) as error:
        raise TilesError(f"its files cannot be read as DICOM ({error})") from None
    try:
        try:
            level = _tiled_level(instance, file)
        except (ValueError, OSError) as error:  # elements may be anything
            raise TilesError(f"{instance.path.name} cannot be read as DICOM ({error})") from None
        yield level
    finally:
        os.close(file)


def _instance(path: Path, size: Size) -> _Instance:
    """Return the one file of the slide that holds the level of a size."""
    series = _read(path).text(SERIES)
    found = []
    for file in sorted(path.parent.iterdir()):
        try:
            one = _read(file) if file.is_file() else None
        except (DicomError, OSError):  # it is none of the slide
            continue
        if one and one.is_level and one.text(SERIES) == series and one.size == size:
            found.append(one)
    if len(found) != 1:
        parts = ", a concatenation" if any(CONCATENATION in one.values for one in found) else ""
        raise TilesError(f"{len(found)} of its files have the level's size, {size[0]} x {size[1]}{parts}")
    return found[0]


def _read(path: Path) -> _Instance:
    """Return what a file says of its image."""
    values: dict[int, bytes] = {}
    file = os.open(path, os.O_RDONLY)
    try:
        for tag, _, start, length in elements(file):
            if tag > FOCAL_PLANES:
                break
            if tag in KEPT:
                values[tag] = value_of(file, start, length)
    finally:
        os.close(file)
    return _Instance(path, values)


def _tiled_level(instance: _Instance, file: int) -> TiledLevel:
    if fault := _fault(instance):
        raise TilesError(fault)
    form, tile = SYNTAXES[instance.text(TRANSFER_SYNTAX)][0], instance.tile
    begins, ends = _frames(instance, file)
    if ends[-1] > os.fstat(file).st_size:
        raise TilesError("the file ends before its last frame")
    if (begins >= ends).any() or (ends - begins).max() > 2 * tile[0] * tile[1] * 3 + LONGEST_HEAD:
        raise TilesError("its table of offsets is not one of frames that follow each other")
    decoders: dict[str, Decode] = {"jpeg": decode_jpeg, "jpeg2000": _jpeg2000_decoder(tile), "": _plain}
    return TiledLevel(
        size=instance.size,
        tile=tile,
        across=-(-instance.size[0] // tile[0]),
        offsets=begins.data,
        counts=(ends - begins).data,
        jpeg_head=jpeg.tile_head(b"", instance.text(PHOTOMETRIC) == "RGB") if form == "jpeg" else b"",
        _decode=decoders[form],
        _file=file,
        form=form,
        _unwrap=join_fragments if form else None,
    )


def _fault(instance: _Instance) -> str:
    """Return why a file's structure is not supported, or an empty text if it is."""
    tile, syntax, colours = instance.tile, instance.text(TRANSFER_SYNTAX), instance.text(PHOTOMETRIC)
    if CONCATENATION in instance.values:
        return "its level is a concatenation"
    if instance.text(ORGANIZATION) != "TILED_FULL":
        return f"its frames are laid out as {instance.text(ORGANIZATION) or 'nothing says'}, not as TILED_FULL"
    if syntax not in SYNTAXES or colours not in SYNTAXES[syntax][1]:
        return f"its transfer syntax is {syntax}, and its colours are {colours}"
    if any(instance.number(tag) != wanted for tag, wanted in BYTES.items()):
        return "its pixels are not three interleaved bytes"
    if instance.number(FOCAL_PLANES, 1) != 1:
        return f"it has {instance.number(FOCAL_PLANES)} focal planes"
    if min(tile) < 1 or tile[0] * tile[1] * 3 > tiled_level.LARGEST_TILE:
        return f"its tiles of {tile[0]} x {tile[1]} pixels are larger than are read here"
    across, down = -(-instance.size[0] // tile[0]), -(-instance.size[1] // tile[1])
    if instance.frames > MOST_FRAMES:
        return f"it has {instance.frames:,} frames, more than are read here"
    if instance.frames != across * down:
        return f"it has {instance.frames} frames where {across} x {down} are needed"
    return ""


def _frames(instance: _Instance, file: int) -> tuple[Places, Places]:
    """Return where the frames begin and end in the file; compressed ones with the headers of their fragments."""
    is_compressed, count = SYNTAXES[instance.text(TRANSFER_SYNTAX)][0] != "", instance.frames
    offsets: Places | None = None
    positions = 0
    for tag, place, start, length in elements(file):
        if positions:
            _check_positions(instance, file, positions, place)
            positions = 0
        if tag == PER_FRAME:
            positions = start
        elif tag == OFFSETS:
            offsets = read_table(file, start, length, count=count, kind=EXTENDED)
        elif tag == PIXELS:
            if is_compressed != (length == UNDEFINED):
                raise TilesError("its pixels are not stored as its transfer syntax says")
            if is_compressed:
                return find_frames(file, start, count, offsets=offsets)
            size = instance.tile[0] * instance.tile[1] * 3
            if length < count * size or offsets is not None:
                raise TilesError(f"its pixels have {length} bytes, and {count} frames need {count * size}")
            begins = start + size * np.arange(count, dtype=np.int64)
            return begins, begins + size
    raise TilesError("it has no pixels")


def _check_positions(instance: _Instance, file: int, start: int, end: int) -> None:
    """Check that frames which state their places are in the order of TILED_FULL; then OpenSlide reads them so.

    Raises
    ------
    TilesError
        When they are in another order.
    """
    found, rest = bytearray(), b""
    for place in range(start, end, CHUNK):
        data = rest + os.pread(file, min(CHUNK, end - place), place)
        last = 0
        for match in POSITION.finditer(data):
            found += match[1] + match[2]
            last = match.end()
        if len(found) > 8 * instance.frames:
            break
        rest = data[max(last, len(data) - POSITION_SIZE + 1) :]
    if not found:
        return
    width, height = instance.tile
    across = -(-instance.size[0] // width)
    rows, columns = np.divmod(np.arange(instance.frames, dtype=np.int64), across)
    wanted = np.stack([columns * width + 1, rows * height + 1], axis=1)
    if not np.array_equal(np.frombuffer(bytes(found), "<i4").reshape(-1, 2), wanted):
        raise TilesError("its frames are not in the order of TILED_FULL, row by row")


def _jpeg2000_decoder(tile: Size) -> Decode:
    def decoded(data: bytes, _buffer: Pixels) -> Pixels:
        if (size := jpeg.jpeg2000_size(data)) != tile:
            raise ValueError(f"{size[0]} x {size[1]} pixels")
        pixels: Pixels = imagecodecs.jpeg2k_decode(data)
        return pixels

    return decoded


def _plain(data: bytes, buffer: Pixels) -> Pixels:
    return np.frombuffer(data, np.uint8).reshape(buffer.shape)
