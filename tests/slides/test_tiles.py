"""Tiles decoded once give OpenSlide's own pixels, or OpenSlide reads the slide and says why."""

import io
import random
import sys
import threading
from dataclasses import replace
from types import SimpleNamespace

import imagecodecs
import numpy as np
import openslide
import pytest
import tifffile
from PIL import Image

from slidemill.core import jpeg
from slidemill.core.patch import PatchRef
from slidemill.core.pyramid import SlideInfo
from slidemill.core.specs import GridSpec
from slidemill.errors import SlideError, UnreadablePatchError
from slidemill.slides import _tile_cutter, reader_choice, readers
from slidemill.slides._tile_cutter import Region
from slidemill.slides.grid import Grid
from slidemill.slides.openslide_reader import unreadable_patches
from slidemill.slides.patch_table import SlidePatches
from slidemill.slides.reader_choice import open_reader
from slidemill.slides.slide_info import slide_info
from slidemill.tiles.levels import open_level
from slidemill.tiles.tiled_level import TiledLevel, TilesError
from tests.conftest import painted
from tests.openslide_oracle import assert_openslides, assert_openslides_or_a_fault, damage, expected, facts, strict
from tests.tiffs import STRUCTURES, Structure, write

pytestmark = pytest.mark.cases

RGB = Structure("RGB", rgb=True)


@pytest.fixture(scope="module")
def picture():
    return painted(1030, 777)


@pytest.fixture(scope="module")
def files(picture, tmp_path_factory):
    """A slide of each structure, by its name."""
    folder = tmp_path_factory.mktemp("structures")
    paths = {}
    for number, structure in enumerate(STRUCTURES):
        paths[structure.name] = folder / f"{number}.tif"
        write(paths[structure.name], picture, structure)
    return paths


@pytest.mark.parametrize("spec", [GridSpec(100, 0, level=0), GridSpec(64, 9, level=0, edges="pad")], ids=["", "padded"])
@pytest.mark.parametrize("structure", STRUCTURES, ids=lambda one: one.name)
def test_every_patch_of_every_structure_is_openslides(files, structure, spec):
    why = assert_openslides(files[structure.name], spec)
    assert "are as OpenSlide reads them" in why
    assert facts(files[structure.name]).vendor == structure.vendor
    with tifffile.TiffFile(files[structure.name]) as tiff:
        colours = "RGB" if structure.rgb or structure.compression != "jpeg" else "YCBCR"
        assert next(page for page in tiff.pages if page.is_tiled).photometric.name == colours


@pytest.mark.parametrize("name", ["Philips", "Ventana"])
def test_a_level_that_is_filled_up_to_whole_tiles_is_read_as_far_as_it_goes(files, name):
    """Their second level has 515 x 388 pixels, or is said to have."""
    assert_openslides(files[name], GridSpec(64, 3, level=1, edges="pad"))


@pytest.mark.parametrize("level", [1, 2])
def test_coarser_levels_too(files, level):
    """Their downsamples are fractions here (1030 = 4 x 257.5): between pixels OpenSlide interpolates."""
    path = files["tiles of 240 and three levels"]
    why = assert_openslides(path, GridSpec(32, 0, level=level), reader="openslide")
    assert "OpenSlide interpolates between its pixels" in why


@pytest.fixture(scope="module")
def even_file(tmp_path_factory):
    """A slide whose levels are whole fractions of the first."""
    path = tmp_path_factory.mktemp("even") / "even.svs"
    write(path, painted(1024, 768), replace(RGB, downsamples=(1, 4, 16)))
    return path


@pytest.mark.parametrize("level", [0, 1, 2])
@pytest.mark.parametrize("overlap", [0, 7])
def test_levels_of_whole_downsamples_are_read_by_tiles(even_file, level, overlap):
    assert_openslides(even_file, GridSpec(32, overlap, level=level, edges="pad"))


@pytest.mark.parametrize("level", [10, 9, 8, 7, 6])
@pytest.mark.parametrize(("patch_size", "overlap"), [(32, 0), (30, 8)])
def test_deepzoom_levels_between_native_ones_are_shrunk_as_openslide_does(even_file, level, patch_size, overlap):
    assert_openslides(even_file, GridSpec(patch_size, overlap, deepzoom_level=level))


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("room", [1, 3 * 64 * 64 * 3, 64 * 1024 * 1024])
def test_pixels_do_not_depend_on_threads_or_on_how_much_is_held(even_file, monkeypatch, threads, room):
    info = facts(even_file)
    spec = GridSpec(64, 5, level=0)
    patches = list(Grid(info.pyramid, spec).patches())
    with open_reader(SlidePatches(even_file, info, spec, patches), "tiles", seed=1) as (reader, _):
        monkeypatch.setattr(readers, "PATCHES_UNDER_WAY", room)
        found = {patch.patch_id: pixels for patch, pixels in reader.read(patches, np.copy, threads)}
    wanted = expected(even_file, spec)
    assert list(found) == list(wanted)
    for patch_id, pixels in wanted.items():
        np.testing.assert_array_equal(found[patch_id], pixels)


