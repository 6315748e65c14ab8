"""From a slide to a store: pixels, broken patches, and slides that change under the reader."""

import threading
from dataclasses import replace

import h5py
import numpy as np
import openslide
import pytest

from slidemill.core.results_layout import SUFFIXES
from slidemill.core.specs import AREA, LANCZOS, GridSpec, StoreSpec, ValidationSpec, WorkSpec
from slidemill.errors import SlidemillError
from slidemill.slides import openslide_reader, readers
from slidemill.slides.fingerprint import fingerprint
from slidemill.slides.grid import Grid
from slidemill.slides.openslide_reader import PatchReader
from slidemill.slides.patch_table import SlidePatches
from slidemill.slides.slide_info import open_slide, slide_info
from slidemill.stages import store as storing
from slidemill.stages.store import new_manifest, store_slide
from slidemill.stages.validate import SlideStores, validate_slide
from slidemill.stores.lmdb import LmdbWriter
from slidemill.stores.registry import STORES, open_store
from tests.stores.contract import as_stored

SPEC = GridSpec(128, 0, level=0)
CHECKS = ValidationSpec(sample=10, min_psnr=30)


@pytest.fixture
def sampled(slide_file):
    with open_slide(slide_file) as slide:
        info = slide_info(slide)
    return slide_file, info, list(Grid(info.pyramid, SPEC).patches())


def store(sampled, folder, backend="lmdb", spec=StoreSpec("raw"), fingerprinted=None, reader="auto"):  # noqa: B008
    source, info, patches = sampled
    kind = STORES[backend]
    manifest = new_manifest(kind, spec, "slide", fingerprint=fingerprinted or fingerprint(source), grid=SPEC)
    path = folder / f"{backend}{SUFFIXES[backend]}"
    asked, work = SlidePatches(source, info, SPEC, patches), WorkSpec(reader, 2, seed=0)
    return path, store_slide(asked, path, manifest, backend=kind, work=work)


def findings(sampled, paths, spec=CHECKS, patches=None):
    source, info, wanted = sampled
    wanted = wanted if patches is None else patches
    rows = validate_slide(SlideStores("slide", paths, SPEC, wanted, source=source, info=info), spec, seed=3)
    return rows, {(row.backend, row.check): row.message for row in rows if row.status == "failed"}


@pytest.mark.cases
@pytest.mark.parametrize("name", [AREA, LANCZOS])
@pytest.mark.parametrize("backend", SUFFIXES)
def test_stores_are_validated_by_their_filter(slide_file, tmp_path, backend, name):
    """A store without a filter in its manifest is of an earlier version, and was shrunk by Lanczos."""
    with open_slide(slide_file) as slide:
        info = slide_info(slide)
    grid = GridSpec(64, 5, mpp=1.1, filter=name)
    patches = list(Grid(info.pyramid, grid).patches())
    kind = STORES[backend]
    manifest = new_manifest(kind, StoreSpec("raw"), "slide", fingerprint=fingerprint(slide_file), grid=grid)
    path = tmp_path / f"{backend}{SUFFIXES[backend]}"
    asked = SlidePatches(slide_file, info, grid, patches)
    assert not store_slide(asked, path, manifest, backend=kind, work=WorkSpec("auto", 2, seed=0)).failed
    with open_store(path) as stored:
        recorded = dict(stored.manifest.sampling)
    assert ("filter" in recorded) == (name == AREA)
    assert GridSpec(**recorded) == grid

    def failed(by):
        own = SlideStores("slide", {backend: path}, by, patches, source=slide_file, info=info)
        return {row.check for row in validate_slide(own, CHECKS, seed=3) if row.status == "failed"}

    assert failed(GridSpec(**recorded)) == set()
    other = replace(grid, filter=LANCZOS if name == AREA else AREA)
    assert failed(other) == {"manifest", "equals slide"}


@pytest.fixture
def breaking(monkeypatch):
    """Makes patches unreadable, as a broken tile does: OpenSlide's handle reads nothing more after it."""

    class Breaking(PatchReader):
        bad = frozenset()

        def read(self, patch):
            if patch.patch_id in self.bad or getattr(self, "_broken", False):
                self._broken = True
                self._slide = _Broken()
            return super().read(patch)

    class _Broken:
        level_downsamples = (1.0,)

        def read_region(self, *_):
            raise openslide.OpenSlideError("a broken tile")

    def breaks(*ids):
        Breaking.bad = frozenset(ids)
        for module in (readers, openslide_reader):
            monkeypatch.setattr(module, "PatchReader", Breaking)

    return breaks


