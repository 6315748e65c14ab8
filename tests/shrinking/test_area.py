"""The area filter against its definition, written out, and its laws."""

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from slidemill.shrinking.area import BAND, BITS, HALVED, shrink_area
from tests.examples import examples

ONE = 2**BITS
"""A whole grid pixel, in units of weights."""

FACTORS = st.sampled_from([1.0, 1.5, 2.0, 3.0, 4.0, 1.9784, 2.0008, 2.9999999999999996, 8 / 3]) | st.floats(1.0, 20.0)


def border(shrink, place, pixel):
    """The left border of a level's pixel in a grid pixel, from 0 to `ONE`."""
    return min(max(math.floor(ONE * (pixel / shrink - place) + 0.5), 0), ONE)


def shares(shrink, start, count, length):
    """The weights of all of a level's pixels in grid pixels, ``(count, length)``."""
    return np.array(
        [
            [border(shrink, place, pixel + 1) - border(shrink, place, pixel) for pixel in range(length)]
            for place in range(start, start + count)
        ],
        np.int64,
    )


def oracle(level, shrink, start, size):
    """Part of the grid by the definition, from the whole level."""
    across, down = (shares(shrink, start[axis], size[axis], level.shape[1 - axis]) for axis in (0, 1))
    sums = np.einsum("yq,qpc,xp->yxc", down, level.astype(np.int64), across, optimize=True)
    return ((sums + ONE**2 // 2) // ONE**2).astype(np.uint8)


def true_means(level, shrink, start, size):
    """Part of the grid as real means over each pixel's rectangle, in floating point."""

    def lengths(axis):
        pixels = np.arange(level.shape[1 - axis])
        left = shrink * np.arange(start[axis], start[axis] + size[axis])[:, None]
        return np.clip(np.minimum(left + shrink, pixels + 1) - np.maximum(left, pixels), 0, None) / shrink

    return np.einsum("yq,qpc,xp->yxc", lengths(1), level.astype(float), lengths(0), optimize=True)


def part(level, shrink, start, size):
    """Part of the grid, from only those of the level's pixels that it covers."""
    (left, top), (right, bottom) = (
        [rounded(shrink * (start[axis] + extent)) for axis, extent in enumerate(extents)]
        for rounded, extents in ((math.floor, (0, 0)), (math.ceil, size))
    )
    return shrink_area(np.ascontiguousarray(level[top:bottom, left:right]), shrink, start, size=size)


@st.composite
def parts(draw, factors=FACTORS):
    """A level, a factor, and a part of its grid."""
    shrink = draw(factors)
    start = draw(st.tuples(st.integers(0, 30), st.integers(0, 30)))
    size = draw(st.tuples(st.integers(1, 12), st.integers(1, 12)))
    shape = [math.ceil(shrink * (start[axis] + size[axis])) for axis in (1, 0)]
    level = np.random.default_rng(draw(st.integers(0, 99))).integers(0, 256, (*shape, 3), np.uint8)
    return level, shrink, start, size


@given(parts())
@examples(200)
def test_area_is_its_definition(given_part):
    np.testing.assert_array_equal(part(*given_part), oracle(*given_part))


@pytest.mark.parametrize("shrink", [2.0, 1.9784, 2.7])
def test_area_of_many_bands_is_its_definition(noise, shrink):
    size = (37, 2 * BAND + 5)
    level = noise(1, math.ceil(shrink * (max(size) + 9)))[0]
    np.testing.assert_array_equal(part(level, shrink, (9, 4), size), oracle(level, shrink, (9, 4), size))


@pytest.mark.parametrize("width", range(1, 72))
def test_halving_is_the_definition_at_any_width(width):
    """OpenCV has a path of its own for a factor of 2, with and without vector instructions."""
    level = np.random.default_rng(width).integers(0, 256, (6, 2 * width, 3), np.uint8)
    exact = level.reshape(3, 2, width, 2, 3).sum((1, 3), dtype=np.uint16)
    np.testing.assert_array_equal(shrink_area(level, 2.0, (0, 0), size=(width, 3)), (exact + 2) // 4)
    np.testing.assert_array_equal(oracle(level, 2.0, (0, 0), (width, 3)), (exact + 2) // 4)


def test_halving_is_the_definition_for_all_sums():
    """Squares of two by two with each sum from 0 to 4 x 255, and so each remainder."""
    sums = np.arange(4 * 255 + 1)
    quarters = np.stack([(sums + place) // 4 for place in range(4)])
    level = np.repeat(quarters.reshape(2, 2, -1).transpose(0, 2, 1).reshape(2, -1)[:, :, None], 3, axis=2)
    halved = shrink_area(level.astype(np.uint8), 2.0, (0, 0), size=(len(sums), 1))
    np.testing.assert_array_equal(halved[0, :, 0], (sums + 2) // 4)


def test_halving_large_parts_is_the_definition(noise):
    """It is done in bands, so that OpenCV starts no thread."""
    level = noise(1, 1200)[0]
    assert HALVED < 600 * 600
    exact = level.reshape(600, 2, 600, 2, 3).sum((1, 3), dtype=np.uint16)
    np.testing.assert_array_equal(shrink_area(level, 2.0, (5, 7), size=(600, 600)), (exact + 2) // 4)


@pytest.mark.parametrize("factor", [1, 2, 4, 8, 16, 32])
def test_powers_of_2_give_the_exact_mean_rounded_half_up(noise, factor):
    level = noise(1, 8 * factor)[0]
    sums = level.reshape(8, factor, 8, factor, 3).sum((1, 3), dtype=np.int64)
    half = factor**2 // 2
    np.testing.assert_array_equal(shrink_area(level, float(factor), (3, 1), size=(8, 8)), (sums + half) // factor**2)


@given(parts())
@examples(100)
def test_area_is_near_the_true_mean(given_part):
    """Each border between two pixels within a grid pixel is off by half a unit at most; the result is then rounded."""
    borders = 2 * math.ceil(given_part[1])
    error = np.abs(part(*given_part) - true_means(*given_part)).max()
    assert error <= 0.5 + borders * 255 / (2 * ONE) + 1e-6


@given(parts(), st.data())
@examples(100)
def test_parts_are_the_whole(given_part, data):
    level, shrink, (left, top), (width, height) = given_part
    whole = part(*given_part)
    x, y = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    size = data.draw(st.integers(1, width - x)), data.draw(st.integers(1, height - y))
    own = part(level, shrink, (left + x, top + y), size)
    np.testing.assert_array_equal(own, whole[y : y + size[1], x : x + size[0]])


@given(parts())
@examples(50)
def test_axes_and_colours_are_alike(given_part):
    level, shrink, start, size = given_part
    turned = part(np.ascontiguousarray(level.transpose(1, 0, 2)), shrink, start[::-1], size[::-1])
    np.testing.assert_array_equal(turned.transpose(1, 0, 2), part(*given_part))
    other = part(np.ascontiguousarray(level[:, :, ::-1]), shrink, start, size)
    np.testing.assert_array_equal(other[:, :, ::-1], part(*given_part))


@given(FACTORS, st.integers(0, 100_000), st.sampled_from([0, 1, 128, 254, 255]))
@examples(100)
def test_even_pixels_stay_as_they_are(shrink, place, value):
    """The weights of a pixel sum to one far from the corner, too."""
    side = math.ceil(shrink * (place + 9)) - math.floor(shrink * place)
    level = np.full((side, side, 3), value, np.uint8)
    assert (shrink_area(level, shrink, (place, place), size=(9, 9)) == value).all()


def test_threads_give_the_same(noise):
    level = noise(1, 600)[0]
    tasks = [(level, shrink, (x, 3), (40, 150)) for shrink in (1.9784, 2.0, 3.1) for x in range(12)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda task: part(*task), tasks))
    for task, pixels in zip(tasks, found, strict=True):
        np.testing.assert_array_equal(pixels, part(*task))


@pytest.mark.parametrize("shrink", [2.0, 1.9784, 2.5, 3.7, 4.0])
def test_gratings_alias_no_more_than_by_box_averaging(shrink):
    """Gratings too fine for the grid should vanish; what is left is seen as a coarser one."""
    for cycles in np.linspace(0.5 / shrink, 0.5, 12)[1:]:
        wave = 127.5 + 120 * np.cos(2 * np.pi * cycles * np.arange(math.ceil(64 * shrink)) + 1)
        level = np.repeat(np.repeat(np.rint(wave).astype(np.uint8)[None, :, None], 8, axis=0), 3, axis=2)
        start, size = (0, 0), (64, int(8 / shrink))
        left, by_box = (found(level, shrink, start, size) for found in (part, true_means))
        assert left.std() <= by_box.std() + 0.5
        # A bound for both: the box's own response, and that of pixels that are cut.
        assert np.abs(left - by_box).max() <= 1.5


def test_gratings_below_the_limit_are_kept():
    """At half the grid's limit, the box leaves sinc(1/4) = 0.9 of the contrast."""
    wave = 127.5 + 100 * np.cos(2 * np.pi / 16 * np.arange(512) + 0.3)
    level = np.repeat(np.repeat(np.rint(wave).astype(np.uint8)[None, :, None], 2, axis=0), 3, axis=2)
    pixels = part(level, 2.0, (0, 0), (256, 1)).astype(float)
    by_lanczos = np.asarray(Image.fromarray(level).resize((256, 1), Image.Resampling.LANCZOS), float)
    assert pixels.std() == pytest.approx(100 / math.sqrt(2) * math.cos(math.pi / 16), abs=0.5)
    assert pixels.std() <= by_lanczos.std() + 0.5
