"""PNG as it is written here: read by other libraries, and read where others wrote it."""

import io
import zlib

import cv2
import imagecodecs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from slidemill.core.encodings import PNG, decode_patch, encode_patch
from slidemill.errors import StoreError
from tests.examples import examples

HEAD, TAIL = 41, 16
"""Bytes of a file before and after its deflated rows."""


def picture(height, width, seed=0):
    """Smooth colours with noise, so that rows resemble each other and every byte occurs."""
    noise = np.random.default_rng(seed).integers(0, 40, (height, width, 3))
    slope = np.add.outer(np.arange(height), np.arange(width))[..., None] * (1, 2, 3)
    return ((noise + slope) % 256).astype(np.uint8)


@examples(200)
@given(st.integers(1, 70), st.integers(1, 70), st.integers(0, 1000))
def test_round_trip_of_any_size(height, width, seed):
    pixels = picture(height, width, seed)
    np.testing.assert_array_equal(decode_patch(PNG, PNG.encode(pixels, None), pixels.shape), pixels)


READERS = {
    "Pillow": lambda data: np.asarray(Image.open(io.BytesIO(data))),
    "OpenCV": lambda data: cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)[..., ::-1],
    "libpng": imagecodecs.png_decode,
    "libspng": imagecodecs.spng_decode,
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("size", [(1, 1), (256, 256), (240, 31)])
def test_other_libraries_read_the_pixels(reader, size):
    pixels = picture(*size)
    np.testing.assert_array_equal(READERS[reader](bytes(PNG.encode(pixels, None))), pixels)


def by_pillow(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    return file.getvalue()


def by_zlib(pixels):
    """Write as stores of an earlier commit have it: as now, but for the library that deflates."""
    data = bytes(PNG.encode(pixels, None))
    chunk = b"IDAT" + zlib.compress(zlib.decompress(data[HEAD:-TAIL]), 4)
    length, checksum = (number.to_bytes(4, "big") for number in (len(chunk) - 4, zlib.crc32(chunk)))
    return data[: HEAD - 8] + length + chunk + checksum + data[-12:]


WRITERS = {
    "Pillow": by_pillow,
    "OpenCV": lambda pixels: cv2.imencode(".png", pixels[..., ::-1])[1].tobytes(),
    # As stores of earlier versions have it.
    "libpng": lambda pixels: imagecodecs.png_encode(
        pixels, 1, strategy=imagecodecs.PNG.STRATEGY.RLE, filter=imagecodecs.PNG.FILTER.UP
    ),
    "libspng": imagecodecs.spng_encode,
    "zlib": by_zlib,
}


@pytest.mark.parametrize("writer", WRITERS)
def test_pixels_of_other_libraries_are_read(writer):
    pixels = picture(256, 256)
    np.testing.assert_array_equal(decode_patch(PNG, WRITERS[writer](pixels), pixels.shape), pixels)


def test_equal_pixels_have_equal_bytes():
    pixels = picture(64, 64)
    strided = np.repeat(pixels, 2, axis=1)[:, ::2]
    assert not strided.flags.c_contiguous
    assert encode_patch(PNG, None, pixels) == encode_patch(PNG, None, strided.copy())
    assert PNG.encode(strided, None) == PNG.encode(pixels, None)


def test_no_flipped_bit_gives_other_pixels():
    """A bit of the header, of the pixels or of a checksum."""
    pixels = picture(16, 16)
    data = bytes(PNG.encode(pixels, None))
    for place in range(len(data)):
        for bit in range(8):
            broken = bytearray(data)
            broken[place] ^= 1 << bit
            try:
                found = decode_patch(PNG, bytes(broken), pixels.shape)
            except StoreError:
                continue
            np.testing.assert_array_equal(found, pixels)


@pytest.mark.parametrize("rows", [256 * 769 - 1, 256 * 769 + 1, 0])
def test_rows_of_another_length_are_rejected(rows):
    pixels = picture(256, 256)
    data, stream = bytes(PNG.encode(pixels, None)), zlib.compress(bytes(rows))
    chunk = b"IDAT" + stream
    forged = data[:33] + len(stream).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big") + data[-12:]
    with pytest.raises(StoreError):
        decode_patch(PNG, forged, pixels.shape)
