"""The regions of an annotation, whatever program drew it: their names, and shapes that are valid."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry import MultiPolygon, Polygon, box
from shapely.geometry.base import BaseGeometry

from slidemill.annotations.label_image import LabelImage
from slidemill.core.specs import normalize_name
from slidemill.errors import AnnotationError

FARTHEST = 1e9
"""No slide has pixels beyond this; arithmetic on far larger coordinates loses the small ones."""

MOST_CROSSINGS = 10_000
"""An outline that crosses itself more often is no outline, and would take minutes to repair."""

TANGLED_SHARE = 0.05
"""What an outline goes round, less what it goes round backwards, differs by no more from what is left of it, of either.

Loops of a hand are smaller; corners in the wrong order lose half of a square."""

TANGLED = "an outline crosses itself, and what it encloses is in doubt: look at the overlay, or draw it again"

DROPPED = "regions that enclose no area, for too few vertices or none, were left out: draw them again, or remove them"
LINES = "lines, rulers and the like of 3 or more vertices enclose nothing: draw them as polygons if they are outlines"
NESTED = "polygons of one region lie in each other and count as one: write the inner ones as holes if they are holes"
ISLANDS = "holes of one region lie in each other and count as one: write islands in holes as polygons of their own"
BEYOND = "holes of a region reach beyond its outline: write them as polygons of their own if they are outlines"
COUNTED = (TANGLED, DROPPED, LINES, NESTED, ISLANDS, BEYOND)
"""Warnings that are added once for each region; `slidemill.annotations._placing` counts them."""

LINE_VERTICES = 2
"""A straight line has no more; what has may be meant as an outline."""

Vertex = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Region:
    """An annotated area: its label's name in NFC, and its shape in level-0 pixels with the holes cut out."""

    name: str
    shape: MultiPolygon

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", normalize_name(self.name))


@dataclass(frozen=True, slots=True)
class Annotation:
    """The regions of a slide in the file's order, or its label image, and what to know of how they were read.

    `notes` are good to know; of `warnings` each may mean that patches are labelled wrongly.
    """

    regions: tuple[Region, ...]
    notes: tuple[str, ...] = ()
    image: LabelImage | None = None
    warnings: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The label's name of each region; an image's labels count as a region each."""
        return self.image.names if self.image else tuple(region.name for region in self.regions)

    @property
    def bounds(self) -> tuple[tuple[float, ...], ...]:
        """The left, top, right and bottom of each region, in level-0 pixels."""
        return self.image.bounds if self.image else tuple(region.shape.bounds for region in self.regions)


def polygons(shape: BaseGeometry) -> list[Polygon]:
    """Return the polygons that a region's shape consists of."""
    if isinstance(shape, Polygon):
        return [shape] if not shape.is_empty else []
    if isinstance(shape, MultiPolygon):
        return list(shape.geoms)
    return [polygon for part in getattr(shape, "geoms", ()) for polygon in polygons(part)]


def region_name(name: str, unnamed: str | None, subject: str, remedy: str) -> str:
    """Return a region's name, or `unnamed` where it has none.

    Raises
    ------
    AnnotationError
        When it has none, and `unnamed` is None.
    """
    if not name and unnamed is None:
        raise AnnotationError(f"{subject} has no name: {remedy}, or give such regions one by labels.unnamed")
    return name or unnamed or ""


def vertex(x: object, y: object, subject: str, file: str) -> Vertex:
    """Return a vertex of two numbers, or of two texts that tell numbers.

    Raises
    ------
    AnnotationError
        When one is no number, or lies beyond any slide.
    """
    place = _number(x), _number(y)
    if not all(abs(value) <= FARTHEST for value in place):
        raise AnnotationError(
            f"{file}: {subject}: a vertex lies at X={x!r:.80}, Y={y!r:.80}: give two numbers, of level-0 pixels"
        )
    return place


def _number(value: object) -> float:
    """Return what a value tells, or NaN where it tells no number."""
    try:
        known = isinstance(value, str | float | int) and not isinstance(value, bool) and "_" not in str(value)[:80]
        return float(value) if known and isinstance(value, str | float | int) else math.nan
    except (ValueError, OverflowError):
        return math.nan


def corners(vertices: Sequence[Vertex]) -> Polygon:
    """Return the polygon through the vertices, or the box that two opposite corners span."""
    return box(*bounding_box(vertices)) if len(vertices) == 2 else Polygon(vertices)


