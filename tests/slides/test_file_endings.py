"""Which files in a folder of slides are slides, and which others are counted."""

import re
from pathlib import Path

import openslide
import pytest

from slidemill.errors import ConfigError
from slidemill.slides.annotation_matching import ANNOTATIONS
from slidemill.slides.discovery import decode_path, find_slides
from slidemill.slides.file_endings import DRIVERS, EXTENSIONS, USUAL, ignored_files, ignored_warnings


def make(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_drivers_are_those_of_the_pinned_openslide():
    """A newer OpenSlide may have more drivers: see https://openslide.org/formats/ and add their endings."""
    assert openslide.__library_version__.startswith("4.0.")
    if library := next(Path(openslide.__file__).parents[1].glob("openslide_bin/libopenslide.so*"), None):
        words = set(re.findall(rb"[a-z-]{4,}", library.read_bytes()))
        assert words >= {vendor.encode() for vendor in DRIVERS}


@pytest.mark.parametrize(("vendor", "ending"), [(vendor, ending) for vendor, own in DRIVERS.items() for ending in own])
def test_slides_of_every_driver_are_found(tmp_path, vendor, ending):
    make(tmp_path, f"a{ending}", f"sub/B{ending.upper()}")
    assert [str(decode_path(slide.path)) for slide in find_slides(tmp_path)] == [f"a{ending}", f"sub/B{ending.upper()}"]
    assert ignored_files(tmp_path, None) == ""


def test_a_zeiss_file_is_told_by_its_first_bytes(tmp_path):
    file = tmp_path / "a.czi"
    file.write_bytes(b"ZISRAWFILE".ljust(2048, b"\0"))
    assert openslide.OpenSlide.detect_format(file) == "zeiss"


def test_unknown_endings_are_counted_the_most_first(tmp_path):
    make(tmp_path, "a.svs", "b.qptiff", "c.vsi", "sub/d.VSI", "e", "readme", "f.svs.part")
    assert ignored_files(tmp_path, None) == (
        "5 other files were ignored: .vsi (2), no ending (1), .part (1), .qptiff (1)"
    )
    (warning,) = ignored_warnings(tmp_path, tmp_path / "results")
    assert warning.startswith("slides: 5 other files were ignored: .vsi (2)")
    assert "convert those that are slides" in warning


def test_one_unknown_file_is_counted_in_the_singular(tmp_path):
    make(tmp_path, "a.svs", "c.vsi")
    assert ignored_files(tmp_path, None) == "1 other file was ignored: .vsi (1)"


def test_many_unknown_endings_are_cut_off_and_added_up(tmp_path):
    make(tmp_path, "a.svs", *(f"x.e{number:02}" for number in range(20)))
    text = ignored_files(tmp_path, None)
    assert text.startswith("20 other files were ignored: .e00 (1), .e01 (1)")
    assert text.endswith("other endings (12)")


def test_companions_and_usual_files_are_not_counted(tmp_path):
    make(
        tmp_path,
        *("a.mrxs", "a/Data0000.dat", "a/Slidedat.ini", "a/Index.dat", "b.vms", "b.jpg", "b.opt", "c/1.dcm", "c/2.dcm"),
        *("slides.csv", "README", "MD5SUMS", "x.svs.md5", "Thumbs.db", ".DS_Store", "._a.svs", ".hidden/x.vsi"),
        *("results/stores/lmdb/a.mdb", "logs/a.svs.parcel", *(f"note{ending}" for ending in ANNOTATIONS)),
    )
    assert ignored_files(tmp_path, tmp_path / "results") == ""
    assert ignored_warnings(tmp_path, tmp_path / "results") == []


def test_parts_of_a_mirax_slide_without_its_file_are_counted(tmp_path):
    make(tmp_path, "b.svs", "a/Data0000.dat", "a/Index.dat", "a/Slidedat.ini")
    assert ignored_files(tmp_path, None) == "2 other files were ignored: .dat (2)"


def test_a_sheet_ignores_no_file(tmp_path):
    make(tmp_path, "c.vsi", "slides.csv")
    assert ignored_warnings(tmp_path / "slides.csv", tmp_path / "results") == []


def test_no_ending_is_both_a_slides_and_a_usual_one():
    assert not USUAL & set(EXTENSIONS)
    assert all(re.fullmatch(r"\.[a-z0-9]+", ending) for ending in (*USUAL, *EXTENSIONS))


def test_a_folder_without_slides_says_what_it_holds(tmp_path):
    make(tmp_path, "a.vsi", "b.vsi")
    with pytest.raises(ConfigError, match=r"no slide found in .* \(2 other files were ignored: \.vsi \(2\)\).*\.czi"):
        find_slides(tmp_path)
