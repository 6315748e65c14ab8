"""Stores of a slide's own tiles, out of which patches of any grid are cut."""

import re
from dataclasses import replace

import numpy as np
import pytest
from pydicom.uid import JPEG2000, ExplicitVRLittleEndian

from slidemill.core.patch import format_patch_id
from slidemill.core.specs import GridSpec, ValidationSpec
from slidemill.errors import SlideError, StoreError
from slidemill.slides.openslide_reader import PatchReader
from slidemill.slides.slide_info import open_slide
from slidemill.stages.validate import SlideStores, validate_slide
from slidemill.stores.registry import open_store
from tests.conftest import ROOT, painted
from tests.dicoms import LAYOUTS, Layout, write_series
from tests.stages.test_source import stored
from tests.tiffs import STRUCTURES, write

pytestmark = pytest.mark.cases

TILES = ("lmdb", "hdf5")
GRIDS = {
    "larger": GridSpec(200, level=0),
    "smaller": GridSpec(60, level=0),
    "overlapping": GridSpec(100, 20, level=0),
    "padded": GridSpec(150, 10, level=0, edges="pad"),
    "tile size, padded": GridSpec(128, level=0, edges="pad"),
    "DeepZoom": GridSpec(90, 5, deepzoom_level=11),
}
CHECKS = ValidationSpec(sample=10, min_psnr=30)


@pytest.fixture(scope="module")
def picture():
    return painted(1030, 777)


def assert_openslides_pixels(path, target, info, spec, patches):
    with open_slide(path) as slide, open_store(target) as store:
        assert store.holds_tiles
        assert list(store.ids) == [patch.patch_id for patch in patches]
        reader = PatchReader(slide, info, spec)
        for patch in patches:
            np.testing.assert_array_equal(store.read(patch.patch_id), reader.read(patch))


@pytest.mark.parametrize("backend", TILES)
@pytest.mark.parametrize("grid", GRIDS)
def test_patches_of_any_grid_equal_openslides(tmp_path, picture, grid, backend):
    path, spec = tmp_path / "a.tif", GRIDS[grid]
    write(path, picture, next(one for one in STRUCTURES if one.compression == "jpeg" and one.tile == (128, 128)))
    target, outcome, info, patches = stored(path, tmp_path, spec, backend)
    assert (outcome.status, outcome.store.patches) == ("ok", len(patches))
    assert_openslides_pixels(path, target, info, spec, patches)


FORMS = [one for one in STRUCTURES if one.compression in ("jpeg", "APERIO_JP2000_RGB")]


@pytest.mark.parametrize("structure", FORMS, ids=lambda one: one.name)
def test_tiles_of_any_form_give_openslides_pixels(tmp_path, picture, structure):
    path, spec = tmp_path / "a.tif", GridSpec(100, 8, level=0, edges="pad")
    write(path, picture, structure)
    target, _, info, patches = stored(path, tmp_path, spec)
    assert_openslides_pixels(path, target, info, spec, patches)


DICOM = [one for one in LAYOUTS if one.syntax != ExplicitVRLittleEndian]


@pytest.mark.parametrize("backend", TILES)
@pytest.mark.parametrize("layout", DICOM, ids=lambda one: one.name)
def test_frames_of_dicom_give_openslides_pixels(tmp_path, picture, layout, backend):
    spec = GridSpec(100, 8, level=0, edges="pad")
    path = write_series(tmp_path / "series", picture, layout)
    target, outcome, info, patches = stored(path, tmp_path, spec, backend)
    assert outcome.store.reader == "tiles"
    assert_openslides_pixels(path, target, info, spec, patches)


def test_frames_of_dicom_are_stored_as_they_are(tmp_path, picture):
    """JPEG 2000 frames byte by byte, and JPEG frames but for application segments."""
    spec = GridSpec(100, level=0)
    for number, layout in enumerate((Layout(syntax=JPEG2000), Layout())):
        frames = []
        layout = replace(layout, frame=lambda _, data, frames=frames: frames.append(data) or data)
        path = write_series(tmp_path / str(number) / "series", picture, layout)
        target, *_ = stored(path, tmp_path / str(number), spec)
        with open_store(target) as store:
            held = b"".join(bytes(store.read_stored(name)) for name in store.stored_names)
        kept = frames if layout.syntax == JPEG2000 else [one[one.index(b"\xff\xda") :] for one in frames]
        # The last column and row are touched by no whole patch.
        assert all(kept[row * 9 + column] in held for row in range(6) for column in range(8))


@pytest.mark.long
def test_coarser_levels_are_cut_out_of_their_tiles(tmp_path):
    path, spec = tmp_path / "a.tif", GridSpec(100, 5, level=1, edges="pad")
    write(path, painted(1600, 1200), replace(FORMS[0], downsamples=(1, 4)))
    target, _, info, patches = stored(path, tmp_path, spec)
    assert_openslides_pixels(path, target, info, spec, patches)


