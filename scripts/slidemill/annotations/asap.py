"""Annotations of ASAP (XML).

The format, as its files show it: ``ASAP_Annotations/Annotations/Annotation[Name, Type, PartOfGroup]/Coordinates/
Coordinate[Order, X, Y]`` in level-0 pixels. A region's label is its group's name, or its own where it is in no
group. Polygons, rectangles and splines (taken as the polygon of their points) enclose something; dots,
sets of points and measurements do not; any other type is refused. ASAP draws no holes.
"""

from __future__ import annotations

from collections import Counter
from xml.etree.ElementTree import Element

from slidemill.annotations._xml_checks import check_children, check_nesting, check_places
from slidemill.annotations._xml_layers import check_corners, doubtful_line, left_out, unknown_type
from slidemill.annotations.regions import DROPPED, Annotation, Region, Vertex, corners, enclosed, region_name, vertex
from slidemill.core.specs import Naming
from slidemill.errors import AnnotationError

PROGRAM = "ASAP"
ENCLOSING = ("Polygon", "Rectangle", "Spline")
AREALESS = ("Dot", "PointSet", "Measurement")
NESTED = {
    "Annotations": ("ASAP_Annotations",),
    "Annotation": ("Annotations",),
    "Coordinates": ("Annotation",),
    "Coordinate": ("Coordinates",),
}
NO_GROUP = ("", "None")


def read_asap(root: Element, file: str, naming: Naming) -> Annotation:
    """Return the regions below an ``ASAP_Annotations`` element.

    Parameters
    ----------
    root
        The element.
    file
        The file's name.
    naming
        How regions without a name are labelled.

    Raises
    ------
    AnnotationError
        When a coordinate is no number, an outline cannot be repaired, or a region is not understood or has no name.
    """
    regions: list[Region] = []
    notes: list[str] = []
    warnings: list[str] = []
    others: Counter[str] = Counter()
    places = 0
    for group in root.iter("Annotations"):
        check_children(group, ["Annotation"], PROGRAM, file)
    check_nesting(root, NESTED, PROGRAM, file)
    for number, element in enumerate(root.iter("Annotation"), start=1):
        name, group_name = (element.get(key, "").strip() for key in ("Name", "PartOfGroup"))
        subject = f"annotation {number} ({name})"
        kind = element.get("Type", "Polygon").strip()
        vertices = _vertices(element, subject, file)
        if kind == "Rectangle" and vertices:
            check_corners("rectangle", vertices, subject, file)
        places += len(vertices)
        if kind in AREALESS:
            warnings += doubtful_line(vertices) if kind != "PointSet" else []
            others[f"annotations of type {kind}"] += 1
        elif kind not in ENCLOSING:
            raise unknown_type(kind, (*ENCLOSING, *AREALESS), subject, file)
        elif len(vertices) < (2 if kind == "Rectangle" else 3):
            notes.append(f"{subject}: {len(vertices)} vertices enclose nothing, and it was left out")
            warnings.append(DROPPED)
        elif (shape := enclosed([[corners(vertices)]], subject, file, notes, warnings)) is not None:
            label = name if group_name in NO_GROUP else group_name
            regions.append(
                Region(region_name(label, naming.unnamed, f"{file}: {subject}", "put it into a group"), shape)
            )
    check_places(root, "Coordinate", places, PROGRAM, file)
    return Annotation(tuple(regions), (*notes, *left_out(others)), warnings=tuple(warnings))


def _vertices(element: Element, subject: str, file: str) -> list[Vertex]:
    """Return an annotation's vertices in the order that they tell, or in the file's where one tells none."""
    outlines = sum(1 for _ in element.iter("Coordinates"))
    if outlines > 1:
        raise AnnotationError(f"{file}: {subject}: it has {outlines} outlines: make each an annotation of its own")
    coordinates = list(element.iter("Coordinate"))
    orders = [one.get("Order", "") for one in coordinates]
    if all(order.isdecimal() and len(order) < 10 for order in orders):
        coordinates = [
            one for _, one in sorted(zip(map(int, orders), coordinates, strict=True), key=lambda one: one[0])
        ]
    return [vertex(one.get("X"), one.get("Y"), subject, file) for one in coordinates]
