"""Which file is whose, and which fit no slide: what is found is matched, refused or named."""

import itertools
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slidemill.errors import ConfigError
from slidemill.slides import annotation_matching
from slidemill.slides.annotation_matching import ANNOTATIONS, bare_name, match_annotations
from slidemill.slides.discovery import search_slides
from tests.examples import examples


def make(root, *paths):
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()


def matched(root, slides, files, folder="xml"):
    """Match files of a folder with slides of another, and return names."""
    make(root / "slides", *slides)
    make(root / folder, *files)
    found = match_annotations(root / "slides", [Path(slide) for slide in sorted(slides)], root / folder, skip=None)
    by_slide = {str(slide): str(file) for slide, file in found.by_slide.items()}
    return by_slide, [str(path) for path in found.unfit], [str(path) for path in found.ignored]


@pytest.mark.parametrize("end", ["xml", "geojson", "json", "png", "GeoJSON"])
@pytest.mark.parametrize("place", ["x/", "elsewhere/"])
def test_file_name_and_ending_fits_its_slide(tmp_path, end, place):
    by_slide, unfit, _ = matched(tmp_path, ["x/case1.svs"], [f"{place}case1.svs.{end}"])
    assert by_slide == {"x/case1.svs": f"{place}case1.svs.{end}"}
    assert unfit == []


def test_file_names_tell_slides_of_one_stem_apart(tmp_path):
    by_slide, unfit, _ = matched(tmp_path, ["a.svs", "a.ndpi"], ["far/a.svs.xml", "far/A.NDPI.xml"])
    assert by_slide == {"a.svs": "far/a.svs.xml", "a.ndpi": "far/A.NDPI.xml"}
    assert unfit == []


@pytest.mark.parametrize(
    "files", [["a.xml", "a.svs.xml"], ["far/a.xml", "far/a.svs.json"]], ids=["in place", "by name"]
)
def test_stem_and_file_name_of_one_slide_are_ambiguous(tmp_path, files):
    with pytest.raises(ConfigError, match=r"annotations: a\.svs has "):
        matched(tmp_path, ["a.svs"], files)


@pytest.mark.parametrize("files", [["a.svs.xml"], ["far/a.svs.xml"]], ids=["in place", "by name"])
def test_file_name_that_is_anothers_stem_is_ambiguous(tmp_path, files):
    with pytest.raises(ConfigError, match=rf"annotations: {files[0]} fits 2 slides, a\.svs and a\.svs\.tif"):
        matched(tmp_path, ["a.svs", "a.svs.tif"], files)


def test_file_names_match_in_any_unicode_form(tmp_path):
    nfc, nfd = (unicodedata.normalize(form, "Pr\u00e4p") for form in ("NFC", "NFD"))
    by_slide, _, _ = matched(tmp_path, [f"{nfc}.SVS"], [f"x/{nfd}.svs.xml"])
    assert by_slide == {f"{nfc}.SVS": f"x/{nfd}.svs.xml"}


def test_files_that_fit_no_slide_are_returned(tmp_path):
    files = ["a.xml", "old/a.xml", "TCGA-A1.xml", "b.svs.bak.xml"]
    by_slide, unfit, _ = matched(tmp_path, ["a.svs", "b.svs", "TCGA-A1-01Z.svs"], files)
    assert by_slide == {"a.svs": "a.xml"}
    assert unfit == ["TCGA-A1.xml", "b.svs.bak.xml", "old/a.xml"]


def test_files_of_other_endings_are_returned(tmp_path):
    make(tmp_path, "elsewhere/b.xml")
    (tmp_path / "xml").mkdir()
    (tmp_path / "xml/link").symlink_to("../elsewhere")
    files = ["a.xml", "b.ndpa", "c.xml.bak", "none", ".hidden", "._a.xml"]
    _, unfit, ignored = matched(tmp_path, ["a.svs", "b.svs"], files)
    assert unfit == []
    assert ignored == ["b.ndpa", "c.xml.bak", "link", "none"]


def test_other_files_among_slides_count_by_their_names(tmp_path):
    """Among slides lie their own parts and other things; a file that is named as a slide is meant for it."""
    make(tmp_path, "a.ndpi", "a.ndpi.ndpa", "b.ndpi", "b.svg", "b.xml", "README.txt", "c.mrxs", "c/Data0001.dat")
    matches = search_slides(tmp_path, tmp_path).annotations
    assert list(matches.by_slide) == [Path("b.ndpi")]
    assert matches.ignored == (Path("a.ndpi.ndpa"), Path("b.svg"))


def test_a_tiff_named_as_a_slides_file_may_be_either(tmp_path):
    make(tmp_path, "a.svs", "a.svs.tif")
    with pytest.raises(ConfigError, match=r"a\.svs\.tif may be a slide, or the label image of a\.svs"):
        search_slides(tmp_path, tmp_path)


def test_bare_name_has_no_ending():
    assert bare_name(Path("x/a.svs.GeoJSON")) == "a.svs"
    assert bare_name(Path("a.b.ndpa")) == "a.b"
    assert bare_name(Path("plain")) == "plain"


STEMS = st.sampled_from(["a", "A", "b", "a.svs", "c 1"])
FOLDERS = st.sampled_from(["", "x/", "y/"])
SLIDES = st.builds("{}{}{}".format, FOLDERS, STEMS, st.sampled_from([".svs", ".ndpi"]))
FILES = st.builds("{}{}{}".format, FOLDERS, STEMS, st.sampled_from([*ANNOTATIONS[:2], ".svs.xml", ".txt"]))


@given(st.sets(SLIDES, min_size=1, max_size=5), st.sets(FILES, max_size=6))
@examples(150, derandomize=True)
def test_every_file_is_matched_refused_or_named(tmp_path_factory, slides, files):
    root = tmp_path_factory.mktemp("law")
    try:
        by_slide, unfit, ignored = matched(root, slides, files)
    except ConfigError:
        return
    told = [*by_slide.values(), *unfit, *ignored]
    assert sorted(told) == sorted(files)
    for (slide, file), (other, another) in itertools.pairwise(by_slide.items()):
        assert file != another, (slide, other)


def test_work_is_a_few_names_per_slide(tmp_path, monkeypatch):
    """TIFFs among annotations: each compared with each would take minutes for thousands."""
    folded, count = [], 40
    monkeypatch.setattr(annotation_matching, "fold_name", lambda stem: folded.append(stem) or stem)
    make(tmp_path, *(f"{number}.{ending}" for number in range(count) for ending in ("tif", "xml")))
    assert len(search_slides(tmp_path, tmp_path).annotations.by_slide) == count
    assert len(folded) <= 12 * count
