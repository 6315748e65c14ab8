"""zstd as it is written here: few bytes more than at level 1, from any thread, of any size."""

from concurrent.futures import ThreadPoolExecutor

import imagecodecs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slidemill.core.encodings import ZSTD, decode_patch
from slidemill.slides.slide_info import open_slide
from tests.conftest import REAL_SLIDES
from tests.examples import examples


@examples(200)
@given(st.integers(1, 70), st.integers(1, 70), st.integers(1, 256))
def test_round_trip_of_any_size(height, width, colours):
    pixels = np.random.default_rng(colours).integers(0, colours, (height, width, 3)).astype(np.uint8)
    for own in (pixels, pixels[::-1], np.asfortranarray(pixels)):
        np.testing.assert_array_equal(decode_patch(ZSTD, ZSTD.encode(own, None), own.shape), own)


@pytest.mark.cases
@pytest.mark.parametrize(("size", "most"), [(96, 1.06), (256, 1.04), (512, 1.04), (1024, 1.04)])
def test_bytes_of_tissue_stay_near_level_1(size, most):
    """Half of the time is worth a few percent of the bytes, and not more."""
    source = next(REAL_SLIDES.glob("*.svs"), None)
    if source is None:
        pytest.skip("the real slide is not here")
    with open_slide(source) as slide:
        pixels = np.asarray(slide.read_region((0, 0), 0, (2048, 2048)).convert("RGB"))
    patches = [pixels[y : y + size, x : x + size] for y in range(0, 2048, size) for x in range(0, 2048, size)]
    patches = [np.ascontiguousarray(one) for one in patches if one.shape == (size, size, 3)]
    written, level_1 = (
        sum(len(encode(one)) for one in patches)
        for encode in (lambda one: ZSTD.encode(one, None), lambda one: imagecodecs.zstd_encode(one, level=1))
    )
    assert written <= most * level_1


def test_threads_write_equal_bytes():
    patches = list(np.random.default_rng(0).integers(0, 30, (64, 64, 64, 3)).astype(np.uint8))
    expected = [ZSTD.encode(one, None) for one in patches]
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(lambda one: ZSTD.encode(one, None), patches)) == expected
