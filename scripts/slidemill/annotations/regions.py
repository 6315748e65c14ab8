"""Regions of annotations in all formats: their names, and their valid shapes."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry import MultiPolygon, Polygon, box
from shapely.geometry.base import BaseGeometry

from slidemill.annotations.label_image import LabelImage
from slidemill.core.specs import Naming, normalize_name
from slidemill.errors import AnnotationError

FARTHEST = 1e9
"""No slide has pixels beyond this; arithmetic on far larger coordinates loses the small ones."""

MOST_CROSSINGS = 10_000
"""Crossings of an outline with itself; more would take minutes to repair."""

TANGLED_SHARE = 0.05
"""The largest difference, as a share of either, between the signed area of an outline and the area of its repair.

Loops of a hand are smaller; corners in the wrong order lose half of a square."""

TANGLED = "an outline crosses itself, and what it encloses is in doubt: look at the overlay, or draw it again"

DROPPED = "regions that enclose no area, for too few vertices or none, were left out: draw them again, or remove them"
LINES = "lines, rulers and the like of 3 or more vertices enclose nothing: draw them as polygons if they are outlines"
NESTED = "polygons of one region are in each other and count as one: write the inner ones as holes if they are holes"
ISLANDS = "holes of one region are in each other and count as one: write islands in holes as separate polygons"
BEYOND = "holes of a region reach beyond its outline: write them as separate polygons if they are outlines"
STRAYS = "holes in regions that their layer lacks are cut out of all its regions"
SEVERAL = "several attributes have values, and the first was taken for the name"
PLANES = (
    "regions were drawn on another focal plane or time point than the first, the only one that is read: check whether "
    "they fit it"
)
COUNTED = (TANGLED, DROPPED, LINES, NESTED, ISLANDS, BEYOND, STRAYS, SEVERAL, PLANES)
"""Warnings that are added once per region; `slidemill.annotations.frames` counts them."""

LINE_VERTICES = 2
"""Vertices of a straight line; a line with more may be meant as an outline."""

Vertex = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Region:
    """An annotated area: a label's name in NFC, and a shape in level-0 pixels.

    The holes are cut out of the shape.
    """

    name: str
    shape: MultiPolygon

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", normalize_name(self.name))


@dataclass(frozen=True, slots=True)
class Annotation:
    """The regions of a slide in the file's order, or its label image.

    `notes` say how they were read; each of `warnings` may mean that patches are labelled wrongly.
    """

    regions: tuple[Region, ...]
    notes: tuple[str, ...] = ()
    image: LabelImage | None = None
    warnings: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The label's name of each region; an image's labels count as one region each."""
        return self.image.names if self.image else tuple(region.name for region in self.regions)

    @property
    def bounds(self) -> tuple[tuple[float, ...], ...]:
        """The left, top, right and bottom of each region, in level-0 pixels."""
        return self.image.bounds if self.image else tuple(region.shape.bounds for region in self.regions)


