"""Low resolutions of slides of which some level is broken."""

import numpy as np
import openslide
import pytest

from slidemill.errors import SlideError
from slidemill.slides import low_resolution as lowres
from slidemill.slides.low_resolution import low_resolution
from slidemill.slides.openslide_reader import thumbnail
from slidemill.slides.slide_info import open_slide, slide_info
from slidemill.testing import write_svs
from tests.conftest import painted
from tests.tiffs import break_tile

pytestmark = pytest.mark.cases


def written(tmp_path, downsamples, *broken):
    """A slide, its facts and its thumbnail while it was whole; then its (level, tile)s are broken."""
    path = tmp_path / "one.svs"
    write_svs(path, painted(), downsamples, tile=128)
    with open_slide(path) as slide:
        info = slide_info(slide)
        whole = np.asarray(thumbnail(slide, info, 200))
    for level, tile in broken:
        break_tile(path, level, tile)
    return path, info, whole


@pytest.mark.parametrize("downsamples", [(1,), (1, 2, 4), (1, 4, 16), (1, 8)])
def test_whole_slide_is_its_thumbnail(tmp_path, downsamples):
    path, info, whole = written(tmp_path, downsamples)
    found = low_resolution(path, info, 200)
    np.testing.assert_array_equal(np.asarray(found.image), whole)
    assert not found.unread.any()
    assert found.notes == ()


def test_large_level_is_read_by_its_tiles(tmp_path, monkeypatch):
    monkeypatch.setattr(lowres, "LARGE", 0)
    monkeypatch.setattr(lowres, "_Parts", None)
    monkeypatch.setattr("slidemill.shrinking.strips.STRIP_PIXELS", 100_000)
    path, info, whole = written(tmp_path, (1,))
    found = low_resolution(path, info, 200)
    np.testing.assert_array_equal(np.asarray(found.image), whole)
    assert (found.unread.any(), found.notes) == (False, ())


def test_broken_tile_of_a_large_level_is_unread_as_in_a_small_one(tmp_path, monkeypatch):
    path, info, _ = written(tmp_path, (1,), (0, 9 * 2 + 3))
    small = low_resolution(path, info, 200)
    monkeypatch.setattr(lowres, "LARGE", 0)
    large = low_resolution(path, info, 200)
    np.testing.assert_array_equal(np.asarray(large.image), np.asarray(small.image))
    np.testing.assert_array_equal(large.unread, small.unread)
    assert large.notes == small.notes != ()


@pytest.mark.parametrize(
    ("broken", "used"),
    [([1], "level 2"), ([1, 2], "level 3"), ([1, 2, 3], "level 0"), ([2, 3], None)],
)
def test_coarser_levels_come_before_finer_ones(tmp_path, broken, used):
    """For 200 of 1,030 pixels the level of a fourth fits; that of a 32nd shows too little."""
    path, info, whole = written(tmp_path, (1, 4, 8, 16, 32), *((level, 0) for level in broken))
    found = low_resolution(path, info, 200)
    assert np.abs(np.asarray(found.image).astype(int) - whole).mean() < 14
    assert not found.unread.any()
    if used is None:
        assert found.notes == ()
    else:
        (note,) = found.notes
        assert note.endswith(f"{used} was taken in its place")
        assert all(f"level {level} cannot be read whole" in note for level in broken)


def test_coarser_level_comes_before_parts_of_level_0(tmp_path):
    path, info, _ = written(tmp_path, (1, 8), (0, 3))
    found = low_resolution(path, info, 200)
    assert found.notes[0].endswith("level 1 was taken in its place")
    assert not found.unread.any()


def test_finer_levels_come_before_level_0(tmp_path):
    path, info, _ = written(tmp_path, (1, 2, 4), (2, 0))
    assert low_resolution(path, info, 200).notes[0].endswith("level 1 was taken in its place")


@pytest.mark.parametrize("strip", [2_000, lowres.MOST_UNREAD * 10_000])
def test_broken_tile_of_level_0_is_unread_and_no_more(tmp_path, monkeypatch, strip):
    monkeypatch.setattr("slidemill.shrinking.strips.STRIP_PIXELS", strip)
    path, info, whole = written(tmp_path, (1,), (0, 9 * 2 + 3))
    found = low_resolution(path, info, 200)
    row, column = np.nonzero(found.unread)
    scale = 1030 / 200
    assert (column.min(), row.min()) == (int(3 * 128 / scale), int(2 * 128 / scale))
    assert (column.max(), row.max()) == (int(np.ceil(4 * 128 / scale)) - 1, int(np.ceil(3 * 128 / scale)) - 1)
    # A filter of a few pixels reaches across the tile's border.
    away = np.ones_like(found.unread)
    away[row.min() - 2 : row.max() + 3, column.min() - 2 : column.max() + 3] = False
    assert np.abs(np.asarray(found.image).astype(int) - whole)[away].max() <= 1


def test_memory_is_that_of_a_strip(tmp_path, monkeypatch):
    monkeypatch.setattr("slidemill.shrinking.strips.STRIP_PIXELS", 10_000)
    path, info, _ = written(tmp_path, (1,), (0, 5))
    asked = []
    read = openslide.OpenSlide.read_region
    monkeypatch.setattr(
        openslide.OpenSlide,
        "read_region",
        lambda own, place, level, size: asked.append(size) or read(own, place, level, size),
    )
    low_resolution(path, info, 200)
    assert max(width * height for width, height in asked) <= 2 * 10_000


def test_slide_with_too_many_broken_tiles_fails(tmp_path, monkeypatch):
    monkeypatch.setattr(lowres, "MOST_UNREAD", 5)
    path, info, _ = written(tmp_path, (1,), *((0, tile) for tile in range(20)))
    with pytest.raises(SlideError, match="more than 5 places of the slide's level 0 cannot be read"):
        low_resolution(path, info, 200)
