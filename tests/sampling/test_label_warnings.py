"""What is worth a warning of a slide's labels, and when a run's labels are not to be trusted."""

from collections import Counter
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shapely.geometry import MultiPolygon, box

from slidemill.annotations.label_image import LabelImage
from slidemill.annotations.regions import Annotation, Region
from slidemill.core.columns import LABEL_NUMBERS, SLIDE_COLUMNS, VALIDATION_COLUMNS
from slidemill.core.csv_tables import write_table
from slidemill.core.outcomes import Outcome
from slidemill.core.pyramid import SlideInfo
from slidemill.core.run_warnings import join_warnings
from slidemill.core.specs import OUTSIDE, LabelSpec
from slidemill.core.stage_facts import LabelFacts, SlideFacts
from slidemill.errors import SlidemillError
from slidemill.sampling._label_counts import LabelCounts, counting_labeller
from slidemill.sampling._label_rules import labeller
from slidemill.sampling.label_faults import label_faults
from slidemill.sampling.label_warnings import MOST_NAMED, coarseness, label_findings
from slidemill.sampling.labelled_table import Labelling, write_labelled
from slidemill.sampling.quality_notes import annotation_warnings, corner_warnings
from slidemill.stages.gate import GateJob, require_success
from tests.examples import examples
from tests.labels import label_rows

SPEC = LabelSpec({"Normal": 0, "Tumor": 1}, "centre", "Normal")
ROWS = [{"x0": x, "y0": y, "width0": 128, "height0": 128} for y in range(0, 1024, 128) for x in range(0, 1024, 128)]


def annotation(*regions):
    """An annotation of rectangles: name, left, top, right, bottom."""
    return Annotation(tuple(Region(name, MultiPolygon([box(*sides)])) for name, *sides in regions))


def findings(*regions, spec=SPEC, rows=ROWS):
    drawn, counts = annotation(*regions), LabelCounts(contested=None)
    counting_labeller(drawn, spec, counts)(rows)
    return label_findings(drawn, spec, counts.within, patches=len(rows))


SQUARE = (300, 300, 700, 700)
"""Of 64 patches, 9 have their centres in it."""


def test_mapped_regions_need_no_warning():
    found = findings(("Tumor", *SQUARE))
    assert asdict(found) == {"unmapped_regions": 0, "region_patches": 9, "unmapped_patches": 0, "warnings": []}


@pytest.mark.parametrize("rule", ["centre", "top_left", "area"])
def test_regions_named_as_the_outside_are_counted(rule):
    """Their patches have the name of those outside; only the regions tell them apart."""
    spec = LabelSpec(SPEC.map, rule, "Normal")
    drawn = annotation(("Normal", -8, -8, 504, 1016), ("Fold", 504, -8, 632, 1016))
    counts = LabelCounts(contested=None)
    decide = counting_labeller(drawn, spec, counts)
    names, fractions = decide(ROWS)
    plain, parts = labeller(drawn, spec)(ROWS)
    assert names.tolist() == plain.tolist()
    assert fractions is parts is None or np.array_equal(fractions, parts)
    within = counts.within
    assert within["Fold"] == names.tolist().count("Fold") > 0
    assert 0 < within["Normal"] < names.tolist().count("Normal")


def test_unmapped_names_are_counted_with_a_suggestion():
    found = findings(("tumors", *SQUARE), ("Fold", 0, 0, 128, 128))
    assert found.warnings == [
        "labels.map lacks 'tumors' (did you mean Tumor?), label -1 [9 patches]",
        "labels.map lacks 'Fold', label -1 [1 patch]",
    ]
    assert (found.unmapped_regions, found.region_patches, found.unmapped_patches) == (2, 10, 10)


def test_most_frequent_unmapped_names_are_listed():
    regions = [(f"name {number}", number * 64, 0, number * 64 + 64, 10 + number) for number in range(MOST_NAMED + 3)]
    warnings = findings(("large", 0, 512, 1024, 1024), *regions).warnings
    assert warnings[0] == "labels.map lacks 'large', label -1 [32 patches]"
    assert warnings[MOST_NAMED].startswith("labels.map lacks further names, label -1 [")


def test_annotation_without_regions_is_a_warning():
    assert findings().warnings == ["the annotation has no regions: all patches are Normal"]