class Counted:
    """Counts how often each tile is decoded."""

    def __init__(self, monkeypatch):
        self.tiles = []
        original = TiledLevel.pixels

        def pixels(level, number, data, buffer):
            self.tiles.append(number)
            return original(level, number, data, buffer)

        monkeypatch.setattr(TiledLevel, "pixels", pixels)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("every", [1, 2, 7, 40])
def test_each_tile_that_a_patch_touches_is_decoded_once_and_no_other(even_file, monkeypatch, threads, every):
    info = facts(even_file)
    spec = GridSpec(48, 2, level=0)
    patches = list(Grid(info.pyramid, spec).patches())[::every]
    touched = {
        (y // 128) * 8 + x // 128
        for patch in patches
        for x in (patch.x0, patch.x0 + 47)
        for y in (patch.y0, patch.y0 + 47)
    }
    with open_reader(SlidePatches(even_file, info, spec, patches), "tiles", seed=1) as (reader, _):
        counted = Counted(monkeypatch)
        assert sum(1 for _ in reader.read(patches, np.copy, threads)) == len(patches)
    assert sorted(counted.tiles) == sorted(touched)


def test_memory_is_bounded_by_the_window_not_by_the_slide(even_file, monkeypatch):
    info = facts(even_file)
    spec = GridSpec(16, 0, level=0)
    patches = list(Grid(info.pyramid, spec).patches())
    made = []
    empty = np.empty
    with open_reader(SlidePatches(even_file, info, spec, patches), "tiles", seed=1) as (reader, _):
        monkeypatch.setattr(readers, "PATCHES_UNDER_WAY", 200 * 16 * 16 * 3)
        monkeypatch.setattr(_tile_cutter.np, "empty", lambda shape, kind: made.append(shape) or empty(shape, kind))
        for _ in reader.read(patches, np.copy, 2):
            pass
    arrays = [shape for shape in made if shape[-3:] == (16, 16, 3)]
    assert len(patches) == 64 * 48
    assert 0 < len(arrays) <= 200 + 2 * readers.AHEAD + _tile_cutter.PLACES_A_STEP


def damaged(path, picture, change, structure=RGB):
    """A slide with one tile in the middle changed: ``bytes -> bytes``."""
    write(path, picture, structure, lambda number, data: change(data) if number == 30 else data)
    return path


TILE_30 = (30 % 9 * 128, 30 // 9 * 128)


JFIF = b"\xff\xe0\x00\x10JFIF\x00%c\x01\x00\x00\x01\x00\x01\x00\x00"
ADOBE = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00%c"


def before_scan(data, segment):
    """A stream with a segment right before its scan."""
    place = data.rindex(b"\xff\xda")
    return data[:place] + segment + data[place:]


def of(mode, size=(128, 128)):
    """A JPEG of another kind than its neighbours."""
    file = io.BytesIO()
    Image.new(mode, size, 90 if mode == "L" else (90, 30, 60, 10)[: len(mode)]).save(file, "jpeg")
    return file.getvalue()


ODD = {
    "JFIF before the scan": lambda data: before_scan(data, JFIF % 1),
    "JFIF of an unknown version": lambda data: data[:2] + JFIF % 3 + data[2:],
    "Adobe says YCbCr": lambda data: before_scan(data, ADOBE % 1),
    "Adobe says RGB": lambda data: before_scan(data, ADOBE % 0),
    "Adobe says what it never says": lambda data: data[:2] + ADOBE % 7 + data[2:],
    "a byte to fill up before JFIF": lambda data: data[:2] + b"\xff" + JFIF % 1 + data[2:],
    "a comment": lambda data: data[:2] + b"\xff\xfe\x00\x06abcd" + data[2:],
    "grey": lambda _: of("L"),
    "CMYK": lambda _: of("CMYK"),
    "smaller": lambda _: of("RGB", (112, 128)),
    "larger": lambda _: of("RGB", (256, 256)),
    "more after its end": lambda data: data + bytes(100),
    "two starts": lambda data: data[:2] + data,
    "no end": lambda data: data[:-2],
}


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("structure", [RGB, Structure("YCbCr", subsampling="4:2:2")], ids=lambda one: one.name)
def test_one_odd_tile_gives_openslides_pixels_or_a_fault(tmp_path, picture, structure, kind):
    """It is not among those that are compared when the slide is opened."""
    said = assert_openslides_or_a_fault(damaged(tmp_path / "a.svs", picture, ODD[kind], structure))
    assert not said or "tile 30" in said


def test_a_restart_interval_in_the_shared_tables_is_not_known(tmp_path, picture):
    """OpenSlide forgets it at a tile's start."""
    path = tmp_path / "a.svs"
    write(path, picture, RGB)
    with tifffile.TiffFile(path) as tiff:
        tables = tiff.pages[0].jpegtables
    with pytest.raises(ValueError, match="its shared tables set a restart interval"):
        jpeg.tile_head(tables[:2] + b"\xff\xdd\x00\x04\x00\x08" + tables[2:], rgb=True)


def test_a_jpeg_2000_tile_in_a_files_boxes_is_refused_as_openslide_does(tmp_path, picture):
    structure = next(one for one in STRUCTURES if one.compression == "APERIO_JP2000_RGB")
    boxed = imagecodecs.jpeg2k_encode(np.full((128, 128, 3), 90, np.uint8), codecformat="JP2")
    path = damaged(tmp_path / "a.svs", picture, lambda _: boxed, structure)
    found = strict(path)
    assert "tile 30 cannot be decoded (no JPEG 2000 codestream)" in str(found)


@pytest.mark.parametrize("number", [0, 8, 54, 62], ids=["first", "right", "low", "last"])
def test_a_broken_tile_among_those_compared_leaves_the_slide_to_openslide(tmp_path, picture, number):
    path = tmp_path / "a.svs"
    write(path, picture, RGB, lambda own, data: data[: len(data) // 2] if own == number else data)
    spec = GridSpec(100, level=0, edges="pad")
    name, why = chosen(path, spec=spec)
    assert name == "openslide"
    assert "OpenSlide cannot read" in why
    info = facts(path)
    patches = list(Grid(info.pyramid, spec).patches())
    with (
        open_reader(SlidePatches(path, info, spec, patches), "auto", seed=5) as (reader, _),
        pytest.raises(UnreadablePatchError),
    ):
        list(reader.read(patches, np.copy, 2))


@pytest.mark.parametrize(("tag", "value"), [("Orientation", 3), ("FillOrder", 2)])
def test_images_that_are_turned_are_not_known(even_file, tmp_path, tag, value):
    info = facts(even_file)
    turned = tmp_path / "turned.svs"
    write(turned, painted(1024, 768), replace(RGB, downsamples=(1,)), tags=[(tag, 3, 1, value, True)])
    with pytest.raises(TilesError, match="it is turned, mirrored, or its bits are"), open_level(turned, info, 0):
        pass


def test_what_may_be_transparent_is_left_to_openslide(even_file, monkeypatch):
    original = openslide.OpenSlide.read_region

    def read_region(slide, location, level, size):
        region = original(slide, location, level, size)
        region.putalpha(254)
        return region

    monkeypatch.setattr(openslide.OpenSlide, "read_region", read_region)
    assert chosen(even_file)[0] == "openslide"


def test_a_last_tile_that_no_patch_touches_is_compared_too(even_file, monkeypatch):
    counted = Counted(monkeypatch)
    chosen(even_file, spec=GridSpec(300, level=0))
    assert 8 * 6 - 1 in counted.tiles


@pytest.mark.parametrize(
    ("size", "region"),
    [
        ((250, 170), Region(200, 120, 50, 50)),
        ((200, 120), Region(100, 60, 100, 60)),
        ((201, 61), Region(200, 60, 1, 1)),
    ],
)
def test_last_tile_is_what_lies_within_the_level(size, region):
    reader = SimpleNamespace(level=SimpleNamespace(size=size, tile=(100, 60)))
    assert reader_choice._last_tile(reader) == Region(*region)


def test_patches_of_more_pixels_than_are_held_are_left_to_openslide(even_file, monkeypatch):
    monkeypatch.setattr(reader_choice, "PATCHES_UNDER_WAY", 300 * 300 * 3 - 1)
    name, why = chosen(even_file, spec=GridSpec(300, level=0))
    assert (name, why) == ("openslide", "its patches are shrunk from more pixels than are held at once")


@pytest.mark.parametrize("choice", ["tiles", "openslide"])
@pytest.mark.parametrize("threads", [1, 3])
def test_pixels_stay_until_the_next_patch_is_asked_for(even_file, choice, threads):
    """Their memory is used again: a store that digests or writes them too late would hold others."""
    info = facts(even_file)
    spec = GridSpec(48, 2, level=0)
    patches = list(Grid(info.pyramid, spec).patches())
    wanted = expected(even_file, spec)
    before = threading.active_count()
    with open_reader(SlidePatches(even_file, info, spec, patches), choice, seed=1) as (reader, _):
        for patch, pixels in reader.read(patches, lambda own: own, threads):
            # The helpers run as far ahead as they may before the pixels are looked at.
            while any(helper.is_alive() and _runs(helper) for helper in threading.enumerate()[before:]):
                pass
            np.testing.assert_array_equal(pixels, wanted[patch.patch_id])


def _runs(thread):
    """Whether a thread is anywhere but waiting for its turn."""
    frame = sys._current_frames().get(thread.ident)
    while frame is not None:
        if frame.f_code.co_name == "wait":
            return False
        frame = frame.f_back
    return True


@pytest.mark.parametrize("choice", ["tiles", "openslide"])
def test_threads_end_before_the_slide_is_closed_whatever_the_consumer_does(even_file, choice):
    """OpenSlide ends the process when its handle is closed under a thread that reads."""
    info = facts(even_file)
    spec = GridSpec(48, 2, level=0)
    patches = list(Grid(info.pyramid, spec).patches())
    before = threading.active_count()
    kept = []
    for count in range(8):
        with open_reader(SlidePatches(even_file, info, spec, patches), choice, seed=1) as (reader, _):
            results = reader.read(patches, np.copy, 4)
            kept.append(results)  # as a traceback would keep it
            for _ in range(count):
                next(results)
            results.close()
        assert threading.active_count() == before


def test_a_missing_tile_leaves_the_slide_to_openslide(tmp_path, picture):
    path = damaged(tmp_path / "a.svs", picture, lambda _: b"")
    name, why = chosen(path)
    assert name == "openslide"
    assert "1 of its 63 tiles are missing" in why


def chosen(path, choice="auto", spec=GridSpec(128, level=0)):  # noqa: B008
    """Which reader is taken, and why."""
    info = facts(path)
    patches = list(Grid(info.pyramid, spec).patches())
    with open_reader(SlidePatches(path, info, spec, patches), choice, seed=5) as (reader, why):
        return reader.name, why


def test_a_tile_of_other_pixels_than_openslides_leaves_the_slide_to_it(even_file, monkeypatch):
    original = TiledLevel.pixels

    def pixels(level, number, data, buffer):
        found = original(level, number, data, buffer)
        if number == 47:
            found[127, 127, 0] ^= 1
        return found

    monkeypatch.setattr(TiledLevel, "pixels", pixels)
    name, why = chosen(even_file)
    assert name == "openslide"
    assert "its pixels at (896, 640) of level 0 are not those that OpenSlide reads" in why
    with pytest.raises(SlideError, match=r"even\.svs: its tiles cannot be used .*: choose reader auto"):
        chosen(even_file, "tiles")


def test_the_configuration_may_ask_for_openslide(even_file):
    assert chosen(even_file, "openslide") == ("openslide", "as the configuration says")
    assert_openslides(even_file, GridSpec(100, 3, level=0), reader="openslide", choice="openslide", threads=3)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"vendor": "hamamatsu"}, "format hamamatsu is read only by OpenSlide"),
        ({"dimensions": ((1024, 500), (256, 192), (64, 48))}, "0 of its 3 tiled images have the level's size"),
    ],
)
def test_a_structure_that_is_not_known_is_told(even_file, change, words):
    info = replace(facts(even_file), **change)
    with pytest.raises(TilesError, match=words), open_level(even_file, info, 0):
        pass


