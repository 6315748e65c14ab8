"""Read annotations of Indica Labs' HALO (XML, ``.annotations``).

The format, as its maker's description and its files show it:
``Annotations/Annotation[Name]/Regions/Region[Type, NegativeROA, HasEndcaps]/Vertices/V[X, Y]`` with whole level-0
pixels. A rectangle and an ellipse are two opposite corners, of the latter's bounding box. A ruler and a pin enclose
nothing; regions of any other type are rejected, as are polygons with end caps, which may be open lines. A region
with ``NegativeROA="1"`` is a hole in all regions of its layer. A region's label is its layer's name, whether the layer
is visible or not. Its elements distinguish it from ImageScope, whose files begin the same way.
"""

from __future__ import annotations

from xml.etree.ElementTree import Element

from slidemill.annotations._xml_format import LAYERED, XmlFormat

HALO = XmlFormat(
    program="HALO",
    vertex="V",
    areas={"Polygon": "polygon", "Rectangle": "rectangle", "Ellipse": "ellipse"},
    arealess={"Ruler": "Ruler", "Pin": "Pin"},
    default="",
    parents=LAYERED,
    children={"Annotations": ["Annotation"], "Regions": ["Region"]},
    subject=lambda layer, _, number: f"layer {layer.get('Name', '').strip()!r:.80}, region {number}",
    name=lambda layer, *_: layer.get("Name", "").strip(),
    remedy="name its layer",
    capped="HasEndcaps",
)


def is_halo(root: Element) -> bool:
    """Return whether an ``Annotations`` element is HALO's, and not ImageScope's."""
    typed = any(one.get("Type") in (*HALO.areas, *HALO.arealess) for one in root.iter("Region"))
    return typed or next(root.iter("V"), None) is not None
