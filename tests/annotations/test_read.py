"""Annotations of ImageScope, and the labels that they give."""

from collections import Counter
from pathlib import Path
from xml.sax.saxutils import quoteattr

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from shapely.geometry import LineString, MultiPolygon, Polygon

from slidemill.annotations.read import read_annotation
from slidemill.annotations.regions import Findings, enclose, polygons
from slidemill.core.columns import METADATA_COLUMNS, PATCH_COLUMNS
from slidemill.core.specs import LabelSpec
from slidemill.errors import AnnotationError
from slidemill.sampling._label_rules import reference_points, region_at
from slidemill.sampling.labelled_table import Labelling, count_names, label_blocks
from tests.examples import examples
from tests.labels import label_rows

ROOT = Path(__file__).parents[2]
REAL_ANNOTATION = ROOT.parent / "shared" / "slides" / "CMU-1-Small-Region.xml"
SQUARE = [(0, 0), (10, 0), (10, 10), (0, 10)]
INNER = [(4, 4), (6, 4), (6, 6), (4, 6)]
BOW_TIE = [(0, 0), (10, 10), (10, 0), (0, 10)]


def region(vertices, text="A", values=(), **attributes):
    """Return a Region element; `values` are those of its Attribute elements."""
    given = {"Id": 1, "Type": 0, "Text": text, "NegativeROA": 0, "InputRegionId": 0} | attributes
    told = "".join(f" {name}={quoteattr(str(value))}" for name, value in given.items())
    inside = "".join(f"<Attribute Name='x' Id='0' Value={quoteattr(value)}/>" for value in values)
    corners = "".join(f"<Vertex X='{x}' Y='{y}' Z='0'/>" for x, y in vertices)
    return f"<Region{told}><Attributes>{inside}</Attributes><Vertices>{corners}</Vertices></Region>"


def hole(vertices, of=0, **attributes):
    return region(vertices, NegativeROA=1, InputRegionId=of, **{"Id": 99} | attributes)


def shifted(vertices, right):
    return [(x + right, y) for x, y in vertices]


def write(path, *layers):
    """Write an annotation, each layer the regions of one Annotation element."""
    inside = "".join(
        f"<Annotation Id='{number}'><Regions>{''.join(regions)}</Regions></Annotation>"
        for number, regions in enumerate(layers, start=1)
    )
    path.write_text(f"<?xml version='1.0'?>\n<Annotations>{inside}</Annotations>\n", encoding="utf-8")
    return path


@pytest.fixture
def annotation(tmp_path):
    """Return a function from layers of regions to the annotation that is read from them."""
    return lambda *layers: read_annotation(write(tmp_path / "case.xml", *layers))


@pytest.fixture
def refused(tmp_path):
    """Return a function from a file's text to the message with which it is refused."""

    def refused(text):
        path = tmp_path / "case.xml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        with pytest.raises(AnnotationError) as caught:
            read_annotation(path)
        assert str(caught.value).startswith("case.xml: ")
        return str(caught.value)

    return refused


def names(annotation, *points):
    return [
        (*annotation.names, "out")[place]
        for place in region_at(annotation, np.array(points, np.float64).reshape(-1, 2))
    ]


def patch(x0=0, y0=0, width0=10, height0=10):
    return {"x0": x0, "y0": y0, "width0": width0, "height0": height0}


@pytest.mark.parametrize(
    ("text", "values", "name"),
    [
        ("Text", ["Value"], "Value"),
        ("Text", ["", "  ", "Second"], "Second"),
        ("Text", ["First", "Second"], "First"),
        ("Text", [""], "Text"),
        ("Text", [], "Text"),
        ("  Text ", [], "Text"),
        ("Text", [" Value "], "Value"),
        ("Ä & <B> 'c'", [], "Ä & <B> 'c'"),
    ],
)
def test_a_region_is_named_by_its_first_value_or_else_its_text(annotation, text, values, name):
    assert names(annotation([region(SQUARE, text, values)]), (5, 5)) == [name]


