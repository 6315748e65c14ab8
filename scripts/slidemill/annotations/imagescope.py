"""Annotations of Aperio ImageScope (XML).

The format, as its files show it: ``Annotations/Annotation/Regions/Region/Vertices/Vertex`` with
coordinates ``X, Y`` in level-0 pixels. A region's ``Type`` is 0 for a polygon, 1 for a rectangle, 2 for an
ellipse given by corners of its bounding box, 3 for an arrow and 4 for a ruler, which enclose nothing; any other is
refused. A region with ``NegativeROA="1"`` is a hole in the region that ``InputRegionId`` names, or in all of its
``Annotation``. A region's label is the first that there is: the value of an attribute of the region, the region's
text, the value of an attribute of its layer, the layer's name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
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
from slidemill.core.run_warnings import add_count
from slidemill.core.specs import Naming

PROGRAM = "ImageScope"
POLYGON, RECTANGLE, ELLIPSE = "0", "1", "2"
AREAS = {POLYGON: "polygon", RECTANGLE: "rectangle", ELLIPSE: "ellipse"}
AREALESS = {"3": "arrow", "4": "ruler"}
REMEDY = "give it or its layer a name or an attribute"


def read_imagescope(root: Element, file: str, naming: Naming) -> Annotation:
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
    places = strays = several = 0
    for layer in root.iterfind("Annotation"):
        drawn, holes = [], []
        known = {one.get("Id", "") for one in layer.iter("Region") if one.get("NegativeROA", "0").strip() != "1"}
        for group in layer.iter("Regions"):
            check_children(group, ["Region", "RegionAttributeHeaders"], PROGRAM, file)
        for element in layer.iter("Region"):
            subject = f"annotation {layer.get('Id', '?')}, region {element.get('Id', '?')}"
            vertices = vertices_of(element, "Vertex", subject, file)
            places += len(vertices)
            kind = element.get("Type", POLYGON).strip()
            if kind in AREALESS:
                warnings += doubtful_line(vertices)
                others[f"regions of type {kind} ({AREALESS[kind]})"] += 1
                continue
            if kind not in AREAS:
                raise unknown_type(kind, [f"{one} ({name})" for one, name in (AREAS | AREALESS).items()], subject, file)
            hole = is_hole(element, subject, file)
            shape = outlined(AREAS[kind], vertices, subject, file, notes, warnings)
            if shape is None:
                continue
            if hole:
                target = element.get("InputRegionId", "0")
                holes.append(Hole(target if target in known else None, shape))
                strays += target not in known and target != "0"
                continue
            own, layers = _values(element.iter("Attribute")), _values(layer.iterfind("Attributes/Attribute"))
            several += len(set(own or layers)) > 1 and (bool(own) or not element.get("Text", "").strip())
            found = (*own[:1], element.get("Text", ""), *layers[:1], layer.get("Name", ""))
            name = next((one.strip() for one in found if one.strip()), "")
            name = region_name(name, naming.unnamed, f"{file}: {subject}", REMEDY)
            drawn.append(Drawn(subject, element.get("Id", ""), Region(name, shape)))
        regions += with_holes(drawn, holes, warnings)
    if strays:
        warnings.append(
            add_count("holes in regions that their layer lacks are cut out of all its regions", strays, "region")
        )
    if several:
        warnings.append(
            add_count("several attributes have values, and the first was taken for the name", several, "region")
        )
    check_places(root, "Vertex", places, PROGRAM, file)
    return Annotation(tuple(regions), (*notes, *left_out(others)), warnings=tuple(warnings))


def _values(attributes: Iterable[Element]) -> list[str]:
    """Return the values of the attributes that have one, or text in place of it."""
    values = ((attribute.get("Value", "").strip() or (attribute.text or "").strip()) for attribute in attributes)
    return [value for value in values if value]
