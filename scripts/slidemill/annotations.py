"""Annotations of Aperio ImageScope (XML), and the labels that they give to points.

ImageScope's format, as its files show it: ``Annotations/Annotation/Regions/Region/Vertices/Vertex`` with
coordinates ``X, Y`` in level-0 pixels. A region's ``Type`` is 0 for a polygon, 1 for a rectangle, 2 for an
ellipse given by corners of its bounding box; other types (rulers, arrows) enclose nothing. A region with
``NegativeROA="1"`` is a hole in the region that ``InputRegionId`` names, or in all of its ``Annotation``.
"""

from __future__ import annotations

import math
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, ParseError

import numpy as np
import numpy.typing as npt
import shapely
from defusedxml import DefusedXmlException
from defusedxml.ElementTree import parse
from shapely.geometry import MultiPolygon, Polygon, box
from shapely.geometry.base import BaseGeometry

from slidemill.errors import AnnotationError

POLYGON, RECTANGLE, ELLIPSE = "0", "1", "2"
ELLIPSE_VERTICES = 256
FARTHEST = 1e9
"""No slide has pixels beyond this; arithmetic on far larger coordinates loses the small ones."""

MOST_CROSSINGS = 10_000
"""An outline that crosses itself more often is no outline, and would take hours to repair."""

UNMAPPED = -1
"""The label of patches whose label's name the map lacks."""


@dataclass(frozen=True, slots=True)
class Region:
    """An annotated area: its label's name, and its shape in level-0 pixels with the holes cut out."""

    name: str
    shape: MultiPolygon


@dataclass(frozen=True, slots=True)
class Annotation:
    """The regions of a slide in the file's order, and what a reader should know of how they were read."""

    regions: tuple[Region, ...]
    notes: tuple[str, ...] = ()


def read_annotation(path: Path) -> Annotation:
    """Return the regions of an ImageScope annotation.

    A region that encloses nothing is left out, and one that crosses itself is repaired; a note says so.

    Raises
    ------
    AnnotationError
        When the file cannot be read, is no XML of ImageScope, declares entities, or a value is no number.
    """
    try:
        # Opening a pipe would wait for somebody to write into it.
        if not stat.S_ISREG(path.stat().st_mode):
            raise AnnotationError(
                f"{path.name}: cannot be read (it is no file): put the annotation in its place, or take it away"
            )
        root = parse(path, forbid_dtd=False, forbid_entities=True, forbid_external=True).getroot()
    except ParseError as error:
        line, column = error.position
        reason = str(error).split(":", maxsplit=1)[0]
        raise AnnotationError(
            f"{path.name}: line {line}, column {column}: {reason}: mend the XML, or export it again"
        ) from None
    except DefusedXmlException as error:
        raise AnnotationError(
            f"{path.name}: declares entities or external files ({type(error).__name__}), which are not read: "
            "remove the declaration"
        ) from None
    except (OSError, ValueError, LookupError) as error:
        raise AnnotationError(f"{path.name}: cannot be read ({error}): see its permissions and encoding") from None
    if root is None or root.tag != "Annotations":
        tag = getattr(root, "tag", None)
        raise AnnotationError(f"{path.name}: begins with <{tag}>: an annotation of ImageScope has <Annotations>")
    regions: list[Region] = []
    notes: list[str] = []
    for layer in root.iter("Annotation"):
        regions.extend(_layer_regions(layer, path.name, notes))
    return Annotation(tuple(regions), tuple(notes))


def region_names(annotation: Annotation, points: npt.NDArray[np.float64], outside: str) -> npt.NDArray[np.object_]:
    """Return the label's name of each point: that of the first region that it lies in, or `outside`.

    Parameters
    ----------
    annotation
        The regions.
    points
        ``float64 (n, 2)``, x and y in level-0 pixels. A point on an outline lies in no region.
    outside
        The name of points in no region.

    Returns
    -------
    numpy.ndarray
        ``object (n,)`` of strings.
    """
    names = np.full(len(points), outside, dtype=object)
    free = np.argsort(points[:, 1], kind="stable")  # so that each of many regions finds those near it
    x, y = points[free].T
    for region in annotation.regions:
        left, top, right, bottom = region.shape.bounds
        rows = slice(np.searchsorted(y, top), np.searchsorted(y, bottom, "right"))
        if len(near := rows.start + np.flatnonzero((x[rows] >= left) & (x[rows] <= right))):
            shapely.prepare(region.shape)
            inside = near[shapely.contains_xy(region.shape, x[near], y[near])]
            names[free[inside]] = region.name
            free, x, y = np.delete(free, inside), np.delete(x, inside), np.delete(y, inside)
    return names


def reference_points(rows: Sequence[Mapping[str, Any]], rule: str) -> npt.NDArray[np.float64]:
    """Return the point of each patch that decides its label, ``float64 (n, 2)`` in level-0 pixels.

    Parameters
    ----------
    rows
        Patches with ``x0, y0, width0, height0``.
    rule
        ``"centre"`` or ``"top_left"``.
    """
    corner = np.array([[float(row["x0"]), float(row["y0"])] for row in rows]).reshape(-1, 2)
    if rule == "top_left":
        return corner
    extent = np.array([[float(row["width0"]), float(row["height0"])] for row in rows]).reshape(-1, 2)
    return corner + extent / 2