def test_tiles_that_openslide_lays_otherwise_are_told(even_file, monkeypatch):
    """Ventana's .bif tiles overlap, and OpenSlide gives no size of theirs."""

    class Overlapping(openslide.OpenSlide):
        @property
        def properties(self):
            kept = dict(super().properties)
            del kept["openslide.level[0].tile-width"]
            return kept

    monkeypatch.setattr(openslide, "OpenSlide", Overlapping)
    name, why = chosen(even_file)
    assert name == "openslide"
    assert "OpenSlide does not lay them side by side" in why


def test_a_file_that_is_no_tiff_is_told(even_file, tmp_path):
    other = tmp_path / "text.svs"
    other.write_text("no TIFF")
    with pytest.raises(TilesError, match="tifffile cannot open it"), open_level(other, facts(even_file), 0):
        pass


def test_a_file_that_ends_early_is_told(even_file, tmp_path):
    info = facts(even_file)
    short = tmp_path / "short.svs"
    with open_level(even_file, info, 0) as level:
        end = max(level.offsets)
    short.write_bytes(even_file.read_bytes()[: end + 1])
    with pytest.raises(TilesError, match=r"cannot|ends before its last tile"), open_level(short, info, 0):
        pass


@pytest.mark.parametrize(
    "structure",
    [
        RGB,
        Structure("", subsampling="4:2:0"),
        next(one for one in STRUCTURES if one.compression == "APERIO_JP2000_RGB"),
    ],
    ids=str,
)
@pytest.mark.parametrize("seed", range(40))
def test_damage_gives_openslides_pixels_or_a_fault(tmp_path, picture, structure, seed):
    """What libjpeg only warns of, OpenSlide refuses: grey pixels must not pass for the slide's."""
    generator = random.Random(seed)

    path = damaged(tmp_path / "a.svs", picture[:640], lambda data: damage(data, generator), structure)
    said = assert_openslides_or_a_fault(path)
    assert not said or "tile 30" in said


