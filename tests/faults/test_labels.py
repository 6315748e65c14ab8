"""Labels that would be silently wrong: refused before any job, failed at the gate, or a warning."""

import json
from collections import Counter

import pytest

from slidemill.errors import ConfigError
from tests.faults.test_annotations import geojson, xml

pytestmark = pytest.mark.cases

SQUARE = [(-10, -10), (250, -10), (250, 250), (-10, 250)]
"""Of a slide of 4 x 3 patches, the first two of the first two rows."""


@pytest.fixture
def labelled(cohort):
    """Runs over `good.svs`, annotated by one square of the given name; its row comes back, and counts of its labels."""

    def run(name="Benign", **labels):
        cohort.config["labels"] = {"map": {"Normal": 0, "Benign": 1}, **labels}
        cohort.annotate("good", xml(SQUARE, name))
        rows = cohort.run()
        counts = Counter((row["label"], row["label_name"]) for row in cohort.table("metadata"))
        return rows["good.svs"], counts

    run.cohort = cohort
    return run


def test_names_that_the_map_lacks_fail_the_gate(labelled):
    row, counts = labelled("benign")
    assert counts == {("-1", "benign"): 4, ("0", "Normal"): 8}
    assert row["status"] == "ok"
    assert row["warnings"] == "labels.map lacks 'benign' (did you mean Benign?), label -1 [4 patches]"
    assert "the labels cannot be trusted" in labelled.cohort.verdict
    assert "labels.map has none of the names in the annotations, and 4 of the 4 patches" in labelled.cohort.verdict
    assert "'benign' (did you mean Benign?), label -1: 4 patches" in labelled.cohort.verdict


def test_unmapped_names_may_be_ignored(labelled):
    row, _ = labelled("benign", unmapped="ignore")
    assert labelled.cohort.verdict == ""
    assert "did you mean Benign?" in row["warnings"]


@pytest.mark.parametrize("only", [["Benign"], ["Normal"], ["Benign", "Normal"]])
def test_unmapped_names_count_though_only_drops_them(labelled, only):
    """Their patches are in no table then, and the labels are no better for it."""
    row, counts = labelled("benign", only=only)
    assert ("-1", "benign") not in counts
    assert (row["region_patches"], row["unmapped_patches"]) == ("4", "4")
    assert row["warnings"].endswith("label -1 [4 patches]")
    assert "the labels cannot be trusted" in labelled.cohort.verdict


@pytest.mark.parametrize("rule", ["centre", "top_left", "area"])
def test_outside_null_gives_no_label(labelled, rule):
    row, counts = labelled(map={"Benign": 1}, outside=None, rule=rule)
    assert counts == {("1", "Benign"): 4, ("-1", "(outside)"): 8}
    assert row["warnings"] == labelled.cohort.verdict == ""


def test_an_outside_that_the_map_lacks_is_refused(labelled):
    with pytest.raises(ConfigError, match=r"labels\.outside is 'Normal', which labels\.map lacks.*outside: null"):
        labelled(map={"Benign": 1})
    assert list(labelled.cohort.results.iterdir()) == []


def test_slides_without_annotation_are_refused(labelled):
    labelled.cohort.add("bare.svs")
    (labelled.cohort.annotations / "bear.xml").write_text(xml(SQUARE))
    with pytest.raises(ConfigError) as caught:
        labelled()
    told = str(caught.value)
    assert "labels.unannotated is missing: 1 of 2 slides has no annotation: bare.svs" in told
    assert "annotations: 1 of 2 files fits no slide: bear.xml (did you mean bare.svs?)" in told
    assert "  unannotated: outside  #" in told
    assert "  unannotated: skip " in told
    assert list(labelled.cohort.results.iterdir()) == []


@pytest.mark.parametrize("method", ["none", "otsu"])
def test_slides_without_annotation_may_be_skipped(labelled, method):
    cohort = labelled.cohort
    cohort.add("bare.svs")
    cohort.config["tissue"] = {"method": method, "min_fraction": 0}
    labelled(unannotated="skip")
    assert cohort.verdict == ""
    row = next(row for row in cohort.table("slides") if row["path"] == "bare.svs")
    assert (row["status"], row["patches"], row["grid_patches"]) == ("empty", "0", "12")
    assert row["dropped"] == "unannotated 12"
    assert "it has no annotation, and labels.unannotated is skip" in row["notes"]
    assert cohort.stored(row["slide"]) == {"lmdb": []}
    assert {one["slide"] for one in cohort.table("metadata")}.isdisjoint({row["slide"]})
    for one in cohort.listed:
        cohort.draw(one)


