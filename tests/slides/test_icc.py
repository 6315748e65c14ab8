"""ICC profiles: noted, and with ``icc: srgb`` every stored pixel is the slide's, converted to sRGB."""

import io
import json
import threading
from dataclasses import replace

import numpy as np
import openslide
import pytest
from PIL import Image, ImageCms

from slidemill.cli.commands import main as command_line
from slidemill.core.csv_tables import read_table
from slidemill.core.encodings import digest
from slidemill.core.specs import GridSpec, StoreSpec
from slidemill.errors import SlideError
from slidemill.slides.grid import Grid
from slidemill.slides.icc import CONVERTED, IGNORED, NO_PROFILE, build_conversion, colour_state, profile_of
from slidemill.slides.openslide_reader import PatchReader, thumbnail
from slidemill.slides.slide_info import slide_info
from slidemill.stores.manifest import SEAL_SIZE, VERSION, Manifest
from slidemill.stores.registry import open_store
from tests.conftest import painted
from tests.dicoms import write_dicom
from tests.profiles import matrix_profile, to_srgb
from tests.slide_run import Run
from tests.tiffs import Structure, write

pytestmark = pytest.mark.cases

GRID = GridSpec(100, 10, level=0, edges="pad")
ICC_TAG = 34675
SCANNER = matrix_profile()
DAMAGED = SCANNER[:60] + bytes(len(SCANNER) - 60)
TRUNCATED = SCANNER[:200]
GREY = matrix_profile(space=b"GRAY")


@pytest.fixture(scope="module")
def picture():
    """Tissue, and every colour beside it."""
    pixels = painted(640, 512)
    pixels[:256, :256] = np.random.default_rng(1).integers(0, 256, (256, 256, 3), np.uint8)
    return pixels


def svs(profile, **structure):
    def written(folder, pixels):
        tags = [(ICC_TAG, 7, len(profile), profile, True)] if profile else []
        shape = {"tile": (128, 128), "vendor": "aperio", "rgb": True, "downsamples": (1, 4), **structure}
        write(folder / "slide.svs", pixels, Structure("slide", **shape), tags=tags)
        return folder / "slide.svs"

    return written


@pytest.fixture
def run(picture, tmp_path):
    return Run(tmp_path, svs(SCANNER), picture)


def openslides(run, grid):
    """Each patch as OpenSlide reads it."""
    with openslide.OpenSlide(run.source) as slide:
        info = slide_info(slide)
        reader = PatchReader(slide, info, grid)
        return {patch.patch_id: reader.read(patch) for patch in Grid(info.pyramid, grid).patches()}


def by_pillow(pixels, profile):
    """Pixels converted by Pillow's shortest way, whose transform keeps its cache and is made anew."""
    image = Image.fromarray(pixels)
    own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    intent = ImageCms.Intent.RELATIVE_COLORIMETRIC
    return np.asarray(ImageCms.profileToProfile(image, own, ImageCms.createProfile("sRGB"), intent, "RGB"))


def stored(path):
    with open_store(path) as store:
        return {patch_id: store.read(patch_id) for patch_id in store.ids}, store.manifest


def same(found, wanted):
    assert list(found) == list(wanted)
    for patch_id, pixels in wanted.items():
        np.testing.assert_array_equal(found[patch_id], pixels, patch_id)


def test_a_matrix_profile_converts_as_its_arithmetic_says(run):
    pixels = np.random.default_rng(3).integers(0, 256, (200, 300, 3), np.uint8)
    with openslide.OpenSlide(run.source) as slide:
        converted = build_conversion(slide, CONVERTED)(pixels)
    wanted = to_srgb(pixels)
    assert np.abs(converted - wanted).max() <= 2
    assert (np.abs(converted - wanted) <= 1).mean() > 0.99
    assert np.abs(converted - pixels.astype(int)).mean() > 5


def test_srgbs_own_profile_leaves_pixels_as_they_are(picture, tmp_path):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    run = Run(tmp_path, svs(profile), picture)
    with openslide.OpenSlide(run.source) as slide:
        converted = build_conversion(slide, CONVERTED)(picture)
    assert np.abs(converted.astype(int) - picture).max() <= 1


