"""Patches by micrometres a pixel and by magnification: which level, which places, which pixels."""

import math
from dataclasses import replace

import numpy as np
import openslide
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from PIL import Image

from slidemill.core.pyramid import Pyramid
from slidemill.core.specs import AREA, LANCZOS, GridSpec
from slidemill.errors import SlideError
from slidemill.shrinking.area import shrink_area
from slidemill.slides import readers
from slidemill.slides._halved_level import HalvedLevel
from slidemill.slides._resolution import wanted_downsample
from slidemill.slides.grid import Grid
from slidemill.slides.openslide_reader import PatchReader
from slidemill.slides.patch_table import SlidePatches
from slidemill.slides.reader_choice import open_reader
from slidemill.slides.slide_info import choose_mpp, open_slide, slide_info
from slidemill.stages.validate import psnr
from slidemill.testing import Scan, write_svs
from tests.conftest import painted
from tests.examples import examples

pytestmark = pytest.mark.cases

PYRAMID = Pyramid(((4000, 3000), (1000, 750), (250, 187)), (1.0, 4.0, 16.0), None, 0.25, 40.0)


@pytest.mark.parametrize(
    ("mpp", "magnification", "downsample", "level"),
    [
        (0.25, None, 1.0, 0),
        (0.5, None, 2.0, 0),
        (1.0, None, 4.0, 1),
        (1.015, None, 4.0, 1),  # near enough to be the level's own pixels
        (0.985, None, 4.0, 1),
        (1.1, None, 4.4, 1),
        (0.9, None, 3.6, 0),
        (10.0, None, 40.0, 2),
        (None, 40, 1.0, 0),
        (None, 20, 2.0, 0),
        (None, 10, 4.0, 1),
        (None, 1.25, 32.0, 2),
    ],
)
def test_the_best_level_at_or_above_what_is_wanted_is_read(mpp, magnification, downsample, level):
    grid = Grid(PYRAMID, GridSpec(64, mpp=mpp, magnification=magnification))
    assert grid.downsample == pytest.approx(downsample)
    assert grid.level == level


def test_what_is_finer_than_the_slide_is_refused():
    with pytest.raises(SlideError, match=r"mpp 0\.2 is finer than the slide, which has 0\.25"):
        Grid(PYRAMID, GridSpec(64, mpp=0.2))
    with pytest.raises(
        SlideError, match=r"mpp 1001 is coarser than the slide is long: its 4000 level-0 pixels would be"
    ):
        wanted_downsample(PYRAMID, 1001, None)
    with pytest.raises(SlideError, match=r"magnification 1e-05 is coarser than the slide is long"):
        wanted_downsample(PYRAMID, None, 1e-5)
    with pytest.raises(SlideError, match=r"magnification 80 is finer than the slide, which has 40"):
        Grid(PYRAMID, GridSpec(64, magnification=80))


@pytest.mark.parametrize("spec", [GridSpec(64, mpp=0.5), GridSpec(64, magnification=20)])
def test_a_slide_that_does_not_say_what_its_pixels_measure_is_refused(spec):
    with pytest.raises(SlideError, match=r"set sampling\.assume_mpp, or the column mpp of a sheet"):
        Grid(replace(PYRAMID, mpp=None, power=None), spec)


@pytest.mark.parametrize("spec", [GridSpec(64, mpp=0.5), GridSpec(64, magnification=20)])
@pytest.mark.parametrize("sides", [(0.25, 0.5), (0.5, 0.25), (0.25, 0.2551)])
def test_resolution_of_uneven_pixels_is_refused(spec, sides):
    """Patches of one micrometre value would be stretched, and cover another ground than their rows say."""
    uneven = replace(PYRAMID, mpp=sum(sides) / 2, sides=sides)
    with pytest.raises(SlideError, match=rf"not square \({sides[0]:g} x {sides[1]:g} µm\).*assume_mpp.*sheet"):
        Grid(uneven, spec)
    assert Grid(uneven, GridSpec(64, level=1)).level == 1
    assert Grid(uneven, GridSpec(64, deepzoom_level=9)).downsample > 1


