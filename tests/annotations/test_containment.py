"""Points on borders: of regions that touch, exactly one owns each point, whatever they look like."""

import itertools

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from shapely.geometry import MultiPoint, MultiPolygon, Polygon, box

from slidemill.annotations import containment
from slidemill.annotations.containment import holds
from slidemill.annotations.label_image import LabelImage
from slidemill.annotations.regions import Annotation, Region, _crosses_often, polygons
from slidemill.core.specs import LabelSpec
from slidemill.sampling._label_rules import labeller, reference_points, region_at
from tests.examples import examples
from tests.labels import label_rows
from tests.rays import in_fractions

SIDE = 48
SLOPE = [(0, 0), (10, 0), (10, 10)]


def region(name, shape):
    return Region(name, MultiPolygon(polygons(shape)))


def patches(size, side=SIDE):
    """Return the patches of a square, those that reach beyond it too."""
    return [
        {"x0": x, "y0": y, "width0": size, "height0": size} for y in range(0, side, size) for x in range(0, side, size)
    ]


def owners(shapes, points):
    """Return how many of the shapes hold each point."""
    return sum(holds(MultiPolygon(polygons(shape)), *points.T).astype(int) for shape in shapes)


def grids(draw):
    """Cut a square by lines from side to side, at whole pixels."""
    xs, ys = ([0, *sorted(draw(st.sets(st.integers(1, SIDE - 1), max_size=6))), SIDE] for _ in range(2))
    return [
        box(left, top, right, bottom)
        for top, bottom in itertools.pairwise(ys)
        for left, right in itertools.pairwise(xs)
    ]


def tiles(draw):
    """Cut a square into tiles of half a patch, a patch, or what fits neither."""
    size = draw(st.sampled_from([3, 4, 6, 8, 12, 16]))
    return [box(x, y, x + size, y + size) for y in range(0, SIDE, size) for x in range(0, SIDE, size)]


def halves(draw):
    """Cut a square by a line through two points on its outline."""
    side = st.integers(0, SIDE)
    outline = [(0, 0), (0, draw(side)), (0, SIDE), (draw(side), SIDE), (SIDE, SIDE), (SIDE, draw(side)), (SIDE, 0)]
    first, second = draw(st.sampled_from([(1, 3), (1, 5), (3, 5), (0, 3), (1, 4), (0, 4), (2, 6)]))
    return [Polygon(outline[first : second + 1]), Polygon(outline[second:] + outline[: first + 1])]


def sites(draw, least):
    place = st.integers(0, SIDE)
    return draw(st.lists(st.tuples(place, place), min_size=least, max_size=20, unique=True))


def voronoi(draw):
    """Cut a square into the cells of random sites, their vertices on whole pixels."""
    square = box(0, 0, SIDE, SIDE)
    edges = shapely.voronoi_polygons(MultiPoint(sites(draw, 2)), extend_to=square, only_edges=True)
    lines = shapely.union_all([shapely.intersection(edges, square), square.exterior], grid_size=1)
    return list(shapely.get_parts(shapely.polygonize([shapely.union_all(shapely.get_parts(lines), grid_size=1)])))


def triangles(draw):
    """Cut a square into triangles between random points."""
    corners = [(0, 0), (0, SIDE), (SIDE, 0), (SIDE, SIDE)]
    return list(shapely.get_parts(shapely.delaunay_triangles(MultiPoint([*sites(draw, 1), *corners]))))


