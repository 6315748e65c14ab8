"""Places from files as patches of a slide: the grid's own, or free ones."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slidemill.coordinates._content import CoordinateFile, Square
from slidemill.coordinates.placing import place_patches
from slidemill.core.patch import format_patch_id, parse_patch_id
from slidemill.core.pyramid import SlideInfo
from slidemill.core.specs import AREA, GridSpec
from slidemill.errors import SlideError
from slidemill.slides.grid import Grid
from tests.examples import examples

INFO = SlideInfo(
    vendor="aperio",
    dimensions=((4000, 3000), (1000, 750), (250, 187)),
    downsamples=(1.0, 4.0, 16.02),
    bounds=None,
    mpp_x=0.25,
    mpp_y=0.25,
    objective_power=40.0,
    background="FFFFFF",
)
SPECS = [
    GridSpec(256, level=0),
    GridSpec(100, overlap=10, level=1),
    GridSpec(128, overlap=20, level=0, edges="pad"),
    GridSpec(64, mpp=0.53, filter=AREA),
    GridSpec(64, magnification=20, filter=AREA),
    GridSpec(64, mpp=1.7),
    GridSpec(128, deepzoom_level=11),
]


def place(places, spec=SPECS[0], stated=("patch_size", "level"), info=INFO, names=("a.svs", "a"), **more):
    return place_patches(
        CoordinateFile(np.array(places).reshape(-1, 2), **more), info, spec, stated=stated, names=names
    )


@given(st.integers(0, 10**9 - 1), st.integers(0, 10**9 - 1), st.integers(0, 10**9 - 1), st.integers(0, 10**9 - 1))
@examples(300)
def test_ids_of_any_place_are_unique_and_sort_in_raster_order(x, y, other_x, other_y):
    one, other = format_patch_id(x, y), format_patch_id(other_x, other_y)
    assert parse_patch_id(one) == (x, y)
    assert (one < other) == ((y, x) < (other_y, other_x))


def test_ids_of_grids_stay():
    assert format_patch_id(34, 12) == "r00012_c00034"
    assert format_patch_id(99_999, 0) == "r00000_c99999"
    assert format_patch_id(204_800, 12) == "r00012_ca204800"


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_places_on_the_grid_are_the_grids_patches(spec):
    """In any order, and if only some of them are given."""
    patches = list(Grid(INFO.pyramid, spec).patches())
    kept = patches[1::3]
    places = np.random.default_rng(0).permutation([[patch.x0, patch.y0] for patch in kept])
    placed = place(places, spec)
    assert placed.spec == spec
    assert placed.patches == kept


@pytest.mark.parametrize("spec", SPECS, ids=str)
@pytest.mark.parametrize("edges", ["drop", "pad"])
def test_other_places_are_free(spec, edges):
    side = Grid(INFO.pyramid, spec).extent0
    places = np.random.default_rng(1).integers(0, (4000 - side, 3000 - side), (50, 2))
    placed = place(places, GridSpec(**spec.to_json() | {"edges": edges}))
    assert placed.spec.is_free
    assert [(patch.y0, patch.x0) for patch in placed.patches] == sorted((y, x) for x, y in places.tolist())
    assert all((patch.column, patch.row) == (patch.x0, patch.y0) for patch in placed.patches)
    assert {patch.size for patch in placed.patches} == {(spec.patch_size,) * 2}
    assert {patch.width0 for patch in placed.patches} == {side}
    again = Grid(INFO.pyramid, placed.spec)
    assert [again.patch(*parse_patch_id(patch.patch_id)) for patch in placed.patches] == placed.patches
    ids = [patch.patch_id for patch in placed.patches]
    assert ids == sorted(set(ids))


@given(st.sampled_from(SPECS), st.integers(0, 3999), st.integers(0, 2999))
@examples(200)
def test_free_patches_read_only_the_slide(spec, x, y):
    """The last pixel within the slide is that of the level, whatever is rounded."""
    free = GridSpec(**spec.to_json() | {"is_free": True, "overlap": 0, "edges": "pad", "limit_bounds": False})
    grid = Grid(INFO.pyramid, free)
    patch = grid.patch(x, y)
    downsample = INFO.downsamples[patch.level]
    for axis in (0, 1):
        first = (patch.read_x0, patch.read_y0)[axis] / downsample
        assert first >= 0
        assert np.ceil(first - 1e-6) + patch.read_size[axis] <= INFO.dimensions[patch.level][axis]
    assert max(patch.size) <= spec.patch_size


def test_squares_of_the_file_decide_what_is_not_stated():
    """TRIDENT's pixels become a native level where one has them, and are shrunk by area elsewhere."""
    found = {
        name: place([[5, 7]], stated=(), square=square).spec
        for name, square in {
            "full": Square(256, side0=256),
            "level": Square(200, side0=800),
            "shrunk": Square(256, side0=512),
            "clam": Square(100, level=2),
        }.items()
    }
    free = {"limit_bounds": False, "is_free": True}
    assert found == {
        "full": GridSpec(256, level=0, **free),
        "level": GridSpec(200, level=1, **free),
        "shrunk": GridSpec(256, downsample=2.0, filter=AREA, **free),
        "clam": GridSpec(100, level=2, **free),
    }


