"""Annotations of ASAP (XML).

The format, as its files show it: ``ASAP_Annotations/Annotations/Annotation[Name, Type, PartOfGroup]/Coordinates/
Coordinate[Order, X, Y]`` in level-0 pixels. A region's label is its group's name, or its own where it is in no
group. Polygons, rectangles and splines (taken as the polygon of their points) enclose something; dots,
sets of points and measurements do not; any other type is rejected. ASAP draws no holes.
"""

from __future__ import annotations

from xml.etree.ElementTree import Element

from slidemill.annotations._xml_format import XmlFormat
from slidemill.annotations._xml_layers import POINTS
from slidemill.annotations.regions import Findings


def _name(_layer: Element, element: Element, _findings: Findings) -> str:
    """Return the name of a region's group, or its own name if it has no group."""
    name, group = (element.get(key, "").strip() for key in ("Name", "PartOfGroup"))
    return name if group in ("", "None") else group


def _sort_points(coordinates: list[Element]) -> list[Element]:
    """Return vertices sorted by their Order attribute.

    They stay in the file's order if one of them states none.
    """
    orders = [one.get("Order", "") for one in coordinates]
    if not all(order.isdecimal() and len(order) < 10 for order in orders):
        return coordinates
    return sorted(coordinates, key=lambda one: int(one.get("Order", "")))


ASAP = XmlFormat(
    program="ASAP",
    layers=".",
    region="Annotation",
    outline="Coordinates",
    vertex="Coordinate",
    areas={"Polygon": "polygon", "Rectangle": "rectangle", "Spline": "polygon"},
    arealess={"Dot": "Dot", POINTS: POINTS, "Measurement": "Measurement"},
    default="Polygon",
    parents={
        "Annotations": ("ASAP_Annotations",),
        "Annotation": ("Annotations",),
        "Coordinates": ("Annotation",),
        "Coordinate": ("Coordinates",),
    },
    children={"Annotations": ["Annotation"]},
    subject=lambda _, element, number: f"annotation {number} ({element.get('Name', '').strip()})",
    name=_name,
    remedy="put it into a group",
    negative="",
    ordered=_sort_points,
)