def test_attributes_of_the_layer_name_no_region(tmp_path):
    path = write(tmp_path / "case.xml", [region(SQUARE, "A")])
    layer = "<Annotation Id='1'><Attributes><Attribute Name='Description' Value='L'/></Attributes>"
    path.write_text(path.read_text(encoding="utf-8").replace("<Annotation Id='1'>", layer), encoding="utf-8")
    assert names(read_annotation(path), (5, 5)) == ["A"]


def test_a_region_without_a_type_is_a_polygon(annotation):
    text = region([(0, 0), (10, 0), (0, 10)]).replace(' Type="0"', "")
    assert "Type" not in text
    assert names(annotation([text]), (1, 1), (6, 6)) == ["A", "out"]


@pytest.mark.parametrize("vertices", [SQUARE, [(0, 0), (10, 10)], [(10, 0), (0, 10)]])
def test_a_rectangle_has_four_corners_or_two_opposite_ones(annotation, vertices):
    read = annotation([region(vertices, Type=1)])
    assert names(read, (1, 9), (9, 9), (9, 1), (11, 5), (5, -1)) == ["A", "A", "A", "out", "out"]
    assert read.notes == ()


@pytest.mark.parametrize("vertices", [[(0, 0), (20, 10)], [(20, 0), (0, 10)], [(0, 0), (20, 0), (20, 10), (0, 10)]])
def test_an_ellipse_fills_its_bounding_box_but_for_the_corners(annotation, vertices):
    read = annotation([region(vertices, Type=2)])
    assert names(read, (10, 5), (0.1, 5), (19.9, 5), (10, 0.1), (10, 9.9), (4, 2)) == ["A"] * 6
    assert names(read, (1, 1), (19, 1), (19, 9), (1, 9), (-0.1, 5)) == ["out"] * 5
    assert read.regions[0].shape.area == pytest.approx(np.pi * 10 * 5, rel=1e-3)


def test_a_region_owns_its_left_and_top_edges(annotation):
    read = annotation([region(SQUARE)])
    assert names(read, (0, 5), (5, 0), (0, 0)) == ["A"] * 3
    assert names(read, (10, 5), (5, 10), (10, 0), (0, 10), (10, 10)) == ["out"] * 5


def test_a_point_on_a_spike_of_an_outline_lies_in_no_region(annotation):
    spike = [(0, 0), (10, 0), (10, 5), (20, 5), (10, 5), (10, 10), (0, 10)]
    assert names(annotation([region(spike)]), (5, 5), (15, 5)) == ["A", "out"]


def test_a_hole_is_cut_out_of_the_region_that_it_names(annotation):
    both = [region(SQUARE, "A", Id=1), region(SQUARE, "B", Id=2)]
    assert names(annotation([*both, hole(INNER, of=1)]), (1, 1), (5, 5)) == ["A", "B"]
    assert names(annotation([*both, hole(INNER, of=2)]), (1, 1), (5, 5)) == ["A", "A"]


@pytest.mark.parametrize("of", [0, 77])
def test_a_hole_that_names_no_region_is_cut_out_of_its_whole_layer_alone(annotation, of):
    both = [region(SQUARE, "A", Id=1), region(SQUARE, "B", Id=2)]
    assert names(annotation([*both, hole(INNER, of=of)]), (1, 1), (5, 5)) == ["A", "out"]
    assert names(annotation([*both, hole(INNER, of=of)], [region(SQUARE, "C")]), (1, 1), (5, 5)) == ["A", "C"]


def test_regions_of_other_layers_may_have_the_id_that_a_hole_names(annotation):
    read = annotation([region(SQUARE, "A", Id=1)], [region(SQUARE, "B", Id=1), hole(INNER, of=1)])
    assert names(read, (5, 5)) == ["A"]


def test_holes_may_come_before_their_region_and_be_many(annotation):
    cut = [hole(INNER, of=1), region(SQUARE, "A", Id=1), hole([(0, 0), (2, 0), (2, 2), (0, 2)], of=1, Type=1)]
    assert names(annotation(cut), (5, 5), (1, 1), (3, 3)) == ["out", "out", "A"]


