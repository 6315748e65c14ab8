"""The labels of patches, by each rule, against slow and obvious ones."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from shapely.geometry import MultiPolygon, Polygon, box

from slidemill.annotations.regions import Annotation, Findings, Region, enclose, polygons
from slidemill.core.specs import LabelSpec
from slidemill.sampling._label_rules import labeller
from tests.examples import examples
from tests.labels import label_rows
from tests.rays import in_floats, in_fractions


def squares(*named):
    """Return regions that are boxes: name, left, top, right, bottom."""
    return Annotation(tuple(Region(name, MultiPolygon([box(*place)])) for name, *place in named))


def patch(x0=0, y0=0, width0=10, height0=10):
    return {"x0": x0, "y0": y0, "width0": width0, "height0": height0}


def by_area(annotation, *rows, least=0.5, names=("A", "B"), overlap="file", outside="out"):
    spec = LabelSpec({name: label for label, name in enumerate(names)}, "area", outside, least, overlap)
    return [(row["label_name"], row["label_fraction"]) for row in label_rows(list(rows), annotation, spec, {})]


def test_the_label_that_covers_most_of_a_patch_wins():
    annotation = squares(("A", 0, 0, 3, 10), ("B", 3, 0, 10, 10))
    assert by_area(annotation, patch()) == [("B", "0.7000")]


def test_a_label_below_the_least_fraction_does_not_and_the_rest_is_outside():
    annotation = squares(("A", 0, 0, 4, 10))
    assert by_area(annotation, patch()) == [("out", "0.6000")]
    assert by_area(annotation, patch(), least=0.4) == [("A", "0.4000")]
    assert by_area(annotation, patch(100)) == [("out", "1.0000")]
    assert by_area(squares(("A", 0, 0, 4, 10), ("B", 4, 0, 8, 10)), patch()) == [("out", "0.2000")]


def test_a_label_of_many_regions_has_what_all_of_them_cover_once():
    annotation = squares(("A", 0, 0, 3, 10), ("B", 3, 0, 7, 10), ("A", 2, 0, 3, 10), ("A", 7, 0, 10, 10))
    assert by_area(annotation, patch()) == [("A", "0.6000")]


@pytest.mark.parametrize(("names", "winner"), [(("A", "B"), "A"), (("B", "A"), "B"), (("B",), "B"), ((), "A")])
def test_of_labels_that_cover_as_much_the_first_of_the_map_wins(names, winner):
    """Those that the map lacks come after, by name."""
    annotation = squares(("B", 0, 0, 5, 10), ("A", 5, 0, 10, 10))
    assert by_area(annotation, patch(), names=names) == [(winner, "0.5000")]


def test_ground_that_two_regions_cover_is_the_firsts_or_the_smallests():
    annotation = squares(("A", 0, 0, 10, 10), ("B", 0, 0, 6, 10))
    assert by_area(annotation, patch()) == [("A", "1.0000")]
    assert by_area(annotation, patch(), overlap="smallest") == [("B", "0.6000")]


def test_a_region_may_have_the_name_of_the_outside():
    annotation = squares(("A", 0, 0, 6, 10))
    assert by_area(annotation, patch(), outside="A") == [("A", "0.6000")]
    assert by_area(annotation, patch(), outside="A", least=0.7) == [("A", "0.4000")]


def test_regions_within_a_patch_are_counted_whole_and_once():
    cells = [("A" if x % 2 else "B", x, y, x + 1, y + 1) for x in range(0, 10) for y in range(0, 10, 2)]
    annotation = squares(*cells, ("A", 0, 0, 10, 1), ("B", 2, 3, 4, 3.5))
    assert by_area(annotation, patch(-5, -5, 20, 20), least=0.01) == [("B", "0.0650")]
    assert by_area(annotation, patch(), least=0.01) == [("B", "0.2600")]


def test_touching_covers_nothing():
    assert by_area(squares(("A", 10, 0, 20, 10)), patch(), least=1e-9) == [("out", "1.0000")]
    assert by_area(squares(("A", 10, 0, 20, 10)), patch(), least=1e-12) == [("out", "1.0000")]


@pytest.mark.parametrize("rule", ["centre", "top_left"])
def test_points_may_lie_in_the_smallest_region_first_and_tell_no_fraction(rule):
    annotation = squares(("A", -10, -10, 20, 20), ("B", -1, -1, 6, 6))
    names = {}
    for overlap in ("file", "smallest"):
        (row,) = label_rows([patch()], annotation, LabelSpec({}, rule, "out", overlap=overlap), {})
        names[overlap] = row["label_name"]
        assert row["label_fraction"] == ""
    assert names == {"file": "A", "smallest": "B"}


@pytest.mark.parametrize("rule", ["centre", "top_left", "area"])
def test_nothing_is_labelled_by_nothing(rule):
    assert label_rows([], squares(("A", 0, 0, 1, 1)), LabelSpec({}, rule, "out"), {}) == []
    assert [row["label_name"] for row in label_rows([patch()], Annotation(()), LabelSpec({}, rule, "out"), {})] == [
        "out"
    ]


SIDE = 16
coordinates = st.integers(0, SIDE)
ring = st.lists(st.tuples(coordinates, coordinates), min_size=3, max_size=8, unique=True)
drawn = st.lists(st.tuples(ring, st.lists(ring, max_size=2), st.sampled_from("ABC")), min_size=1, max_size=5)
places = st.lists(
    st.tuples(st.integers(-3, SIDE), st.integers(-3, SIDE), st.integers(1, 20), st.integers(1, 20)),
    min_size=1,
    max_size=8,
)
FINE = 24
"""Points on a pixel's side of the raster; areas of outlines are known to a few of their pixels."""


