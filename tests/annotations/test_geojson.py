"""Annotations as GeoJSON, as QuPath exports them."""

import json

import numpy as np
import pytest
from shapely.geometry import box

from slidemill.annotations import geojson
from slidemill.annotations.frames import Frame
from slidemill.annotations.read import read_annotation
from slidemill.annotations.regions import TANGLED
from slidemill.core.columns import PATCH_COLUMNS
from slidemill.core.csv_tables import read_table, write_table
from slidemill.core.outcomes import Outcome, read_outcome, write_outcome
from slidemill.core.pyramid import SlideInfo
from slidemill.core.specs import LabelSpec, Naming
from slidemill.core.stage_facts import SampleFacts, SlideFacts
from slidemill.datasets.results import read_metadata
from slidemill.errors import AnnotationError
from slidemill.sampling._label_rules import region_at
from slidemill.slides.fingerprint import fingerprint
from slidemill.stages.label import LabelJob, label_patches

SQUARE = [[0, 0], [10, 0], [10, 10], [0, 10], [0, 0]]
INNER = [[4, 4], [6, 4], [6, 6], [4, 6], [4, 4]]
FAR = [[20, 0], [30, 0], [30, 10], [20, 0]]
BOW_TIE = [[0, 0], [10, 10], [10, 0], [0, 10], [0, 0]]


def feature(coordinates, kind="Polygon", **properties):
    properties = properties or {"objectType": "annotation", "classification": {"name": "A", "color": [1, 2, 3]}}
    return {"type": "Feature", "geometry": {"type": kind, "coordinates": coordinates}, "properties": properties}


@pytest.fixture
def read(tmp_path):
    """Return a function that reads an annotation of this content, bytes or what is told as JSON."""

    def read(value, corner=(0, 0), **options):
        path = tmp_path / "case.geojson"
        path.write_bytes(value if isinstance(value, bytes) else json.dumps(value).encode())
        return read_annotation(path, Frame(bounds=(*corner, 500, 500)), Naming(**options))

    return read


def names(annotation, *points):
    return [
        (*annotation.names, "out")[place]
        for place in region_at(annotation, np.array(points, np.float64).reshape(-1, 2))
    ]


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda one: one,
        lambda one: [one],
        lambda one: {"type": "FeatureCollection", "features": [one]},
        lambda one: json.dumps([one]).encode("utf-16"),
        lambda one: b"\xef\xbb\xbf \n" + json.dumps([one]).encode(),
    ],
    ids=["a feature", "a list", "a collection", "in UTF-16", "after a byte-order mark"],
)
def test_features_may_be_wrapped_in_many_ways(read, wrapped):
    assert names(read(wrapped(feature([SQUARE]))), (5, 5), (11, 5)) == ["A", "out"]


@pytest.mark.parametrize(
    ("properties", "name"),
    [
        ({"classification": {"name": "A"}, "name": "own"}, "A"),
        ({"classification": {"names": ["A", "Positive"]}}, "A: Positive"),
        ({"classification": " A "}, "A"),
        ({"classification": '{"name": "A", "color": [1, 2, 3]}'}, "A"),
        ({"classification": ' {"names": ["A", "Positive"]}'}, "A: Positive"),
    ],
)
def test_a_region_is_named_by_its_classification(read, properties, name):
    assert [region.name for region in read(feature([SQUARE], **properties)).regions] == [name]


@pytest.mark.parametrize(
    ("properties", "known"),
    [
        ({"classification": None, "name": "own"}, "classification, name"),
        ({"classification": {}, "name": "own"}, "classification, name"),
        ({"classification": {"name": " "}}, "classification"),
        ({"classification": '{"color": [1, 2, 3]}'}, "classification"),
        ({"name": "own"}, "name"),
        ({"label": "A", "class": "A", "objectType": "tile"}, "class, label, objectType"),
    ],
)
def test_names_elsewhere_are_not_guessed_and_listed(read, properties, known):
    with pytest.raises(AnnotationError, match=f"feature 1 has no name: its properties are {known}; give it a class"):
        read(feature([SQUARE], **properties))
    assert read(feature([SQUARE], **properties), unnamed="Tissue").names == ("Tissue",)