def test_a_hole_may_leave_nothing(annotation):
    assert names(annotation([region(INNER, Id=1), hole(SQUARE, of=1)]), (5, 5)) == ["out"]


def test_of_two_regions_the_first_in_the_file_wins(annotation):
    small, large = region(INNER, "small"), region(SQUARE, "large")
    assert names(annotation([small, large]), (5, 5), (1, 1)) == ["small", "large"]
    assert names(annotation([large, small]), (5, 5), (1, 1)) == ["large", "large"]
    assert names(annotation([small], [large]), (5, 5), (1, 1)) == ["small", "large"]
    assert names(annotation([large], [small]), (5, 5), (1, 1)) == ["large", "large"]


def test_points_outside_all_regions_have_the_outside_name(annotation):
    assert names(annotation([region(SQUARE)]), (11, 11), (-1, 5)) == ["out", "out"]
    assert names(annotation(), (5, 5)) == ["out"]


def test_no_points_have_no_names(annotation):
    assert names(annotation([region(SQUARE)])) == []
    assert reference_points([], "centre").shape == (0, 2)


def test_the_centre_decides_or_the_corner():
    """A defect of py-wsi: documented as the centre, it was the top-left corner."""
    rows = [patch(10, 20, 6, 8), {"x0": "1", "y0": "2", "width0": "5", "height0": "3"}]
    assert reference_points(rows, "centre").tolist() == [[13, 24], [3.5, 3.5]]
    assert reference_points(rows, "top_left").tolist() == [[10, 20], [1, 2]]


def test_the_rule_changes_the_label_of_a_patch_whose_corner_lies_elsewhere(annotation):
    read = annotation([region([(100, 100), (300, 100), (300, 300), (100, 300)], "Benign")])
    rows = [patch(90, 90, 50, 50), patch(290, 290, 50, 50), patch(60, 60, 50, 50)]
    centre = label_rows(rows, read, LabelSpec({"Normal": 0, "Benign": 1}, "centre", "Normal"), {})
    corner = label_rows(rows, read, LabelSpec({"Normal": 0, "Benign": 1}, "top_left", "Normal"), {})
    assert [row["label"] for row in centre] == [1, 0, 0]
    assert [row["label"] for row in corner] == [0, 1, 0]


def test_names_that_the_map_lacks_are_labelled_minus_one(annotation):
    read = annotation([region(SQUARE, "Fold"), region(shifted(SQUARE, 100), "?")])
    rows = [patch(), patch(100), patch(50)]
    spec = LabelSpec({"Normal": 7, "normal": 1}, "centre", "Normal")
    assert [(row["label"], row["label_name"]) for row in label_rows(rows, read, spec, {})] == [
        (-1, "Fold"),
        (-1, "?"),
        (7, "Normal"),
    ]
    assert [row["label"] for row in label_rows(rows, read, LabelSpec({}, "centre", "Normal"), {})] == [-1, -1, -1]


def test_labelled_rows_keep_what_they_had_and_gain_the_sheets_columns(annotation):
    row = {**dict.fromkeys(PATCH_COLUMNS, "?"), **patch()}
    (full,) = label_rows([row], annotation(), LabelSpec({"N": 0}, "centre", "N"), {"patient": "007"})
    assert full == {**row, "label": 0, "label_name": "N", "label_fraction": "", "patient": "007"}
    assert tuple(full) == (*METADATA_COLUMNS, "patient")
    assert METADATA_COLUMNS[-3:] == ("label", "label_name", "label_fraction")


def test_labels_are_counted_by_name():
    rows = [{"label_name": name} for name in ("b", "a", "b", "")]
    counts = Counter()
    assert list(count_names(rows, counts)) == rows
    assert counts == {"": 1, "a": 1, "b": 2}