def test_white_stays_white(run):
    """Relative colorimetric: the scanner's white becomes sRGB's, whatever the light was."""
    with openslide.OpenSlide(run.source) as slide:
        white = build_conversion(slide, CONVERTED)(np.full((16, 16, 3), 255, np.uint8))
    assert white.min() == 255


@pytest.mark.long
@pytest.mark.parametrize("reader", ["tiles", "openslide"])
@pytest.mark.parametrize(
    "grid", [GRID, GridSpec(64, 0, level=1), GridSpec(64, 0, deepzoom_level=9)], ids=["padded", "level 1", "shrunk"]
)
def test_every_stored_pixel_is_openslides_converted(run, grid, reader):
    row, paths = run.stores(grid, icc="srgb", reader=reader)
    assert (row["status"], row["message"], row["reader"]) == ("ok", "", reader)
    wanted = {patch_id: by_pillow(pixels, SCANNER) for patch_id, pixels in openslides(run, grid).items()}
    for path in paths.values():
        found, manifest = stored(path)
        same(found, wanted)
        assert manifest.icc == "srgb (relative colorimetric)"
        assert manifest.versions["littlecms"]


@pytest.mark.long
def test_both_readers_write_the_same_bytes(run):
    written = []
    for reader in ("tiles", "openslide"):
        _, paths = run.stores(GRID, icc="srgb", reader=reader)
        written.append({backend: path.read_bytes() for backend, path in paths.items()})
    assert written[0] == written[1]


def test_unless_asked_the_profile_is_noted_and_pixels_are_the_slides_own(run):
    row, paths = run.stores(GRID)
    assert (row["status"], row["notes"]) == ("ok", "")
    assert row["icc"] == f"a test's scanner ({len(SCANNER)} bytes)"
    found, manifest = stored(paths["lmdb"])
    same(found, openslides(run, GRID))
    assert (manifest.icc, "littlecms" in manifest.versions) == ("ignore", False)


def test_a_slide_without_a_profile_is_stored_as_it_is_with_a_note(picture, tmp_path):
    run = Run(tmp_path, svs(None), picture)
    row, paths = run.stores(GRID, icc="srgb")
    assert (row["status"], row["icc"]) == ("ok", "")
    assert row["notes"] == "it has no ICC profile: its colours are stored as they are"
    found, manifest = stored(paths["hdf5"])
    same(found, openslides(run, GRID))
    assert manifest.icc == "srgb (no profile)"


def test_jpeg_is_compared_with_converted_pixels(run):
    row, _ = run.stores(GridSpec(100, 10, level=0), {"lmdb": StoreSpec("jpeg", 95)}, icc="srgb")
    assert (row["status"], row["message"]) == ("ok", "")


def test_validation_finds_a_store_of_other_colours(run):
    _, paths = run.stores(GRID)
    checked, outcomes = run.folder / "again.csv", [run.folder / f"{backend}.json" for backend in paths]
    run.validate(outcomes, paths, GRID, checked, "srgb")
    wrong = {(row["backend"], row["check"]): row["message"] for row in read_table(checked) if row["message"]}
    assert set(wrong) == {(backend, check) for backend in paths for check in ("manifest", "equals slide")}
    assert wrong["lmdb", "manifest"] == "icc is ignore, not srgb (relative colorimetric)"


@pytest.mark.long
def test_tiles_are_not_copied_where_their_colours_are_to_be_converted(run, picture, tmp_path):
    grid, copying = GridSpec(128, 0, level=0), {"lmdb": StoreSpec("source")}
    row, _ = run.stores(grid, copying, icc="srgb")
    assert (row["status"], row["stage"]) == ("failed", "store_patches")
    assert "a test's scanner" in row["message"]
    assert "choose another encoding, or set icc to ignore" in row["message"]
    assert run.stores(grid, copying)[0]["status"] == "ok"
    plain = Run(tmp_path / "plain", svs(None), picture)
    assert plain.stores(grid, copying, icc="srgb")[0]["status"] == "ok"