@st.composite
def partitions(draw):
    """Return shapes that touch and fill a square; cells are joined at random, so that some have holes and parts."""
    cells = draw(st.sampled_from([grids, tiles, halves, voronoi, triangles]))(draw)
    cells = [cell for cell in cells if cell.area]
    joined = draw(st.lists(st.integers(0, max(len(cells) // 2, 1)), min_size=len(cells), max_size=len(cells)))
    shapes = [shapely.union_all([one for one, to in zip(cells, joined, strict=True) if to == n]) for n in set(joined)]
    turned = draw(st.booleans())
    return [shapely.reverse(shape) if turned else shape for shape in shapes]


@given(partitions(), st.integers(1, 17), st.sampled_from(["centre", "top_left"]), st.randoms(use_true_random=False))
@examples(200, derandomize=True)
def test_a_partition_labels_each_patch_once(shapes, size, rule, random):
    """Any order of the regions gives the same labels, since no two of them hold one point."""
    assert sum(shape.area for shape in shapes) == pytest.approx(SIDE**2)
    rows = [row for row in patches(size) if max(row["x0"], row["y0"]) + size <= SIDE]
    points = reference_points(rows, rule)
    inside = points[(points < SIDE).all(axis=1)]
    assert (owners(shapes, inside) == 1).all()
    regions = [region(str(number), shape) for number, shape in enumerate(shapes)]
    spec = LabelSpec({}, rule, "none")
    names = [row["label_name"] for row in label_rows(rows, Annotation(tuple(regions)), spec, {})]
    assert "none" not in names
    random.shuffle(regions)
    assert names == [row["label_name"] for row in label_rows(rows, Annotation(tuple(regions)), spec, {})]


@given(partitions(), st.lists(st.tuples(*[st.floats(0, SIDE, exclude_max=True)] * 2), min_size=1, max_size=30))
@examples(100, derandomize=True)
def test_a_partition_owns_any_point_once(shapes, points):
    assert (owners(shapes, np.array(points)) == 1).all()


@given(st.lists(st.tuples(*[st.integers(0, SIDE)] * 2), min_size=3, max_size=9, unique=True), st.data())
@examples(200, derandomize=True)
def test_points_on_an_outline_are_owned_as_fractions_say(ring, data):
    """Outlines scaled by a third have no exact coordinates, and their middles lie on an edge or next to it."""
    scale = data.draw(st.sampled_from([1.0, 1 / 3, 1e6 / 7]))
    drawn = [polygon for polygon in polygons(shapely.make_valid(Polygon(ring))) if polygon.area]
    shape = shapely.transform(MultiPolygon(drawn), lambda vertices: vertices * scale)
    if not shape.is_valid or shape.is_empty:
        return
    vertices = shapely.get_coordinates(shape)
    points = np.concatenate([vertices, (vertices[:-1] + vertices[1:]) / 2])
    assert holds(shape, *points.T).tolist() == [in_fractions(shape, *point) for point in points.tolist()]


@pytest.mark.parametrize("few", [0, 10**6], ids=["by an index", "by arithmetic"])
@pytest.mark.parametrize("at_once", [1, 10**6])
def test_a_shape_owns_its_left_and_top_edges(monkeypatch, few, at_once):
    monkeypatch.setattr(containment, "FEW", few)
    monkeypatch.setattr(containment, "AT_ONCE", at_once)
    shape = MultiPolygon([Polygon([(0, 0), (10, 0), (10, 10), (0, 10)], [[(4, 4), (6, 4), (6, 6), (4, 6)]])])
    held = {(0, 5), (5, 0), (0, 0), (6, 5), (5, 6), (6, 6), (1, 1), (4, 3)}
    free = {(10, 5), (5, 10), (10, 0), (0, 10), (10, 10), (5, 5), (4, 5), (5, 4), (4, 4), (-1, 0), (20, 5)}
    points = np.array([*held, *free], np.float64)
    assert holds(shape, *points.T).tolist() == [True] * len(held) + [False] * len(free)


def test_a_slanting_edge_is_owned_from_its_right():
    one, other = MultiPolygon([Polygon(SLOPE)]), MultiPolygon([Polygon([(y, x) for x, y in SLOPE])])
    point = np.array([[3.0, 3.0], [0.0, 0.0]])
    assert holds(one, *point.T).tolist() == [True, True]
    assert holds(other, *point.T).tolist() == [False, False]


@pytest.mark.parametrize("rule", ["centre", "top_left"])
@pytest.mark.parametrize("tile", [128, 64, 256])
def test_tiles_aligned_with_the_grid_label_each_patch(tile, rule):
    """Tiles half as wide as a patch meet in its middle, where each of 16 patches lay in none."""
    names = [(f"{x},{y}", box(x, y, x + tile, y + tile)) for y in range(0, 512, tile) for x in range(0, 512, tile)]
    rows = patches(128, 512)
    found = label_rows(rows, Annotation(tuple(region(*one) for one in names)), LabelSpec({}, rule, "none"), {})
    half = 64 if rule == "centre" else 0
    assert [row["label_name"] for row in found] == [
        f"{(row['x0'] + half) // tile * tile},{(row['y0'] + half) // tile * tile}" for row in rows
    ]


@given(st.data(), st.integers(1, 9), st.sampled_from(["centre", "top_left"]))
@examples(60, derandomize=True)
def test_outlines_label_as_the_image_of_their_pixels(data, size, rule):
    pixels = np.array(data.draw(st.lists(st.integers(1, 3), min_size=36, max_size=36)), np.uint8).reshape(6, 6)
    image = LabelImage((6, 6), (24, 24), (1, 2, 3), ((0.0, 0.0, 24.0, 24.0),) * 3, lambda *_: iter([(0, pixels)]))
    shapes = [
        shapely.union_all([box(4 * x, 4 * y, 4 * x + 4, 4 * y + 4) for y, x in np.argwhere(pixels == value)])
        for value in (1, 2, 3)
    ]
    regions = [region(str(value), shape) for value, shape in enumerate(shapes, start=1) if shape.area]
    rows, spec = patches(size, 24), LabelSpec({}, rule, "none")
    drawn, _ = labeller(Annotation(tuple(regions)), spec)(rows)
    assert drawn.tolist() == labeller(Annotation((), image=image), spec)(rows)[0].tolist()


def test_a_hole_that_another_region_fills_leaves_no_gap():
    outer, inner = box(0, 0, 20, 20), box(5, 5, 15, 15)
    shapes = [Polygon(outer.exterior, [inner.exterior]), inner]
    points = np.array([[5, 10], [15, 10], [10, 5], [10, 15], [5, 5], [15, 15], [10, 10], [1, 1]], np.float64)
    assert owners(shapes, points).tolist() == [1] * len(points)
    annotation = Annotation(tuple(region(name, shape) for name, shape in zip("AB", shapes, strict=True)))
    assert region_at(annotation, points).tolist() == [1, 0, 1, 0, 1, 0, 1, 0]


def test_outlines_that_cross_often_are_counted(monkeypatch):
    """A zigzag of n strokes over a straight line and back crosses it n times."""

    def crossed(count):
        zigzag = [(x, 10 * (-1) ** x) for x in range(count + 1)]
        return shapely.Polygon([(-5, 0), *zigzag, (count + 5, 0.5), (count + 5, 0), (-4, 0)])

    monkeypatch.setattr("slidemill.annotations.regions.MOST_CROSSINGS", 100)
    assert not _crosses_often(crossed(95))
    assert _crosses_often(crossed(110))
