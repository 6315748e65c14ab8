"""Read annotations of Aperio ImageScope (XML).

The format, as its files show it: ``Annotations/Annotation/Regions/Region/Vertices/Vertex`` with
coordinates ``X, Y`` in level-0 pixels. A region's ``Type`` is 0 for a polygon, 1 for a rectangle, 2 for an
ellipse given by corners of its bounding box, 3 for an arrow and 4 for a ruler, which enclose nothing; any other is
rejected. A region with ``NegativeROA="1"`` is a hole in the region that ``InputRegionId`` names, or in all of its
``Annotation``. A region's label is the first that exists: the value of an attribute of the region, the region's
text, the value of an attribute of its layer, the layer's name.

``Analyze="0"`` leaves a region out of ImageScope's own image analyses. Public data sets have it on all regions, whose
labels count anyway (MITOS_WSI_CCMCT); in a file of both kinds it may mean that a region is not to count.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from xml.etree.ElementTree import Element

from slidemill.annotations._xml_format import LAYERED, XmlFormat
from slidemill.annotations.regions import SEVERAL, Findings
from slidemill.core.run_warnings import add_count

NEAR = 1.02
"""Micrometres per pixel that differ by no more than this factor are the same, rounded."""

ANALYZED = 'regions with Analyze="0", which ImageScope leaves out of its analyses, count as the others do'


def _name(layer: Element, element: Element, findings: Findings) -> str:
    """Return a region's name, from the first of its sources that has one."""
    own, layers = _values(element.iter("Attribute")), _values(layer.iterfind("Attributes/Attribute"))
    if len(set(own or layers)) > 1 and (own or not element.get("Text", "").strip()):
        findings.warnings.append(SEVERAL)
    found = (*own[:1], element.get("Text", ""), *layers[:1], layer.get("Name", ""))
    return next((one.strip() for one in found if one.strip()), "")


def _values(attributes: Iterable[Element]) -> list[str]:
    """Return the values of attributes, or their text where they have no value."""
    values = ((attribute.get("Value", "").strip() or (attribute.text or "").strip()) for attribute in attributes)
    return [value for value in values if value]


IMAGESCOPE = XmlFormat(
    program="ImageScope",
    vertex="Vertex",
    areas={"0": "polygon", "1": "rectangle", "2": "ellipse"},
    arealess={"3": "3 (arrow)", "4": "4 (ruler)"},
    default="0",
    parents=LAYERED,
    children={"Annotations": ["Annotation"], "Regions": ["Region", "RegionAttributeHeaders"]},
    subject=lambda layer, element, _: f"annotation {layer.get('Id', '?')}, region {element.get('Id', '?')}",
    name=_name,
    remedy="give it or its layer a name or an attribute",
)


def check_analyzed(root: Element, findings: Findings) -> None:
    """Warn if some regions are left out of analyses; add a note if all are."""
    left_out = [
        (region.get("Analyze") or layer.get("Analyze") or "1").strip() == "0"
        for layer in root.iterfind("Annotation")
        for region in layer.iter("Region")
        if region.get("Type", "0").strip() in IMAGESCOPE.areas and region.get("NegativeROA", "0").strip() != "1"
    ]
    if all(left_out):
        findings.notes.extend([f"{ANALYZED} (all {len(left_out)})"] * bool(left_out))
    elif any(left_out):
        findings.warnings.append(add_count(f"{ANALYZED}: remove them if they are not meant", sum(left_out), "region"))


def scale_warnings(root: Element, mpp: float | None) -> Iterator[str]:
    """Yield a warning if a file was drawn at another scale than the slide's.

    It also warns about a scale that is not a number. Scales are in micrometres per pixel.
    """
    stated = root.get("MicronsPerPixel", "").strip()
    try:
        drawn = float(stated.replace(",", ".") or 0)
    except ValueError:
        drawn = -1.0
    if not 0 <= drawn < float("inf"):
        yield f"its MicronsPerPixel is {stated!r:.40}, which is not a number: check that it is this slide's annotation"
    elif mpp and drawn and not 1 / NEAR < drawn / mpp < NEAR:
        yield f"it was drawn at {drawn:g} µm per pixel, and the slide has {mpp:g}: check whether it is this slide's"
