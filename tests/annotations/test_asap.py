"""Annotations of ASAP."""

from xml.sax.saxutils import quoteattr

import numpy as np
import pytest

from slidemill.annotations.frames import Frame
from slidemill.annotations.read import read_annotation
from slidemill.errors import AnnotationError
from slidemill.sampling._label_rules import region_at

SQUARE = [(0, 0), (10, 0), (10, 10), (0, 10)]


def element(vertices, kind="Polygon", group="A", name="Annotation 0", orders=None):
    told = zip(orders or range(len(vertices)), vertices, strict=True)
    places = "".join(f'<Coordinate Order="{order}" X="{x}" Y="{y}"/>' for order, (x, y) in told)
    return (
        f'<Annotation Name={quoteattr(name)} Type="{kind}" PartOfGroup={quoteattr(group)} Color="#F4FA58">'
        f"<Coordinates>{places}</Coordinates></Annotation>"
    )


@pytest.fixture
def read(tmp_path):
    def read(*elements):
        path = tmp_path / "case.json"
        groups = '<AnnotationGroups><Group Name="A" PartOfGroup="None"><Attributes/></Group></AnnotationGroups>'
        path.write_text(
            f'<?xml version="1.0"?><ASAP_Annotations><Annotations>{"".join(elements)}</Annotations>{groups}'
            "</ASAP_Annotations>",
            encoding="utf-8",
        )
        return read_annotation(path, Frame(bounds=(1000, 1000, 500, 500)))

    return read


def names(annotation, *points):
    return [
        (*annotation.names, "out")[place]
        for place in region_at(annotation, np.array(points, np.float64).reshape(-1, 2))
    ]


def test_a_region_has_its_groups_label_whatever_the_file_is_called_and_where_bounds_lie(read):
    assert names(read(element(SQUARE)), (5, 5), (11, 5)) == ["A", "out"]


@pytest.mark.parametrize("group", ["None", "", "  "])
def test_a_region_in_no_group_has_its_own_name(read, group):
    assert names(read(element(SQUARE, group=group, name="mine")), (5, 5)) == ["mine"]


@pytest.mark.parametrize("kind", ["Polygon", "Spline", "Rectangle"])
def test_polygons_splines_and_rectangles_enclose(read, kind):
    assert names(read(element(SQUARE, kind)), (5, 5)) == ["A"]


def test_a_rectangle_may_be_two_corners(read):
    assert names(read(element([(10, 0), (0, 10)], "Rectangle")), (1, 1), (9, 9)) == ["A", "A"]


@pytest.mark.parametrize("kind", ["Dot", "PointSet", "Measurement"])
def test_what_encloses_nothing_is_left_out_with_a_note(read, kind):
    annotation = read(element(SQUARE, kind), element(SQUARE[:2]))
    assert annotation.regions == ()
    assert annotation.notes == (
        "annotation 2 (Annotation 0): 2 vertices enclose nothing, and it was left out",
        f"annotations of type {kind} enclose nothing and were left out (1)",
    )


def test_vertices_have_the_order_that_they_tell(read):
    crossed = [SQUARE[0], SQUARE[2], SQUARE[1], SQUARE[3]]
    assert read(element(crossed, orders=[0, 2, 1, 3])).notes == ()
    assert "repaired" in read(element(crossed, orders=[0, "x", 1, 3])).notes[0]
    assert "repaired" in read(element(crossed, orders=[0, "9" * 5000, 1, 3])).notes[0]


def test_an_outline_that_crosses_itself_is_repaired_with_a_note(read):
    annotation = read(element([(0, 0), (10, 10), (10, 0), (0, 10)]))
    assert names(annotation, (2, 5), (5, 2)) == ["A", "out"]
    assert annotation.notes == ("annotation 1 (Annotation 0): the outline crosses itself and was repaired",)


@pytest.mark.parametrize("x", ["ten", "", "nan", "1e300"])
def test_a_coordinate_that_is_no_number_is_refused(read, x):
    with pytest.raises(AnnotationError, match=rf"case\.json: annotation 1 \(Annotation 0\): a vertex is at X='{x}'"):
        read(element([*SQUARE, (x, 5)]))


def test_decimals_are_read_exactly(read):
    assert read(element([(0.25, 0), (10, 0), (10, 10)])).regions[0].shape.bounds == (0.25, 0, 10, 10)
