"""Annotations of Aperio ImageScope (XML).

The format, as its files show it: ``Annotations/Annotation/Regions/Region/Vertices/Vertex`` with
coordinates ``X, Y`` in level-0 pixels. A region's ``Type`` is 0 for a polygon, 1 for a rectangle, 2 for an
ellipse given by corners of its bounding box; other types (rulers, arrows) enclose nothing. A region with
``NegativeROA="1"`` is a hole in the region that ``InputRegionId`` names, or in all of its ``Annotation``.
"""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree.ElementTree import Element

import numpy as np
import shapely
from shapely.geometry import MultiPolygon, Polygon

from slidemill.regions import Annotation, Region, Vertex, bounding_box, corners, enclosed, polygons, vertex

POLYGON, RECTANGLE, ELLIPSE = "0", "1", "2"
ELLIPSE_VERTICES = 256


def read_imagescope(root: Element, file: str) -> Annotation:
    """Return the regions below an ``Annotations`` element.

    Raises
    ------
    AnnotationError
        When a coordinate is no number, or an outline cannot be repaired.
    """
    regions: list[Region] = []
    notes: list[str] = []
    for layer in root.iter("Annotation"):
        regions.extend(_layer_regions(layer, file, notes))
    return Annotation(tuple(regions), tuple(notes))


def _layer_regions(layer: Element, file: str, notes: list[str]) -> list[Region]:
    """Return the regions of one ``Annotation`` element, its holes cut out."""
    solid: list[tuple[str, Region]] = []
    holes: list[tuple[str, MultiPolygon]] = []
    for element in layer.iter("Region"):
        subject = f"annotation {layer.get('Id', '?')}, region {element.get('Id', '?')}"
        shape = _shape(element, subject, file, notes)
        if shape is None:
            continue
        if element.get("NegativeROA", "0") == "1":
            holes.append((element.get("InputRegionId", "0"), shape))
        else:
            solid.append((element.get("Id", ""), Region(_name(element), shape)))
    known = {element.get("Id", "") for element in layer.iter("Region") if element.get("NegativeROA", "0") != "1"}
    regions = []
    own: dict[str | None, list[MultiPolygon]] = {}
    for target, hole in holes:
        own.setdefault(target if target in known else None, []).append(hole)
    anyones = own.pop(None, [])
    tree = shapely.STRtree(anyones)
    for identity, region in solid:
        cut = own.get(identity, []) + [anyones[place] for place in tree.query(region.shape)]
        left = shapely.difference(region.shape, shapely.union_all(cut)) if cut else region.shape
        regions.append(Region(region.name, MultiPolygon(polygons(left))))
    return regions


def _name(element: Element) -> str:
    """Return a region's label: the value of its first attribute that has one, else its text."""
    values = (attribute.get("Value", "").strip() for attribute in element.iter("Attribute"))
    return next((value for value in values if value), element.get("Text", "").strip())


def _shape(element: Element, subject: str, file: str, notes: list[str]) -> MultiPolygon | None:
    """Return a region's outline as a valid shape, or None where it encloses nothing."""
    kind = element.get("Type", POLYGON)
    vertices = [vertex(one.get("X"), one.get("Y"), subject, file) for one in element.iter("Vertex")]
    if kind not in (POLYGON, RECTANGLE, ELLIPSE):
        notes.append(f"{subject}: type {kind} (a ruler or an arrow) encloses nothing and was left out")
        return None
    least = 3 if kind == POLYGON else 2
    if len(vertices) < least:
        notes.append(f"{subject}: {len(vertices)} vertices enclose nothing, and it was left out")
        return None
    return enclosed([[_ellipse(vertices) if kind == ELLIPSE else corners(vertices)]], subject, file, notes)


def _ellipse(vertices: Sequence[Vertex]) -> Polygon:
    """Return the ellipse that fills the vertices' bounding box, as a polygon of many vertices."""
    left, top, right, bottom = bounding_box(vertices)
    angles = np.linspace(0.0, 2 * np.pi, ELLIPSE_VERTICES, endpoint=False)
    x = (left + right) / 2 + (right - left) / 2 * np.cos(angles)
    y = (top + bottom) / 2 + (bottom - top) / 2 * np.sin(angles)
    return Polygon(np.column_stack([x, y]))
