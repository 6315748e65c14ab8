"""Tiles decoded once give OpenSlide's own pixels, or OpenSlide reads the slide and says why."""

import random
from dataclasses import replace

import numpy as np
import openslide
import pytest

from slidemill import cutting, readers, tiff
from slidemill.errors import SlideError
from slidemill.geometry import Grid, GridSpec
from slidemill.readers import opened_reader, unreadable_patches
from slidemill.reading import PatchReader
from slidemill.slides import opened, slide_info
from slidemill.tiff import TiledLevel, TilesError, opened_level
from tests.conftest import painted
from tests.tiffs import STRUCTURES, Structure, write

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


def facts(path):
    with opened(path) as slide:
        return slide_info(slide)


def read_all(path, spec, choice="auto", threads=2, info=None):
    """All patches as one reader gives them, which reader it was, and why."""
    info = info or facts(path)
    patches = list(Grid(info.pyramid, spec).patches())
    with opened_reader(path, info, spec, patches, choice, seed=5) as (reader, why):
        found = {patch.patch_id: pixels for patch, pixels in reader.read(patches, np.copy, threads)}
        assert list(found) == [patch.patch_id for patch in patches]
        return found, reader.name, why


def expected(path, spec):
    """All patches as OpenSlide gives them, one after another."""
    with opened(path) as slide:
        info = slide_info(slide)
        reader = PatchReader(slide, info, spec)
        return {patch.patch_id: reader.read(patch) for patch in Grid(info.pyramid, spec).patches()}


def assert_openslides(path, spec, reader="tiles", **options):
    found, name, why = read_all(path, spec, **options)
    assert name == reader, why
    wanted = expected(path, spec)
    assert wanted
    assert list(found) == list(wanted)
    for patch_id, pixels in wanted.items():
        np.testing.assert_array_equal(found[patch_id], pixels, patch_id)
    return why


@pytest.mark.parametrize("spec", [GridSpec(100, 0, level=0), GridSpec(64, 9, level=0, edges="pad")], ids=["", "padded"])
@pytest.mark.parametrize("structure", STRUCTURES, ids=lambda one: one.name)
def test_every_patch_of_every_structure_is_openslides(files, structure, spec):
    why = assert_openslides(files[structure.name], spec)
    assert "are as OpenSlide reads them" in why
    assert facts(files[structure.name]).vendor == structure.vendor


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
    with opened_reader(even_file, info, spec, patches, "tiles", seed=1) as (reader, _):
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

        def pixels(level, number, buffer):
            self.tiles.append(number)
            return original(level, number, buffer)

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
    with opened_reader(even_file, info, spec, patches, "tiles", seed=1) as (reader, _):
        counted = Counted(monkeypatch)
        assert sum(1 for _ in reader.read(patches, np.copy, threads)) == len(patches)
    assert sorted(counted.tiles) == sorted(touched)


def test_memory_is_bounded_by_the_window_not_by_the_slide(even_file, monkeypatch):
    info = facts(even_file)
    spec = GridSpec(16, 0, level=0)
    patches = list(Grid(info.pyramid, spec).patches())
    made = []
    empty = np.empty
    with opened_reader(even_file, info, spec, patches, "tiles", seed=1) as (reader, _):
        monkeypatch.setattr(readers, "PATCHES_UNDER_WAY", 200 * 16 * 16 * 3)
        monkeypatch.setattr(cutting.np, "empty", lambda shape, kind: made.append(shape) or empty(shape, kind))
        for _ in reader.read(patches, np.copy, 2):
            pass
    arrays = [shape for shape in made if shape == (16, 16, 3)]
    assert len(patches) == 64 * 48
    assert len(arrays) <= 200 + 2 * readers.AHEAD + cutting.PLACES_A_STEP


def damaged(path, picture, change, structure=RGB):
    """A slide with one tile in the middle changed: ``bytes -> bytes``."""
    write(path, picture, structure, lambda number, data: change(data) if number == 30 else data)
    return path