def shapes_of(regions):
    made = []
    for outer, holes, name in regions:
        parts = [[Polygon(outer), *map(Polygon, holes)]]
        if (shape := enclose(parts, "region", Findings("file"))) is not None:
            made.append(Region(name, shape))
    return Annotation(tuple(made))


def in_order(annotation, overlap):
    order = list(annotation.regions)
    if overlap == "smallest":
        order.sort(key=lambda region: region.shape.area)
    return order


def owners_of(annotation, overlap, points):
    """Return each point's label's name, point by point: the first region's that holds it, or None."""
    order = in_order(annotation, overlap)
    return [next((one.name for one in order if in_fractions(one.shape, point.x, point.y)), None) for point in points]


@given(drawn, places, st.sampled_from(["file", "smallest"]), st.sampled_from(["centre", "top_left"]))
@examples(150, derandomize=True)
def test_points_are_labelled_as_point_by_point(regions, boxes, overlap, rule):
    annotation = shapes_of(regions)
    rows = [patch(*place) for place in boxes]
    half = 0.5 if rule == "centre" else 0
    points = [shapely.Point(x + half * width, y + half * height) for x, y, width, height in boxes]
    expected = [name or "out" for name in owners_of(annotation, overlap, points)]
    names, fractions = labeller(annotation, LabelSpec({}, rule, "out", overlap=overlap))(rows)
    assert (list(names), fractions) == (expected, None)


def decided(found, least, names):
    """Return the name and the fraction that a patch's fractions by name lead to."""
    best = max(found.values(), default=0)
    if best < least or not best:
        return "out", 1 - sum(found.values())
    tied = [name for name, fraction in found.items() if best - fraction < 1e-9]
    return min(tied, key=lambda name: (names.index(name) if name in names else len(names), name)), best


@given(
    drawn,
    places,
    st.sampled_from(["file", "smallest"]),
    st.sampled_from([0.01, 0.25, 0.5, 1.0]),
    st.permutations(["A", "B", "C"]),
    st.integers(0, 3),
)
@examples(250, derandomize=True)
def test_areas_are_those_of_cutting_one_region_after_another(regions, boxes, overlap, least, names, known):
    """Each region in turn takes what is left of the patch, by exact overlays."""
    annotation, names = shapes_of(regions), names[:known]
    order = in_order(annotation, overlap)
    spec = LabelSpec(dict.fromkeys(names, 0), "area", "out", least, overlap)
    found_names, fractions = labeller(annotation, spec)([patch(*place) for place in boxes])
    for (x, y, width, height), name, fraction in zip(boxes, found_names, fractions, strict=True):
        left, found = box(x, y, x + width, y + height), Counter()
        for region in order:
            taken = shapely.intersection(left, region.shape).area
            left = shapely.difference(left, region.shape)
            if taken > 1e-9:
                found[region.name] += taken / (width * height)
        expected, told = decided({key: round(value, 9) for key, value in found.items()}, least, names)
        assert fraction == pytest.approx(told, abs=1e-6)
        assert name == expected