def test_stated_resolution_may_read_the_same_squares():
    """512 level-0 pixels are 256 at 20x, whichever of the two the file says."""
    spec = GridSpec(256, magnification=20, filter=AREA)
    for square in (Square(512, level=0), Square(256, side0=512), Square(128, level=1)):
        for stated in (("magnification",), ("patch_size", "magnification")):
            assert place([[5, 7]], spec, stated, square=square).spec.patch_size == 256


@pytest.mark.parametrize(
    ("places", "more", "message"),
    [
        ([[4000, 0]], {}, "has 1 place beyond the slide, 4000, 0 the first, and the slide has 4000 x 3000 level-0"),
        ([[3, -1], [0, 3000]], {}, "has 2 places beyond the slide, 3, -1 the first"),
        ([[3800, 3], [1, 1]], {}, "has 1 square partly beyond the slide, 256 x 256 level-0 pixels at 3800, 3"),
        ([[5, 5], [1, 2], [5, 5]], {}, "has 1 place more than once, 5, 5 the first: keep one of each"),
        ([[1, 1]], {"name": "b"}, "is of the slide 'b' by its attribute name, and this slide is a.svs"),
        ([[1, 1]], {"sizes": {0: (4000, 2999)}}, "with 4000 x 2999 pixels at level 0, and this slide has 4000 x 3000"),
        ([[1, 1]], {"sizes": {3: (4, 2)}}, "at level 3, and this slide has no such level"),
        (
            [[1, 1]],
            {"square": Square(256, side0=512)},
            "its squares are 256 x 256 pixels, of 512 x 512 level-0 pixels, 512 level-0 pixels wide, and those of the "
            "configuration are 256 level-0 pixels wide \\(patch_size 256, level 0\\)",
        ),
        ([[1, 1]], {"square": Square(256, level=1)}, "256 x 256 pixels of level 1, 1024 level-0 pixels wide"),
        ([[1, 1]], {"square": Square(256, level=5)}, "patch_level is 5, and the slide has levels 0 to 2"),
        (
            [[1, 1]],
            {"square": Square(256, side0=512), "stated": ("patch_size",), "spec": GridSpec(224, level=0)},
            "sampling.patch_size is 224",
        ),
        ([[1, 1]], {"square": Square(256, side0=128), "stated": ()}, "finer than the slide"),
        ([[1, 1]], {"square": Square(8, level=0), "stated": ()}, "patches have 16 to 4096 pixels"),
    ],
)
def test_wrong_places_are_refused(places, more, message):
    with pytest.raises(SlideError, match=message):
        place(places, **more)


def test_names_are_compared_as_files_are():
    assert place([[1, 1]], name="A").patches


def test_padding_keeps_squares_at_the_end():
    placed = place([[3999, 2999], [3800, 3]], GridSpec(256, level=0, edges="pad"))
    assert [patch.size for patch in placed.patches] == [(200, 256), (1, 1)]


def test_no_place_is_no_patch():
    assert place([]).patches == []
