"""Turning a patch into bytes and back: one registry of encodings."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xxhash
from PIL import Image

from slidemill.errors import StoreError

Pixels = npt.NDArray[np.uint8]
Shape = tuple[int, int, int]
DIGEST = "xxh3_128"
"""Name of the digest in manifests: 128 bits of XXH3, in hex. It tells damage, not intent."""


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
        Whether decoding gives back the pixels that were encoded.
    encode
        ``(pixels, quality) -> bytes``; `quality` counts for JPEG alone.
    decode
        ``(bytes, shape) -> uint8 (height, width, 3)``; raises ValueError or OSError on broken bytes.
    """

    name: str
    suffix: str
    lossless: bool
    encode: Callable[[Pixels, int | None], bytes]
    decode: Callable[[bytes, Shape], Pixels]


def digest(data: bytes | Pixels) -> str:
    """Return the digest of bytes, or of a patch's pixels in C order."""
    return xxhash.xxh3_128_hexdigest(data if isinstance(data, bytes) else data.data)


def decoded(encoding: Encoding, data: bytes, shape: Shape) -> Pixels:
    """Return the pixels that `data` holds.

    Raises
    ------
    StoreError
        When the bytes are broken, or hold an image of another shape.
    """
    try:
        pixels = encoding.decode(data, shape)
    except (ValueError, OSError, EOFError, SyntaxError) as error:
        raise StoreError(f"{len(data)} bytes are no {encoding.name} patch ({error}): store the slide again") from None
    if pixels.shape != shape or pixels.dtype != np.uint8:
        raise StoreError(
            f"the patch is {pixels.dtype} {pixels.shape} where {shape} of uint8 was stored: store the slide again"
        )
    return pixels


def _encode_raw(pixels: Pixels, _quality: int | None) -> bytes:
    return pixels.tobytes()


def _decode_raw(data: bytes, shape: Shape) -> Pixels:
    return np.frombuffer(data, np.uint8).reshape(shape).copy()


def _encode_npy(pixels: Pixels, _quality: int | None) -> bytes:
    file = io.BytesIO()
    np.save(file, pixels, allow_pickle=False)
    return file.getvalue()


def _decode_npy(data: bytes, _shape: Shape) -> Pixels:
    pixels: Pixels = np.load(io.BytesIO(data), allow_pickle=False)
    return pixels


def _encode_png(pixels: Pixels, _quality: int | None) -> bytes:
    file = io.BytesIO()
    # Level 1 takes two thirds of the default level's time for a seventh more bytes on stained tissue.
    Image.fromarray(pixels).save(file, "png", compress_level=1)
    return file.getvalue()


def _encode_jpeg(pixels: Pixels, quality: int | None) -> bytes:
    file = io.BytesIO()
    # Colour is kept at full resolution (4:4:4): stains differ by hue, and nuclei are a few pixels wide.
    Image.fromarray(pixels).save(file, "jpeg", quality=quality, subsampling=0)
    return file.getvalue()


def _decode_image(data: bytes, _shape: Shape) -> Pixels:
    with Image.open(io.BytesIO(data), formats=("PNG", "JPEG")) as image:
        return np.array(image.convert("RGB"))


RAW = Encoding("raw", ".raw", True, _encode_raw, _decode_raw)
NPY = Encoding("npy", ".npy", True, _encode_npy, _decode_npy)
PNG = Encoding("png", ".png", True, _encode_png, _decode_image)
JPEG = Encoding("jpeg", ".jpg", False, _encode_jpeg, _decode_image)

ENCODINGS: Mapping[str, Encoding] = {encoding.name: encoding for encoding in (RAW, NPY, PNG, JPEG)}
"""Every encoding by its name; a folder of files has ``npy`` where the configuration says ``raw``."""