def test_regions_a_little_beyond_the_edge_are_fine():
    assert findings(("Tumor", -50, -50, 1074, 1074)).warnings == []


def test_regions_that_label_no_patch_are_a_warning():
    assert findings(("Tumor", 10, 10, 20, 20)).warnings == [
        "no region of the annotation labels a patch: all patches are Normal"
    ]
    assert findings(("Tumor", 10, 10, 20, 20), rows=[]).warnings == []


@pytest.mark.parametrize("rule", ["centre", "top_left", "area"])
def test_patches_outside_may_have_no_label(rule):
    spec = LabelSpec({"Tumor": 1}, rule, OUTSIDE)
    drawn = annotation(("Tumor", *SQUARE))
    told = Counter((row["label"], row["label_name"]) for row in label_rows(ROWS, drawn, spec, {}))
    assert told == {(1, "Tumor"): told[1, "Tumor"], (-1, "(outside)"): 64 - told[1, "Tumor"]}
    found = findings(("Tumor", *SQUARE), spec=spec)
    assert (found.unmapped_patches, found.warnings) == (0, [])


def row(slide="a", regions=1, unmapped_regions=0, patches=100, unmapped=0, warnings=()):
    numbers = dict(zip(LABEL_NUMBERS, map(str, (regions, unmapped_regions, patches, unmapped)), strict=True))
    return dict.fromkeys(SLIDE_COLUMNS, "") | numbers | {"slide": slide, "warnings": join_warnings(warnings)}


LACKS = "labels.map lacks 'Carcinoma', label -1 [{} patches]"
CASES = {
    "all names are mapped": ([row(regions=3)], ""),
    "half of the patches": ([row(regions=4, unmapped_regions=2, unmapped=50)], "fail"),
    "more than half": ([row(regions=4, unmapped_regions=1, unmapped=51)], "fail_if_most fail"),
    "half over all slides": ([row("a", 1, 1, 100, 100), row("b", 1, 0, 100, 0)], "fail"),
    "no name, and no patch": ([row(regions=2, unmapped_regions=2, patches=0)], "fail_if_most fail"),
    "no regions": ([row(regions=0, patches=0)], ""),
    "no annotation": ([row("a"), dict.fromkeys(SLIDE_COLUMNS, "")], ""),
    "tables of an earlier version": ([{"slide": "a", "regions": "3"}], ""),
}


@pytest.mark.parametrize("policy", ["fail_if_most", "fail", "ignore"])
@pytest.mark.parametrize(("rows", "failing"), CASES.values(), ids=CASES)
def test_label_faults_follow_the_policy(rows, failing, policy):
    assert bool(label_faults(rows, policy)) == (policy in failing.split())


def test_label_faults_count_and_name():
    """Names of the map in another case are none of it."""
    rows = [row("a", 2, 2, 120, 120, [LACKS.format(120)]), row("b", 1, 1, 80, 80, ["pale", LACKS.format(80)])]
    assert label_faults(rows, "fail_if_most") == [
        "labels.map has none of the names in the annotations, and 200 of the 200 patches that regions label have label "
        "-1: map these names, or give labels.unmapped: ignore",
        "labels.map lacks 'Carcinoma', label -1: 200 patches",
    ]


NUMBERS = st.integers(0, 20)


@given(st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS, NUMBERS), max_size=5))
@examples(300, derandomize=True)
def test_label_faults_are_a_law(numbers):
    rows = [row(str(n), a + b, b, c + d, d if b else 0) for n, (a, b, c, d) in enumerate(numbers)]
    regions, lacking, patches, unmapped = (sum(int(one[column]) for one in rows) for column in LABEL_NUMBERS)
    most = lacking > 0 and (lacking == regions or unmapped > patches / 2)
    assert bool(label_faults(rows, "fail_if_most")) == most
    assert bool(label_faults(rows, "fail")) == (lacking > 0)
    assert label_faults(rows, "ignore") == []