@pytest.mark.parametrize("sides", [None, (0.25, 0.25), (0.25, 0.255), (0.2551, 0.2502)])
def test_resolution_of_nearly_square_pixels_is_read(sides):
    assert Grid(replace(PYRAMID, sides=sides), GridSpec(64, mpp=0.5)).downsample == 2.0


def test_mpp_stands_for_a_power_that_is_not_known():
    assert wanted_downsample(replace(PYRAMID, power=None), None, 20) == 2.0


@st.composite
def grids(draw, overlaps=(0, 13, 20), edges=("drop", "pad")):
    width, height = draw(st.integers(600, 4000)), draw(st.integers(600, 4000))
    factors = draw(st.sampled_from([(1,), (1, 2, 4), (1, 4, 16), (1, 3)]))
    sizes = [(width // factor, height // factor) for factor in factors]
    downsamples = (1.0, *((width / w + height / h) / 2 for w, h in sizes[1:]))
    bounds = None
    if draw(st.booleans()):
        bounds = (draw(st.integers(0, 99)), draw(st.integers(0, 99)), width - 100, height - 100)
    mpp = draw(st.floats(0.1, 1.0))
    size, overlap = draw(st.sampled_from([64, 100])), draw(st.sampled_from(overlaps))
    wanted = mpp * draw(st.floats(1.0, 12.0))
    pyramid = Pyramid(tuple(sizes), downsamples, bounds, mpp, None)
    named = draw(st.sampled_from([AREA, LANCZOS]))
    return Grid(pyramid, GridSpec(size, overlap, edges=draw(st.sampled_from(edges)), mpp=wanted, filter=named))


@given(grids())
@examples(300)
def test_what_is_read_is_the_patchs_square_but_for_a_pixel_of_the_level(grid):
    spec, own = grid.spec, grid.pyramid.downsamples[grid.level]
    level_size = grid.pyramid.dimensions[grid.level]
    left, top, width, height = grid.pyramid.bounds or (0, 0, *grid.pyramid.dimensions[0])
    for patch in grid.patches():
        if spec.edges == "drop":
            assert patch.size == (spec.patch_size, spec.patch_size)
        for axis, (start, extent) in enumerate(((left, width), (top, height))):
            index = (patch.column, patch.row)[axis]
            wanted = start + grid.downsample * (spec.step * index - spec.overlap + patch.offset[axis])
            read = (patch.read_x0, patch.read_y0)[axis]
            assert wanted - own - 1 <= read <= wanted + 1e-6
            end, read_end = wanted + grid.downsample * patch.size[axis], read + own * patch.read_size[axis]
            assert abs(end - read_end) <= 2 * own + 1
            # In pixels of the level: OpenSlide's downsample is a mean of both axes, and each rounds its own way.
            area = level_size[axis] * extent / grid.pyramid.dimensions[0][axis]
            assert end <= start + own * (area + 1) + 1e-6


@given(grids())
@examples(300)
def test_area_reads_all_level_pixels_that_a_patch_covers(grid):
    assume(grid.averages)
    sizes = [math.ceil(side / grid.pyramid.downsamples[grid.level]) + 1 for side in grid.pyramid.dimensions[0]]
    for patch in grid.patches():
        for axis, start in enumerate(grid.start(patch)):
            assert start == (0 if patch.offset[axis] else grid.spec.step * (patch.column, patch.row)[axis]) - (
                0 if patch.offset[axis] or not (patch.column, patch.row)[axis] else grid.spec.overlap
            )
            first, end = math.floor(grid.shrink * start), math.ceil(grid.shrink * (start + patch.size[axis]) - 1e-9)
            assert end <= sizes[axis]
            assert end <= first + patch.read_size[axis] <= end + 1


@given(grids(overlaps=(0,), edges=("drop",)))
@examples(200)
def test_as_many_patches_as_fit_are_kept(grid):
    kept = list(grid.patches())
    across, down = (side // grid.spec.patch_size for side in grid.size)
    assert len(kept) == across * down
    whole = (grid.pyramid.bounds or (0, 0, *grid.pyramid.dimensions[0]))[2:]
    for axis, (side, own) in enumerate(zip(whole, grid.size, strict=True)):
        # In pixels of the level: OpenSlide's downsample is a mean of both axes. No grid pixel more than fits, the
        # level's last one counted whole, and none fewer.
        area = grid.pyramid.dimensions[grid.level][axis] * side / grid.pyramid.dimensions[0][axis]
        assert area - grid.shrink - 1e-6 <= own * grid.shrink <= area + 1 + 1e-6


@given(grids())
@examples(200)
def test_count_is_the_number_of_patches(grid):
    assert grid.count == sum(1 for _ in grid.patches())


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """One picture, scanned three times: at 20x and at 40x, with and without coarser levels."""
    folder = tmp_path_factory.mktemp("cohort")
    picture = painted(1030, 777)
    finer = np.asarray(Image.fromarray(picture).resize((2060, 1554), Image.Resampling.BICUBIC))
    write_svs(folder / "20x.svs", picture, scan=Scan(0.5, 20), quality=95)
    write_svs(folder / "40x.svs", finer, scan=Scan(0.25, 40), quality=95)
    write_svs(folder / "40x-flat.svs", finer, downsamples=(1,), scan=Scan(0.25, 40), quality=95)
    return sorted(folder.iterdir())


@pytest.mark.parametrize("spec", [GridSpec(64, mpp=1.0), GridSpec(64, mpp=0.8), GridSpec(64, magnification=10)])
def test_a_cohort_of_several_scanners_gives_the_same_physical_patches(cohort, spec):
    found = []
    for file in cohort:
        with open_slide(file) as slide:
            info = slide_info(slide)
            grid = Grid(info.pyramid, spec)
            reader = PatchReader(slide, info, spec)
            patches = [patch for patch in grid.patches() if max(patch.column, patch.row) < 5]
            found.append([(patch.patch_id, patch.x0 * info.mpp, reader.read(patch)) for patch in patches])
            assert all(
                patch.width0 * info.mpp == pytest.approx(64 * info.mpp * grid.downsample, abs=1) for patch in patches
            )
    for others in found[1:]:
        for (one_id, one_x, one), (other_id, other_x, other) in zip(found[0], others, strict=True):
            assert one_id == other_id
            assert one_x == pytest.approx(other_x, abs=0.5)
            assert psnr(one, other) > 28


def test_a_level_that_is_near_enough_gives_its_own_pixels(cohort):
    with open_slide(cohort[0]) as slide:
        info = slide_info(slide)
        native, near = GridSpec(64, level=0), GridSpec(64, mpp=0.505)
        for patch in Grid(info.pyramid, native).patches():
            other = Grid(info.pyramid, near).patch(patch.column, patch.row)
            assert other == patch
    assert Grid(info.pyramid, near).size == Grid(info.pyramid, native).size


@pytest.mark.parametrize("filtered", [AREA, LANCZOS])
@pytest.mark.parametrize(
    "spec",
    [
        GridSpec(64, mpp=0.8),
        GridSpec(64, 5, mpp=0.37, edges="pad"),
        GridSpec(32, mpp=3.1),
        GridSpec(100, 7, mpp=0.5, edges="pad"),
        GridSpec(64, 3, magnification=17, edges="pad"),
    ],
)
def test_tiles_give_the_pixels_of_openslide(cohort, spec, filtered):
    file, spec = cohort[1], replace(spec, filter=filtered)
    with open_slide(file) as slide:
        info = slide_info(slide)
        patches = list(Grid(info.pyramid, spec).patches())
        oracle = PatchReader(slide, info, spec)
        with open_reader(SlidePatches(file, info, spec, patches), "auto", seed=0) as (reader, why):
            assert reader.name == "tiles", why
            for patch, pixels in reader.read(patches, np.copy, 2):
                np.testing.assert_array_equal(pixels, oracle.read(patch))
                assert pixels.shape == (spec.patch_size, spec.patch_size, 3)


@pytest.mark.parametrize("corner", [(0, 0), (36, 50), (37, 51), (36, 51)])
@pytest.mark.parametrize("edges", ["drop", "pad"])
def test_halved_tiles_give_the_pixels_of_openslide(cohort, monkeypatch, corner, edges):
    """Tiles are halved one by one only where squares of two by two pixels do not cross their borders."""
    made = []
    monkeypatch.setattr(readers, "HalvedLevel", lambda level: made.append(level) or HalvedLevel(level))
    spec = GridSpec(100, 7, mpp=0.5, edges=edges, filter=AREA)
    with open_slide(cohort[1]) as slide:
        info = replace(slide_info(slide), bounds=(*corner, 1501, 1203))
        patches = list(Grid(info.pyramid, spec).patches())
        oracle = PatchReader(slide, info, spec)
        expected = {patch.patch_id: oracle.read(patch) for patch in patches}
    for threads in (1, 3):
        for wanted in (patches, patches[1::3]):
            with open_reader(SlidePatches(cohort[1], info, spec, wanted), "tiles", seed=0) as (reader, _):
                for patch, pixels in reader.read(wanted, np.copy, threads):
                    np.testing.assert_array_equal(pixels, expected[patch.patch_id])
    assert len(made) == (4 if corner[0] % 2 == corner[1] % 2 == 0 else 0)


def whole_grid(file, grid):
    """All pixels of a grid by the area filter, shrunk in one piece from a level that is read in one piece."""
    with open_slide(file) as slide:
        left, top = grid.origin
        size = [math.ceil(grid.shrink * side) for side in grid.size]
        level = slide.read_region((left, top), grid.level, size)
    return shrink_area(np.asarray(level.convert("RGB")), grid.shrink, (0, 0), size=grid.size)


@pytest.mark.parametrize("levels", [(1,), (1, 4, 16)], ids=["flat", "levels"])
@pytest.mark.parametrize(
    "spec",
    [
        GridSpec(64, 9, mpp=0.5, edges="pad", filter=AREA),
        GridSpec(100, 0, mpp=0.37, edges="pad", filter=AREA),
        GridSpec(64, 20, mpp=0.66, filter=AREA),
        GridSpec(48, 3, magnification=3, edges="pad", filter=AREA),
    ],
    ids=["2", "1.48", "2.64", "13.3"],
)
def test_area_patches_are_parts_of_the_whole(tmp_path, levels, spec):
    """Patches that overlap agree in each pixel, and so do all with one shrunken picture of the slide."""
    file = tmp_path / "even.svs"
    write_svs(file, painted(1024, 768), downsamples=levels, scan=Scan(0.25, 40))
    with open_slide(file) as slide:
        info = slide_info(slide)
        grid, reader = Grid(info.pyramid, spec), PatchReader(slide, info, spec)
        whole, size = whole_grid(file, grid), spec.patch_size
        for patch in grid.patches():
            (x, y), (width, height), (left, top) = grid.start(patch), patch.size, patch.offset
            pixels = reader.read(patch)
            np.testing.assert_array_equal(
                pixels[top : top + height, left : left + width], whole[y : y + height, x : x + width]
            )
            inside = np.zeros((size, size), bool)
            inside[top : top + height, left : left + width] = True
            assert (pixels[~inside] == tuple(bytes.fromhex(info.background))).all()


def test_area_counts_from_the_bounds_of_a_scan(cohort):
    """Of a part of the slide, the grid and its pixels begin in the corner of that part."""
    spec = GridSpec(64, 4, mpp=0.37, edges="pad", filter=AREA)
    with open_slide(cohort[1]) as slide:
        info = replace(slide_info(slide), bounds=(37, 51, 901, 613))
        grid, reader = Grid(info.pyramid, spec), PatchReader(slide, info, spec)
        whole = whole_grid(cohort[1], grid)
        for patch in grid.patches():
            (x, y), (width, height), (left, top) = grid.start(patch), patch.size, patch.offset
            own = reader.read(patch)[top : top + height, left : left + width]
            np.testing.assert_array_equal(own, whole[y : y + height, x : x + width])


@pytest.mark.long
@pytest.mark.parametrize("number", [1, 2], ids=["flat", "levels"])
def test_area_does_not_depend_on_how_many_rows_are_read_at_once(cohort, monkeypatch, number):
    spec = GridSpec(64, 4, mpp=0.9, edges="pad", filter=AREA)
    with open_slide(cohort[number]) as slide:
        info = slide_info(slide)
        reader = PatchReader(slide, info, spec)
        patches = list(Grid(info.pyramid, spec).patches())
        expected = [reader.read(patch) for patch in patches]
        for pixels in (1, 2_000, 20_000):
            monkeypatch.setattr("slidemill.shrinking.strips.STRIP_PIXELS", pixels)
            for patch, own in zip(patches, expected, strict=True):
                np.testing.assert_array_equal(reader.read(patch), own)


def test_area_lays_transparent_pixels_over_the_background(cohort):
    """They are opaque before they are averaged, as for all other patches."""

    class Holed(openslide.OpenSlide):
        def read_region(self, location, level, size):
            region = super().read_region(location, level, size)
            alpha = np.asarray(region).copy()
            alpha[:, :, 3] = 0
            return Image.fromarray(alpha)

    spec = GridSpec(64, mpp=0.6, filter=AREA)
    with Holed(cohort[1]) as slide:
        info = replace(slide_info(slide), background="20C040")
        patch = Grid(info.pyramid, spec).patch(1, 1)
        assert (PatchReader(slide, info, spec).read(patch) == (0x20, 0xC0, 0x40)).all()


@pytest.mark.parametrize("mpp", [0.998, 0.8, 1.3])
def test_filters_differ_little_on_a_real_slide(real_slide_file, mpp):
    """Lanczos is sharper; the mean of all pixels is the same."""
    with open_slide(real_slide_file) as slide:
        info = slide_info(slide)
        pixels = {}
        for name in (AREA, LANCZOS):
            spec = GridSpec(256, mpp=mpp, filter=name)
            reader = PatchReader(slide, info, spec)
            pixels[name] = np.stack([reader.read(patch) for patch in list(Grid(info.pyramid, spec).patches())[::3]])
    assert 30 < psnr(pixels[AREA], pixels[LANCZOS]) < 50
    assert pixels[AREA].mean() == pytest.approx(pixels[LANCZOS].mean(), abs=0.2)
    assert pixels[AREA].std() < pixels[LANCZOS].std()


@pytest.mark.parametrize(
    ("said", "power", "own", "assumed", "counts", "source", "noted"),
    [
        (0.25, 40, None, None, 0.25, "slide", ""),
        (0.25, 40, None, 0.5, 0.25, "slide", ""),
        (0.25, 20, None, None, 0.25, "slide", "objective power of 20, which means about 0.5"),
        (0.25, 40, 0.5, None, 0.5, "sheet", "objective power of 40, which means about 0.25"),
        (None, 40, None, 0.25, 0.25, "assumed", ""),
        (None, None, None, None, None, "", ""),
        (1000.0, 40, None, None, None, "", "which no slide has"),
        (1000.0, 40, None, 0.25, 0.25, "assumed", "which no slide has"),
    ],
)
def test_what_counts_as_a_slides_mpp(cohort, said, power, own, assumed, counts, source, noted):
    with open_slide(cohort[0]) as slide:
        info = replace(slide_info(slide), mpp_x=said, mpp_y=said, objective_power=power)
    found, where, notes = choose_mpp(info, own, assumed)
    assert (found.mpp, where) == (counts, source)
    assert noted in "; ".join(notes)
    assert bool(notes) == bool(noted)


@pytest.mark.parametrize(
    ("own", "assumed", "counts", "source"),
    [(None, None, (0.25, 0.5), "slide"), (0.3, None, (0.3, 0.3), "sheet"), (None, 0.4, (0.4, 0.4), "assumed")],
)
def test_uneven_pixels_are_noted_and_can_be_overruled(cohort, own, assumed, counts, source):
    with open_slide(cohort[0]) as slide:
        info = replace(slide_info(slide), mpp_x=0.25, mpp_y=0.5, objective_power=None)
    found, where, notes = choose_mpp(info, own, assumed)
    assert ((found.mpp_x, found.mpp_y), where) == (counts, source)
    assert notes == ["its pixels are not square: 0.25 x 0.5 µm"]
    if source == "slide":
        with pytest.raises(SlideError, match="not square"):
            Grid(found.pyramid, GridSpec(64, mpp=1.0))
    else:
        assert Grid(found.pyramid, GridSpec(64, mpp=1.7)).downsample == pytest.approx(1.7 / counts[0])
