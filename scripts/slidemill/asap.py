"""Annotations of ASAP (XML).

The format, as its files show it: ``ASAP_Annotations/Annotations/Annotation[Name, Type, PartOfGroup]/Coordinates/
Coordinate[Order, X, Y]`` in level-0 pixels. A region's label is its group's name, or its own where it is in no
group. Polygons, rectangles and splines (taken as the polygon of their points) enclose something; dots,
sets of points and measurements do not. ASAP draws no holes.
"""

from __future__ import annotations

from xml.etree.ElementTree import Element

from slidemill.regions import Annotation, Region, Vertex, corners, enclosed, vertex

ENCLOSING = ("Polygon", "Rectangle", "Spline")
NO_GROUP = ("", "None")


def read_asap(root: Element, file: str) -> Annotation:
    """Return the regions below an ``ASAP_Annotations`` element.

    Raises
    ------
    AnnotationError
        When a coordinate is no number, or an outline cannot be repaired.
    """
    regions: list[Region] = []
    notes: list[str] = []
    for number, element in enumerate(root.iter("Annotation"), start=1):
        name, group = (element.get(key, "").strip() for key in ("Name", "PartOfGroup"))
        subject = f"annotation {number} ({name})"
        kind = element.get("Type", "Polygon")
        vertices = _vertices(element, subject, file)
        if kind not in ENCLOSING:
            notes.append(f"{subject}: type {kind} encloses nothing and was left out")
        elif len(vertices) < (2 if kind == "Rectangle" else 3):
            notes.append(f"{subject}: {len(vertices)} vertices enclose nothing, and it was left out")
        elif (shape := enclosed([[corners(vertices)]], subject, file, notes)) is not None:
            regions.append(Region(name if group in NO_GROUP else group, shape))
    return Annotation(tuple(regions), tuple(notes))


def _vertices(element: Element, subject: str, file: str) -> list[Vertex]:
    """Return an annotation's vertices in the order that they tell, or in the file's where one tells none."""
    coordinates = list(element.iter("Coordinate"))
    orders = [one.get("Order", "") for one in coordinates]
    if all(order.isdecimal() and len(order) < 10 for order in orders):
        coordinates = [
            one for _, one in sorted(zip(map(int, orders), coordinates, strict=True), key=lambda one: one[0])
        ]
    return [vertex(one.get("X"), one.get("Y"), subject, file) for one in coordinates]