@pytest.mark.long
@pytest.mark.parametrize(
    "profile", [DAMAGED, TRUNCATED, b"no profile at all" * 9, GREY], ids=["", "cut", "text", "grey"]
)
def test_a_profile_that_cannot_be_used_fails_the_slide_that_it_is_wanted_of(profile, picture, tmp_path):
    run = Run(tmp_path, svs(profile), picture)
    row, paths = run.stores(GRID, icc="srgb")
    assert (row["status"], row["stage"]) == ("failed", "store_patches")
    assert "ICC profile" in row["message"]
    assert "set icc to ignore" in row["message"]
    assert row["icc"].endswith(f"({len(profile)} bytes)")
    assert len(stored(paths["lmdb"])[0]) == 0
    row, _ = run.stores(GRID)
    assert row["status"] == "ok"


def test_a_damaged_profile_is_noted_as_such(picture, tmp_path):
    run = Run(tmp_path, svs(TRUNCATED), picture)
    assert run.info.icc.startswith("damaged: ")


def test_descriptions_are_one_short_line(picture, tmp_path):
    run = Run(tmp_path, svs(matrix_profile("a\r\n\tname " + "x" * 200)), picture)
    assert run.info.icc.startswith("a name xxx")
    assert len(run.info.icc) < 100
    unnamed = Run(tmp_path / "other", svs(matrix_profile("")), picture)
    assert unnamed.info.icc.startswith("unnamed (")


@pytest.mark.long
def test_dicom_slides_have_profiles_too(picture, tmp_path):
    run = Run(tmp_path, lambda folder, pixels: write_dicom(folder / "series", pixels, icc=SCANNER), picture)
    assert "a test's scanner" in run.info.icc
    row, paths = run.stores(GRID, icc="srgb")
    assert (row["status"], row["message"]) == ("ok", "")
    same(stored(paths["lmdb"])[0], {key: by_pillow(own, SCANNER) for key, own in openslides(run, GRID).items()})


def test_threads_share_one_transform(run):
    """LittleCMS documents its cache as what threads may not share: a wrong pixel would be a neighbour's colour."""
    blocks = np.random.default_rng(5).integers(0, 256, (16, 256, 256, 3), np.uint8)
    with openslide.OpenSlide(run.source) as slide:
        convert = build_conversion(slide, CONVERTED)
    wanted = [convert(block).copy() for block in blocks]
    wrong, barrier = [], threading.Barrier(8)

    def work(number):
        barrier.wait()
        for place in range(len(blocks)):
            own = (place + 2 * number) % len(blocks)
            if not np.array_equal(convert(blocks[own]), wanted[own]):
                wrong.append((number, own))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_pictures_of_the_slide_are_converted_too(run):
    with openslide.OpenSlide(run.source) as slide:
        info = slide_info(slide)
        own = np.asarray(thumbnail(slide, info, 200))
        converted = np.asarray(thumbnail(slide, info, 200, icc=CONVERTED))
    np.testing.assert_array_equal(converted, by_pillow(own, SCANNER))


def test_inspect_names_the_profile(run, tmp_path, capsys):
    assert command_line(["inspect", str(run.source), "--out", str(tmp_path / "out")]) == 0
    assert f"ICC profile a test's scanner ({len(SCANNER)} bytes)" in capsys.readouterr().out.splitlines()[0]


def test_what_is_stated_goes_by_the_configuration_and_the_slide():
    assert colour_state("ignore", "") == colour_state("ignore", "a profile") == IGNORED
    assert (colour_state("srgb", ""), colour_state("srgb", "a profile")) == (NO_PROFILE, CONVERTED)


def test_a_store_that_was_written_before_says_ignore(run):
    _, paths = run.stores(GRID)
    _, manifest = stored(paths["lmdb"])
    values = json.loads(manifest.to_bytes())
    assert values["version"] == VERSION
    del values["icc"], values["seal"]
    text = json.dumps(values, separators=(",", ":")).encode()[:-1]
    older = text + f',"seal":"{digest(text)}"}}'.encode()
    assert len(older) > SEAL_SIZE
    assert Manifest.from_bytes(older, "old") == manifest


def test_a_slide_that_lost_its_profile_is_told(run, picture, tmp_path):
    other = Run(tmp_path / "other", svs(None), picture)
    with openslide.OpenSlide(other.source) as slide:
        assert profile_of(slide) == ""
        with pytest.raises(SlideError, match="OpenSlide gives none"):
            build_conversion(slide, CONVERTED)


def test_facts_of_an_older_run_have_no_profile(run):
    facts = run.info.to_json()
    del facts["icc"]
    assert type(run.info).from_json(facts) == replace(run.info, icc="")
