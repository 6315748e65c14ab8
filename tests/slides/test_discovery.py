"""Finding slides, their ids, their annotations, and their fingerprints."""

import os
import re
import shutil
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slidemill.errors import ConfigError, SlideError, SlidemillError
from slidemill.slides.discovery import (
    EXTENSIONS,
    SlideFile,
    check_unique,
    decode_path,
    encode_path,
    find_slides,
    slide_id,
    slide_path,
)
from slidemill.slides.fingerprint import BLOCK, BLOCKS, check_unchanged, fingerprint
from slidemill.slides.slide_info import open_slide
from tests.examples import examples

SAFE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
WEIRD_NAMES = [
    b"two words.svs",
    b'it\'s "quoted".svs',
    b"line\nbreak.svs",
    b"{slide}.svs",
    b"100%41.svs",
    "\N{MICROSCOPE}.svs".encode(),
    "\N{DNA DOUBLE HELIX}.svs".encode(),
    b"x" * 200 + b".svs",
    b"x" * 201 + b".svs",
    b"-rf.svs",
    b"_.svs",
    b"a,b;c\td.svs",
    b"$(touch x)`id`.svs",
    b"back\\slash*?[a].svs",
    b"caf\xe9.svs",
    b"caf\xe8.svs",
    "Pr\u00e4parat.svs".encode(),
    "Pra\u0308parat.svs".encode(),
    "\u6807\u672c.svs".encode(),
    "\u6a19\u672c.svs".encode(),
    b"CON.svs",
    b"con.svs",
    b"a...svs..svs",
]
paths = st.binary(min_size=1, max_size=60).filter(lambda name: b"\0" not in name).map(os.fsdecode).map(Path)


def make(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def found(root, **options):
    return [str(decode_path(slide.path)) for slide in find_slides(root, **options)]


def annotated(root, annotations):
    """Return the annotation of each slide, by the slide's path."""
    return {slide.path: slide.annotation for slide in find_slides(root, annotations)}


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_every_extension_is_found_in_any_case(tmp_path, extension):
    cases = (extension, extension.upper(), extension.title())
    names = [f"{number}/a{case}" for number, case in enumerate(cases)]
    make(tmp_path, *names)
    assert found(tmp_path) == names


def test_other_files_are_no_slides(tmp_path):
    make(tmp_path, "a.svs", "b.xml", "c.svs.txt", "svs", "d.svsx", "e.jpg", "f.svs.bak")
    assert found(tmp_path) == ["a.svs"]


def test_folders_are_searched_at_any_depth_and_slides_sorted_by_path(tmp_path):
    make(tmp_path, "b.svs", "a/z.svs", "a/b/c/d.tif", "a.svs")
    assert found(tmp_path) == ["a.svs", "a/b/c/d.tif", "a/z.svs", "b.svs"]


def test_hidden_files_and_folders_are_passed_over(tmp_path):
    make(tmp_path, "a.svs", "._a.svs", ".hidden/b.svs", ".svs")
    assert found(tmp_path) == ["a.svs"]


def test_links_to_folders_are_not_followed_but_links_to_files_are(tmp_path):
    make(tmp_path, "elsewhere/b.svs", "slides/sub/a.svs")
    (tmp_path / "slides/folder").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "slides/loop.svs").symlink_to(tmp_path / "slides")
    (tmp_path / "slides/c.svs").symlink_to(tmp_path / "elsewhere/b.svs")
    assert found(tmp_path / "slides") == ["c.svs", "sub/a.svs"]


def test_a_folder_whose_name_ends_as_a_slides_is_no_slide(tmp_path):
    make(tmp_path, "batch.svs/a.svs")
    assert found(tmp_path) == ["batch.svs/a.svs"]


@pytest.mark.parametrize("extension", [".mrxs", ".MRXS"])
def test_a_mirax_slide_is_one_with_its_folder(tmp_path, extension):
    make(tmp_path, f"a{extension}", "a/Data0000.dat", "a/overview.tif", "b/c.svs")
    assert found(tmp_path) == [f"a{extension}", "b/c.svs"]