@pytest.mark.parametrize("block", [1, 7, 100])
def test_rows_labelled_in_blocks_are_those_labelled_at_once(annotation, monkeypatch, block):
    monkeypatch.setattr("slidemill.sampling.labelled_table.BLOCK", block)
    rows = [{"x0": x, "y0": 0, "width0": 2, "height0": 2} for x in range(20)]
    read, spec = annotation([region(SQUARE)]), LabelSpec({"A": 1}, "centre", "Normal")
    by = Labelling(read, spec, {"p": "1"})
    assert list(label_blocks(iter(rows), by)) == label_rows(rows, read, spec, {"p": "1"})


@pytest.mark.parametrize(
    ("element", "note"),
    [
        (region([(0, 0), (10, 10)], Id=4), "annotation 1, region 4: 2 vertices enclose nothing, and it was left out"),
        (region([], Id=4), "annotation 1, region 4: 0 vertices enclose nothing"),
        (region([(1, 1)], Type=2), "region 1: 1 vertices enclose nothing"),
        (region([(0, 0), (5, 5), (10, 10)]), "region 1: the outline has no area, and it was left out"),
        (region([(0, 0), (0, 10)], Type=1), "region 1: the outline has no area, and it was left out"),
        (region(SQUARE, Type=4), "regions of type 4 (ruler) enclose nothing and were left out (1)"),
    ],
)
def test_what_encloses_nothing_is_left_out_with_a_note(annotation, element, note):
    read = annotation([element, region(INNER, "B", Id=2)])
    assert [kept.name for kept in read.regions] == ["B"]
    assert any(note in told for told in read.notes), read.notes
    assert names(read, (5, 5), (1, 1)) == ["B", "out"]


def test_an_outline_that_crosses_itself_is_repaired_with_a_note(annotation):
    read = annotation([region(BOW_TIE, Id=3)])
    assert read.notes == ("annotation 1, region 3: the outline crosses itself and was repaired",)
    assert names(read, (2, 5), (8, 5), (5, 2), (5, 8)) == ["A", "A", "out", "out"]
    assert len(polygons(read.regions[0].shape)) == 2


def test_a_repaired_outline_with_a_spike_can_have_holes_and_be_one(annotation):
    spike = [(0, 0), (10, 0), (10, 5), (20, 5), (10, 5), (10, 10), (0, 10)]
    read = annotation([region(spike, Id=1), hole(INNER, of=1)], [region(shifted(SQUARE, 10), "B"), hole(spike)])
    assert names(read, (5, 5), (1, 1), (15, 2)) == ["out", "A", "B"]
    assert [len(polygons(kept.shape)) for kept in read.regions] == [1, 1]


@pytest.mark.parametrize("x", ["ten", "", "1,5", "nan", "inf", "1e999"])
def test_a_coordinate_that_is_no_number_is_refused(refused, x):
    element = region([(0, 0), (10, 0), (x, 10)], Id=7)
    message = refused(f"<Annotations><Annotation Id='2'>{element}</Annotation></Annotations>")
    assert "annotation 2, region 7" in message
    assert f"X={x!r}, Y='10': give two numbers" in message


def test_a_vertex_without_a_coordinate_is_refused(refused):
    text = "<Annotations><Annotation><Region><Vertex X='3'/></Region></Annotation></Annotations>"
    assert "X='3', Y=None: give two numbers" in refused(text)


def test_fractions_and_negative_coordinates_are_numbers(annotation):
    assert names(annotation([region([(-5.5, -5.5), (5.5e0, -5.5), (0, 5.5)])]), (0, 0), (-5, -5.4)) == ["A", "A"]


def test_malformed_xml_is_told_with_its_file_and_line(refused):
    message = refused("<?xml version='1.0'?>\n<Annotations>\n <Annotation>\n</Annotations>\n")
    assert message == "case.xml: line 4, column 2: mismatched tag: fix the XML, or export it again"


