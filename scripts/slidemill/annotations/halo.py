"""Annotations of Indica Labs' HALO (XML, ``.annotations``).

The format, as its maker's description and its files show it:
``Annotations/Annotation[Name]/Regions/Region[Type, NegativeROA, HasEndcaps]/Vertices/V[X, Y]`` with whole level-0
pixels. A rectangle and an ellipse are two opposite corners, of the latter's bounding box. A ruler and a pin enclose
nothing; regions of any other type are refused, and so are polygons with end caps, which may be open lines. A region
with ``NegativeROA="1"`` is a hole in all regions of its layer. A region's label is its layer's name, whether the layer
is visible or not. Its elements tell it from ImageScope, whose files begin the same way.
"""

from __future__ import annotations

from collections import Counter
from xml.etree.ElementTree import Element

from slidemill.annotations._xml_checks import LAYERED, check_children, check_nesting, check_places
from slidemill.annotations._xml_layers import (
    Drawn,
    Hole,
    doubtful_line,
    is_hole,
    left_out,
    outlined,
    unknown_type,
    vertices_of,
    with_holes,
)
from slidemill.annotations.regions import Annotation, Region, region_name
from slidemill.core.specs import Naming
from slidemill.errors import AnnotationError

PROGRAM = "HALO"
AREAS = {"Polygon": "polygon", "Rectangle": "rectangle", "Ellipse": "ellipse"}
AREALESS = ("Ruler", "Pin")


def is_halo(root: Element) -> bool:
    """Return whether an ``Annotations`` element is HALO's, and not ImageScope's."""
    typed = any(one.get("Type") in AREAS or one.get("Type") in AREALESS for one in root.iter("Region"))
    return typed or next(root.iter("V"), None) is not None


def read_halo(root: Element, file: str, naming: Naming) -> Annotation:
    """Return the regions below an ``Annotations`` element.

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
    check_children(root, ["Annotation"], PROGRAM, file)
    check_nesting(root, LAYERED, PROGRAM, file)
    places = 0
    for layer in root.iterfind("Annotation"):
        drawn, holes = [], []
        label = layer.get("Name", "").strip()
        for group in layer.iter("Regions"):
            check_children(group, ["Region"], PROGRAM, file)
        for number, element in enumerate(layer.iter("Region"), start=1):
            subject = f"layer {label!r:.80}, region {number}"
            vertices = vertices_of(element, "V", subject, file)
            places += len(vertices)
            kind = element.get("Type", "")
            if kind in AREALESS:
                warnings += doubtful_line(vertices)
                others[f"regions of type {kind}"] += 1
                continue
            if kind not in AREAS:
                raise unknown_type(kind, (*AREAS, *AREALESS), subject, file)
            if element.get("HasEndcaps", "0").strip() != "0":
                raise AnnotationError(
                    f"{file}: {subject}: a {kind} with end caps may be an open line: draw it as a region without, or "
                    "remove it"
                )
            hole = is_hole(element, subject, file)
            shape = outlined(AREAS[kind], vertices, subject, file, notes, warnings)
            if shape is not None and hole:
                holes.append(Hole(None, shape))
            elif shape is not None:
                name = region_name(label, naming.unnamed, f"{file}: {subject}", "name its layer")
                drawn.append(Drawn(subject, "", Region(name, shape)))
        regions += with_holes(drawn, holes, warnings)
    check_places(root, "V", places, PROGRAM, file)
    return Annotation(tuple(regions), (*notes, *left_out(others)), warnings=tuple(warnings))
