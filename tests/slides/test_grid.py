"""Laws of the grid, on pyramids of any shape, and nothing opened."""

import math

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from openslide.deepzoom import DeepZoomGenerator
from PIL import Image

from slidemill.core.patch import format_patch_id
from slidemill.core.pyramid import Pyramid, halve_to_pixel, thumbnail_size
from slidemill.core.specs import GridSpec
from slidemill.errors import SlideError
from slidemill.slides.grid import Grid
from tests.examples import examples


@st.composite
def pyramids(draw):
    width, height = draw(st.integers(1, 5000)), draw(st.integers(1, 5000))
    # Sizes of coarse levels are rounded, and only a long side keeps the slide's proportions nearly.
    many = min(width, height) >= 500
    factors = draw(st.sampled_from([(1,), (1, 2, 4), (1, 4, 16), (1, 3)] if many else [(1,)]))
    sizes = [(max(width // f, 1), max(height // f, 1)) for f in factors]
    downsamples = tuple((width / w + height / h) / 2 for w, h in sizes)
    bounds = None
    if draw(st.booleans()):
        x, y = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
        bounds = (x, y, draw(st.integers(1, width - x)), draw(st.integers(1, height - y)))
    return Pyramid(tuple(sizes), (1.0, *downsamples[1:]), bounds)


@st.composite
def grids(draw):
    pyramid = draw(pyramids())
    size = draw(st.sampled_from([16, 64, 100, 256]))
    overlap = draw(st.integers(0, (size - 1) // 2))
    limit = draw(st.booleans())
    edges = draw(st.sampled_from(["drop", "pad"]))
    if draw(st.booleans()):
        spec = GridSpec(size, overlap, None, draw(st.integers(0, len(pyramid.dimensions) - 1)), limit, edges)
    else:
        area = pyramid.bounds[2:] if limit and pyramid.bounds else pyramid.dimensions[0]
        count = len(halve_to_pixel(area))
        spec = GridSpec(size, overlap, draw(st.integers(max(count - 5, 0), count - 1)), None, limit, edges)
    grid = Grid(pyramid, spec)
    # A step of one pixel over thousands would only make the test slow.
    return grid if math.prod(grid.shape) < 3000 else Grid(pyramid, GridSpec(256, 0, None, 0, limit, edges))


@given(grids())
@examples(200)
def test_patches_come_in_raster_order_and_none_twice(grid):
    places = [(patch.row, patch.column) for patch in grid.patches()]
    assert places == sorted(set(places))
    ids = [patch.patch_id for patch in grid.patches()]
    assert ids == sorted(set(ids))


@given(grids())
@examples(200)
def test_the_grid_covers_every_pixel_and_its_last_patches_are_needed(grid):
    (columns, rows), (width, height), step = grid.shape, grid.size, grid.spec.step
    assert (columns - 1) * step < width <= columns * step
    assert (rows - 1) * step < height <= rows * step


LAST_FRACTION = Grid(
    Pyramid(((1092, 975), (546, 487), (273, 243)), (1.0, 2.0010266940451746, 4.006172839506172), (0, 974, 5, 1)),
    GridSpec(64, 0, 0, None, limit_bounds=True, edges="pad"),
)
"""Its bounds begin at row 974, and its coarsest level ends at 243 x 4.006 = 973.5."""


class Unopened:
    """What DeepZoomGenerator asks of a slide, from a pyramid alone."""

    def __init__(self, pyramid):
        self.dimensions = pyramid.dimensions[0]
        self.level_dimensions = pyramid.dimensions
        self.level_downsamples = pyramid.downsamples
        names = ("x", "y", "width", "height")
        self.properties = {
            f"openslide.bounds-{name}": str(value) for name, value in zip(names, pyramid.bounds or (), strict=False)
        }

    def get_best_level_for_downsample(self, downsample):
        fine = [level for level, own in enumerate(self.level_downsamples) if own <= downsample]
        return fine[-1] if fine else 0


@given(grids())
@example(LAST_FRACTION)
@examples(200)
def test_what_is_read_is_what_deepzoomgenerator_reads(grid):
    spec = grid.spec
    assume(spec.deepzoom_level is not None)
    oracle = DeepZoomGenerator(Unopened(grid.pyramid), spec.step, spec.overlap, spec.limit_bounds)
    for patch in grid.patches():
        expected = oracle.get_tile_coordinates(spec.deepzoom_level, (patch.column, patch.row))
        assert ((patch.read_x0, patch.read_y0), patch.level, patch.read_size) == expected


@given(grids())
@example(LAST_FRACTION)
@examples(200)
def test_what_is_read_lies_inside_its_level_and_area(grid):
    # With an overlap beyond the step, DeepZoomGenerator's second column begins outside the slide, too.
    assume(grid.spec.overlap <= grid.spec.step)
    for patch in grid.patches():
        if not min(patch.size):
            continue
        width, height = grid.pyramid.dimensions[patch.level]
        downsample = grid.pyramid.downsamples[patch.level]
        full = grid.pyramid.dimensions[0]
        left, top, *area = (grid.pyramid.bounds if grid.spec.limit_bounds else None) or (0, 0, *full)
        if grid.spec.deepzoom_level is None:
            # A level's downsample is the mean of both axes', so its last pixels may lie a little beyond level 0.
            part = (math.ceil(width * (area[0] / full[0])), math.ceil(height * (area[1] / full[1])))
            area = [downsample * part[0], downsample * part[1]]
        # Counted from the area, not from the level: that may end in a fraction of a pixel before the area begins.
        assert 0 <= patch.read_x0 - left < area[0]
        assert 0 <= patch.read_y0 - top < area[1]
        if not (grid.spec.limit_bounds and grid.pyramid.bounds):
            # OpenSlide's rounding may reach one level pixel too far where downsamples are fractions.
            assert patch.read_x0 / downsample + patch.read_size[0] <= width + 1
            assert patch.read_y0 / downsample + patch.read_size[1] <= height + 1


@given(grids())
@examples(200)
def test_count_is_the_number_of_patches(grid):
    assert grid.count == sum(1 for _ in grid.patches())


@given(grids())
@examples(200)
def test_dropping_edges_keeps_exactly_the_full_patches_of_padding(grid):
    padded = Grid(grid.pyramid, GridSpec(**{**_fields(grid.spec), "edges": "pad"}))
    dropped = Grid(grid.pyramid, GridSpec(**{**_fields(grid.spec), "edges": "drop"}))
    full = (grid.spec.patch_size, grid.spec.patch_size)
    assert list(dropped.patches()) == [patch for patch in padded.patches() if patch.size == full]
    assert len(list(padded.patches())) == math.prod(grid.shape)


@given(grids())
@examples(200)
def test_a_patch_stands_where_its_column_and_row_say(grid):
    origin = grid.pyramid.bounds[:2] if grid.spec.limit_bounds and grid.pyramid.bounds else (0, 0)
    for patch in grid.patches():
        exact = grid.downsample * (patch.column * grid.spec.step - grid.spec.overlap) + origin[0]
        assert exact - 1 < patch.x0 <= exact
        exact = grid.downsample * (patch.row * grid.spec.step - grid.spec.overlap) + origin[1]
        assert exact - 1 < patch.y0 <= exact
        assert abs(patch.width0 - grid.spec.patch_size * grid.downsample) <= 0.5


@given(pyramids())
def test_the_finest_deepzoom_level_is_native_level_0(pyramid):
    count = len(halve_to_pixel(pyramid.dimensions[0]))
    deepzoom = Grid(pyramid, GridSpec(256, 8, count - 1, None, limit_bounds=False))
    native = Grid(pyramid, GridSpec(256, 8, None, 0, limit_bounds=False))
    assert list(deepzoom.patches()) == list(native.patches())


@given(st.tuples(st.integers(1, 700), st.integers(1, 700)), st.tuples(st.integers(1, 300), st.integers(1, 300)))
@examples(400)
def test_fitted_is_the_size_that_pillow_gives(size, box):
    image = Image.new("L", size)
    image.thumbnail(box)
    assert thumbnail_size(size, box) == image.size


def test_halvings_round_up():
    assert halve_to_pixel((5, 3)) == [(1, 1), (2, 1), (3, 2), (5, 3)]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            GridSpec(deepzoom_level=18),
            "DeepZoom level 18 does not exist; levels count from 0, so this slide has 0 to 10",
        ),
        (GridSpec(level=2), "native level 2 does not exist; levels count from 0, so this slide has 0 to 1"),
    ],
)
def test_a_level_that_is_not_there_is_told_with_those_that_are(spec, message):
    """A defect of py-wsi: its refusal did not say that levels count from 0."""
    with pytest.raises(SlideError, match=message):
        Grid(Pyramid(((1024, 1000), (256, 250)), (1.0, 4.0)), spec)


def test_a_place_outside_the_grid_is_refused():
    grid = Grid(Pyramid(((1024, 1000),), (1.0,)), GridSpec(level=0))
    with pytest.raises(IndexError, match="column 4, row 0"):
        grid.patch(4, 0)


def test_a_grid_of_more_patches_than_ids_can_count_is_refused():
    pyramid = Pyramid(((200_001, 300),), (1.0,))
    assert Grid(pyramid, GridSpec(16, 6, level=0)).shape == (50_001, 75)
    with pytest.raises(SlideError, match="100001 x 150 patches, and ids count to 100000 along a side: choose larger"):
        Grid(pyramid, GridSpec(16, 7, level=0))


def test_ids_sort_in_raster_order_beyond_9():
    assert format_patch_id(2, 10) > format_patch_id(10, 9) > format_patch_id(9, 9)


def _fields(spec):
    return {name: getattr(spec, name) for name in GridSpec.__slots__}
