"""Patch encodings, which convert pixels to bytes and back."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import imagecodecs
import numpy as np
import numpy.typing as npt
import simplejpeg
import xxhash

from slidemill.core.text import AGAIN
from slidemill.errors import StoreError

if TYPE_CHECKING:
    import zstandard

Pixels = npt.NDArray[np.uint8]
Shape = tuple[int, int, int]
Buffer = bytes | memoryview
"""Contiguous bytes, possibly in memory of another owner."""

UINT8 = np.dtype(np.uint8)
DIGEST = "xxh3_128"
"""Name of the digest in manifests: 128 bits of XXH3, in hex. Detects corruption, not tampering."""

ZSTD_LEVEL, ZSTD_MATCH = -1, 7
"""zstd's fastest strategy without entropy coding of literals, for repetitions of at least so many bytes.

Against level 1, encoding and decoding take two thirds of the time, for 3 to 4 % more bytes
(benchmarks/encode_patches.py).
"""

UP, PNG_END = 2, b"\0\0\0\0IEND\xaeB`\x82"
"""PNG's filter by the row above, and the last chunk of every file."""


@dataclass(frozen=True, slots=True)
class Encoding:
    """A way to store one patch.

    Parameters
    ----------
    name
        The name in the configuration and in manifests.
    suffix
        The ending of files of single patches.
    lossless
        Whether decoding returns the slide's pixels.
    encode
        ``(pixels, quality) -> bytes``, possibly the pixels' memory; only JPEG uses `quality`.
        None where bytes are copied from the slide.
    decode
        ``(bytes, shape) -> uint8 (height, width, 3)``, a new array; raises ValueError, OSError or RuntimeError on
        broken bytes.
    """

    name: str
    suffix: str
    lossless: bool
    encode: Callable[[Pixels, int | None], Buffer] | None
    decode: Callable[[Buffer, Shape], Pixels]


class EncodedPatch(NamedTuple):
    """An encoded patch, with digests of its bytes and its pixels (or empty)."""

    data: Buffer
    byte_digest: str
    pixel_digest: str = ""


def digest(data: Buffer | Pixels) -> str:
    """Return the digest of bytes, or of a patch's pixels in C order."""
    return xxhash.xxh3_128_hexdigest(data.data if isinstance(data, np.ndarray) else data)


def encode_patch(encoding: Encoding, quality: int | None, pixels: Pixels) -> EncodedPatch:
    """Encode a patch, and return it with its digests.

    Parameters
    ----------
    encoding
        The encoding; the bytes of raw patches are the pixels' memory.
    quality
        The quality of JPEG, 1 to 100; else None.
    pixels
        ``uint8 (height, width, 3)``.

    Raises
    ------
    StoreError
        When the encoding copies bytes from the slide.
    """
    if encoding.encode is None:
        raise StoreError(
            f"encoding {encoding.name} copies the bytes of the slide, and encodes no pixels: choose another"
        )
    data = encoding.encode(pixels, quality)
    byte_digest = digest(data)
    if not encoding.lossless:
        return EncodedPatch(data, byte_digest)
    return EncodedPatch(data, byte_digest, byte_digest if encoding is RAW else digest(pixels))


def decode_patch(encoding: Encoding, data: Buffer, shape: Shape) -> Pixels:
    """Decode a patch to a new array, ``uint8`` of `shape`, ``(height, width, 3)``.

    Raises
    ------
    StoreError
        When the bytes are broken, or hold an image of another shape.
    """
    try:
        pixels = encoding.decode(data, shape)
    except (ValueError, OSError, EOFError, SyntaxError, RuntimeError) as error:
        raise StoreError(f"cannot decode {len(data)} bytes as {encoding.name} ({error}): {AGAIN}") from None
    if pixels.shape != shape or pixels.dtype is not UINT8:
        raise StoreError(f"expected uint8 {shape}, got {pixels.dtype} {pixels.shape}: {AGAIN}")
    return pixels


def _encode_raw(pixels: Pixels, _quality: int | None) -> Buffer:
    return np.ascontiguousarray(pixels).data.cast("B")


def _decode_raw(data: Buffer, shape: Shape) -> Pixels:
    return np.frombuffer(data, np.uint8).reshape(shape).copy()


def _encode_zstd(pixels: Pixels, _quality: int | None) -> Buffer:
    import zstandard  # only jobs that write zstd need it

    # A compressor serves one thread at a time; a new one takes 1 % of the time of a patch.
    return zstandard.ZstdCompressor(compression_params=_zstd_parameters()).compress(np.ascontiguousarray(pixels).data)


@cache
def _zstd_parameters() -> zstandard.ZstdCompressionParameters:
    """Return the parameters of all frames, with a checksum: without it, most flipped bits decode to other pixels."""
    import zstandard

    return zstandard.ZstdCompressionParameters.from_level(ZSTD_LEVEL, min_match=ZSTD_MATCH, write_checksum=True)


def _decode_zstd(data: Buffer, shape: Shape) -> Pixels:
    pixels = np.empty(shape, np.uint8)
    # Fewer bytes would leave the rest of the array uninitialized.
    size = len(imagecodecs.zstd_decode(data, out=pixels.data.cast("B")))
    if size != pixels.nbytes:
        raise ValueError(f"{size} bytes of pixels, not {pixels.nbytes}")
    return pixels


def _encode_npy(pixels: Pixels, _quality: int | None) -> Buffer:
    return _npy_head(pixels.shape) + pixels.tobytes()


