"""Patches and pixels against OpenSlide's own DeepZoomGenerator, patch for patch."""

import numpy as np
import openslide
import pytest
from openslide.deepzoom import DeepZoomGenerator
from PIL import Image

from slidemill.core.pyramid import SlideInfo, halve_to_pixel
from slidemill.core.specs import GridSpec
from slidemill.shrinking import strips
from slidemill.slides.grid import Grid
from slidemill.slides.openslide_reader import PatchReader, thumbnail
from slidemill.slides.slide_info import slide_info

pytestmark = pytest.mark.cases

BOUNDS = {
    openslide.PROPERTY_NAME_BOUNDS_X: "37",
    openslide.PROPERTY_NAME_BOUNDS_Y: "51",
    openslide.PROPERTY_NAME_BOUNDS_WIDTH: "901",
    openslide.PROPERTY_NAME_BOUNDS_HEIGHT: "613",
}


class BoundedSlide(openslide.OpenSlide):
    """A slide that says it was scanned in part, as MIRAX slides do."""

    @property
    def properties(self):
        return {**super().properties, **BOUNDS}


class TransparentSlide(BoundedSlide):
    """A slide with a hole in it, on a green background."""

    @property
    def properties(self):
        return {**super().properties, openslide.PROPERTY_NAME_BACKGROUND_COLOR: "20C040"}

    def read_region(self, location, level, size):
        region = super().read_region(location, level, size)
        alpha = np.asarray(region).copy()
        alpha[::3, ::2, 3] = 0
        alpha[1::3, ::2, 3] = 77
        return Image.fromarray(alpha)


def compare(slide, patch_size, overlap, limit_bounds, levels):
    """Hold the patches and pixels of the finest levels against the oracle's full-size tiles."""
    info = slide_info(slide)
    oracle = DeepZoomGenerator(slide, patch_size - 2 * overlap, overlap, limit_bounds)
    assert info.deepzoom_levels(limit_bounds) == oracle.level_count
    compared = 0
    for level in range(oracle.level_count)[-levels:]:
        spec = GridSpec(patch_size, overlap, level, None, limit_bounds)
        grid = Grid(info.pyramid, spec)
        assert grid.shape == oracle.level_tiles[level]
        expected = {}
        columns, rows = oracle.level_tiles[level]
        for row in range(rows):
            for column in range(columns):
                tile = oracle.get_tile(level, (column, row))
                assert grid.patch(column, row).size == tile.size
                if tile.size == (patch_size, patch_size):
                    expected[column, row] = np.asarray(tile)
        reader = PatchReader(slide, info, spec)
        patches = list(grid.patches())
        assert [(patch.column, patch.row) for patch in patches] == list(expected)
        for patch in patches:
            np.testing.assert_array_equal(reader.read(patch), expected[patch.column, patch.row])
            compared += 1
    assert compared
    return compared


@pytest.mark.parametrize("limit_bounds", [True, False])
@pytest.mark.parametrize(
    ("patch_size", "overlap"), [(256, 0), (128, 1), (100, 13), pytest.param(64, 20, marks=pytest.mark.long)]
)
@pytest.mark.parametrize("kind", [openslide.OpenSlide, BoundedSlide, TransparentSlide])
def test_every_patch_is_deepzooms(slide_file, kind, patch_size, overlap, limit_bounds):
    with kind(slide_file) as slide:
        compare(slide, patch_size, overlap, limit_bounds, levels=4)


@pytest.mark.long
def test_every_patch_is_deepzooms_where_the_overlap_exceeds_the_step(slide_file):
    with openslide.OpenSlide(slide_file) as slide:
        compare(slide, 64, 26, True, levels=2)


@pytest.mark.parametrize(("patch_size", "overlap"), [(256, 0), (128, 5), pytest.param(32, 3, marks=pytest.mark.long)])
def test_every_patch_of_a_slide_with_one_level_is_deepzooms(flat_slide_file, patch_size, overlap):
    with openslide.OpenSlide(flat_slide_file) as slide:
        compare(slide, patch_size, overlap, True, levels=6)


@pytest.mark.long
@pytest.mark.parametrize(("patch_size", "overlap"), [(256, 0), (224, 16)])
def test_every_patch_of_a_real_slide_is_deepzooms(real_slide_file, patch_size, overlap):
    with openslide.OpenSlide(real_slide_file) as slide:
        assert compare(slide, patch_size, overlap, True, levels=4) > 100


@pytest.mark.parametrize("strip_pixels", [pytest.param(1, marks=pytest.mark.long), 5_000, 100_000])
def test_pixels_do_not_depend_on_how_many_are_read_at_once(flat_slide_file, monkeypatch, strip_pixels):
    monkeypatch.setattr(strips, "STRIP_PIXELS", strip_pixels)
    with openslide.OpenSlide(flat_slide_file) as slide:
        compare(slide, 64, 4, True, levels=6)


