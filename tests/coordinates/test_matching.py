"""Which file of coordinates belongs to which slide."""

from pathlib import Path

import pytest

from slidemill.coordinates import matching
from slidemill.coordinates.matching import match_coordinates
from slidemill.errors import ConfigError
from slidemill.slides import annotation_matching
from slidemill.slides.discovery import SlideFile, decode_path, encode_path, slide_id


def slides(*paths):
    return [SlideFile(slide_id(Path(path)), encode_path(Path(path))) for path in paths]


def match(folder, files, found):
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).touch()
    given = match_coordinates(folder, found)
    return [own.coordinates and str(decode_path(own.coordinates)) for own in given.slides], given.warnings


def test_files_fit_by_stem_name_and_id(tmp_path):
    found = slides("a.svs", "x/b.tif", "c.svs", "d é.svs")
    own_id = f"{found[2].slide}_patches.h5"
    files = ["20x/patches/A_patches.h5", "b.tif.csv", own_id, "d é.h5"]
    matched, warnings = match(tmp_path, [*files, ".hidden.h5", "notes.txt"], found)
    assert matched == files
    assert warnings == []


def test_relative_path_and_id_distinguish_slides_of_one_stem(tmp_path):
    found = slides("x/a.svs", "y/a.svs", "z/a.svs")
    named = f"{found[2].slide}.csv"
    assert match(tmp_path, ["x/a.csv", "y/a_patches.h5", named], found)[0] == ["x/a.csv", "y/a_patches.h5", named]
    with pytest.raises(ConfigError, match=r"other.h5|a.h5 fits 3 slides.*name each file by its slide's id"):
        match(tmp_path, ["a.h5"], found)


def test_what_fits_nothing_is_named(tmp_path):
    matched, warnings = match(tmp_path, ["a.csv", "other.h5"], slides("a.svs", "b.svs"))
    assert matched == ["a.csv", None]
    (bare,) = (own.slide for own in slides("b.svs"))
    assert warnings == [
        "sampling.coordinates: 1 of 2 files fits no slide: other.h5",
        f"sampling.coordinates: 1 of 2 slides has no file, and fails: {bare}",
    ]


def test_folders_without_use_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"missing is not a folder"):
        match_coordinates(tmp_path / "missing", slides("a.svs"))
    with pytest.raises(ConfigError, match=r"it holds no such file: name each as its slide's stem and _patches.h5"):
        match(tmp_path, ["a.geojson"], slides("a.svs"))
    with pytest.raises(ConfigError, match="none of its 1 file fits a slide"):
        match(tmp_path, ["b.h5"], slides("a.svs"))
    with pytest.raises(ConfigError, match=r"has 2 files, a.csv and a_patches.h5 among them"):
        match(tmp_path, ["a.csv", "a_patches.h5"], slides("a.svs"))


def test_file_without_a_stem_fits_nothing(tmp_path):
    assert match(tmp_path, ["_patches.h5", "a.h5"], slides("a.svs")) == (["a.h5"], [])


def test_work_is_a_few_names_per_file_and_slide(tmp_path, monkeypatch):
    """Each file compared with each slide would take minutes for thousands."""
    folded = []
    count = 60
    found = slides(*(f"{number}.svs" for number in range(count)))
    for module in (matching, annotation_matching):
        monkeypatch.setattr(module, "fold_name", lambda stem: folded.append(stem) or stem)
    files = [f"{number}_patches.h5" for number in range(count)]
    assert match(tmp_path, files, found) == (files, [])
    assert len(folded) <= 4 * count
