"""Patches that are the slide's own tiles: copied, not decoded, and yet exactly OpenSlide's pixels."""

import io
from dataclasses import replace

import cv2
import numpy as np
import pytest
import simplejpeg
from PIL import Image
from pydicom.uid import JPEGBaseline8Bit

from slidemill.core import jpeg
from slidemill.core.encodings import ENCODINGS, encode_patch
from slidemill.core.results_layout import SUFFIXES
from slidemill.core.specs import GridSpec, StoreSpec, ValidationSpec, WorkSpec
from slidemill.errors import SlideError, StoreError
from slidemill.slides.fingerprint import fingerprint
from slidemill.slides.grid import Grid
from slidemill.slides.openslide_reader import PatchReader
from slidemill.slides.patch_table import SlidePatches
from slidemill.slides.slide_info import open_slide, slide_info
from slidemill.stages.store import new_manifest, store_slide
from slidemill.stages.validate import SlideStores, validate_slide
from slidemill.stores.registry import STORES, open_store
from slidemill.tiles.tiled_level import TiledLevel, TilesError
from tests.conftest import painted
from tests.dicoms import LAYOUTS, write_series
from tests.tiffs import STRUCTURES, Structure, write

pytestmark = pytest.mark.cases

SPEC = GridSpec(128, 0, level=0)
CHECKS = ValidationSpec(sample=10, min_psnr=30)
SQUARE_JPEG = [one for one in STRUCTURES if one.compression == "jpeg" and one.tile == (128, 128)]

SQUARE_FRAMES = [one for one in LAYOUTS if one.syntax == JPEGBaseline8Bit and one.tile == (128, 128)]


COPYING = [name for name in SUFFIXES if "source" in STORES[name].offered]


@pytest.fixture(scope="module")
def picture():
    return painted(1030, 777)


def stored(path, folder, spec=SPEC, backend="lmdb", encoding="source", reader="auto", checked=False):
    with open_slide(path) as slide:
        info = slide_info(slide)
    patches = list(Grid(info.pyramid, spec).patches())
    kind = STORES[backend]
    manifest = new_manifest(kind, StoreSpec(encoding), "slide", fingerprint=fingerprint(path), grid=spec)
    target = folder / f"{backend}-{encoding}{SUFFIXES[backend]}"
    work = WorkSpec(reader, 2, seed=0, checked_copies=checked)
    asked = SlidePatches(path, info, spec, patches)
    outcome = store_slide(asked, target, manifest, backend=kind, work=work)
    return target, outcome, info, patches


@pytest.mark.parametrize("backend", COPYING)
@pytest.mark.parametrize("structure", SQUARE_JPEG, ids=lambda one: one.name)
def test_any_decoder_gives_openslides_pixels(tmp_path, picture, structure, backend):
    path = tmp_path / "a.tif"
    write(path, picture, structure)
    target, outcome, info, patches = stored(path, tmp_path, backend=backend)
    assert (outcome.status, outcome.store.patches) == ("ok", (1030 // 128) * (777 // 128))
    with open_slide(path) as slide, open_store(target) as store:
        reader = PatchReader(slide, info, SPEC)
        for patch in patches:
            data = store.read_bytes(patch.patch_id)
            wanted = reader.read(patch)
            np.testing.assert_array_equal(store.read(patch.patch_id), wanted)
            np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(data)).convert("RGB")), wanted)
            bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
            np.testing.assert_array_equal(bgr[..., ::-1], wanted)


