"""Turning a patch into bytes and back: one registry of encodings."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import imagecodecs
import numpy as np
import numpy.typing as npt
import xxhash

from slidemill.core import jpeg
from slidemill.core.text import AGAIN
from slidemill.errors import StoreError

Pixels = npt.NDArray[np.uint8]
Shape = tuple[int, int, int]
Buffer = bytes | memoryview
"""Bytes, one after another, that may lie in somebody else's memory."""

UINT8 = np.dtype(np.uint8)
DIGEST = "xxh3_128"
"""Name of the digest in manifests: 128 bits of XXH3, in hex. It tells damage, not intent."""


FRAME_HEADER, CHECKED = 4, 0b100
"""The byte of a zstd frame that describes it, after the magic number; and its bit for a checksum."""


@dataclass(frozen=True, slots=True)
class Encoding:
    """A way to store one patch.

    Parameters
    ----------
    name
        Its name in the configuration and in manifests.
    suffix
        What files of single patches end in.
    lossless
        Whether decoding gives the slide's own pixels.
    encode
        ``(pixels, quality) -> bytes``; `quality` counts for JPEG alone. The bytes may be the pixels' own memory.
        None where patches are copied from the slide as they are.
    decode
        ``(bytes, shape) -> uint8 (height, width, 3)``, an array of the caller's own; raises ValueError, OSError or
        RuntimeError on broken bytes.
    """

    name: str
    suffix: str
    lossless: bool
    encode: Callable[[Pixels, int | None], Buffer] | None
    decode: Callable[[Buffer, Shape], Pixels]


class EncodedPatch(NamedTuple):
    """A patch as it is stored: its bytes, their digest, and that of its pixels (empty where it is not known)."""

    data: Buffer
    byte_digest: str
    pixel_digest: str = ""


def digest(data: Buffer | Pixels) -> str:
    """Return the digest of bytes, or of a patch's pixels in C order."""
    return xxhash.xxh3_128_hexdigest(data.data if isinstance(data, np.ndarray) else data)


def encode_patch(encoding: Encoding, quality: int | None, pixels: Pixels) -> EncodedPatch:
    """Return a patch as it is stored; where the encoding is raw, its bytes are the pixels' own memory."""
    if encoding.encode is None:
        raise StoreError(f"encoding {encoding.name} takes its bytes from the slide: give none of pixels")
    data = encoding.encode(pixels, quality)
    byte_digest = digest(data)
    if not encoding.lossless:
        return EncodedPatch(data, byte_digest)
    return EncodedPatch(data, byte_digest, byte_digest if encoding is RAW else digest(pixels))


def decode_patch(encoding: Encoding, data: Buffer, shape: Shape) -> Pixels:
    """Return the pixels that `data` holds, in an array of the caller's own.

    Raises
    ------
    StoreError
        When the bytes are broken, or hold an image of another shape.
    """
    try:
        pixels = encoding.decode(data, shape)
    except (ValueError, OSError, EOFError, SyntaxError, RuntimeError) as error:
        raise StoreError(f"{len(data)} bytes are no {encoding.name} patch ({error}): {AGAIN}") from None
    if pixels.shape != shape or pixels.dtype is not UINT8:
        raise StoreError(f"the patch is {pixels.dtype} {pixels.shape} where {shape} of uint8 was stored: {AGAIN}")
    return pixels


def _encode_raw(pixels: Pixels, _quality: int | None) -> Buffer:
    return np.ascontiguousarray(pixels).data.cast("B")


def _decode_raw(data: Buffer, shape: Shape) -> Pixels:
    return np.frombuffer(data, np.uint8).reshape(shape).copy()