def test_slides_without_annotation_may_fail(labelled):
    labelled.cohort.add("bare.svs")
    labelled(unannotated="fail")
    row = next(row for row in labelled.cohort.table("slides") if row["path"] == "bare.svs")
    assert (row["status"], row["stage"]) == ("failed", "sample_patches")
    assert row["message"].startswith("it has no annotation, and labels.unannotated is fail: give it one")
    assert row["slide"] in labelled.cohort.verdict


def test_slides_without_annotation_may_be_outside(labelled):
    labelled.cohort.add("bare.svs")
    labelled(unannotated="outside")
    assert labelled.cohort.verdict == ""
    (note,) = labelled.cohort.remarks.notes
    assert note.endswith("all their patches are Normal (labels.unannotated: outside): bare.svs")
    counts = Counter(row["label_name"] for row in labelled.cohort.table("metadata"))
    assert counts == {"Benign": 4, "Normal": 20}


def test_a_file_named_as_the_slides_file_labels_it(cohort):
    (cohort.annotations / "good.svs.geojson").write_text(geojson(SQUARE))
    (row,) = cohort.run().values()
    assert (row["annotation"], row["regions"], row["region_patches"]) == ("good.svs.geojson", "1", "4")


def test_annotations_none_of_which_fits_are_refused(cohort):
    (cohort.annotations / "good_1.xml").write_text(xml(SQUARE))
    with pytest.raises(
        ConfigError, match=r"(?s)none of its files fits a slide.*good_1\.xml \(did you mean good\.svs\?\)"
    ):
        cohort.run()
    assert list(cohort.results.iterdir()) == []


def test_files_that_fit_no_slide_are_a_warning(cohort):
    cohort.annotate("good")
    cohort.annotate("godo")
    (cohort.annotations / "good.ndpa").touch()
    cohort.plan()
    assert cohort.remarks.warnings == [
        "annotations: 1 of 2 files fits no slide: godo.xml",
        "annotations: 1 file with an unknown ending was ignored, .ndpa (1): good.ndpa",
    ]


def test_masks_none_of_which_fits_are_refused(cohort):
    masks = cohort.folder / "masks"
    masks.mkdir()
    (masks / "other.png").touch()
    cohort.config["tissue"] = {"method": "none", "masks": str(masks)}
    with pytest.raises(ConfigError, match=r"tissue\.masks is .*: none of its files fits a slide"):
        cohort.plan()


def test_a_mask_for_some_slides_only_is_a_warning(cohort):
    cohort.add("other.svs")
    masks = cohort.folder / "masks"
    masks.mkdir()
    (masks / "other.svs.png").touch()
    cohort.config["tissue"] = {"method": "none", "masks": str(masks)}
    cohort.plan()
    assert [line.split(":")[0] for line in cohort.remarks.warnings] == ["tissue.masks"]
    assert cohort.remarks.warnings[0].endswith("so that all patches are kept: good.svs")


ODD = {
    "no regions": ("<Annotations/>", "the annotation has no regions: all patches are Normal"),
    "a region off the slide": (
        xml([(x + 9000, y) for x, y in SQUARE]),
        "regions are outside the slide or reach far beyond it: are they of this slide, in level-0 pixels? [1 region]",
    ),
    "a region that labels no patch": (
        xml([(3, 3), (9, 3), (9, 9)]),
        "no region of the annotation labels a patch: all patches are Normal",
    ),
}


@pytest.mark.parametrize(("text", "words"), ODD.values(), ids=ODD)
def test_an_annotation_that_labels_nothing_is_a_warning(cohort, text, words):
    cohort.annotate("good", text)
    (row,) = cohort.run().values()
    assert row["status"] == "ok"
    assert words in row["warnings"].split("; ")


def test_the_outcome_tells_patches_by_region(labelled):
    row, _ = labelled("Normal")
    outcome = json.loads(labelled.cohort.place("outcomes/write_metadata", row["slide"]).read_text())
    assert (outcome["details"]["counts"], outcome["details"]["within"]) == ({"Normal": 12}, {"Normal": 4})