@pytest.mark.cases
@pytest.mark.parametrize("backend", SUFFIXES)
def test_stored_pixels_are_openslides(sampled, tmp_path, backend):
    path, outcome = store(sampled, tmp_path, backend)
    assert (outcome.status, outcome.store.patches) == ("ok", len(sampled[2]))
    with openslide.OpenSlide(sampled[0]) as slide, open_store(path) as patches:
        for patch in sampled[2]:
            expected = np.asarray(slide.read_region((patch.x0, patch.y0), 0, (128, 128)).convert("RGB"))
            np.testing.assert_array_equal(patches.read(patch.patch_id), expected)


@pytest.mark.cases
@pytest.mark.parametrize("backend", SUFFIXES)
def test_with_an_overlap_every_patch_that_was_sampled_is_read_back(slide_file, tmp_path, monkeypatch, backend):
    """A defect of py-wsi: its reader asked for tile (0, 0), never stored, and left out the last row and column."""
    overlapping = GridSpec(128, 16, level=0)
    monkeypatch.setattr("tests.stages.test_store.SPEC", overlapping)
    with open_slide(slide_file) as slide:
        info = slide_info(slide)
        grid = Grid(info.pyramid, overlapping)
        patches = list(grid.patches())
        reader = PatchReader(slide, info, overlapping)
        path, _ = store((slide_file, info, patches), tmp_path, backend)
        with open_store(path) as stored:
            assert "r00000_c00000" not in stored
            assert len(stored) == len(patches)
            assert {patch.column for patch in patches} == set(range(1, grid.shape[0] - 1))
            for patch in patches:
                np.testing.assert_array_equal(stored.read(patch.patch_id), reader.read(patch))


def test_patches_that_cannot_be_read_are_left_out_of_every_store_and_listed(sampled, tmp_path, breaking):
    bad = [sampled[2][place].patch_id for place in (0, 7, 8, len(sampled[2]) - 1)]
    breaking(*bad)
    good = [patch.patch_id for patch in sampled[2] if patch.patch_id not in bad]
    for backend in SUFFIXES:
        path, outcome = store(sampled, tmp_path, backend, reader="openslide")
        assert outcome.status == "ok", "what that makes of the slide, the cohort's table says"
        assert [patch.patch_id for patch in outcome.store.unreadable] == bad
        assert all("a broken tile" in patch.reason for patch in outcome.store.unreadable)
        with open_store(path) as patches:
            assert list(patches.ids) == patches.stored_ids() == good


@pytest.mark.parametrize("reader", ["tiles", "openslide"])
@pytest.mark.parametrize("fault", [OSError(28, "No space left on device"), KeyboardInterrupt()], ids=repr)
def test_a_writer_that_fails_ends_the_threads_before_the_slide_is_closed(sampled, tmp_path, monkeypatch, reader, fault):
    """OpenSlide ends the process when its handle is closed under a thread that reads."""
    before = threading.active_count()
    count = 0
    original = LmdbWriter.add

    def add(writer, patch, data):
        nonlocal count
        count += 1
        if count == 5:
            raise fault
        original(writer, patch, data)

    monkeypatch.setattr(LmdbWriter, "add", add)
    with pytest.raises(type(fault)) as caught:
        store(sampled, tmp_path, reader=reader)
    assert caught.value is fault
    assert threading.active_count() == before
    assert list(tmp_path.iterdir()) == []


def test_a_slide_that_changed_fails_the_job_and_leaves_no_store(sampled, tmp_path):
    with pytest.raises(SlidemillError, match="is not what it was when the run was planned"):
        store(sampled, tmp_path, fingerprinted="0" * 32)
    assert list(tmp_path.iterdir()) == []


def test_good_stores_pass_every_check(sampled, tmp_path):
    paths = {backend: store(sampled, tmp_path, backend)[0] for backend in SUFFIXES}
    rows, wrong = findings(sampled, paths)
    assert wrong == {}
    looked = {(row.backend, row.check): row.checked for row in rows}
    assert looked["lmdb", "digests"] == looked["all", "stores agree"] == len(sampled[2])
    assert looked["disk", "equals slide"] == 10


def test_a_store_of_another_grid_is_found(sampled, tmp_path):
    path, _ = store(sampled, tmp_path)
    _, wrong = findings(sampled, {"lmdb": path}, patches=sampled[2][1:])
    assert "unexpected patch r00000_c00000" in wrong["lmdb", "ids"]
    moved = replace(sampled[2][3], column=99)
    _, wrong = findings(sampled, {"lmdb": path}, patches=[*sampled[2][:3], moved, *sampled[2][4:]])
    assert "r00000_c00099 is missing" in wrong["lmdb", "ids"]