@pytest.mark.parametrize("value", ["A", {"name": "A"}, '{"name": "A"}'])
def test_another_property_names_regions_where_asked(read, value):
    properties = {"label": value, "classification": {"name": "B"}}
    assert read(feature([SQUARE], **properties), property="label").names == ("A",)


def test_null_properties_name_nothing(read):
    with pytest.raises(AnnotationError, match="feature 1 has no name: its properties are none"):
        read(feature([SQUARE]) | {"properties": None})


@pytest.mark.parametrize("kind", ["tile", "cell", "detection"])
def test_objects_of_any_kind_count(read, kind):
    assert names(read(feature([SQUARE], objectType=kind, classification={"name": "A"})), (5, 5)) == ["A"]


def test_holes_are_cut_out(read):
    assert names(read(feature([SQUARE, INNER])), (1, 1), (5, 5)) == ["A", "out"]


def test_a_multipolygon_is_one_region_and_each_part_has_its_holes(read):
    annotation = read(feature([[SQUARE, INNER], [FAR]], "MultiPolygon"))
    assert len(annotation.regions) == 1
    assert names(annotation, (1, 1), (5, 5), (28, 2)) == ["A", "out", "A"]
    assert annotation.notes == ()


def test_parts_that_overlap_are_one_and_an_outline_that_crosses_itself_is_repaired_with_a_note(read):
    annotation = read([feature([[SQUARE], [INNER]], "MultiPolygon"), feature([[[x + 20, y] for x, y in BOW_TIE]])])
    assert names(annotation, (5, 5), (22, 5), (25, 2)) == ["A", "A", "out"]
    assert annotation.notes == tuple(f"feature {n}: the outline crosses itself and was repaired" for n in (1, 2))


def test_a_hole_that_reaches_beyond_its_outline_is_cut_out_with_a_note(read):
    beyond = [[5, 2], [15, 2], [15, 8], [5, 8], [5, 2]]
    annotation = read(feature([SQUARE, beyond]))
    assert names(annotation, (2, 5), (7, 5), (12, 5)) == ["A", "out", "out"]
    assert "was repaired" in annotation.notes[0]


def test_coordinates_start_at_the_slides_bounds_and_a_note_says_so(read):
    annotation = read(feature([SQUARE, INNER]), (1000, 500))
    assert names(annotation, (1001, 501), (1005, 505), (5, 5)) == ["A", "out", "out"]
    assert annotation.notes == ("coordinates were taken to start at the slide's bounds, 1000, 500, as QuPath's do",)


@pytest.mark.parametrize(
    ("origin", "labels", "note"),
    [
        (None, ["1", "0", "0"], "start at the slide's bounds, 1000, 500"),
        ("canvas", ["0", "0", "1"], "start at the whole slide, not at its bounds, 1000, 500"),
    ],
)
def test_labels_take_the_bounds_of_the_slide_that_openslide_tells(tmp_path, caplog, origin, labels, note):
    """The patches of a slide are counted from its whole canvas, QuPath's regions from its bounds."""
    (tmp_path / "a.geojson").write_text(json.dumps(feature([SQUARE])), encoding="utf-8")
    caplog.set_level("INFO", "slidemill")
    info = SlideInfo("mirax", ((2000, 2000),), (1.0,), (1000, 500, 900, 900), None, None, None, "ffffff")
    sampled = Outcome("a", "sample_patches", facts=SlideFacts(info=info), sample=SampleFacts(grid=3, patches=3))
    write_outcome(tmp_path / "sampled.json", sampled)
    places = [(1000, 500), (1010, 500), (0, 0)]
    rows = [
        dict.fromkeys(PATCH_COLUMNS, "1") | {"x0": x, "y0": y, "width0": 10, "height0": 10, "patch_id": f"{x}"}
        for x, y in places
    ]
    write_table(tmp_path / "patches.csv", PATCH_COLUMNS, rows)
    label_patches(
        LabelJob(
            root=tmp_path,
            annotation="a.geojson",
            fingerprint=fingerprint(tmp_path / "a.geojson"),
            labels=LabelSpec({"A": 1, "out": 0}, "area", "out", origin=origin),
            columns={},
            patches=tmp_path / "patches.csv",
            sampled=tmp_path / "sampled.json",
            table=tmp_path / "metadata.csv",
            outcome=tmp_path / "labelled.json",
            seed=0,
        )
    )
    told = [(row["label"], row["label_fraction"]) for row in read_table(tmp_path / "metadata.csv")]
    assert told == [(label, "1.0000") for label in labels]
    assert note in read_outcome(tmp_path / "labelled.json").labels.notes[0]
    assert note in caplog.text.replace("\\'", "'")
    assert list(read_metadata(tmp_path)["label_fraction"]) == [1.0, 1.0, 1.0]