def test_the_dicom_files_of_a_folder_are_one_slide(tmp_path):
    make(tmp_path, "a/2.dcm", "a/1.dcm", "a/3.DCM", "b/1.dcm", "a/x.svs")
    assert found(tmp_path) == ["a/1.dcm", "a/x.svs", "b/1.dcm"]


def test_results_among_the_slides_are_not_searched(tmp_path):
    make(tmp_path, "a.svs", "results/stores/disk/x.tif", "sub/results/b.svs")
    assert found(tmp_path, skip=tmp_path / "results") == ["a.svs", "sub/results/b.svs"]


def test_results_are_told_by_where_they_are_not_by_how_they_are_named(tmp_path):
    make(tmp_path, "real/a.svs", "real/results/x.tif")
    (tmp_path / "link").symlink_to("real")
    assert found(tmp_path / "real", skip=tmp_path / "link/../real/results") == ["a.svs"]
    assert found(tmp_path / "link", skip=tmp_path / "real/results") == ["a.svs"]


@pytest.mark.parametrize("name", ["none", "file.svs"])
def test_a_missing_folder_is_told(tmp_path, name):
    make(tmp_path, "file.svs")
    with pytest.raises(
        ConfigError, match=rf"slides: {re.escape(str(tmp_path / name))} is not a folder: name the folder"
    ):
        find_slides(tmp_path / name)


def test_a_folder_without_slides_is_told_with_the_extensions(tmp_path):
    make(tmp_path, "a.txt")
    with pytest.raises(ConfigError, match=rf"no slide found in {re.escape(str(tmp_path))}: .*\.mrxs.*\.svs"):
        find_slides(tmp_path)


def test_ids_are_readable():
    assert re.fullmatch(r"case-01-[0-9a-f]{6,}", slide_id(Path("batch/case-01.svs")))
    assert re.fullmatch(r"Fall_3_Praparat-[0-9a-f]{6,}", slide_id(Path("Fall 3 Präparat.svs")))
    assert re.fullmatch(r"slide-[0-9a-f]{6,}", slide_id(Path("標本.svs")))


def test_ids_depend_on_the_relative_path_alone(tmp_path):
    make(tmp_path, "one/a/x.svs", "two/a/x.svs", "two/x.svs", "two/b.tif", "two/a/x.tif")
    (alone,) = find_slides(tmp_path / "one")
    among = {slide.path: slide.slide for slide in find_slides(tmp_path / "two")}
    assert among[alone.path] == alone.slide == slide_id(Path("a/x.svs"))
    (tmp_path / "two/x.svs").unlink()
    assert {slide.path: slide.slide for slide in find_slides(tmp_path / "two")}.items() < among.items()


def test_slides_of_one_stem_all_get_through(tmp_path):
    """A defect of py-wsi: two slides of one name collided."""
    make(tmp_path, "x.svs", "x.tif", "X.svs", "a/x.svs", "b/x.svs")
    ids = [slide.slide for slide in find_slides(tmp_path)]
    assert len({slide.casefold() for slide in ids}) == 5


def test_a_large_cohort_gets_through_though_all_its_slides_have_one_name():
    cohort = [Path(f"patient-{number:05d}/scan.svs") for number in range(20_000)]
    assert len({slide_id(path) for path in cohort}) == len(cohort)


def test_weird_names_get_unique_safe_ids_and_are_found_again(tmp_path):
    for name in WEIRD_NAMES:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).touch()
    slides = find_slides(tmp_path)
    assert len({slide.slide.casefold() for slide in slides}) == len(slides) == len(WEIRD_NAMES)
    assert all(SAFE_ID.fullmatch(slide.slide) for slide in slides)
    assert {os.fsencode(decode_path(slide.path)) for slide in slides} == set(WEIRD_NAMES)
    assert all(slide_path(tmp_path, slide.path).is_file() for slide in slides)


@given(paths, paths)
@examples(300, derandomize=True)
def test_ids_are_safe_and_tell_paths_apart(one, other):
    assert SAFE_ID.fullmatch(slide_id(one))
    assert (slide_id(one) == slide_id(other)) == (one == other)