def test_gate_fails_for_labels_unless_they_are_ignored(tmp_path):
    write_table(tmp_path / "slides.csv", SLIDE_COLUMNS, [row("a", 1, 1, 9, 9, [LACKS.format(9)])])
    write_table(tmp_path / "validation.csv", VALIDATION_COLUMNS, [])
    tables = {"slides": tmp_path / "slides.csv", "validation": tmp_path / "validation.csv", "max_failed": 9}
    with pytest.raises(
        SlidemillError, match=r"^the labels cannot be trusted; everything else .*\n.*\n  labels\.map lacks"
    ):
        require_success(GateJob(**tables, unmapped="fail_if_most"))
    require_success(GateJob(**tables, unmapped="ignore"))


WITHIN = [("Normal", 0, 0, 1024, 1024), ("Tumor", *SQUARE)]
"""A region drawn within another: the file's first owns its ground, and the tumour would have 9 patches."""


def contested(*regions, **options):
    spec = LabelSpec({"Normal": 0, "Tumor": 1, "Stroma": 0}, options.pop("rule", "centre"), "Normal", **options)
    drawn, counts = annotation(*regions), LabelCounts()
    counting_labeller(drawn, spec, counts)(ROWS)
    return label_findings(drawn, spec, counts.within, patches=len(ROWS), contested=counts.contested).warnings


@pytest.mark.parametrize(("rule", "count"), [("centre", "9"), ("top_left", "9"), ("area", "9")])
def test_region_under_larger_one_warns(rule, count):
    options = {"rule": rule, "min_fraction": 1.0} if rule == "area" else {"rule": rule}
    (warning,) = contested(*WITHIN, **options)
    assert warning.startswith("regions named 'Tumor' are covered by larger ones of another label")
    assert "labels.overlap: smallest" in warning and warning.endswith(f"[{count} patches]")


def test_region_over_larger_one_needs_no_warning():
    assert contested(*WITHIN[::-1]) == contested(*WITHIN, overlap="smallest") == []


def test_region_drawn_twice_warns():
    for overlap in ("file", "smallest"):
        (warning,) = contested(("Normal", *SQUARE), ("Tumor", *SQUARE), overlap=overlap)
        assert "'Tumor'" in warning and warning.endswith("[9 patches]")


def test_overlap_within_one_label_needs_no_warning():
    assert contested(("Normal", 0, 0, 1024, 1024), ("Stroma", *SQUARE)) == []


def test_regions_that_touch_need_no_warning():
    halves = ("Normal", 0, 0, 500, 1024), ("Tumor", 500, 0, 1024, 1024)
    assert contested(*halves, rule="area") == contested(*halves) == []


@pytest.mark.parametrize(("outside", "count"), [("Normal", 1), ("0", 0)])
def test_zero_in_map_of_an_image_warns(outside, count):
    """In a label image 0 is outside: the map's own label for it would never be given."""
    image = LabelImage((8, 8), (1024, 1024), (1,), ((0, 0, 1024, 1024),), lambda first, last: iter(()))
    spec = LabelSpec({"Normal": 5, "0": 0, "1": 1}, "centre", outside)
    warnings = label_findings(Annotation((), image=image), spec, {"1": 9}, patches=64).warnings
    assert [one[:18] for one in warnings] == ["labels.map has '0'"] * count


@pytest.mark.parametrize(
    ("size", "canvas", "told"),
    [
        ((1, 1), (1024, 1024), "1,024 x 1,024"),
        ((7, 7), (1024, 1024), "146.3 x 146.3"),
        ((8, 8), (1024, 1024), ""),
        ((8, 8), (1000, 1000), "125 x 125"),
        ((8, 8), (1023, 1024), "127.9 x 128"),
        ((512, 8), (1024, 1024), ""),
        ((512, 4), (1024, 1024), "2 x 256"),
        ((17, 17), (1024, 1024), ""),
        ((15, 15), (1024, 1024), "68.27 x 68.27"),
    ],
)
def test_coarse_label_image_warns(size, canvas, told):
    """An image of a pixel a patch is stretched where its slide is no whole number of patches wide."""
    image = LabelImage(size, canvas, (1,), ((0, 0, *canvas),), lambda first, last: iter(()))
    warnings = coarseness(Annotation((), image=image), 128)
    assert [f"covers {told} level-0 pixels, and a patch 128 x 128" in one for one in warnings] == [True] * bool(told)


