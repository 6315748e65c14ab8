"""What is said before any job of slides without an annotation, and of files that fit no slide."""

from pathlib import Path

import pytest

from slidemill.errors import ConfigError
from slidemill.runs._annotation_check import check_annotations
from slidemill.slides.discovery import Found, SlideFile, search_slides
from tests.config.test_config import read
from tests.slides.test_annotation_matching import make


class Folders:
    """A folder of slides, one of annotations, and one of masks."""

    def __init__(self, root):
        self.root = root
        for name in ("slides", "xml", "masks"):
            (root / name).mkdir()

    def check(self, masks=False, **config):
        places = {"slides": str(self.root / "slides"), "results": str(self.root / "results")}
        places["annotations"] = None if masks else str(self.root / "xml")
        tissue = {"method": "none", **config.pop("tissue", {})}
        tissue |= {"masks": str(self.root / "masks")} if masks else {}
        checked = read(**places, tissue=tissue, **config)
        found = search_slides(checked.slides, checked.annotations, checked.results, masks=checked.tissue_masks)
        return check_annotations(found, checked)

    def refused(self, **config):
        with pytest.raises(ConfigError) as caught:
            self.check(**config)
        return str(caught.value)


@pytest.fixture
def folders(tmp_path):
    return Folders(tmp_path)


OUTSIDE = {"labels": {"unannotated": "outside"}}


def test_nothing_is_said_where_all_fit(folders):
    make(folders.root, "slides/a.svs", "xml/a.xml", "masks/a.png")
    for masks in (False, True):
        remarks = folders.check(masks)
        assert (remarks.notes, remarks.warnings) == ([], [])


def test_no_annotations_and_the_defaults_simply_work(tmp_path):
    make(tmp_path, "slides/a.svs", "slides/b.svs")
    config = read(slides=str(tmp_path / "slides"), results=str(tmp_path / "results"))
    remarks = check_annotations(search_slides(config.slides), config)
    assert (remarks.notes, remarks.warnings) == ([], [])


NEAR_MISSES = {
    "short barcode": ("TCGA-A1-A0SB-01Z-00-DX1.B34C.svs", "TCGA-A1-A0SB.xml"),
    "separator": ("case_1.svs", "case-1.xml"),
    "a word more": ("case1.svs", "case1_annotations.xml"),
    "a slip": ("tumour_1.svs", "tumor_1.xml"),
    "accents": ("Präparat 1.svs", "Praparat 1.xml"),
    "another slide's ending": ("case1.svs", "case1.ndpi.xml"),
    "its folder": ("case1.svs", "case1/annotations.xml"),
}


@pytest.mark.parametrize(("slide", "file"), NEAR_MISSES.values(), ids=NEAR_MISSES)
def test_near_misses_are_suggested(folders, slide, file):
    make(folders.root, f"slides/{slide}", f"xml/{file}", "slides/z.svs", "xml/z.xml")
    (warning,) = folders.check(**OUTSIDE).warnings
    assert warning == f"annotations: 1 of 2 files fits no slide: {file} (did you mean {slide}?)"


def test_slides_that_have_one_are_not_suggested(folders):
    make(folders.root, "slides/a 1.svs", "xml/a 1.xml", "xml/old/a 1.xml", "xml/a-1.xml")
    (warning,) = folders.check().warnings
    assert warning == "annotations: 2 of 3 files fit no slide: a-1.xml, old/a 1.xml"


def test_ten_files_are_named_and_all_counted(folders):
    make(folders.root, "slides/a.svs", "xml/a.xml", *(f"xml/q{number:02}.xml" for number in range(12)))
    (warning,) = folders.check().warnings
    assert warning.startswith("annotations: 12 of 13 files fit no slide: q00.xml, q01.xml,")
    assert warning.endswith("q09.xml and 2 more")


def test_files_of_other_endings_are_counted_by_ending(folders):
    make(folders.root, "slides/a.svs", "xml/a.xml", "xml/b.ndpa", "xml/c.NDPA", "xml/r.txt", "xml/none")
    (warning,) = folders.check().warnings
    assert warning == (
        "annotations: 4 files with unknown endings were ignored, .ndpa (2), no ending (1), .txt (1): "
        "b.ndpa, c.NDPA, none, r.txt"
    )


@pytest.mark.parametrize("masks", [False, True], ids=["annotations", "masks"])
def test_files_none_of_which_fits_are_refused(folders, masks):
    folder = "masks" if masks else "xml"
    make(folders.root, "slides/case_1.svs", f"{folder}/case1.xml", f"{folder}/r.txt")
    told = folders.refused(masks=masks, **OUTSIDE).splitlines()
    key = "tissue.masks" if masks else "annotations"
    assert told[0].startswith(f"{key} is {folders.root / folder}: none of its files fits a slide: name each as")
    assert told[1] == f"{key}: 1 of 1 file fits no slide: case1.xml (did you mean case_1.svs?)"
    assert told[2] == f"{key}: 1 file with an unknown ending was ignored, .txt (1): r.txt"