@given(paths | st.text(st.characters(codec="utf-8", exclude_characters="\0")).map(Path))
@examples(300, derandomize=True)
def test_encoded_paths_are_plain_and_come_back(path):
    plain = encode_path(path)
    assert decode_path(plain) == path
    assert plain.isascii()
    assert plain.isprintable()
    assert not set(plain) & set("{}\"'`$*?[]\\;&|<>")


def test_readable_paths_stay_readable():
    assert encode_path(Path("Batch 1 (new)/case-01_a,b+c=d@e~f.svs")) == "Batch 1 (new)/case-01_a,b+c=d@e~f.svs"


def test_a_file_that_has_gone_fails_its_slide(tmp_path):
    with pytest.raises(SlideError, match=r"gone 1\.svs: does not exist in .*: restore it, or correct the path"):
        slide_path(tmp_path, "gone%201.svs")


def test_ids_that_differ_by_case_alone_are_refused():
    slides = [SlideFile("A", "a.svs"), SlideFile("b", "b.svs"), SlideFile("a", "c.svs")]
    with pytest.raises(ConfigError, match=r"slide A \(a\.svs and c\.svs\): rename"):
        check_unique(slides, "rename")
    check_unique(slides[1:], "rename")


def test_annotations_match_by_relative_path_before_stem(tmp_path):
    make(tmp_path / "slides", "a.svs", "x/a.svs", "x/b.svs", "c.tif")
    make(tmp_path / "xml", "a.xml", "x/a.xml", "deep/er/b.xml", "other.xml", "c.txt")
    assert annotated(tmp_path / "slides", tmp_path / "xml") == {
        "a.svs": "a.xml",
        "x/a.svs": "x/a.xml",
        "x/b.svs": "deep/er/b.xml",
        "c.tif": None,
    }


def test_annotations_may_lie_beside_the_slides(tmp_path):
    make(tmp_path, "x/a.svs", "x/a.xml", "y/a.svs", "y/a.xml")
    assert annotated(tmp_path, tmp_path) == {"x/a.svs": "x/a.xml", "y/a.svs": "y/a.xml"}


def test_without_a_folder_of_annotations_none_is_matched(tmp_path):
    make(tmp_path, "a.svs", "a.xml")
    assert annotated(tmp_path, None) == {"a.svs": None}


def test_stems_match_whole_and_with_their_dots(tmp_path):
    """A defect of py-wsi: slide_1 and slide_10 were mixed."""
    make(tmp_path / "slides", "slide_1.svs", "slide_10.svs", "a.1.svs", "a.2.svs")
    make(tmp_path / "xml", "slide_10.xml", "a.2.xml")
    assert annotated(tmp_path / "slides", tmp_path / "xml") == {
        "a.1.svs": None,
        "a.2.svs": "a.2.xml",
        "slide_1.svs": None,
        "slide_10.svs": "slide_10.xml",
    }


def test_annotations_match_whatever_the_case_of_their_extension(tmp_path):
    make(tmp_path / "slides", "x/a.svs", "y/a.svs", "b.svs")
    make(tmp_path / "xml", "x/a.XML", "y/a.Xml", "deep/b.XML")
    assert annotated(tmp_path / "slides", tmp_path / "xml") == {
        "x/a.svs": "x/a.XML",
        "y/a.svs": "y/a.Xml",
        "b.svs": "deep/b.XML",
    }


def test_annotations_of_weird_names_are_matched_and_encoded(tmp_path):
    make(tmp_path / "slides", "{a}\n.svs")
    make(tmp_path / "xml", "{a}\n.xml")
    assert annotated(tmp_path / "slides", tmp_path / "xml") == {"%7Ba%7D%0A.svs": "%7Ba%7D%0A.xml"}


@pytest.mark.parametrize("slides", [["x/a.svs", "y/a.svs"], ["a.svs", "a.tif"]], ids=["by stem", "by path"])
def test_an_annotation_that_fits_two_slides_is_refused(tmp_path, slides):
    make(tmp_path / "slides", *slides)
    make(tmp_path / "xml", "a.xml")
    with pytest.raises(ConfigError, match=rf"a\.xml fits 2 slides, {slides[0]} and {slides[1]} .*: put each"):
        find_slides(tmp_path / "slides", tmp_path / "xml")