@dataclass(frozen=True, slots=True)
class Findings:
    """Notes and warnings, collected while a file is read.

    Parameters
    ----------
    file
        The file's name.
    naming
        Where regions have their names from.
    notes, warnings
        As in `Annotation`.
    arealess
        How many elements of each kind enclose nothing by definition.
    """

    file: str
    naming: Naming = field(default_factory=Naming)
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    arealess: Counter[str] = field(default_factory=Counter)

    def error(self, subject: str, problem: str) -> AnnotationError:
        """Return the error that rejects the file because of one of its regions."""
        return AnnotationError(f"{self.file}: {subject}: {problem}")

    def drop(self, note: str) -> None:
        """Note a region that encloses nothing."""
        self.notes.append(note)
        self.warnings.append(DROPPED)

    def vertex(self, x: object, y: object, subject: str) -> Vertex:
        """Return a vertex from two numbers, or from two texts that hold numbers.

        Raises
        ------
        AnnotationError
            When one is not a number, or is beyond any slide.
        """
        place = _number(x), _number(y)
        if not all(abs(value) <= FARTHEST for value in place):
            raise self.error(subject, f"a vertex is at X={x!r:.80}, Y={y!r:.80}: give two numbers, of level-0 pixels")
        return place

    def region(self, name: str, shape: MultiPolygon, *, subject: str, remedy: str) -> Region:
        """Return a region called `name`, or as `labels.unnamed` says if it is empty.

        Raises
        ------
        AnnotationError
            When it has no name, and `labels.unnamed` is not set; the message says the `remedy`.
        """
        if not name and self.naming.unnamed is None:
            raise AnnotationError(
                f"{self.file}: {subject} has no name: {remedy}, or give such regions one by labels.unnamed"
            )
        return Region(name or self.naming.unnamed or "", shape)

    def annotation(self, regions: Sequence[Region]) -> Annotation:
        """Return the annotation of these regions."""
        left_out = (f"{kind} enclose nothing and were left out ({count})" for kind, count in self.arealess.items())
        return Annotation(tuple(regions), (*self.notes, *left_out), warnings=tuple(self.warnings))


def polygons(shape: BaseGeometry) -> list[Polygon]:
    """Return the polygons of a region's shape."""
    if isinstance(shape, Polygon):
        return [shape] if not shape.is_empty else []
    return [polygon for part in getattr(shape, "geoms", ()) for polygon in polygons(part)]


def _number(value: object) -> float:
    """Return a value or its text as a number, or NaN if it is not a number."""
    try:
        known = isinstance(value, str | float | int) and not isinstance(value, bool) and "_" not in str(value)[:80]
        return float(value) if known and isinstance(value, str | float | int) else math.nan
    except (ValueError, OverflowError):
        return math.nan


def corners(vertices: Sequence[Vertex]) -> Polygon:
    """Return the polygon through vertices, or the box between two opposite corners."""
    return box(*bounding_box(vertices)) if len(vertices) == 2 else Polygon(vertices)


def bounding_box(vertices: Sequence[Vertex]) -> tuple[float, float, float, float]:
    """Return the left, top, right and bottom of the vertices."""
    xs, ys = [x for x, _ in vertices], [y for _, y in vertices]
    return min(xs), min(ys), max(xs), max(ys)


def solid(outer: Polygon, *holes: Polygon) -> Polygon:
    """Return an outline with its holes cut out, valid or not."""
    return Polygon(outer.exterior, [hole.exterior for hole in holes])


def enclose(parts: Sequence[Sequence[Polygon]], subject: str, findings: Findings) -> MultiPolygon | None:
    """Return the area in outlines as a valid shape, or None if it is empty.

    Repairs are noted.

    Parameters
    ----------
    parts
        Of each part its outline, and then its holes; none has holes itself.
    subject
        What messages call the region of the outlines.
    findings
        Of their file.

    Raises
    ------
    AnnotationError
        When the outlines cross each other more than `MOST_CROSSINGS` times.
    """
    shape = MultiPolygon([solid(*part) for part in parts])
    if not shape.is_valid:
        if _crosses_often(shape):
            raise findings.error(subject, f"the outline crosses itself more than {MOST_CROSSINGS} times: draw it again")
        findings.notes.append(f"{subject}: the outline crosses itself and was repaired")
        findings.warnings.extend([TANGLED] * any(_is_tangled(ring) for part in parts for ring in part))
        findings.warnings.extend([BEYOND] * any(_overhangs(*part) for part in parts))
        shape = MultiPolygon(polygons(shapely.union_all([_repair(*part) for part in parts])))
    if shape.area == 0:
        findings.drop(f"{subject}: the outline has no area, and it was left out")
        return None
    return shape