def test_other_geometries_are_left_out_and_counted_in_a_note(read):
    others = [feature([1, 2], "Point"), feature([3, 4], "Point"), feature(SQUARE, "LineString")]
    annotation = read([*others, feature([SQUARE]), feature([SQUARE]) | {"geometry": None}])
    assert len(annotation.regions) == 1
    assert annotation.notes == (
        "features of type Point enclose nothing and were left out (2)",
        "features of type LineString enclose nothing and were left out (1)",
        "features of type none enclose nothing and were left out (1)",
    )


def test_of_very_many_notes_some_are_kept_and_the_bounds_among_them(read):
    annotation = read([feature([BOW_TIE])] * 250, (7, 8))
    assert len(annotation.regions) == 250
    assert len(annotation.notes) == 101
    assert "start at the slide's bounds" in annotation.notes[0]
    assert annotation.notes[-1] == "and 151 more notes of this kind"


@pytest.mark.parametrize("ring", [[], [[1, 1]], [[1, 1], [2, 2]]])
def test_rings_of_too_few_vertices_are_left_out_with_a_note(read, ring):
    annotation = read([feature([ring]), feature([SQUARE, ring])])
    assert names(annotation, (5, 5)) == ["A"]
    note = f"{len(ring)} vertices enclose nothing, and were left out"
    assert annotation.notes == (f"feature 1: {note}", f"feature 2: {note}")


def test_a_ring_without_area_is_left_out_with_a_note(read):
    annotation = read(feature([[[0, 0], [5, 5], [0, 0]]]))
    assert annotation.regions == ()
    assert "the outline has no area" in annotation.notes[-1]


def test_heights_are_passed_over(read):
    assert names(read(feature([[[x, y, 7] for x, y in SQUARE]])), (5, 5)) == ["A"]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (b"{", "line 1, column 2"),
        (b'[{"type": "Feature"\xff}]', "cannot be read"),
        (b"[" * 100_000, "lists are in lists without end"),
        (b'[{"type": "Feature", "geometry": ' + b'{"a":' * 900 + b"1" + b"}" * 901 + b"]", "of type None"),
        (b"[1" + b"0" * 5000 + b"]", "cannot be read"),
        ({"type": "Topology"}, "holds no features of GeoJSON"),
        ({"type": "FeatureCollection", "features": {}}, "holds no features of GeoJSON"),
        ([5], "feature 1 is not a GeoJSON feature"),
        ([feature([SQUARE]), {"type": "Polygon", "coordinates": [SQUARE]}], "feature 2 is not a GeoJSON feature"),
        (feature([SQUARE]) | {"geometry": "x"}, "not a GeoJSON feature with geometry"),
        (feature([SQUARE]) | {"properties": [1]}, "not a GeoJSON feature with properties"),
        (feature([SQUARE], classification={"name": 5}), "is named 5: give text"),
        (feature(None), "its coordinates hold None"),
        (feature([5]), "its coordinates hold 5"),
        (feature([[5]]), "its coordinates hold 5"),
        (feature([[[5], *SQUARE]]), "a position is [5]: give two numbers"),
        (feature([[["1", "2"], *SQUARE]]), "a position is ['1', '2']: give two numbers"),
        (feature([[[None, 2], *SQUARE]]), "X=None"),
        (feature([[[True, 2], *SQUARE]]), "X=True"),
        (feature([[[[1], 2], *SQUARE]]), "X=[1]"),
        (feature([[[float("nan"), 2], *SQUARE]]), "X=nan"),
        (feature([[[float("inf"), 2], *SQUARE]]), "X=inf"),
        (feature([[[10**400, 2], *SQUARE]]), "a vertex is at"),
        (feature([[[2e9, 2], *SQUARE]]), "X=2000000000.0"),
    ],
)
def test_what_is_wrong_is_told_and_ends_nothing_else(read, value, words):
    try:
        told = "\n".join(read(value).notes)
    except AnnotationError as error:
        told = str(error)
        assert told.startswith("case.geojson: ")
        assert len(told) < 300
    assert words in told