def _encode_zstd(pixels: Pixels, _quality: int | None) -> Buffer:
    pixels = np.ascontiguousarray(pixels)
    frame = bytearray(imagecodecs.zstd_encode(pixels, level=1))
    if not frame[FRAME_HEADER] & CHECKED:
        # imagecodecs asks for no checksum: without it, nearly all flipped bits decode to other pixels without an error.
        # RFC 8878, 3.1.1: a flag in the header, and at the end the low 32 bits of the content's XXH64, little-endian.
        frame[FRAME_HEADER] |= CHECKED
        frame += (xxhash.xxh64_intdigest(pixels.data) & 0xFFFFFFFF).to_bytes(4, "little")
    return bytes(frame)


def _decode_zstd(data: Buffer, shape: Shape) -> Pixels:
    pixels = np.empty(shape, np.uint8)
    # Fewer bytes than the patch has would leave the rest of the array as it came from memory.
    size = len(imagecodecs.zstd_decode(data, out=pixels.data.cast("B")))
    if size != pixels.nbytes:
        raise ValueError(f"{size} bytes of pixels, not {pixels.nbytes}")
    return pixels


def _encode_npy(pixels: Pixels, _quality: int | None) -> Buffer:
    return _npy_head(pixels.shape) + pixels.tobytes()


def _decode_npy(data: Buffer, shape: Shape) -> Pixels:
    head = _npy_head(shape)
    # NumPy reads whatever a head says, as Python code and without bounds; what was written is known here.
    if data[: len(head)] != head:
        raise ValueError("another head than these patches have")
    return _decode_raw(data[len(head) :], shape)


@cache
def _npy_head(shape: Shape) -> bytes:
    """Return what stands before the pixels in a .npy file (https://numpy.org/neps/nep-0001-npy-format.html)."""
    file = io.BytesIO()
    head = {"descr": UINT8.str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, head)
    return file.getvalue()


def _encode_png(pixels: Pixels, _quality: int | None) -> Buffer:
    # Of all levels, strategies and filters, run lengths of differences to the row above took the least time, a
    # third of Pillow's at its level 1 for the same bytes and the same time to decode (benchmarks/RESULTS.md).
    data: bytes = imagecodecs.png_encode(
        np.ascontiguousarray(pixels),
        level=1,
        strategy=imagecodecs.PNG.STRATEGY.RLE,
        filter=imagecodecs.PNG.FILTER.UP,
    )
    return data


def _decode_png(data: Buffer, shape: Shape) -> Pixels:
    # A few bytes may claim gigabytes: IHDR comes first, after eight bytes that all begin with and eight of its own
    # (https://www.w3.org/TR/png-3/#11IHDR).
    width, height = (int.from_bytes(data[place : place + 4], "big") for place in (16, 20))
    _check_size(width, height, shape)
    pixels: Pixels = imagecodecs.png_decode(data)
    return pixels


def _check_size(width: int, height: int, shape: Shape) -> None:
    """Raise ValueError where a picture's head claims another size than `shape` has, before any is decoded."""
    if (height, width) != shape[:2]:
        raise ValueError(f"{width} x {height} pixels, not {shape[1]} x {shape[0]}")


def _encode_jpeg(pixels: Pixels, quality: int | None) -> Buffer:
    return jpeg.encode(np.ascontiguousarray(pixels), quality or 0)


def _decode_jpeg(data: Buffer, shape: Shape) -> Pixels:
    _check_size(*jpeg.size(data), shape)
    return jpeg.decode(data)


RAW = Encoding("raw", ".raw", True, _encode_raw, _decode_raw)
NPY = Encoding("npy", ".npy", True, _encode_npy, _decode_npy)
ZSTD = Encoding("zstd", ".zst", True, _encode_zstd, _decode_zstd)
PNG = Encoding("png", ".png", True, _encode_png, _decode_png)
JPEG = Encoding("jpeg", ".jpg", False, _encode_jpeg, _decode_jpeg)
SOURCE = Encoding("source", ".jpg", True, None, _decode_jpeg)

ENCODINGS: Mapping[str, Encoding] = {encoding.name: encoding for encoding in (RAW, NPY, ZSTD, PNG, JPEG, SOURCE)}
"""Every encoding by its name; a folder of files has ``npy`` where the configuration says ``raw``."""