def polygons(shape: BaseGeometry) -> list[Polygon]:
    """Return the polygons that a region's shape consists of."""
    if isinstance(shape, Polygon):
        return [shape] if not shape.is_empty else []
    if isinstance(shape, MultiPolygon):
        return list(shape.geoms)
    return [polygon for part in getattr(shape, "geoms", ()) for polygon in polygons(part)]


def _layer_regions(layer: Element, file: str, notes: list[str]) -> list[Region]:
    """Return the regions of one ``Annotation`` element, its holes cut out."""
    solid: list[tuple[str, Region]] = []
    holes: list[tuple[str, BaseGeometry]] = []
    for element in layer.iter("Region"):
        subject = f"annotation {layer.get('Id', '?')}, region {element.get('Id', '?')}"
        shape = _shape(element, subject, file, notes)
        if shape is None:
            continue
        if element.get("NegativeROA", "0") == "1":
            holes.append((element.get("InputRegionId", "0"), shape))
        else:
            solid.append((element.get("Id", ""), Region(_name(element), MultiPolygon(polygons(shape)))))
    known = {element.get("Id", "") for element in layer.iter("Region") if element.get("NegativeROA", "0") != "1"}
    regions = []
    own: dict[str | None, list[BaseGeometry]] = {}
    for target, hole in holes:
        own.setdefault(target if target in known else None, []).append(hole)
    anyones = own.pop(None, [])
    tree = shapely.STRtree(anyones)
    for identity, region in solid:
        cut = own.get(identity, []) + [anyones[place] for place in tree.query(region.shape)]
        shape = shapely.difference(region.shape, shapely.union_all(cut)) if cut else region.shape
        regions.append(Region(region.name, MultiPolygon(polygons(shape))))
    return regions


def _name(element: Element) -> str:
    """Return a region's label: the value of its first attribute that has one, else its text."""
    values = (attribute.get("Value", "").strip() for attribute in element.iter("Attribute"))
    return next((value for value in values if value), element.get("Text", "").strip())


def _shape(element: Element, subject: str, file: str, notes: list[str]) -> BaseGeometry | None:
    """Return a region's outline as a valid shape, or None where it encloses nothing."""
    kind = element.get("Type", POLYGON)
    vertices = [_vertex(vertex, subject, file) for vertex in element.iter("Vertex")]
    if kind not in (POLYGON, RECTANGLE, ELLIPSE):
        notes.append(f"{subject}: type {kind} (a ruler or an arrow) encloses nothing and was left out")
        return None
    least = 3 if kind == POLYGON else 2
    if len(vertices) < least:
        notes.append(f"{subject}: {len(vertices)} vertices enclose nothing, and it was left out")
        return None
    shape: BaseGeometry = _ellipse(vertices) if kind == ELLIPSE else _corners(vertices)
    if not shape.is_valid:
        if _crosses_often(shape):
            raise AnnotationError(
                f"{file}: {subject}: the outline crosses itself more than {MOST_CROSSINGS} times: draw it again"
            )
        notes.append(f"{subject}: the outline crosses itself and was repaired")
        shape = MultiPolygon(polygons(shapely.make_valid(shape)))
    if shape.area == 0:
        notes.append(f"{subject}: the outline has no area, and it was left out")
        return None
    return shape


def _vertex(element: Element, subject: str, file: str) -> tuple[float, float]:
    values = element.get("X"), element.get("Y")
    try:
        x, y = (float(value) for value in values if value is not None)
    except ValueError:
        x = y = math.nan
    if not (abs(x) <= FARTHEST and abs(y) <= FARTHEST):
        raise AnnotationError(
            f"{file}: {subject}: a vertex lies at X={values[0]!r}, Y={values[1]!r}: give two numbers, of level-0 pixels"
        )
    return x, y


def _crosses_often(shape: BaseGeometry) -> bool:
    """Return whether an outline crosses itself more than `MOST_CROSSINGS` times; stops counting there."""
    vertices = shapely.get_coordinates(shape)
    segments = np.asarray(shapely.linestrings(np.stack([vertices[:-1], vertices[1:]], axis=1)))
    tree = shapely.STRtree(segments)
    # A segment meets itself and its two neighbours; a crossing is met from both sides.
    left = 3 * len(segments) + 2 * MOST_CROSSINGS
    for start in range(0, len(segments), 256):
        left -= tree.query(segments[start : start + 256], predicate="intersects").shape[1]
        if left < 0:
            return True
    return False


def _corners(vertices: list[tuple[float, float]]) -> Polygon:
    """Return the polygon through the vertices, or the box that two opposite corners span."""
    return box(*_bounding_box(vertices)) if len(vertices) == 2 else Polygon(vertices)


def _ellipse(vertices: list[tuple[float, float]]) -> Polygon:
    """Return the ellipse that fills the vertices' bounding box, as a polygon of many vertices."""
    left, top, right, bottom = _bounding_box(vertices)
    angles = np.linspace(0.0, 2 * np.pi, ELLIPSE_VERTICES, endpoint=False)
    x = (left + right) / 2 + (right - left) / 2 * np.cos(angles)
    y = (top + bottom) / 2 + (bottom - top) / 2 * np.sin(angles)
    return Polygon(np.column_stack([x, y]))


def _bounding_box(vertices: list[tuple[float, float]]) -> tuple[float, float, float, float]:
    xs, ys = [x for x, _ in vertices], [y for _, y in vertices]
    return min(xs), min(ys), max(xs), max(ys)