def test_many_rings_that_cross_each_other_without_end_are_refused(read):
    bars = [[[k, 0], [k + 0.5, 0], [k + 0.5, 200], [k, 200], [k, 0]] for k in range(120)]
    crossed = [[[ring] for ring in bars], [[[[y, x] for x, y in ring]] for ring in bars]]
    with pytest.raises(AnnotationError, match="feature 1: the outline crosses itself more than 10000 times"):
        read(feature(crossed[0] + crossed[1], "MultiPolygon"))


def test_a_file_of_endless_size_is_refused(tmp_path):
    path = tmp_path / "a.json"
    with path.open("wb") as file:
        file.truncate(2**29 + 1)
    with pytest.raises(AnnotationError, match=r"a\.json: has 536870913 bytes"):
        read_annotation(path)


def test_hole_outside_its_outline_is_refused(read):
    """Several outlines, written as the rings of one polygon, would lose all but the first."""
    small = [[22, 2], [24, 2], [24, 4], [22, 4], [22, 2]]
    with pytest.raises(AnnotationError, match=r"^case\.geojson: feature 1: a hole is outside its outline"):
        read(feature([SQUARE, small]))


def test_key_that_stands_twice_is_refused(read):
    text = json.dumps(feature([SQUARE])).replace(
        '"classification"', '"classification": {"name": "B"}, "classification"'
    )
    with pytest.raises(AnnotationError, match="the key 'classification' occurs twice"):
        read(text.encode())


@pytest.mark.parametrize("wrapped", [False, True])
def test_closed_lines_are_a_warning(read, wrapped):
    """Outlines that a program wrote as lines label nothing, whatever other regions there are."""
    line = feature(SQUARE, "LineString")
    if wrapped:
        line["geometry"] = {"type": "GeometryCollection", "geometries": [line["geometry"]]}
    (warning,) = read([line, feature([FAR]), feature(SQUARE[:2], "LineString")]).warnings
    assert warning == "lines that end where they begin enclose nothing: draw them as polygons [1 line]"


def test_tangled_outlines_are_a_counted_warning(read):
    (warning,) = read([feature([BOW_TIE]), feature([SQUARE]), feature([BOW_TIE])]).warnings
    assert warning == f"{TANGLED} [2 regions]"


def test_small_loops_need_no_warning(read):
    looped = [[0, 0], [100, 0], [100, 100], [1, 100], [0, 99], [0, 100], [1, 99], [0, 98], [0, 0]]
    annotation = read(feature([looped]))
    assert "was repaired" in annotation.notes[0] and annotation.warnings == ()


@pytest.mark.parametrize("plane", [{"c": -1, "z": 2, "t": 0}, {"c": -1, "z": 0, "t": 1}, {"z": 3}])
def test_region_of_another_plane_warns(read, plane):
    moved = {"type": "Polygon", "coordinates": [[[0, 0], [9, 0], [9, 9], [0, 0]]], "plane": plane}
    here = moved | {"plane": {"c": -1, "z": 0, "t": 0}}
    features = [
        {"type": "Feature", "geometry": geometry, "properties": {"classification": {"name": "A"}}}
        for geometry in (moved, here)
    ]
    found = read(features)
    assert found.names == ("A", "A")
    (warning,) = found.warnings
    assert "another focal plane or time point" in warning
    assert warning.endswith("[1 region]")


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        ((10, 0, 20, 10), False),
        ((-10, 0, 0, 10), False),
        ((0, 10, 10, 20), False),
        ((0, -10, 10, 0), False),
        ((9, 9, 20, 20), True),
        ((2, 2, 4, 4), True),
    ],
    ids=["right", "left", "below", "above", "a corner within", "within"],
)
def test_hole_that_only_touches_a_region_does_not_meet_it(bounds, expected):
    assert geojson._meet(box(*bounds), box(0, 0, 10, 10)) is expected