@pytest.mark.parametrize("text", ["", "no XML", "<Annotations>", b"\xff\xfe\x00", b"<Annotations>\xff</Annotations>"])
def test_what_is_no_xml_is_told_with_its_line(refused, text):
    assert "line 1" in refused(text)


@pytest.mark.parametrize("encoding", ["nonsense", "utf-7", "gb2312"])
def test_an_encoding_that_cannot_be_read_is_told(refused, encoding):
    text = f"<?xml version='1.0' encoding='{encoding}'?><Annotations/>"
    assert "encoding" in refused(text)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "iso-8859-1", "windows-1252"])
def test_encodings_that_a_file_declares_are_read(tmp_path, encoding):
    text = f"<Annotations><Annotation>{region(SQUARE, 'Präparat')}</Annotation></Annotations>"
    declared = f"<?xml version='1.0' encoding='{encoding.removesuffix('-sig')}'?>{text}"
    path = tmp_path / "case.xml"
    path.write_bytes(declared.encode(encoding))
    assert names(read_annotation(path), (5, 5)) == ["Präparat"]


def test_xml_of_another_kind_is_refused(refused):
    message = refused("<HALO><Annotations/></HALO>")
    assert "begins with <HALO>: an annotation of ImageScope or HALO has <Annotations>, one of ASAP" in message


BOMB = """<?xml version="1.0"?>
<!DOCTYPE Annotations [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>
<Annotations><Annotation Name="&b;"/></Annotations>"""
EXTERNAL = """<?xml version="1.0"?>
<!DOCTYPE Annotations [<!ENTITY x SYSTEM "{}">]>
<Annotations><Annotation>&x;</Annotation></Annotations>"""


def test_an_entity_bomb_is_refused(refused):
    assert "declares entities" in refused(BOMB)


def test_an_external_entity_is_refused_and_not_read(refused, tmp_path):
    secret = tmp_path / "secret.txt"
    secret.write_text("<secret/>", encoding="utf-8")
    message = refused(EXTERNAL.format(secret.as_uri()))
    assert "declares entities or external files" in message
    assert "remove the declaration" in message


@pytest.mark.parametrize("name", ["none.xml", "folder.xml"])
def test_a_file_that_cannot_be_read_is_told(tmp_path, name):
    (tmp_path / "folder.xml").mkdir()
    with pytest.raises(AnnotationError, match=rf"{name}: cannot be read"):
        read_annotation(tmp_path / name)


def inside_even_odd(vertices, x, y):
    """Count the edges that a ray from the point to the right crosses."""
    crossings = 0
    for (x1, y1), (x2, y2) in zip(vertices, vertices[1:] + vertices[:1], strict=True):
        if (y1 > y) != (y2 > y) and x < x1 + (y - y1) / (y2 - y1) * (x2 - x1):
            crossings += 1
    return crossings % 2 == 1


def distance_to_edges(vertices, x, y):
    distances = []
    for (x1, y1), (x2, y2) in zip(vertices, vertices[1:] + vertices[:1], strict=True):
        length = (x2 - x1) ** 2 + (y2 - y1) ** 2
        along = ((x - x1) * (x2 - x1) + (y - y1) * (y2 - y1)) / length if length else 0
        along = min(max(along, 0), 1)
        distances.append(((x1 + along * (x2 - x1) - x) ** 2 + (y1 + along * (y2 - y1) - y) ** 2) ** 0.5)
    return min(distances)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return tmp_path_factory.mktemp("annotations") / "random.xml"


coordinates = st.integers(0, 20)
outlines = st.lists(st.tuples(coordinates, coordinates), min_size=3, max_size=9, unique=True)
regions = st.lists(st.tuples(outlines, st.booleans()), min_size=1, max_size=4)
places = st.lists(st.tuples(st.floats(-1, 21), st.floats(-1, 21)), min_size=1, max_size=30)


