"""Whether a file of XML holds what its reader knows: elements, attributes and places elsewhere would be passed over."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from xml.etree.ElementTree import Element

from slidemill.errors import AnnotationError

LAYERED = {
    "Annotation": ("Annotations",),
    "Regions": ("Annotation",),
    "Region": ("Regions", "Annotation"),
}
"""What elements of ImageScope and HALO may stand in."""

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


def check_spelling(root: Element, program: str, file: str) -> None:
    """Check that what bears on labels is spelt as a program spells it: in other letters it would be passed over.

    Raises
    ------
    AnnotationError
        When an element or an attribute has a known name in another letter case, or in a namespace of its own.
    """
    for element in root.iter():
        known = BY_LOWER_CASE.get(element.tag, {})
        for name, right in (
            (element.tag, ELEMENTS.get(element.tag.lower(), element.tag)),
            *((key, known.get(key.rpartition("}")[2].lower(), key)) for key in element.attrib),
        ):
            if right != name and not name.startswith(XML_NAMES):
                raise AnnotationError(f"{file}: {name!r:.80} stands where {program} has {right!r}: write it so")


def check_places(root: Element, tag: str, count: int, program: str, file: str) -> None:
    """Check that all elements with X and Y are called `tag` and have been read.

    Raises
    ------
    AnnotationError
        When there are others: regions that nobody has understood.
    """
    found = Counter(one.tag for one in root.iter() if has_place(one))
    found.subtract({tag: count})
    others = [f"{surplus} <{name}>" for name, surplus in found.items() if surplus]
    if others:
        raise AnnotationError(
            f"{file}: {', '.join(others)[:200]} with X and Y stand where {program} has none: export the annotation "
            "again"
        )


def has_place(element: Element) -> bool:
    """Return whether an element has coordinates of its own."""
    return {"x", "y"} <= set(map(str.lower, element.attrib))


def check_children(parent: Element, known: Sequence[str], program: str, file: str) -> None:
    """Check that an element that is not empty holds something that a program writes into it.

    Raises
    ------
    AnnotationError
        When it holds others only.
    """
    others = [child.tag for child in parent]
    if others and not set(others) & set(known):
        raise AnnotationError(
            f"{file}: <{others[0]}> stands in <{parent.tag}>, where {program} has <{known[0]}>: export the annotation "
            "again"
        )


def check_nesting(root: Element, parents: Mapping[str, Sequence[str]], program: str, file: str) -> None:
    """Check that elements stand where a program writes them: which layer names a region is in doubt elsewhere.

    Parameters
    ----------
    root
        The file's first element.
    parents
        By an element's name, the names of those that may hold it.
    program, file
        What messages name.

    Raises
    ------
    AnnotationError
        When one of these elements stands in another.
    """
    for parent in root.iter():
        for child in parent:
            if parent.tag not in parents.get(child.tag, (parent.tag,)):
                raise AnnotationError(
                    f"{file}: <{child.tag}> stands in <{parent.tag}>, where {program} has none: export the annotation "
                    "again"
                )
