"""What annotations in XML have in common: outlines by their forms, and holes that are regions of their own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element

import numpy as np
import shapely
from shapely.geometry import MultiPolygon, Polygon

from slidemill.annotations._xml_checks import has_place
from slidemill.annotations.regions import (
    DROPPED,
    LINE_VERTICES,
    LINES,
    Region,
    Vertex,
    bounding_box,
    corners,
    enclosed,
    polygons,
    vertex,
)
from slidemill.errors import AnnotationError

ELLIPSE_VERTICES = 256


@dataclass(frozen=True, slots=True)
class Drawn:
    """A region as it is drawn: what messages call it, its id, and its shape without holes."""

    subject: str
    identity: str
    region: Region


@dataclass(frozen=True, slots=True)
class Hole:
    """A region to be cut out of the one with the id `target`, or of all of its layer where that is None."""

    target: str | None
    shape: MultiPolygon


def with_holes(drawn: Sequence[Drawn], holes: Sequence[Hole], warnings: list[str]) -> list[Region]:
    """Return a layer's regions with its holes cut out, without those of which nothing is left.

    Parameters
    ----------
    drawn, holes
        The layer's regions and its holes.
    warnings
        Is added to.
    """
    own: dict[str | None, list[MultiPolygon]] = {}
    for hole in holes:
        own.setdefault(hole.target, []).append(hole.shape)
    anyones = own.pop(None, [])
    tree, vain = shapely.STRtree(anyones), set(range(len(anyones)))
    regions = []
    for one in drawn:
        shape = one.region.shape
        met = tree.query(shape, predicate="intersects").tolist()
        vain.difference_update(met)
        cut = own.get(one.identity, []) + [anyones[place] for place in sorted(met)]
        left = polygons(shapely.difference(shape, shapely.union_all(cut))) if cut else polygons(shape)
        if left:
            regions.append(Region(one.region.name, MultiPolygon(left)))
        else:
            warnings.append(f"{one.subject}: holes of its layer leave nothing of it")
    if vain:
        warnings.append(f"holes (negative regions) that meet no region of their layer cut nothing ({len(vain)})")
    return regions


def vertices_of(region: Element, tag: str, subject: str, file: str) -> list[Vertex]:
    """Return a region's vertices, elements called `tag` with X and Y.

    Raises
    ------
    AnnotationError
        When a coordinate is no number, text or other elements stand in place of vertices, or there are several
        outlines.
    """
    outlines = list(region.iter("Vertices"))
    if any((vertices.text or "").strip() for vertices in outlines):
        raise AnnotationError(f"{file}: {subject}: its vertices are text: export the annotation again")
    if strange := [one.tag for vertices in outlines for one in vertices if one.tag != tag and not has_place(one)]:
        raise AnnotationError(
            f"{file}: {subject}: <{strange[0]}> stands among its vertices: export the annotation again"
        )
    if len(outlines) > 1:
        raise AnnotationError(f"{file}: {subject}: it has {len(outlines)} outlines: make each a region of its own")
    return [vertex(one.get("X"), one.get("Y"), subject, file) for one in region.iter(tag)]


def outlined(
    form: str, vertices: Sequence[Vertex], subject: str, file: str, notes: list[str], warnings: list[str]
) -> MultiPolygon | None:
    """Return what a polygon, a rectangle or an ellipse encloses, or None where that is nothing.

    Parameters
    ----------
    form
        ``"polygon"``, ``"rectangle"`` or ``"ellipse"``; the latter two may be given by opposite corners.
    vertices
        In level-0 pixels.
    subject, file
        What messages name.
    notes, warnings
        Are added to.

    Raises
    ------
    AnnotationError
        When the outline cannot be repaired.
    """
    if len(vertices) < (3 if form == "polygon" else 2):
        notes.append(f"{subject}: {len(vertices)} vertices enclose nothing, and it was left out")
        warnings.append(DROPPED)
        return None
    check_corners(form, vertices, subject, file)
    shape = _ellipse(vertices) if form == "ellipse" else corners(vertices)
    return enclosed([[shape]], subject, file, notes, warnings)


def check_corners(form: str, vertices: Sequence[Vertex], subject: str, file: str) -> None:
    """Check that a rectangle or an ellipse has the corners of one.

    Raises
    ------
    AnnotationError
        When a rectangle has three, or an ellipse has not two opposite corners of its bounding box, or all four, or the
        middles of its sides: it may be turned.
    """
    left, top, right, bottom = bounding_box(vertices)
    sides = [{left, right}, {top, bottom}]
    middles = [{(left + right) / 2}, {(top + bottom) / 2}]
    places = set(vertices)
    upright = all(
        all(_near(x, own) for x, own in zip(place, sides, strict=True))
        or any(_near(x, own) for x, own in zip(place, middles, strict=True))
        for place in places
    )
    if (form == "rectangle" and len(places) == 3) or (form == "ellipse" and not (upright and len(places) in (1, 2, 4))):
        raise AnnotationError(
            f"{file}: {subject}: its {len(places)} vertices are not the corners of the {form}, two opposite ones or "
            "all four: draw it as a polygon"
        )


def _near(value: float, known: Iterable[float]) -> bool:
    return any(abs(value - one) <= 1 for one in known)


def is_hole(region: Element, subject: str, file: str) -> bool:
    """Return whether a region is a negative one.

    Raises
    ------
    AnnotationError
        When it does not say so by 0 or 1.
    """
    told = region.get("NegativeROA", "0").strip()
    if told not in ("0", "1"):
        raise AnnotationError(f"{file}: {subject}: NegativeROA is {told!r:.40}: give 0, or 1 for a hole")
    return told == "1"


def unknown_type(kind: str, known: Iterable[str], subject: str, file: str) -> AnnotationError:
    """Return the refusal of a region that may or may not enclose an area."""
    return AnnotationError(
        f"{file}: {subject}: a region of type {kind!r:.40} may enclose an area, and only {', '.join(known)} are known: "
        "draw it as one of these, or remove it"
    )


def doubtful_line(vertices: Sequence[Vertex]) -> list[str]:
    """Return a warning where what encloses nothing has more vertices than a straight line."""
    return [LINES] if len(vertices) > LINE_VERTICES else []


def left_out(counts: Mapping[str, int]) -> list[str]:
    """Return a note for each kind of what encloses nothing."""
    return [f"{kind} enclose nothing and were left out ({count})" for kind, count in counts.items()]


def _ellipse(vertices: Sequence[Vertex]) -> Polygon:
    """Return the ellipse that fills the vertices' bounding box, as a polygon of many vertices."""
    left, top, right, bottom = bounding_box(vertices)
    angles = np.linspace(0.0, 2 * np.pi, ELLIPSE_VERTICES, endpoint=False)
    x = (left + right) / 2 + (right - left) / 2 * np.cos(angles)
    y = (top + bottom) / 2 + (bottom - top) / 2 * np.sin(angles)
    return Polygon(np.column_stack([x, y]))