def test_rounded_coarse_images_do_mislabel():
    """Patches of a slide that they do not divide, and an image of a pixel a patch: the far ones are the neighbours'."""
    places = np.arange(8)
    pixel_of_patch = np.floor((places + 0.5) * 128 / (1059 / 9)).astype(int)
    assert (pixel_of_patch != places).any()
    image = LabelImage((9, 9), (1059, 1059), (1,), ((0, 0, 1059, 1059),), lambda first, last: iter(()))
    assert coarseness(Annotation((), image=image), 128)


def test_regions_are_never_coarse():
    assert coarseness(annotation(("Tumor", *SQUARE)), 128) == []


@pytest.mark.parametrize("mapped", [" Tumor ", "Tumor\u00a0", "\tTumor", "Tumor"])
@pytest.mark.parametrize("drawn", [" Tumor", "Tumor"])
def test_outer_blanks_of_names_count_for_nothing(mapped, drawn):
    spec = LabelSpec({"Normal": 0, mapped: 1}, "centre", " Normal ", unnamed=" Tumor ", only=[mapped])
    found = findings((drawn, *SQUARE), spec=spec)
    assert (found.warnings, found.region_patches) == ([], 9)
    assert (spec.outside, spec.unnamed, spec.only, list(spec.map)) == (
        "Normal",
        "Tumor",
        ["Tumor"],
        ["Normal", "Tumor"],
    )


def reaching(slide, right, bottom, bounds=None, status="ok"):
    """An outcome of a slide of 1024 x 512 pixels whose regions end there."""
    info = SlideInfo("", ((1024, 512), (256, 128)), (1.0, 4.0), bounds, None, None, None, "ffffff")
    labels = LabelFacts(counts={}, reach=(right, bottom))
    return Outcome(slide, "write_metadata", status, facts=SlideFacts(info=info), labels=labels)


@pytest.mark.parametrize(
    ("outcomes", "named"),
    [
        ([reaching("a", 256, 128)], "quarter"),
        ([reaching("a", 257, 128)], None),
        ([reaching("a", 256, 129)], None),
        ([reaching(name, 512, 100) for name in "abcd"], "half"),
        ([reaching(name, 512, 100) for name in "abc"], None),
        ([*(reaching(name, 512, 100) for name in "abcd"), reaching("e", 513, 9)], None),
        ([reaching("a", 700, 300, (600, 256, 400, 256))], "quarter"),
        ([reaching("a", 701, 300, (600, 256, 400, 256))], None),
        ([reaching("a", 9, 9, status="failed"), Outcome("b", "write_metadata")], None),
    ],
)
def test_regions_in_the_first_corner_of_all_slides_warn(outcomes, named):
    """In micrometres, or in pixels of a coarser level, they would all lie there."""
    found = corner_warnings(outcomes)
    assert set(found) == ({outcome.slide for outcome in outcomes} if named else set())
    assert all(f"in the first {named} of width and height: coordinates are level-0" in one for one in found.values())


def test_reach_is_that_of_all_regions(tmp_path):
    drawn = annotation(("Tumor", 0, 0, 500, 20), ("Normal", 3, 3, 40, 300))
    told, _ = write_labelled(tmp_path / "a.csv", [], Labelling(drawn, SPEC, {}), count=0, seed=0)
    assert told.reach == (500, 300)
    bare, _ = write_labelled(tmp_path / "a.csv", [], Labelling(Annotation(()), SPEC, {}), count=0, seed=0)
    assert bare.reach is None


def labelled_by(slide, fingerprint, regions=1, status="ok"):
    labels = LabelFacts(counts={}, regions=regions, annotation_fingerprint=fingerprint)
    return Outcome(slide, "write_metadata", status, labels=labels)


def test_copied_annotations_warn():
    """A file that was copied under another slide's name labels that slide by the regions of the first."""
    two = [labelled_by("a", "x"), labelled_by("b", "x"), labelled_by("c", "y")]
    told = "its annotation is the same as that of a, b: is one of them a copy?"
    assert annotation_warnings(two) == {"a": [told], "b": [told]}
    assert annotation_warnings([labelled_by("a", "x", 0), labelled_by("b", "x", 0)]) == {}
    assert annotation_warnings([labelled_by("a", None), labelled_by("b", None)]) == {}
    assert annotation_warnings([labelled_by("a", "x"), labelled_by("b", "x", status="failed")]) == {}