@pytest.mark.parametrize("masks", [False, True], ids=["annotations", "masks"])
def test_an_empty_folder_is_refused(folders, masks):
    """Its disk may be away: what was labelled would be labelled anew as outside."""
    make(folders.root, "slides/a.svs")
    assert "it holds no file that is read: name each as" in folders.refused(masks=masks, **OUTSIDE)


def test_masks_that_fit_no_slide_are_named(folders):
    make(folders.root, "slides/case_1.svs", "masks/case1.png", "slides/b.svs", "masks/b.svs.png")
    fit, kept = folders.check(masks=True).warnings
    assert fit == "tissue.masks: 1 of 2 files fits no slide: case1.png (did you mean case_1.svs?)"
    assert kept == "tissue.masks: 1 of 2 slides has no mask of tissue, so that all patches are kept: case_1.svs"
    remarks = folders.check(masks=True, tissue={"method": "otsu"})
    assert remarks.warnings == [fit]
    assert remarks.notes == [
        "tissue.masks: 1 of 2 slides has no mask of tissue, so that tissue.method decides: case_1.svs"
    ]


def test_slides_without_annotation_need_a_word(folders):
    make(folders.root, "slides/a.svs", "xml/a.xml", "slides/case_1.svs", "slides/c.svs", "xml/case1.xml", "xml/r.txt")
    assert folders.refused().splitlines() == [
        "labels.unannotated is missing: 2 of 3 slides have no annotation: c.svs, case_1.svs",
        "annotations: 1 of 2 files fits no slide: case1.xml (did you mean case_1.svs?)",
        "annotations: 1 file with an unknown ending was ignored, .txt (1): r.txt",
        "add the missing annotations, or one of these lines to labels:",
        "  unannotated: outside  # all their patches are Normal",
        "  unannotated: skip     # they are left out, and end as empty (fail: they fail)",
    ]


@pytest.mark.parametrize(
    ("policy", "words"),
    [("outside", "all their patches are Normal"), ("skip", "they are skipped"), ("fail", "they fail")],
)
def test_slides_without_annotation_are_counted(folders, policy, words):
    make(folders.root, "slides/a.svs", "xml/a.xml", "slides/b.svs")
    remarks = folders.check(labels={"unannotated": policy})
    assert remarks.warnings == []
    assert remarks.notes == [f"1 of 2 slides has no annotation; {words} (labels.unannotated: {policy}): b.svs"]


def test_ten_slides_without_annotation_are_named(folders):
    make(folders.root, "slides/a.svs", "xml/a.xml", *(f"slides/n{number:02}.svs" for number in range(12)))
    first = folders.refused().splitlines()[0]
    assert first.startswith("labels.unannotated is missing: 12 of 13 slides have no annotation: n00.svs, ")
    assert first.endswith("n09.svs and 2 more")


def test_empty_cells_of_a_sheet_need_a_word():
    slides = [SlideFile("a", "a.svs", "a.xml"), SlideFile("b", "b.svs")]
    with pytest.raises(ConfigError, match=r"labels\.unannotated is missing: 1 of 2 slides has no annotation: b\.svs"):
        check_annotations(Found(slides), read())
    assert check_annotations(Found(slides), read(**OUTSIDE)).warnings == []
    assert check_annotations(Found(slides[1:]), read()).notes == []


def test_empty_cells_for_masks_of_a_sheet_are_told():
    slides = [SlideFile("a", "a.svs", tissue_mask="a.png"), SlideFile("b", "b.svs")]
    (warning,) = check_annotations(Found(slides), read(tissue={"method": "none"})).warnings
    assert warning.startswith("tissue.masks: 1 of 2 slides has no mask of tissue, so that all patches are kept: b.svs")


def test_names_are_told_on_one_line(folders):
    make(folders.root, "slides/a.svs", "xml/a.xml", "xml/b\n\udce9.xml")
    (warning,) = folders.check().warnings
    assert warning.endswith(r"fits no slide: b\n\udce9.xml")
    assert Path(folders.root / "xml" / "b\n\udce9.xml").exists()