def test_two_annotations_that_fit_one_slide_are_refused(tmp_path):
    make(tmp_path / "slides", "a.svs")
    make(tmp_path / "xml", "x/a.xml", "y/a.xml")
    with pytest.raises(ConfigError, match=r"a\.svs has 2 annotations by its stem, x/a\.xml and y/a\.xml"):
        find_slides(tmp_path / "slides", tmp_path / "xml")


@pytest.mark.parametrize("end", ["geojson", "json", "GeoJSON", "xml", "png", "tif", "TIFF"])
def test_annotations_of_all_programs_are_matched(tmp_path, end):
    make(tmp_path, "slides/x/a.svs", "slides/b.svs", f"xml/x/a.{end}", f"xml/other/b.{end}")
    assert annotated(tmp_path / "slides", tmp_path / "xml") == {"b.svs": f"other/b.{end}", "x/a.svs": f"x/a.{end}"}


def test_annotations_of_two_programs_for_one_slide_are_refused(tmp_path):
    make(tmp_path, "slides/a.svs", "xml/a.xml", "xml/a.geojson")
    with pytest.raises(ConfigError, match=r"a\.svs has two, a\.geojson and a\.xml: take one of them away"):
        annotated(tmp_path / "slides", tmp_path / "xml")
    make(tmp_path, "s/a.svs", "far/x/a.xml", "far/y/a.json")
    with pytest.raises(ConfigError, match=r"a\.svs has 2 annotations by its stem, x/a\.xml and y/a\.json"):
        annotated(tmp_path / "s", tmp_path / "far")


def test_among_slides_a_tiff_is_a_slide_and_a_png_a_label_image(tmp_path):
    make(tmp_path, "a.svs", "a.png", "b.tif", "b.xml", "c.tif")
    assert annotated(tmp_path, tmp_path) == {"a.svs": "a.png", "b.tif": "b.xml", "c.tif": None}


@pytest.mark.parametrize("folder", [".", "labels", ".."], ids=["the same", "below", "above"])
def test_a_tiff_that_may_be_a_slide_or_the_label_image_of_another_is_refused(tmp_path, folder):
    make(tmp_path / "all", "x/a.svs", "x/labels/A.tif", "x/b.svs")
    with pytest.raises(ConfigError, match=r"A\.tif may be a slide, or the label image of a\.svs: put .*sheet"):
        find_slides(tmp_path / "all" / "x", tmp_path / "all" / "x" / folder)


def test_label_images_in_a_folder_of_their_own_are_no_slides(tmp_path):
    make(tmp_path, "slides/a.svs", "slides/b.tif", "labels/a.tif", "labels/b.tif")
    assert annotated(tmp_path / "slides", tmp_path / "labels") == {"a.svs": "a.tif", "b.tif": "b.tif"}


def test_results_among_the_annotations_are_not_searched(tmp_path):
    """They hold pictures and, on disk, patches as PNG."""
    make(tmp_path, "a.svs", "out/stores/disk/x/a.png")
    found = find_slides(tmp_path, tmp_path, skip=tmp_path / "out")
    assert [one.annotation for one in found] == [None]


def test_hidden_annotations_are_passed_over(tmp_path):
    make(tmp_path / "slides", "a.svs", "b.svs")
    make(tmp_path / "xml", "._a.xml", "b.xml", ".trash/a.xml")
    assert annotated(tmp_path / "slides", tmp_path / "xml") == {"a.svs": None, "b.svs": "b.xml"}


def test_a_missing_folder_of_annotations_is_told(tmp_path):
    make(tmp_path, "a.svs")
    with pytest.raises(ConfigError, match=r"annotations: .*none is not a folder: .*or null for none"):
        find_slides(tmp_path, tmp_path / "none")


@pytest.fixture
def large(tmp_path):
    """A file larger than what its fingerprint covers, all zeros."""
    path = tmp_path / "large.svs"
    path.write_bytes(bytes(4 * BLOCKS * BLOCK + 123))
    return path