def test_large_patches_read_strip_by_strip_are_read_region(flat_slide_file, monkeypatch):
    monkeypatch.setattr(strips, "STRIP_PIXELS", 50_000)
    with openslide.OpenSlide(flat_slide_file) as slide:
        info = slide_info(slide)
        grid = Grid(info.pyramid, GridSpec(patch_size=1024, level=0))
        patch = grid.patch(1, 0)
        expected = slide.read_region((1024, 0), 0, (1024, 1024)).convert("RGB")
        np.testing.assert_array_equal(PatchReader(slide, info, grid.spec).read(patch), np.asarray(expected))


def test_level_patches_are_read_region(slide_file):
    with openslide.OpenSlide(slide_file) as slide:
        info = slide_info(slide)
        for level in range(2):
            grid = Grid(info.pyramid, GridSpec(patch_size=96, level=level))
            reader = PatchReader(slide, info, grid.spec)
            patches = list(grid.patches())
            assert len(patches) == (info.dimensions[level][0] // 96) * (info.dimensions[level][1] // 96)
            for patch in patches:
                region = slide.read_region((patch.x0, patch.y0), level, (96, 96)).convert("RGB")
                np.testing.assert_array_equal(reader.read(patch), np.asarray(region))


@pytest.mark.parametrize("overlap", [0, 9])
def test_padded_patches_show_every_pixel_at_its_place(slide_file, overlap):
    """Put together, padded patches are the whole slide, and beyond it lies background."""
    with TransparentSlide(slide_file) as slide:
        info = slide_info(slide)
        spec = GridSpec(128, overlap, level=0, limit_bounds=False, edges="pad")
        grid = Grid(info.pyramid, spec)
        reader = PatchReader(slide, info, spec)
        width, height = info.dimensions[0]
        margin = 256
        whole = np.full((height + 2 * margin, width + 2 * margin, 3), (0x20, 0xC0, 0x40), np.uint8)
        region = slide.read_region((0, 0), 0, (width, height))
        # The hole's pattern begins anew in every region that is read, so the slide itself is compared opaque.
        whole[margin : margin + height, margin : margin + width] = np.asarray(region.convert("RGB"))
        for patch in grid.patches():
            left, top = patch.x0 + margin, patch.y0 + margin
            expected = whole[top : top + 128, left : left + 128]
            got = reader.read(patch)
            inside_x = (np.arange(128) + patch.x0 >= 0) & (np.arange(128) + patch.x0 < width)
            inside_y = (np.arange(128) + patch.y0 >= 0) & (np.arange(128) + patch.y0 < height)
            outside = ~(inside_y[:, None] & inside_x[None, :])
            np.testing.assert_array_equal(got[outside], expected[outside])
    with openslide.OpenSlide(slide_file) as slide:
        info = slide_info(slide)
        reader = PatchReader(slide, info, spec)
        seen = np.zeros((height, width), bool)
        for patch in grid.patches():
            got = reader.read(patch)
            x0, y0 = max(patch.x0, 0), max(patch.y0, 0)
            x1, y1 = min(patch.x0 + 128, width), min(patch.y0 + 128, height)
            expected = np.asarray(slide.read_region((x0, y0), 0, (x1 - x0, y1 - y0)).convert("RGB"))
            np.testing.assert_array_equal(got[y0 - patch.y0 : y1 - patch.y0, x0 - patch.x0 : x1 - patch.x0], expected)
            seen[y0:y1, x0:x1] = True
        assert seen.all()


def test_a_thumbnail_has_the_slides_proportions_and_colours(flat_slide_file):
    with openslide.OpenSlide(flat_slide_file) as slide:
        info = slide_info(slide)
        small = thumbnail(slide, info, 205)
        assert small.size == (205, 154)
        expected = (
            slide.read_region((0, 0), 0, info.dimensions[0]).convert("RGB").resize((205, 154), Image.Resampling.BOX)
        )
        assert np.abs(np.asarray(small, int) - np.asarray(expected, int)).mean() < 2


def test_a_slide_without_mpp_and_power_is_fine(flat_slide_file):
    with openslide.OpenSlide(flat_slide_file) as slide:
        info = slide_info(slide)
    assert (info.mpp, info.mpp_x, info.objective_power) == (None, None, None)
    assert SlideInfo.from_json(info.to_json()) == info
    assert len(halve_to_pixel(info.dimensions[0])) == info.deepzoom_levels(limit_bounds=True)