def test_columns_that_are_not_read_are_told():
    """A sheet's free columns travel into the tables: a misspelt one would leave all slides without annotation."""
    slides = [
        SlideFile("a", "a.svs", columns={"annotations": "", "MPP": "0.25", "note": "x"}),
        SlideFile("b", "b.svs", columns={"annotations": "b.XML", "MPP": "0.25", "note": ""}),
    ]
    assert check_annotations(Found(slides), read()).warnings == [
        "slides: the column 'annotations' of the sheet is not read, and names files such as b.XML: call it annotation "
        "if they are annotations",
        "slides: the column 'MPP' of the sheet is not read: call it mpp if it is the slides' resolution",
    ]
    known = [SlideFile("a", "a.svs", "a.xml", {"annotations": "b.xml", "mpp_x": "1"}, mpp=0.25)]
    assert check_annotations(Found(known), read()).warnings == []


def test_a_run_without_annotations_says_nothing_of_slides(folders):
    make(folders.root, "slides/a.svs", "masks/a.png")
    assert folders.check(masks=True, labels={"unannotated": "outside"}).notes == []


@pytest.mark.parametrize(
    ("column", "file", "meant"),
    [
        ("annotations", "a.annotations", "annotation"),
        ("Annotation", "a.png", "annotation"),
        ("xml", "a.XML", "annotation"),
        ("annotation_path", "a.geojson.gz", "annotation"),
        ("mask", "a.png", "tissue_mask"),
        ("tissue", "a.geojson", "tissue_mask"),
    ],
)
def test_columns_of_files_are_told(column, file, meant):
    (warning,) = check_annotations(Found([SlideFile("a", "a.svs", columns={column: file})]), read()).warnings
    assert (
        warning.startswith(f"slides: the column {column!r} of the sheet is not read") and f"call it {meant} " in warning
    )


def test_columns_of_other_files_need_no_warning():
    slide = SlideFile("a", "a.svs", columns={"thumbnail": "a.png", "mask_quality": "good"})
    assert check_annotations(Found([slide]), read()).warnings == []


def test_files_of_several_slides_are_told():
    """A row that was copied labels a slide by the regions of another."""
    slides = [SlideFile("a", "a.svs", "x.xml"), SlideFile("b", "b.svs", "x.xml"), SlideFile("c", "c.svs", "c.xml")]
    assert check_annotations(Found(slides), read()).warnings == [
        "slides: 1 file of the column annotation is given to several slides: x.xml (a, b)"
    ]


@pytest.mark.parametrize(
    ("file", "is_doubtful"),
    [
        ("p1/a.geojson", False),
        ("a.geojson", False),
        ("other/a.geojson", False),
        ("p1/xml/a.geojson", False),
        ("P1/a.geojson", False),
        ("p2/a.geojson", True),
        ("P2/a.geojson", True),
        ("p2/xml/a.geojson", True),
        ("p3/a.geojson", True),
    ],
)
@pytest.mark.parametrize("masks", [False, True], ids=["annotations", "masks"])
def test_files_in_the_folder_of_other_slides_warn(folders, masks, file, is_doubtful):
    """A patient's file would label the slide of another, whose name is the same."""
    folder, key = ("masks", "tissue.masks") if masks else ("xml", "annotations")
    make(folders.root, "slides/p1/a.svs", "slides/p2/b.svs", "slides/p3/scan/c.svs", "slides/d.svs")
    make(folders.root, f"{folder}/{file}", f"{folder}/p2/b.xml", f"{folder}/c.xml", f"{folder}/d.xml")
    told = (
        f"{key}: 1 file matched by name only, from the folder of other slides or with a name that several slides have: "
        f"{file} (p1/a.svs)"
    )
    assert folders.check(masks).warnings == [told] * is_doubtful


def test_map_of_several_labels_without_annotations_warns(tmp_path):
    """The key of annotations may be forgotten, or the sheet's column: all patches would be outside."""
    found = Found([SlideFile("a", "a.svs")])
    labels = {"map": {"Normal": 0, "Tumor": 1}}
    (warning,) = check_annotations(found, read(labels=labels)).warnings
    assert warning.startswith("labels.map has several labels, and no slide has an annotation, so that all patches are")
    for quiet in ({**labels, "unannotated": "outside"}, {"map": {"Normal": 0, "Benign": 0}}, {}):
        assert check_annotations(found, read(labels=quiet)).warnings == []


@pytest.mark.parametrize("column", ["MPP", " mpp", "mpp_level0", "slide_mpp"])
def test_columns_of_resolutions_are_told(column):
    (warning,) = check_annotations(Found([SlideFile("a", "a.svs", columns={column: "0.25"})]), read()).warnings
    assert f"the column {column!r} of the sheet is not read: call it mpp" in warning


def test_files_of_a_name_that_several_slides_have_warn(folders):
    """It may be an old one of the slide that has its own."""
    make(folders.root, "slides/p1/a.svs", "slides/p2/a.svs", "slides/b.svs", "xml/p1/a.xml", "xml/a.xml", "xml/x/b.xml")
    (warning,) = folders.check().warnings
    assert warning.endswith("with a name that several slides have: a.xml (p2/a.svs)")