@pytest.mark.parametrize("backend", COPYING)
@pytest.mark.parametrize("layout", SQUARE_FRAMES, ids=lambda one: one.name)
def test_frames_of_dicom_are_patches_that_any_decoder_reads(tmp_path, picture, layout, backend):
    path = write_series(tmp_path / "series", picture, layout)
    target, outcome, info, patches = stored(path, tmp_path, backend=backend)
    assert (outcome.status, outcome.store.patches) == ("ok", (1030 // 128) * (777 // 128))
    with open_slide(path) as slide, open_store(target) as store:
        reader = PatchReader(slide, info, SPEC)
        for patch in patches:
            wanted = reader.read(patch)
            np.testing.assert_array_equal(store.read(patch.patch_id), wanted)
            stream = io.BytesIO(store.read_bytes(patch.patch_id))
            np.testing.assert_array_equal(np.asarray(Image.open(stream).convert("RGB")), wanted)


def test_nothing_is_decoded_but_what_is_compared(tmp_path, picture, monkeypatch):
    path = tmp_path / "a.tif"
    write(path, picture, SQUARE_JPEG[0])
    decoded = []
    original = TiledLevel.pixels
    monkeypatch.setattr(
        TiledLevel, "pixels", lambda level, number, *rest: decoded.append(number) or original(level, number, *rest)
    )
    _, outcome, _, patches = stored(path, tmp_path)
    assert outcome.store.reader == "tiles"
    assert len(decoded) <= 9 < len(patches)


def test_the_bytes_are_the_tiles_and_little_more(tmp_path, picture):
    path = tmp_path / "a.tif"
    write(path, picture, SQUARE_JPEG[0])
    target, *_ = stored(path, tmp_path)
    with open_store(target) as store:
        assert sum(len(store.read_bytes(one)) for one in store.ids) < path.stat().st_size + len(store) * 700
        assert store.manifest.encoding == "source"
        assert store.manifest.pixel_digests == ()


@pytest.mark.parametrize("spec", [SPEC, GridSpec(128, 0, deepzoom_level=11)], ids=["level", "DeepZoom level"])
def test_validation_holds_it_against_the_slide_and_the_other_stores(tmp_path, picture, spec):
    path = tmp_path / "a.tif"
    write(path, picture, SQUARE_JPEG[0])
    copied, _, info, patches = stored(path, tmp_path, spec)
    decoded, *_ = stored(path, tmp_path, spec, "hdf5", "zstd")
    paths = {"lmdb": copied, "hdf5": decoded}
    stores = SlideStores("slide", paths, spec, patches, source=path, info=info)
    rows = validate_slide(stores, CHECKS, seed=1, threads=2)
    assert {row.message for row in rows} == {""}
    assert next(row.checked for row in rows if row.check == "stores agree") == len(patches)


def test_validation_finds_a_tile_that_is_broken_in_the_slide(tmp_path, picture):
    path = tmp_path / "a.tif"
    write(path, picture, SQUARE_JPEG[0], lambda number, data: data[:-40] + bytes(40) if number == 30 else data)
    target, outcome, info, patches = stored(path, tmp_path)
    assert outcome.status == "ok"
    stores = SlideStores("slide", {"lmdb": target}, SPEC, patches, source=path, info=info)
    rows = validate_slide(stores, CHECKS, seed=1)
    assert "r00003_c00003" in next(row.message for row in rows if row.check == "decodes")


MISFITS = {
    "size": (SQUARE_JPEG[0], GridSpec(256, level=0), r"{patch_size: 128, level: 0}; store them in lmdb or hdf5, which"),
    "overlap": (SQUARE_JPEG[0], GridSpec(128, 4, level=0), r"r00001_c00001 is 128 x 128 at 116, 116 of level 0"),
    "padded": (SQUARE_JPEG[0], GridSpec(128, level=0, edges="pad"), "r00000_c00008 is 6 x 128 at 1024, 0 of level 0"),
    "shrunk": (SQUARE_JPEG[0], GridSpec(128, deepzoom_level=10), "is 256 x 256 at 0, 0 of level 0"),
    "oblong": (
        Structure("", tile=(64, 176)),
        GridSpec(64, level=0),
        "needs square tiles in this backend, and this slide's are 64 x 176: store them in lmdb or hdf5",
    ),
    "no JPEG": (STRUCTURES[-1], SPEC, "copies JPEG tiles to this backend, and this slide's are not: store them"),
}


@pytest.mark.parametrize("backend", ["disk", "tar"])
@pytest.mark.parametrize("misfit", MISFITS)
def test_a_grid_that_is_not_the_tiles_is_told_with_the_one_that_is(tmp_path, picture, misfit, backend):
    structure, spec, words = MISFITS[misfit]
    path = tmp_path / "a.tif"
    write(path, picture, structure)
    with pytest.raises(SlideError, match=words):
        stored(path, tmp_path, spec, backend)
    assert not list(tmp_path.glob(f"{backend}*"))


def test_a_slide_that_openslide_alone_reads_is_told(tmp_path, picture):
    path = tmp_path / "a.svs"
    write(path, picture, SQUARE_JPEG[0], lambda number, data: b"" if number == 30 else data)
    with pytest.raises(SlideError, match=r"a\.svs: its tiles cannot be used \(1 of its 63 tiles are missing\)"):
        stored(path, tmp_path)


def test_a_slide_without_patches_is_empty_and_no_fault(tmp_path, picture):
    path = tmp_path / "a.svs"
    write(path, picture, STRUCTURES[-1])
    _, outcome, *_ = stored(path, tmp_path, GridSpec(2048, level=0))
    assert outcome.status == "empty"


@pytest.mark.parametrize(
    ("encoding", "backend"),
    [(encoding, name) for encoding in ("raw", "zstd", "png") for name in SUFFIXES if encoding in STORES[name].offered],
)
def test_stores_are_the_same_bytes_whichever_reader_wrote_them(tmp_path, picture, backend, encoding):
    path = tmp_path / "a.tif"
    write(path, picture, replace(SQUARE_JPEG[0], subsampling="4:2:0", rgb=False))
    contents = {}
    for reader in ("tiles", "openslide"):
        (tmp_path / reader).mkdir()
        target, outcome, *_ = stored(path, tmp_path / reader, GridSpec(100, 5, level=0), backend, encoding, reader)
        assert outcome.store.reader == reader
        files = [target] if target.is_file() else sorted(target.iterdir())
        contents[reader] = {file.name: file.read_bytes() for file in files}
    assert contents["tiles"] == contents["openslide"]


def test_a_tile_that_breaks_on_the_way_hands_the_slide_to_openslide(tmp_path, picture):
    path = tmp_path / "a.tif"
    write(path, picture, SQUARE_JPEG[0], lambda number, data: data[:-40] + bytes(40) if number == 30 else data)
    target, outcome, _, patches = stored(path, tmp_path, encoding="zstd")
    assert outcome.store.reader == "openslide"
    assert "tile 30 cannot be decoded" in outcome.store.reader_reason
    left = [one.patch_id for one in patches if one.patch_id != "r00003_c00003"]
    with open_store(target) as store:
        assert list(store.ids) == left
    (listed,) = outcome.store.unreadable
    assert (listed.patch_id, listed.x0, listed.y0) == ("r00003_c00003", 384, 384)
    assert listed.reason
    target, outcome, _, _ = stored(path, tmp_path, encoding="zstd", reader="tiles")
    assert (outcome.store.reader, outcome.store.unreadable) == ("tiles", (listed,))
    with open_store(target) as store:
        assert list(store.ids) == left


@pytest.mark.parametrize("backend", COPYING)
def test_a_broken_tile_is_left_out_of_copies_that_are_checked_as_of_other_stores(tmp_path, picture, backend):
    path = tmp_path / "a.tif"
    write(path, picture, SQUARE_JPEG[0], lambda number, data: data[:-40] + bytes(40) if number == 30 else data)
    target, outcome, _, patches = stored(path, tmp_path, backend=backend, checked=True)
    assert [one.patch_id for one in outcome.store.unreadable] == ["r00003_c00003"]
    with open_store(target) as store:
        assert list(store.ids) == [one.patch_id for one in patches if one.patch_id != "r00003_c00003"]


def test_a_tile_that_openslide_reads_and_copying_does_not_fails_the_slide(tmp_path, picture, monkeypatch):
    path = tmp_path / "a.tif"
    write(path, picture, SQUARE_JPEG[0])
    original = TiledLevel.standalone

    def standalone(level, number, data):
        if number == 30:
            raise TilesError("tile 30 is odd")
        return original(level, number, data)

    monkeypatch.setattr(TiledLevel, "standalone", standalone)
    with pytest.raises(
        SlideError, match=r"a\.tif: tile 30 is odd: check whether it is whole, or choose another encoding"
    ):
        stored(path, tmp_path)


def test_pixels_cannot_be_given_the_slides_bytes():
    with pytest.raises(StoreError, match="copies the bytes of the slide"):
        encode_patch(ENCODINGS["source"], None, np.zeros((8, 8, 3), np.uint8))


def test_what_applications_wrote_in_a_tile_is_left_out():
    picture = io.BytesIO()
    Image.new("RGB", (16, 16), "#a03060").save(picture, "jpeg", comment=b"made by nobody", exif=b"Exif\0\0MM")
    stream = picture.getvalue()
    alone = jpeg.complete_tile(jpeg.tile_head(b"", rgb=False), stream, (16, 16))
    assert not any(word in alone for word in (b"JFIF", b"Exif", b"nobody"))
    np.testing.assert_array_equal(simplejpeg.decode_jpeg(alone, "RGB"), np.asarray(Image.open(picture)))
    with pytest.raises(ValueError, match="no JPEG that begins with segments: 89504e47"):
        jpeg.complete_tile(b"", b"\x89PNG", (16, 16))
    with pytest.raises(ValueError, match="16 x 16 pixels of 3 components of 8 bits"):
        jpeg.complete_tile(b"", stream, (16, 32))