def _decode_npy(data: Buffer, shape: Shape) -> Pixels:
    head = _npy_head(shape)
    # NumPy would trust any header; the right one is known here.
    if data[: len(head)] != head:
        raise ValueError("not the header of these patches")
    return _decode_raw(data[len(head) :], shape)


@cache
def _npy_head(shape: Shape) -> bytes:
    """Return a .npy header (https://numpy.org/neps/nep-0001-npy-format.html)."""
    file = io.BytesIO()
    head = {"descr": UINT8.str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, head)
    return file.getvalue()


def _encode_png(pixels: Pixels, _quality: int | None) -> Buffer:
    # libdeflate takes two thirds of libpng's time for fewer bytes (benchmarks/encode_patches.py), and equal rows always
    # give equal bytes; ISA-L takes a third of its time, but once gave others. Rows begin with their filter, 2 for Up:
    # bytes minus those above, modulo 256 (https://www.w3.org/TR/png-3/#9Filter-types).
    height, width, _ = pixels.shape
    rows = pixels.reshape(height, -1)
    filtered = np.empty((height, 1 + rows.shape[1]), np.uint8)
    filtered[:, 0] = UP
    filtered[0, 1:] = rows[0]
    np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])
    data = imagecodecs.deflate_encode(filtered, level=1)
    return b"".join((_png_head(width, height), _png_chunk(b"IDAT", data), PNG_END))


def _decode_png(data: Buffer, shape: Shape) -> Pixels:
    # A few bytes may claim gigabytes. IHDR is first: 8 bytes of signature, 8 of its length and type, then the size
    # (https://www.w3.org/TR/png-3/#11IHDR).
    width, height = (int.from_bytes(data[place : place + 4], "big") for place in (16, 20))
    _check_size(width, height, shape)
    pixels = _decode_own_png(data, shape)
    if pixels is None:
        pixels = imagecodecs.png_decode(data)
    return pixels


def _decode_own_png(data: Buffer, shape: Shape) -> Pixels | None:
    """Return the pixels of a file as `_encode_png` writes it, faster than libpng; None for others."""
    height, width, channels = shape
    begin, end = len(_png_head(width, height)) + 8, len(data) - len(PNG_END) - 4
    is_own = data[: begin - 8] == _png_head(width, height) and data[end + 4 :] == PNG_END
    if not is_own or data[begin - 8 : begin] != struct.pack(">I4s", max(end - begin, 0), b"IDAT"):
        return None
    if zlib.crc32(data[begin - 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
        return None
    rows = np.empty((height, 1 + width * channels), np.uint8)
    size = len(imagecodecs.deflate_decode(data[begin:end], out=rows.data.cast("B")))
    if size != rows.nbytes or (rows[:, 0] != UP).any():
        return None
    # Sums down the columns by doubling their length, in a third of the time of np.add.accumulate.
    sums, reach = rows[:, 1:].copy(), 1
    while reach < height:
        np.add(sums[reach:], sums[:-reach].copy(), out=sums[reach:])
        reach *= 2
    return sums.reshape(shape)


@cache
def _png_head(width: int, height: int) -> bytes:
    """Return a PNG file's signature and header: 8 bits, RGB, not interlaced."""
    return b"\x89PNG\r\n\x1a\n" + _png_chunk(b"IHDR", struct.pack(">2I5B", width, height, 8, 2, 0, 0, 0))


def _png_chunk(kind: bytes, data: bytes) -> bytes:
    """Return a chunk: length, kind, data, and the CRC of the last two."""
    return b"".join((struct.pack(">I4s", len(data), kind), data, struct.pack(">I", zlib.crc32(data, zlib.crc32(kind)))))


def _check_size(width: int, height: int, shape: Shape) -> None:
    """Raise ValueError if an image's header does not match `shape`."""
    if (height, width) != shape[:2]:
        raise ValueError(f"{width} x {height} pixels, not {shape[1]} x {shape[0]}")


def _encode_jpeg(pixels: Pixels, quality: int | None) -> Buffer:
    # Colour at full resolution (4:4:4): stains differ by hue, and nuclei are a few pixels wide.
    data: bytes = simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), quality or 0, "RGB", "444", fastdct=False)
    return data


def _decode_jpeg(data: Buffer, shape: Shape) -> Pixels:
    height, width, *_ = simplejpeg.decode_jpeg_header(data)
    _check_size(width, height, shape)
    # An error, as in OpenSlide, is also what libjpeg only warns about, such as a stream that ends early.
    pixels: Pixels = simplejpeg.decode_jpeg(data, "RGB")
    return pixels


RAW = Encoding("raw", ".raw", True, _encode_raw, _decode_raw)
NPY = Encoding("npy", ".npy", True, _encode_npy, _decode_npy)
ZSTD = Encoding("zstd", ".zst", True, _encode_zstd, _decode_zstd)
PNG = Encoding("png", ".png", True, _encode_png, _decode_png)
JPEG = Encoding("jpeg", ".jpg", False, _encode_jpeg, _decode_jpeg)
SOURCE = Encoding("source", ".jpg", True, None, _decode_jpeg)

ENCODINGS: Mapping[str, Encoding] = {encoding.name: encoding for encoding in (RAW, NPY, ZSTD, PNG, JPEG, SOURCE)}
"""Every encoding by name; a folder of files has ``npy`` where the configuration says ``raw``."""