def bounding_box(vertices: Sequence[Vertex]) -> tuple[float, float, float, float]:
    """Return the left, top, right and bottom of the vertices."""
    xs, ys = [x for x, _ in vertices], [y for _, y in vertices]
    return min(xs), min(ys), max(xs), max(ys)


def enclosed(
    parts: Sequence[Sequence[Polygon]], subject: str, file: str, notes: list[str], warnings: list[str]
) -> MultiPolygon | None:
    """Return what outlines enclose as a valid shape, or None where that is nothing; a note tells of repairs.

    Parameters
    ----------
    parts
        Of each part its outline, and then its holes; none has holes of its own.
    subject, file
        What the outlines belong to, and the annotation's file.
    notes, warnings
        Are added to.

    Raises
    ------
    AnnotationError
        When the outlines cross each other more than `MOST_CROSSINGS` times.
    """
    shape = MultiPolygon([Polygon(outer.exterior, [hole.exterior for hole in holes]) for outer, *holes in parts])
    if not shape.is_valid:
        if _crosses_often(shape):
            raise AnnotationError(
                f"{file}: {subject}: the outline crosses itself more than {MOST_CROSSINGS} times: draw it again"
            )
        notes.append(f"{subject}: the outline crosses itself and was repaired")
        if any(_is_tangled(ring) for part in parts for ring in part):
            warnings.append(TANGLED)
        if any(_overhangs(*part) for part in parts):
            warnings.append(BEYOND)
        shape = MultiPolygon(polygons(shapely.union_all([_repaired(*part) for part in parts])))
    if shape.area == 0:
        notes.append(f"{subject}: the outline has no area, and it was left out")
        warnings.append(DROPPED)
        return None
    return shape


def _is_tangled(ring: Polygon) -> bool:
    """Return whether a ring crosses itself so that its repair encloses something else than a simple ring would."""
    if ring.is_valid:
        return False
    # The area by the vertices alone counts a loop that goes the other way as negative.
    told, left = ring.area, _every_other_face(ring).area
    return bool(abs(told - left) > TANGLED_SHARE * max(told, left))


def _repaired(outer: Polygon, *holes: Polygon) -> BaseGeometry:
    """Return what an outline encloses beside its holes; a point that it goes round twice lies outside."""
    solid, *cut = (_every_other_face(ring) for ring in (outer, *holes))
    return shapely.difference(solid, shapely.union_all(cut)) if cut else solid


def _overhangs(outer: Polygon, *holes: Polygon) -> bool:
    """Return whether more than a rim of a hole lies outside of its outline."""
    if not holes:
        return False
    solid, *cut = (_every_other_face(ring) for ring in (outer, *holes))
    return any(shapely.difference(hole, solid).area > TANGLED_SHARE * hole.area for hole in cut)


def _every_other_face(ring: Polygon) -> BaseGeometry:
    """Return the faces of an outline into which it takes an odd number of steps from outside, over its lines.

    It is what `shapely.make_valid` returns, which takes one layer of faces after another off the whole: with 10,000
    crossings in half a minute, and not in half a second.
    """
    faces = shapely.get_parts(shapely.polygonize([shapely.unary_union(ring.exterior)]))
    outermost, one, other = _neighbours(faces)
    steps = np.zeros(len(faces), int)
    reached, step = outermost, 1
    while len(reached):
        steps[reached] = step
        step += 1
        new = (steps[one] == 0) != (steps[other] == 0)
        reached = np.where(steps[one] == 0, one, other)[new]
    return shapely.coverage_union_all(faces[steps % 2 == 1])


def _neighbours(faces: NDArray[Any]) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Return the numbers of the faces that lie outermost, and those of the two on either side of each line within."""
    rings, face = shapely.get_rings(faces, return_index=True)
    vertices, ring = shapely.get_coordinates(rings, return_index=True)
    begin = np.flatnonzero(ring[:-1] == ring[1:])
    # Two faces go along the line between them in opposite directions: complex numbers are sorted by x, then by y.
    places = vertices[:, 0] + 1j * vertices[:, 1]
    line = np.unique(np.sort(np.stack([places[begin], places[begin + 1]], axis=1)), axis=0, return_inverse=True)[1]
    order = np.argsort(line.ravel(), kind="stable")
    line, owner = line.ravel()[order], face[ring[begin]][order]
    first = np.flatnonzero(line[:-1] == line[1:])
    alone = np.setdiff1d(np.arange(len(line)), np.concatenate([first, first + 1]))
    return owner[alone], owner[first], owner[first + 1]


def _crosses_often(shape: BaseGeometry) -> bool:
    """Return whether outlines cross more than `MOST_CROSSINGS` times; stops counting there."""
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