def test_pixels_that_are_not_the_slides_are_found_though_the_store_agrees_with_itself(sampled, tmp_path):
    patches = sampled[2]
    kind = STORES["lmdb"]
    manifest = new_manifest(kind, StoreSpec("raw"), "slide", fingerprint="f", grid=SPEC)
    path = tmp_path / "wrong.lmdb"
    black = np.zeros((128, 128, 3), np.uint8)
    pairs = [(patch, black) for patch in patches]
    storing.write_store(kind, path, manifest, patches=patches, stored=as_stored(manifest, pairs))
    right, _ = store(sampled, tmp_path, "hdf5")
    _, wrong = findings(sampled, {"lmdb": path, "hdf5": right})
    assert "is not what the slide holds" in wrong["lmdb", "equals slide"]
    assert "differs between lmdb and hdf5" in wrong["all", "stores agree"]
    assert ("hdf5", "equals slide") not in wrong


def test_a_changed_byte_is_found_and_its_patch_named(sampled, tmp_path):
    path, _ = store(sampled, tmp_path, "disk", StoreSpec("raw"))
    victim = path / "r00002_c00003.npy"
    data = bytearray(victim.read_bytes())
    data[-1] ^= 1
    victim.write_bytes(data)
    _, wrong = findings(sampled, {"disk": path})
    assert "r00002_c00003" in wrong["disk", "digests"]


def test_a_missing_and_a_foreign_file_are_found(sampled, tmp_path):
    path, _ = store(sampled, tmp_path, "disk", StoreSpec("png"))
    (path / "r00001_c00001.png").unlink()
    (path / "r00077_c00001.png").write_bytes(b"")
    _, wrong = findings(sampled, {"disk": path})
    assert "r00001_c00001 is missing" in wrong["disk", "ids"]
    assert "unexpected patch r00077_c00001.png" in wrong["disk", "ids"]
    assert "r00001_c00001" in wrong["disk", "decodes"]


def test_ids_in_another_order_beside_hdf5s_patches_are_found(sampled, tmp_path):
    path, _ = store(sampled, tmp_path, "hdf5")
    with h5py.File(path, "r+") as file:
        file["ids"][:] = file["ids"][:][::-1]
    _, wrong = findings(sampled, {"hdf5": path})
    assert "not in raster order" in wrong["hdf5", "ids"]


@pytest.mark.parametrize("damage", ["no index", "a row less"])
def test_a_damaged_index_is_found(sampled, tmp_path, damage):
    path, _ = store(sampled, tmp_path, "disk", StoreSpec("png"))
    lines = (path / "index.csv").read_text().splitlines()
    (path / "index.csv").unlink()
    if damage == "a row less":
        (path / "index.csv").write_text("\n".join(lines[:-1]) + "\n")
    _, wrong = findings(sampled, {"disk": path})
    assert ("index cannot be read" if damage == "no index" else f"{sampled[2][-1].patch_id} is missing") in wrong[
        "disk", "ids"
    ]


def test_a_manifest_of_another_grid_is_found(sampled, tmp_path):
    path, _ = store(sampled, tmp_path)
    source, info, patches = sampled
    other = replace(SPEC, edges="pad")
    stores = SlideStores("slide", {"lmdb": path}, other, patches, source=source, info=info)
    rows = validate_slide(stores, CHECKS, seed=3)
    assert "'edges': 'drop'" in next(row.message for row in rows if row.check == "manifest")


def test_a_store_that_does_not_open_is_a_finding(sampled, tmp_path):
    good, _ = store(sampled, tmp_path, "hdf5")
    path, _ = store(sampled, tmp_path, "lmdb")
    path.write_bytes(path.read_bytes()[:50_000])
    _, wrong = findings(sampled, {"lmdb": path, "hdf5": good})
    assert "truncated" in wrong["lmdb", "opens"]


def test_jpeg_is_held_to_its_psnr(sampled, tmp_path):
    path, _ = store(sampled, tmp_path, "hdf5", StoreSpec("jpeg", 90))
    assert findings(sampled, {"hdf5": path})[1] == {}
    path, _ = store(sampled, tmp_path, "hdf5", StoreSpec("jpeg", 1))
    _, wrong = findings(sampled, {"hdf5": path}, ValidationSpec(sample=50, min_psnr=30))
    assert "less than validation.min_psnr (30)" in wrong["hdf5", "equals slide"]


def test_the_sample_is_the_same_for_the_same_seed(sampled, tmp_path, monkeypatch):
    path, _ = store(sampled, tmp_path)
    seen = []
    original = PatchReader.read
    monkeypatch.setattr(PatchReader, "read", lambda self, patch: seen.append(patch.patch_id) or original(self, patch))
    findings(sampled, {"lmdb": path})
    first = list(seen)
    seen.clear()
    findings(sampled, {"lmdb": path})
    assert first == seen
    assert len(set(seen)) == CHECKS.sample