UNFIT = {
    "shrunk": (
        FORMS[0],
        GridSpec(128, deepzoom_level=10),
        r"patches of a native level, and patch r00000_c00000 is shrunk from 256 x 256 to 128 x 128 pixels: set",
    ),
    "no image": (STRUCTURES[-1], GridSpec(100, level=0), "copies JPEG and JPEG 2000 tiles, and this slide's are"),
}


@pytest.mark.parametrize("unfit", UNFIT)
def test_patches_that_are_not_cut_out_of_tiles_are_rejected(tmp_path, picture, unfit):
    structure, spec, words = UNFIT[unfit]
    path = tmp_path / "a.tif"
    write(path, picture, structure)
    with pytest.raises(SlideError, match=words):
        stored(path, tmp_path, spec)
    assert not list(tmp_path.glob("lmdb*"))


def test_validation_compares_with_the_slide_and_other_stores(tmp_path, picture):
    path, spec = tmp_path / "a.tif", GridSpec(100, 8, level=0, edges="pad")
    write(path, picture, FORMS[0])
    tiles, _, info, patches = stored(path, tmp_path, spec)
    pixels, *_ = stored(path, tmp_path, spec, "hdf5", "zstd")
    stores = SlideStores("slide", {"lmdb": tiles, "hdf5": pixels}, spec, patches, source=path, info=info)
    rows = validate_slide(stores, CHECKS, seed=1, threads=2)
    assert {row.message for row in rows} == {""}
    assert next(row.checked for row in rows if row.check == "stores agree") == len(patches)
    assert next(row.checked for row in rows if (row.backend, row.check) == ("lmdb", "digests")) == 2 * 7


@pytest.mark.parametrize("backend", TILES)
def test_each_wanted_tile_is_stored_once(tmp_path, picture, backend):
    path, spec = tmp_path / "a.tif", GridSpec(64, 16, level=0)
    write(path, picture, FORMS[0])
    target, _, _, patches = stored(path, tmp_path, spec, backend)
    with open_store(target) as store:
        names = store.stored_names
        assert set(names) == {
            format_patch_id(column, row)
            for patch in patches
            for column in {x // 128 // 8 for x in range(patch.read_x0, patch.read_x0 + 64)}
            for row in {y // 128 for y in range(patch.read_y0, patch.read_y0 + 64)}
        }
        assert len(store) == len(patches)
        assert store.stored_ids() == list(names)
        assert sum(len(store.read_stored(name)) for name in names) < path.stat().st_size
        assert store.manifest.pixel_digests == ()


@pytest.mark.parametrize("backend", TILES)
def test_bytes_of_a_cut_patch_are_refused(tmp_path, picture, backend):
    path, spec = tmp_path / "a.tif", GridSpec(100, level=0)
    write(path, picture, FORMS[0])
    target, *_ = stored(path, tmp_path, spec, backend)
    with open_store(target) as store:
        with pytest.raises(StoreError, match="r00000_c00000 is not stored as bytes, because the store holds the slide"):
            store.read_bytes("r00000_c00000")
        with pytest.raises(StoreError, match="has no patch 'r00099_c00000'"):
            store.read("r00099_c00000")
        with pytest.raises(StoreError, match="only raw ones can be viewed"):
            store.view("r00000_c00000")
    with pytest.raises(StoreError, match="is closed"):
        store.read("r00000_c00000")


def test_a_broken_tile_leaves_out_the_patches_that_touch_it(tmp_path, picture):
    path, spec = tmp_path / "a.tif", GridSpec(100, level=0)
    write(path, picture, FORMS[0], lambda number, data: data[:-40] + bytes(40) if number == 30 else data)
    target, outcome, info, patches = stored(path, tmp_path, spec, checked=True)
    # Tile 30, at 384, 384, up to 512.
    wrong = {f"r{row:05d}_c{column:05d}" for row in (3, 4, 5) for column in (3, 4, 5)}
    assert {one.patch_id for one in outcome.store.unreadable} == wrong
    assert_openslides_pixels(path, target, info, spec, [one for one in patches if one.patch_id not in wrong])


def test_reference_reads_a_cut_patch_without_slidemill(tmp_path, picture):
    path, spec = tmp_path / "a.tif", GridSpec(100, 8, level=0)
    write(path, picture, FORMS[0])
    target, *_ = stored(path, tmp_path, spec)
    page = (ROOT / "docs/reference/stores.md").read_text(encoding="utf-8")
    (script,) = (own for own in re.findall(r"^```python\n(.*?)^```$", page, re.M | re.S) if "def cut_patch" in own)
    found = {}
    exec(script, found)
    # LMDB opens a file only once in a process. The first column and row lack the overlap, and need another script.
    places = ((1, 1), (3, 2), (7, 5))
    with open_store(target) as store:
        wanted = [store.read(format_patch_id(column, row)) for column, row in places]
    del store
    for place, pixels in zip(places, wanted, strict=True):
        np.testing.assert_array_equal(found["cut_patch"](str(target), *place), pixels)