@given(regions, places)
@examples(300, derandomize=True)
def test_names_are_those_of_a_slow_obvious_ray_casting(file, regions, places):
    """Random outlines, some of them holes of the whole layer; most cross themselves."""
    places = [place for place in places if all(distance_to_edges(o, *place) > 1e-6 for o, _ in regions)]
    elements = [
        hole(outline, Id=number) if cut else region(outline, f"region {number}", Id=number)
        for number, (outline, cut) in enumerate(regions, start=1)
    ]
    expected = []
    for place in places:
        cut = any(negative and inside_even_odd(outline, *place) for outline, negative in regions)
        hits = [
            f"region {number}"
            for number, (outline, negative) in enumerate(regions, start=1)
            if not negative and inside_even_odd(outline, *place)
        ]
        expected.append(hits[0] if hits and not cut else "out")
    assert names(read_annotation(write(file, elements)), *places) == expected


@pytest.fixture
def real():
    if not REAL_ANNOTATION.exists():
        pytest.skip(f"the real annotation is not at {REAL_ANNOTATION}")
    return read_annotation(REAL_ANNOTATION)


def test_a_real_annotation_has_its_regions(real):
    assert [region.name for region in real.regions] == ["Carcinoma invasive", "Benign", "Fold", "Normal"]
    assert real.notes == ()


@pytest.mark.parametrize(
    ("centre", "label", "name"),
    [
        ((1300, 1000), 3, "Carcinoma invasive"),
        ((1200, 2200), 3, "Carcinoma invasive"),
        ((1100, 1350), 0, "none"),  # left of the carcinoma's notch at (1160, 1350), inside its hull
        ((1450, 2000), 1, "Benign"),
        ((1640, 2700), 1, "Benign"),
        ((1640, 2360), 0, "none"),  # in the hole
        ((1490, 2360), 1, "Benign"),  # just left of the hole
        ((500, 1085), -1, "Fold"),
        ((120, 1085), -1, "Fold"),
        ((120, 1030), 0, "none"),  # in the ellipse's bounding box
        ((800, 2700), 2, "Normal"),
        ((1010, 2700), 0, "none"),
    ],
)
def test_a_real_annotation_labels_centres(real, centre, label, name):
    spec = LabelSpec({"none": 0, "Benign": 1, "Normal": 2, "Carcinoma invasive": 3}, "centre", "none")
    x, y = centre
    (row,) = label_rows([patch(x - 128, y - 128, 256, 256)], real, spec, {})
    assert (row["label"], row["label_name"]) == (label, name)


def test_an_outline_that_crosses_itself_without_end_is_refused_and_not_repaired_for_hours(annotation):
    vertices = np.random.default_rng(1).integers(0, 10_000, (3000, 2)).tolist()
    with pytest.raises(AnnotationError, match=r"crosses itself more than 10000 times: draw it again"):
        annotation([region(vertices)])


@pytest.mark.long
def test_an_outline_that_crosses_itself_10000_times_is_repaired(annotation):
    """A comb with lines across: the faces are the fields of a chessboard. With make_valid it took a minute."""
    comb = [(100 * n, 10_000 * (n % 2)) for n in range(1, 100)]
    across = [(10_000 * (n % 2), 100 * n) for n in range(99, 0, -1)]
    read = annotation([region(comb + across)])
    assert read.notes == ("annotation 1, region 1: the outline crosses itself and was repaired",)
    shape = read.regions[0].shape
    assert shape.is_valid
    assert len(polygons(shape)) > 4800
    line = Polygon(comb + across).exterior
    places = np.random.default_rng(3).uniform(0, 10_000, (200, 2))
    for place in places:
        crossed = shapely.intersection(line, LineString([place, (place[0] + 1, 20_000)]))
        assert shapely.contains_xy(shape, *place) == (len(shapely.get_coordinates(crossed)) % 2 == 1)


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=3, max_size=16))
@examples(300)
def test_an_outline_is_repaired_as_shapely_does_it(vertices):
    """Lines that are gone along twice too, and loops that a line alone holds together."""
    notes = []
    expected = MultiPolygon(polygons(shapely.make_valid(Polygon(vertices))))
    shape = enclose([[Polygon(vertices)]], "it", Findings("file", notes=notes))
    if expected.area == 0:
        assert shape is None
    else:
        assert shape.is_valid
        assert shapely.symmetric_difference(shape, expected).area < 1e-9