@pytest.mark.long
@given(drawn, places, st.sampled_from(["file", "smallest"]))
@examples(40, derandomize=True)
def test_areas_are_those_of_a_raster(regions, boxes, overlap):
    """The raster knows nothing of polygons being cut: a point a fine pixel, each asked for its owner."""
    annotation = shapes_of(regions)
    spec = LabelSpec({}, "area", "out", 1e-6, overlap)
    names, fractions = labeller(annotation, spec)([patch(*place) for place in boxes])
    for (x, y, width, height), name, fraction in zip(boxes, names, fractions, strict=True):
        columns, lines = (np.arange(FINE) + 0.5) / FINE * width + x, (np.arange(FINE) + 0.5) / FINE * height + y
        owners = np.full((FINE, FINE), None)
        for region in reversed(in_order(annotation, overlap)):
            owners[in_floats(region.shape, *np.meshgrid(columns, lines))] = region.name
        found = Counter(owners.ravel().tolist())
        rough = {one: count / FINE**2 for one, count in found.items()}
        if name == "out":
            assert rough.get(None, 0) >= 0.99
        else:
            assert fraction == pytest.approx(rough.get(name, 0), abs=0.1)
            assert fraction >= max((share for one, share in rough.items() if one), default=0) - 0.1


steps = st.lists(
    st.tuples(st.booleans(), coordinates, coordinates, st.integers(1, SIDE), st.integers(1, SIDE)),
    min_size=1,
    max_size=5,
)


def stepped(parts):
    """Return a shape of steps, and its raster of one pixel a unit: boxes that are added or cut out, one by one."""
    shape, raster = MultiPolygon(), np.zeros((4 * SIDE, 4 * SIDE), bool)
    for added, x, y, width, height in parts:
        part = box(x, y, x + width, y + height)
        shape = shapely.union(shape, part) if added else shapely.difference(shape, part)
        raster[SIDE + y : SIDE + y + height, SIDE + x : SIDE + x + width] = added
    return MultiPolygon(polygons(shape)), raster


@given(
    st.lists(st.tuples(steps, st.sampled_from("ABC")), min_size=1, max_size=4),
    places,
    st.sampled_from(["file", "smallest"]),
    st.sampled_from([0.01, 0.25, 0.5, 1.0]),
)
@examples(250, derandomize=True)
def test_each_rule_is_that_of_a_raster_at_full_resolution(regions, boxes, overlap, least):
    """Outlines on whole pixels are their rasters exactly, and nothing here knows of polygons: pixels are counted."""
    drawn = [(*stepped(parts), name) for parts, name in regions]
    drawn = [one for one in drawn if one[1].any()]
    annotation = Annotation(tuple(Region(name, shape) for shape, _, name in drawn))
    if overlap == "smallest":
        drawn.sort(key=lambda one: one[1].sum())
    owner = np.full((4 * SIDE, 4 * SIDE), "", dtype=object)
    for _, raster, name in reversed(drawn):
        owner[raster] = name

    def at(x, y):
        """The first region that holds the pixel of a point, which owns its left and its top edges."""
        return next((name for _, raster, name in drawn if raster[int(y // 1) + SIDE, int(x // 1) + SIDE]), "out")

    spec = LabelSpec({"A": 0, "B": 1, "C": 2}, "area", "out", least, overlap)
    rows = [patch(*place) for place in boxes]
    told = {rule: labeller(annotation, replace(spec, rule=rule))(rows) for rule in ("centre", "top_left", "area")}
    for place, (x, y, width, height) in enumerate(boxes):
        assert told["centre"][0][place] == at(x + width / 2, y + height / 2)
        assert told["top_left"][0][place] == at(x, y)
        found = Counter(owner[SIDE + y : SIDE + y + height, SIDE + x : SIDE + x + width].ravel())
        none = found.pop("", 0)
        best = min(found, key=lambda name: (-found[name], name), default="")
        enough = found[best] >= least * width * height if best else False
        expected = (best, found[best]) if enough else ("out", none)
        assert told["area"][0][place] == expected[0]
        assert told["area"][1][place] == pytest.approx(expected[1] / (width * height), abs=1e-8)
