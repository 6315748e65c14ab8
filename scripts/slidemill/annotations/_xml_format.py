"""Describe the XML formats of annotation programs, and reject files that deviate.

Elements that are not known would otherwise be skipped, and with them regions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from slidemill.annotations.regions import Findings
from slidemill.errors import AnnotationError

LAYERED = {
    "Annotation": ("Annotations",),
    "Regions": ("Annotation",),
    "Region": ("Regions", "Annotation"),
}
"""By an element of ImageScope and HALO, those that may hold it."""

ELEMENTS = {
    one.lower(): one
    for one in ("Annotation", "Regions", "Region", "Vertices", "Vertex", "Attributes", "Attribute", "Coordinates")
}
"""By their lower case, the elements that bear on labels."""

ATTRIBUTES = {
    "Annotations": ("MicronsPerPixel",),
    "Annotation": ("Name", "Type", "PartOfGroup"),
    "Region": ("Id", "Type", "Text", "NegativeROA", "InputRegionId", "HasEndcaps"),
    "Attribute": ("Value",),
    "Coordinate": ("Order",),
}
"""By element, the attributes that say what a region is, and what it is called."""

BY_LOWER_CASE = {tag: {one.lower(): one for one in known} for tag, known in ATTRIBUTES.items()}

XML_NAMES = "{http://www.w3.org/XML/1998/namespace}"

AGAIN = "export the annotation again"


@dataclass(frozen=True, slots=True, kw_only=True)
class XmlFormat:
    """How a program writes annotations in XML.

    Parameters
    ----------
    program
        Its name in messages.
    layers
        The path of the layers in the file's first element.
    region, outline, vertex
        The elements of a region, of its outline, and of a vertex, which has ``X`` and ``Y``.
    areas
        By the type of a region that encloses an area, ``"polygon"``, ``"rectangle"`` or ``"ellipse"``.
    arealess
        By the type of a region that encloses nothing, what messages call the type.
    default
        The type of regions that state none.
    parents, children
        By an element, those that may hold it, and those that it holds unless it is empty.
    subject
        From a layer, a region of it and its number to what messages call the region.
    name
        From a layer and a region of it to the region's name, or nothing; it may add warnings.
    remedy
        What to do about a region without a name.
    negative, capped
        The attributes that say whether a region is a hole, and may be an open line; nothing where there are none.
    ordered
        Puts the elements of vertices into their order.
    """

    program: str
    layers: str = "Annotation"
    region: str = "Region"
    outline: str = "Vertices"
    vertex: str
    areas: Mapping[str, str]
    arealess: Mapping[str, str]
    default: str
    parents: Mapping[str, Sequence[str]]
    children: Mapping[str, Sequence[str]]
    subject: Callable[[Element, Element, int], str]
    name: Callable[[Element, Element, Findings], str]
    remedy: str
    negative: str = "NegativeROA"
    capped: str = ""
    ordered: Callable[[list[Element]], list[Element]] = list


def check_spelling(root: Element, program: str, file: str) -> None:
    """Check that elements and attributes of regions are spelt as the program does.

    Raises
    ------
    AnnotationError
        When an element or an attribute has a known name in another letter case, or in a namespace.
    """
    for element in root.iter():
        known = BY_LOWER_CASE.get(element.tag, {})
        for name, right in (
            (element.tag, ELEMENTS.get(element.tag.lower(), element.tag)),
            *((key, known.get(key.rpartition("}")[2].lower(), key)) for key in element.attrib),
        ):
            if right != name and not name.startswith(XML_NAMES):
                raise AnnotationError(f"{file}: {name!r:.80} is not {program}'s spelling: write {right!r}")


def check_nesting(root: Element, form: XmlFormat, file: str) -> None:
    """Check that elements are nested as the program nests them.

    Otherwise it is in doubt which layer names a region.

    Raises
    ------
    AnnotationError
        When one of these elements is in another, or an element that is not empty holds none that is known there.
    """
    for parent in root.iter():
        known, tags = form.children.get(parent.tag, ()), [child.tag for child in parent]
        if known and tags and not set(tags) & set(known):
            raise AnnotationError(
                f"{file}: <{tags[0]}> is in <{parent.tag}>, where {form.program} has <{known[0]}>: {AGAIN}"
            )
        for tag in tags:
            if parent.tag not in form.parents.get(tag, (parent.tag,)):
                raise AnnotationError(f"{file}: <{tag}> is in <{parent.tag}>, where {form.program} has none: {AGAIN}")


def check_places(root: Element, form: XmlFormat, count: int, *, file: str) -> None:
    """Check that the `count` vertices read are all elements with X and Y.

    Raises
    ------
    AnnotationError
        When there are others: regions that are not understood.
    """
    found = Counter(one.tag for one in root.iter() if has_place(one))
    found.subtract({form.vertex: count})
    others = [f"{surplus} <{name}>" for name, surplus in found.items() if surplus]
    if others:
        raise AnnotationError(
            f"{file}: {', '.join(others)[:200]} with X and Y are where {form.program} has none: {AGAIN}"
        )


def has_place(element: Element) -> bool:
    """Return whether an element has coordinates."""
    return {"x", "y"} <= set(map(str.lower, element.attrib))