def change(path, offset):
    with path.open("r+b") as file:
        file.seek(offset, os.SEEK_END if offset < 0 else os.SEEK_SET)
        file.write(b"!")


def test_a_fingerprint_holds_at_another_time_and_place(large, tmp_path):
    before = fingerprint(large)
    (tmp_path / "moved").mkdir()
    copy = tmp_path / "moved" / "renamed.svs"
    shutil.copyfile(large, copy)
    os.utime(copy, (1, 1))
    assert fingerprint(copy) == before
    check_unchanged(copy, before)


@pytest.mark.parametrize("offset", [0, BLOCK - 1, -1, -BLOCK])
def test_a_fingerprint_covers_head_and_tail(large, offset):
    before = fingerprint(large)
    change(large, offset)
    assert fingerprint(large) != before
    with pytest.raises(SlidemillError, match=r"large\.svs: the slide is not what it was .*other content.*run again"):
        check_unchanged(large, before)


def test_a_fingerprint_leaves_out_what_lies_between_its_blocks(large):
    before = fingerprint(large)
    change(large, BLOCK + 10)
    assert fingerprint(large) == before


def test_a_fingerprint_covers_the_size(large):
    before = fingerprint(large)
    with large.open("r+b") as file:
        file.truncate(large.stat().st_size - 1)
    assert fingerprint(large) != before


@pytest.mark.parametrize("size", [1, BLOCK, BLOCK + 1, 5 * BLOCK, BLOCKS * BLOCK])
def test_a_fingerprint_covers_the_whole_of_a_small_file(tmp_path, size):
    path = tmp_path / "small.svs"
    prints = set()
    offsets = {*range(0, size, 9_973), size // 2, size - 1}
    for offset in offsets:
        path.write_bytes(bytes(size))
        change(path, offset)
        prints.add(fingerprint(path))
    path.write_bytes(bytes(size))
    assert len(prints | {fingerprint(path)}) == len(offsets) + 1


@pytest.mark.parametrize(
    ("slide", "companion"),
    [("a.mrxs", "a/Data0001.dat"), ("s/1.dcm", "s/2.dcm"), ("s/1.DCM", "s/2.DCM")],
)
def test_a_fingerprint_covers_the_files_that_belong_to_a_slide(tmp_path, slide, companion):
    make(tmp_path, slide, companion)
    prints = [fingerprint(tmp_path / slide)]
    (tmp_path / companion).write_bytes(b"more")
    prints.append(fingerprint(tmp_path / slide))
    (tmp_path / companion).unlink()
    prints.append(fingerprint(tmp_path / slide))
    assert len(set(prints)) == 3


def test_a_fingerprint_leaves_out_the_neighbours_of_a_slide(tmp_path):
    make(tmp_path, "a.svs", "a/b.dat")
    before = fingerprint(tmp_path / "a.svs")
    make(tmp_path, "b.svs", "a/c.dat")
    assert fingerprint(tmp_path / "a.svs") == before


@pytest.mark.parametrize("name", ["none.svs", "folder"])
def test_a_file_that_cannot_be_read_has_a_word_for_a_fingerprint(tmp_path, name):
    (tmp_path / "folder").mkdir()
    assert fingerprint(tmp_path / name).startswith("unreadable: ")


def test_what_is_no_file_is_neither_waited_for_nor_read(tmp_path):
    """Opening a pipe would wait for somebody to write into it."""
    os.mkfifo(tmp_path / "pipe.svs")
    assert fingerprint(tmp_path / "pipe.svs") == "unreadable: not a file"
    with pytest.raises(SlideError, match=r"pipe\.svs: is not a file"), open_slide(tmp_path / "pipe.svs"):
        pass


def test_stems_match_in_any_letter_case_and_unicode_form(tmp_path):
    make(tmp_path / "slides", "Case-1.svs", unicodedata.normalize("NFC", "Pr\u00e4p.svs"))
    make(tmp_path / "xml", "case-1.xml", unicodedata.normalize("NFD", "Pr\u00e4p.xml"))
    assert None not in annotated(tmp_path / "slides", tmp_path / "xml").values()
