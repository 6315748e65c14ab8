"""The audit of labels: where the rules disagree, and which regions label nothing."""

import numpy as np
import pytest
from shapely.geometry import MultiPolygon, box

from slidemill.annotations.label_image import LabelImage
from slidemill.annotations.regions import Annotation, Region
from slidemill.core.columns import METADATA_COLUMNS
from slidemill.core.csv_tables import read_table
from slidemill.core.specs import LabelSpec
from slidemill.sampling import label_audit
from slidemill.sampling.labelled_table import Labelling, write_labelled

SPEC = {"map": {"out": 0, "A": 1}, "outside": "out"}


def squares(*named):
    return Annotation(tuple(Region(name, MultiPolygon([box(*place)])) for name, *place in named))


def told(tmp_path, annotation, columns=4, rule="centre", seed=0, **options):
    """Label a row of patches of 10 x 10 pixels, and return what is told of it."""
    rows = [
        dict.fromkeys(METADATA_COLUMNS[:-3], "")
        | {"patch_id": f"r0_c{place}", "x0": str(10 * place), "y0": "0", "width0": "10", "height0": "10"}
        for place in range(columns)
    ]
    spec = LabelSpec(rule=rule, **SPEC, **options)
    return write_labelled(tmp_path / "m.csv", rows, Labelling(annotation, spec), count=len(rows), seed=seed)[0]


# Of the four patches the first is A by all rules; the second by its corner alone, the third by its area alone, where
# the middle is cut out; the fourth by none.
DRAWN = [("A", -1, -1, 10, 10), ("A", 9, -1, 14, 4), ("A", 21, 0, 24, 10), ("A", 26, 0, 30, 10)]


@pytest.mark.parametrize("rule", label_audit.RULES)
def test_patches_on_which_rules_disagree_are_counted_by_pair_and_told(tmp_path, rule):
    audit = told(tmp_path, squares(*DRAWN), rule=rule).audit
    assert (audit.patches, audit.differing) == (4, 2)
    assert audit.pairs == {"centre and top_left": 1, "centre and area": 1, "top_left and area": 2}
    assert list(audit.examples) == [
        {"patch_id": "r0_c1", "centre": "out", "top_left": "A", "area": "out"},
        {"patch_id": "r0_c2", "centre": "out", "top_left": "out", "area": "A"},
    ]


@pytest.mark.parametrize(
    ("rule", "unreached"),
    [("centre", [1, 2, 3, 4]), ("top_left", [2, 3, 4]), ("area", [1, 4])],
)
def test_regions_that_label_no_patch_are_told_with_their_places(tmp_path, rule, unreached):
    regions = [*DRAWN, ("B", 500, 600, 510, 620)]
    audit = told(tmp_path, squares(*regions), rule=rule).audit
    assert audit.unreached == len(unreached)
    assert list(audit.regions) == [{"name": regions[place][0], "box": list(regions[place][1:])} for place in unreached]
    assert sum(audit.names.values()) == len(unreached)
    assert audit.names["B"] == 1


def test_a_region_that_lies_under_another_labels_nothing(tmp_path):
    regions = squares(("A", 0, 0, 30, 10), ("B", 2, 2, 8, 8))
    first = told(tmp_path, regions).audit
    smallest = told(tmp_path, regions, overlap="smallest").audit
    assert [first.names, smallest.names] == [{"B": 1}, {}]


def test_a_label_image_is_audited_too(tmp_path):
    pixels = np.array([[1, 0, 0, 2], [1, 1, 0, 0]], np.uint8)
    boxes = ((0.0, 0.0, 20.0, 20.0), (30.0, 0.0, 40.0, 10.0))
    image = LabelImage((4, 2), (40, 20), (1, 2), boxes, lambda first, last: iter([(0, pixels)]))
    found = told(tmp_path, Annotation((), image=image), columns=3)
    assert (found.regions, found.unmapped) == (2, ("1", "2"))
    assert found.audit.differing == 0
    assert list(found.audit.regions) == [{"name": "2", "box": [30, 0, 40, 10]}]


def test_without_regions_there_is_nothing_to_audit(tmp_path):
    assert told(tmp_path, Annotation(())).audit is None


def test_of_many_patches_a_sample_is_audited_and_all_are_labelled(tmp_path, monkeypatch):
    monkeypatch.setattr(label_audit, "MOST_AUDITED", 40)
    regions = squares(*[("A", 10 * place - 1, -1, 10 * place + 4, 4) for place in range(0, 100, 2)])
    found = [told(tmp_path, regions, 100, seed=seed) for seed in (0, 0, 1)]
    audits = [one.audit for one in found]
    assert all(audit.patches == 40 for audit in audits)
    assert audits[0] == audits[1] != audits[2]
    assert len(list(read_table(tmp_path / "m.csv"))) == 100
    assert all(0 < audit.differing < 40 for audit in audits)
    assert all(audit.unreached == 50 for audit in audits)


def test_no_more_is_told_one_by_one_than_somebody_would_read(tmp_path, monkeypatch):
    monkeypatch.setattr(label_audit, "MOST_LISTED", 3)
    audit = told(tmp_path, squares(*[("A", 10 * n - 1, -1, 10 * n + 4, 4) for n in range(9)]), 9).audit
    assert (audit.differing, len(audit.examples)) == (9, 3)
    assert (audit.unreached, len(audit.regions)) == (9, 3)