def _is_tangled(ring: Polygon) -> bool:
    """Return whether a ring crosses itself so that its repair changes its area."""
    if ring.is_valid:
        return False
    # The area by the vertices (the shoelace formula) counts a loop that goes the other way as negative.
    signed, repaired = ring.area, _every_other_face(ring).area
    return bool(abs(signed - repaired) > TANGLED_SHARE * max(signed, repaired))


def _repair(outer: Polygon, *holes: Polygon) -> BaseGeometry:
    """Return the area in an outline, without its holes.

    A point that the outline circles twice is outside.
    """
    area, *cut = (_every_other_face(ring) for ring in (outer, *holes))
    return shapely.difference(area, shapely.union_all(cut)) if cut else area


def _overhangs(outer: Polygon, *holes: Polygon) -> bool:
    """Return whether more than a rim of a hole extends beyond its outline."""
    if not holes:
        return False
    area, *cut = (_every_other_face(ring) for ring in (outer, *holes))
    return any(shapely.difference(hole, area).area > TANGLED_SHARE * hole.area for hole in cut)


def _every_other_face(ring: Polygon) -> BaseGeometry:
    """Return the faces of an outline that the even-odd rule puts inside.

    From outside, an odd number of steps over the outline's lines leads into them.

    The result is that of `shapely.make_valid`, which removes one layer of faces after another. For 10,000 crossings
    that takes half a minute, and this half a second.
    """
    # 1. Cut the outline at its crossings, and find the faces between the pieces.
    faces = shapely.get_parts(shapely.polygonize([shapely.unary_union(ring.exterior)]))
    # 2. Count the lines between each face and the outside, in a search by breadth over neighbouring faces.
    outermost, one, other = _neighbours(faces)
    steps = np.zeros(len(faces), int)
    reached, step = outermost, 1
    while len(reached):
        steps[reached] = step
        step += 1
        new = (steps[one] == 0) != (steps[other] == 0)
        reached = np.where(steps[one] == 0, one, other)[new]
    # 3. Keep each second layer. Faces share their edges exactly, so that the quick union of a coverage is right.
    return shapely.coverage_union_all(faces[steps % 2 == 1])


def _neighbours(faces: NDArray[Any]) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Return indices of the outermost faces, and of the two faces along inner lines."""
    # 1. Split the faces' rings into lines from vertex to vertex.
    rings, face = shapely.get_rings(faces, return_index=True)
    vertices, ring = shapely.get_coordinates(rings, return_index=True)
    begin = np.flatnonzero(ring[:-1] == ring[1:])
    # 2. Number equal lines. Two faces follow the line between them in opposite directions, so its ends are sorted
    # first; complex numbers are sorted by x, then by y.
    places = vertices[:, 0] + 1j * vertices[:, 1]
    line = np.unique(np.sort(np.stack([places[begin], places[begin + 1]], axis=1)), axis=0, return_inverse=True)[1]
    # 3. Pair the faces of equal lines; a line of one face has the outside on its other side.
    order = np.argsort(line.ravel(), kind="stable")
    line, owner = line.ravel()[order], face[ring[begin]][order]
    first = np.flatnonzero(line[:-1] == line[1:])
    single = np.setdiff1d(np.arange(len(line)), np.concatenate([first, first + 1]))
    return owner[single], owner[first], owner[first + 1]


def _crosses_often(shape: BaseGeometry) -> bool:
    """Return whether outlines cross more than `MOST_CROSSINGS` times."""
    rings = shapely.get_rings(shapely.get_parts(shape))
    vertices, ring = shapely.get_coordinates(rings, return_index=True)
    segments = np.asarray(shapely.linestrings(np.stack([vertices[:-1], vertices[1:]], axis=1)[ring[:-1] == ring[1:]]))
    tree = shapely.STRtree(segments)
    # A segment meets itself and its two neighbours; a crossing is met from both sides.
    left = 3 * len(segments) + 2 * MOST_CROSSINGS
    for start in range(0, len(segments), 256):
        left -= tree.query(segments[start : start + 256], predicate="intersects").shape[1]
        if left < 0:
            return True
    return False