@pytest.mark.long
def test_an_outline_of_100000_vertices_that_crosses_itself_once_is_repaired(annotation):
    angles = np.linspace(0, 2 * np.pi, 100_000, endpoint=False)
    vertices = np.column_stack([np.sin(angles), np.sin(2 * angles)]) * 10_000
    read = annotation([region(vertices.tolist())])
    assert names(read, (5000, 1000), (-5000, 1000), (0, 5000)) == ["A", "A", "out"]
    assert "was repaired" in read.notes[0]


@pytest.mark.parametrize("far", ["1e308", "-1e300", "2e9", "inf", "nan"])
def test_a_coordinate_beyond_any_slide_is_refused(annotation, far):
    with pytest.raises(AnnotationError, match=rf"a vertex is at X='{far}', Y='0': give two numbers"):
        annotation([region([(0, 0), (5, 5), (far, 0)])])


def test_a_hole_of_a_region_that_was_left_out_cuts_no_other(annotation):
    left_out = region([(0, 0), (5, 5)], "B", Id=2)
    read = annotation([region(SQUARE, "A", Id=1), left_out, hole(INNER, of=2)])
    assert names(read, (5, 5)) == ["A"]


def test_several_attributes_with_values_warn(annotation):
    """Which of them is the class, nobody says: the first is taken."""
    read = annotation([region(SQUARE, values=("Grade 2", "Tumor")), region(SQUARE, values=("Tumor", "", "Tumor"))])
    assert read.names == ("Grade 2", "Tumor")
    (warning,) = read.warnings
    assert warning == "several attributes have values, and the first was taken for the name [1 region]"


def test_hole_of_an_unknown_region_warns(annotation):
    read = annotation([region(SQUARE), hole(INNER, of=77)], [region(SQUARE), hole(INNER, of=0), hole(INNER, of=1)])
    (warning,) = read.warnings
    assert warning == "holes in regions that their layer lacks are cut out of all its regions [1 region]"


def test_strange_elements_among_vertices_are_refused(annotation, tmp_path):
    """Places as elements of their own would leave a region without vertices."""
    path = write(tmp_path / "case.xml", [region(SQUARE), region(SQUARE)])
    text = path.read_text(encoding="utf-8").replace("<Vertex X='0' Y='0' Z='0'/>", "<P><X>0</X><Y>0</Y></P>", 1)
    path.write_text(text, encoding="utf-8")
    with pytest.raises(AnnotationError, match="<P> is among its vertices"):
        read_annotation(path)


@pytest.mark.parametrize("values", [(0, 1), (0, 1, 0)])
def test_regions_left_out_of_analyses_warn(annotation, values):
    regions = [region(shifted(SQUARE, 20 * place), Analyze=value) for place, value in enumerate(values)]
    found = annotation(regions)
    assert len(found.regions) == len(values)
    (warning,) = found.warnings
    assert 'Analyze="0"' in warning
    assert f"[{values.count(0)} region" in warning


def test_analyze_on_all_regions_is_a_note(annotation):
    found = annotation([region(SQUARE, Analyze=0), region(SQUARE[:2], Type=4, Analyze=1), hole(INNER, Analyze=1)])
    assert not found.warnings
    assert any('Analyze="0"' in note and "(all 1)" in note for note in found.notes)
    assert not annotation([region(SQUARE, Analyze=1)], [region(SQUARE)]).notes


def test_analyze_of_a_layer_counts_for_its_regions(tmp_path):
    path = write(tmp_path / "case.xml", [region(SQUARE)], [region(SQUARE), region(SQUARE, Analyze=1)])
    path.write_text(path.read_text().replace("<Annotation Id='2'>", "<Annotation Id='2' Analyze='0'>"))
    (warning,) = read_annotation(path).warnings
    assert "[1 region]" in warning
