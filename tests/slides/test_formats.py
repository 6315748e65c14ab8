"""Slides of many formats, from their file to validated stores: what OpenSlide says of them, and its own pixels."""

import re
from dataclasses import replace

import numpy as np
import openslide
import pytest

from slidemill.cli.commands import main as command_line
from slidemill.core.csv_tables import read_table
from slidemill.core.specs import GridSpec, StoreSpec
from slidemill.slides.discovery import find_slides
from slidemill.stores.registry import open_store
from tests.conftest import painted
from tests.formats import FORMATS
from tests.slide_run import Run

pytestmark = pytest.mark.cases

GRID = GridSpec(100, 10, level=0)
BY_NAME = {one.name: one for one in FORMATS}


@pytest.fixture(scope="module")
def picture():
    return painted(1024, 768)


@pytest.fixture(params=FORMATS, ids=lambda one: one.name)
def run(request, picture, tmp_path):
    return Run(tmp_path, request.param.write, picture, kind=request.param)


def test_facts_are_those_that_were_written(run):
    kind = run.kind
    assert run.info.vendor == kind.vendor
    assert run.info.downsamples == pytest.approx(kind.downsamples)
    assert (run.info.mpp, run.info.objective_power) == (pytest.approx(kind.mpp) if kind.mpp else None, kind.power)
    assert run.info.bounds == kind.bounds
    assert run.discovered.facts.mpp_source == ("slide" if kind.mpp else "")
    assert run.discovered.slide_notes == ()


@pytest.mark.long
def test_stores_hold_openslides_own_pixels_and_say_what_read_them(run, picture):
    row, paths = run.stores(GRID)
    assert (row["status"], row["message"]) == ("ok", "")
    assert row["reader"] == run.kind.reader
    assert run.kind.why in row["reader_reason"]
    table = list(read_table(run.folder / "patches.csv"))
    assert row["patches"] == len(table) > 80
    left, top, *_ = run.info.bounds or (0, 0)
    for path in paths.values():
        with open_store(path) as store:
            assert list(store.ids) == [patch["patch_id"] for patch in table]
            for patch in table:
                pixels = store.read(patch["patch_id"])
                np.testing.assert_array_equal(pixels, run.pixels(patch), patch["patch_id"])
                # And these are of the picture that was written, but for what JPEG loses.
                x, y = int(patch["x0"]) - left, int(patch["y0"]) - top
                assert np.abs(picture[y : y + 100, x : x + 100].astype(int) - pixels).mean() < 6


def test_coarser_levels_are_as_openslide_reads_them(run):
    grid = replace(GRID, level=1)
    row, paths = run.stores(grid)
    assert (row["status"], row["message"]) == ("ok", "")
    table = list(read_table(run.folder / "patches.csv"))
    assert table
    with open_store(paths["hdf5"]) as store:
        for patch in table:
            np.testing.assert_array_equal(store.read(patch["patch_id"]), run.pixels(patch, 1), patch["patch_id"])


def test_inspect_tells_of_each_format(run, tmp_path, capsys):
    assert command_line(["inspect", str(run.source), "--out", str(tmp_path / "out")]) == 0
    kind, text = run.kind, capsys.readouterr().out
    power = f"{kind.power:g}x" if kind.power else "power unknown"
    mpp = f"{kind.mpp:g} µm per pixel" if kind.mpp else "mpp unknown"
    assert text.splitlines()[0] == f"{run.source.name}: {kind.vendor}, {power}, {mpp}"
    # Levels under 64 pixels are omitted.
    assert f"level 0: reader {kind.reader} (" in text
    if kind.reader == "openslide":
        assert kind.why in text.split("level 0: reader")[1].splitlines()[0]
    listed = [str(n) for n, downsample in enumerate(kind.downsamples) if max(run.info.size) // downsample >= 64]
    assert re.findall(r"^ +level: (\d+) ", text, re.MULTILINE) == listed


@pytest.mark.parametrize("name", ["generic, per centimetre", "DICOM, JPEG", "Philips", "Hamamatsu", "Leica"])
def test_a_resolution_is_read_from_each_that_tells_its_own(name, picture, tmp_path):
    run = Run(tmp_path, BY_NAME[name].write, picture)
    row, _ = run.stores(GridSpec(64, 0, mpp=1.0))
    assert (row["status"], row["message"]) == ("ok", "")
    assert {float(patch["mpp"]) for patch in read_table(tmp_path / "patches.csv")} == {1.0}


def test_one_without_units_has_no_resolution_and_is_told_so(picture, tmp_path):
    run = Run(tmp_path, BY_NAME["generic, no unit"].write, picture)
    row, _ = run.stores(GridSpec(64, 0, mpp=1.0))
    assert (row["status"], row["stage"]) == ("failed", "sample_patches")
    assert "assume_mpp" in row["message"]


def test_a_series_whose_coarse_levels_come_first_is_one_slide(picture, tmp_path):
    """Whichever file of a series is opened, OpenSlide lays its levels by size."""
    run = Run(tmp_path, BY_NAME["DICOM, JPEG"].write, picture)
    (run.root / "series" / "level-1.dcm").rename(run.root / "series" / "a.dcm")
    (found,) = find_slides(run.root)
    assert found.path == "series/a.dcm"
    with openslide.OpenSlide(run.root / "series" / "a.dcm") as slide:
        assert slide.level_dimensions == ((1024, 768), (256, 192))


@pytest.mark.parametrize(
    ("name", "size", "reason"),
    [
        ("DICOM, JPEG", 128, ""),
        ("DICOM, plain", 128, "JPEG 2000 tiles, and this slide's are neither"),
        ("DICOM, sparse", 128, "TILED_SPARSE, not as TILED_FULL): choose reader auto, and another encoding"),
        ("Aperio", 256, ""),
    ],
)
def test_source_copies_tiles_of_known_structures(name, size, reason, picture, tmp_path):
    run = Run(tmp_path, BY_NAME[name].write, picture)
    row, _ = run.stores(GridSpec(size, 0, level=0), {"lmdb": StoreSpec("source")})
    assert row["status"] == ("failed" if reason else "ok")
    assert reason in row["message"]