TILE_30 = (30 % 9 * 128, 30 // 9 * 128)


def test_a_missing_tile_leaves_the_slide_to_openslide(tmp_path, picture):
    path = damaged(tmp_path / "a.svs", picture, lambda _: b"")
    name, why = chosen(path)
    assert name == "openslide"
    assert "1 of its 63 tiles are missing" in why


def chosen(path, choice="auto", spec=GridSpec(128, level=0)):  # noqa: B008
    """Which reader is taken, and why."""
    info = facts(path)
    patches = list(Grid(info.pyramid, spec).patches())
    with opened_reader(path, info, spec, patches, choice, seed=5) as (reader, why):
        return reader.name, why


def test_a_tile_of_other_pixels_than_openslides_leaves_the_slide_to_it(even_file, monkeypatch):
    original = TiledLevel.pixels

    def pixels(level, number, buffer):
        found = original(level, number, buffer)
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
        ({"vendor": "hamamatsu"}, "format hamamatsu is read by OpenSlide alone"),
        ({"dimensions": ((1024, 500), (256, 192), (64, 48))}, "0 of its 3 tiled images have the level's size"),
    ],
)
def test_a_structure_that_is_not_known_is_told(even_file, change, words):
    info = replace(facts(even_file), **change)
    with pytest.raises(TilesError, match=words), opened_level(even_file, info, 0):
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
    with pytest.raises(TilesError, match="tifffile cannot open it"), opened_level(other, facts(even_file), 0):
        pass


def test_a_file_that_ends_early_is_told(even_file, tmp_path):
    info = facts(even_file)
    short = tmp_path / "short.svs"
    with opened_level(even_file, info, 0) as level:
        end = max(level.offsets)
    short.write_bytes(even_file.read_bytes()[: end + 1])
    with pytest.raises(TilesError), opened_level(short, info, 0):
        pass


def strict(path, spec, info):
    """Patches by the tiles alone, or the tile's fault; nothing is compared before."""
    patches = list(Grid(info.pyramid, spec).patches())
    with opened_level(path, info, 0) as level:
        reader = readers.TileReader(level, info, spec)
        try:
            return {patch.patch_id: pixels for patch, pixels in reader.read(patches, np.copy, 1)}
        except TilesError as error:
            return error


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

    def flip(data):
        changed = bytearray(data)
        kind = generator.choice(["one bit", "some bytes", "the end", "the head"])
        if kind == "one bit":
            changed[generator.randrange(len(data))] ^= 1 << generator.randrange(8)
        elif kind == "some bytes":
            for _ in range(5):
                changed[generator.randrange(len(data))] ^= generator.randrange(1, 256)
        elif kind == "the end":
            start = generator.randrange(len(data))
            changed[start:] = bytes(len(data) - start)
        else:
            changed[generator.randrange(60)] ^= generator.randrange(1, 256)
        return bytes(changed)

    path = damaged(tmp_path / "a.svs", picture[:640], flip, structure)
    info = facts(path)
    spec = GridSpec(128, level=0)
    found = strict(path, spec, info)
    bad = unreadable_patches(path, info, spec, list(Grid(info.pyramid, spec).patches()))
    if isinstance(found, TilesError):
        assert "tile 30" in str(found)
        return
    assert bad == {}
    for patch_id, pixels in expected(path, spec).items():
        np.testing.assert_array_equal(found[patch_id], pixels)


def test_a_broken_tile_found_on_the_way_is_read_by_openslide_and_its_patches_are_listed(tmp_path, picture):
    path = damaged(tmp_path / "a.svs", picture, lambda data: data[: len(data) // 2] + bytes(len(data) // 2))
    info = facts(path)
    spec = GridSpec(100, level=0)
    patches = list(Grid(info.pyramid, spec).patches())
    bad = unreadable_patches(path, info, spec, patches)
    (x, y) = TILE_30
    touching = {p.patch_id for p in patches if x - 100 < p.x0 < x + 128 and y - 100 < p.y0 < y + 128}
    assert set(bad) == touching
    assert all("cannot be read" in reason for reason in bad.values())


def test_unreadable_patches_are_none_of_a_whole_slide(even_file):
    info = facts(even_file)
    spec = GridSpec(256, level=0)
    assert unreadable_patches(even_file, info, spec, list(Grid(info.pyramid, spec).patches())) == {}


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


def test_tifffile_and_openslide_are_asked_for_no_level_twice(even_file):
    """One image of the level's size is wanted; two could not be told apart."""
    info = facts(even_file)
    with pytest.raises(TilesError, match="tiled images have the level's size"):
        tiff._page(type("Two", (), {"pages": [_Page(), _Page()]})(), info.dimensions[0])


class _Page:
    is_tiled = True
    imagewidth, imagelength, tilewidth, tilelength = 1024, 768, 128, 128