def test_a_broken_tile_found_on_the_way_is_read_by_openslide_and_its_patches_are_listed(tmp_path, picture):
    path = damaged(tmp_path / "a.svs", picture, lambda data: data[: len(data) // 2] + bytes(len(data) // 2))
    info = facts(path)
    spec = GridSpec(100, level=0)
    patches = list(Grid(info.pyramid, spec).patches())
    bad = unreadable_patches(SlidePatches(path, info, spec, patches))
    (x, y) = TILE_30
    touching = {p.patch_id for p in patches if x - 100 < p.x0 < x + 128 and y - 100 < p.y0 < y + 128}
    assert set(bad) == touching
    assert all("cannot be read" in reason for reason in bad.values())


def test_unreadable_patches_are_none_of_a_whole_slide(even_file):
    info = facts(even_file)
    spec = GridSpec(256, level=0)
    assert unreadable_patches(SlidePatches(even_file, info, spec, list(Grid(info.pyramid, spec).patches()))) == {}


@pytest.mark.long
def test_the_real_slide_is_read_by_tiles(real_slide_file):
    for spec in (GridSpec(256, level=0), GridSpec(200, 20, deepzoom_level=11)):
        assert_openslides(real_slide_file, spec)


def test_openslide_s_handle_is_shared_by_threads_and_gives_the_same(even_file):
    with openslide.OpenSlide(even_file) as slide:
        info = slide_info(slide)
        spec = GridSpec(50, 4, level=1)
        patches = list(Grid(info.pyramid, spec).patches())
        reader = readers.OpenSlideReader(slide, info, spec)
        found = {patch.patch_id: pixels for patch, pixels in reader.read(patches, np.copy, 4)}
    for patch_id, pixels in expected(even_file, spec).items():
        np.testing.assert_array_equal(found[patch_id], pixels)


def test_two_images_of_one_size_cannot_be_told_apart(tmp_path, picture):
    path = tmp_path / "a.tif"
    write(path, picture, Structure("", vendor="generic-tiff", compression="NONE", downsamples=(1, 1)))
    words = "2 of its 2 tiled images have the level's size, 1030 x 777"
    with pytest.raises(TilesError, match=words), open_level(path, facts(path), 0):
        pass


def test_region_beyond_the_level_is_rejected():
    info = SlideInfo("x", ((100, 80),), (1.0,), None, None, None, None, "FFFFFF")
    level = TiledLevel((100, 80), (32, 32), 4, (), (), b"", lambda data, out: out, -1)
    reader = readers.TileReader(level, info, GridSpec(64, 0, level=0))

    def region(left, top, *size):
        return reader.region(PatchRef(0, 0, left, top, 64, 64, 0, left, top, size, size, (0, 0)))

    for within in ((0, 0, 100, 80), (36, 16, 64, 64)):
        assert region(*within) == within
    for beyond in ((37, 16, 64, 64), (36, 17, 64, 64), (-1, 0, 64, 64), (0, -1, 64, 64)):
        with pytest.raises(TilesError, match="ends beyond"):
            region(*beyond)
