"""Read annotations in XML, whose layers hold regions and holes.

A region's outline encloses an area, or is a hole in other regions.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element

import numpy as np
import shapely
from shapely.geometry import MultiPolygon, Polygon

from slidemill.annotations._xml_format import AGAIN, XmlFormat, check_nesting, check_places, has_place
from slidemill.annotations.regions import (
    LINE_VERTICES,
    LINES,
    STRAYS,
    Annotation,
    Findings,
    Region,
    Vertex,
    bounding_box,
    corners,
    enclose,
    polygons,
)

ELLIPSE_VERTICES = 256
POINTS = "PointSet"
"""The type of regions that are many points, and not a line."""


@dataclass(frozen=True, slots=True)
class _Drawn:
    """A drawn region: its name in messages, its id, and its shape without holes."""

    subject: str
    identity: str
    region: Region


def read_layers(root: Element, form: XmlFormat, findings: Findings) -> Annotation:
    """Return the regions of a file of XML.

    Parameters
    ----------
    root
        Its first element.
    form
        The format of its program.
    findings
        Are added to.

    Raises
    ------
    AnnotationError
        When a coordinate is not a number, an outline cannot be repaired, or a region is not understood or has no name.
    """
    places, regions = 0, list[Region]()
    check_nesting(root, form, findings.file)
    for layer in root.iterfind(form.layers):
        drawn, holes = [], list[tuple[str, MultiPolygon]]()
        for number, element in enumerate(layer.iter(form.region), start=1):
            subject = form.subject(layer, element, number)
            vertices = _vertices(element, form, subject, findings=findings)
            places += len(vertices)
            kind = element.get("Type", form.default).strip()
            if kind in form.arealess:
                findings.arealess[f"{form.region.lower()}s of type {form.arealess[kind]}"] += 1
                findings.warnings.extend([LINES] * (kind != POINTS and len(vertices) > LINE_VERTICES))
                continue
            is_hole = _is_hole(element, kind, form, subject=subject, findings=findings)
            shape = _list_outlined(form.areas[kind], vertices, subject, findings=findings)
            if shape is not None and is_hole:
                holes.append((element.get("InputRegionId", "0"), shape))
            elif shape is not None:
                name = form.name(layer, element, findings)
                region = findings.region(name, shape, subject=subject, remedy=form.remedy)
                drawn.append(_Drawn(subject, element.get("Id", ""), region))
        known_ids = {one.get("Id", "") for one in layer.iter(form.region) if one.get(form.negative, "0").strip() != "1"}
        findings.warnings.extend(STRAYS for target, _ in holes if target not in {*known_ids, "0"})
        named = [(target if target in known_ids else None, shape) for target, shape in holes]
        regions += _with_holes(drawn, named, findings.warnings)
    check_places(root, form, places, file=findings.file)
    return findings.annotation(regions)


def _is_hole(element: Element, kind: str, form: XmlFormat, *, subject: str, findings: Findings) -> bool:
    """Return whether a region is a hole.

    Raises
    ------
    AnnotationError
        When it does not say so by 0 or 1, or may enclose an area or not.
    """
    if kind not in form.areas:
        areas = (one if one.isalpha() else f"{one} ({name})" for one, name in form.areas.items())
        known = ", ".join((*areas, *form.arealess.values()))
        raise findings.error(
            subject,
            f"a region of type {kind!r:.40} may enclose an area, and only {known} are known: draw it as one of these, "
            "or remove it",
        )
    if element.get(form.capped, "0").strip() != "0":
        raise findings.error(
            subject, f"a {kind} with end caps may be an open line: draw it as a region without, or remove it"
        )
    found = element.get(form.negative, "0").strip()
    if found not in ("0", "1"):
        raise findings.error(subject, f"NegativeROA is {found!r:.40}: give 0, or 1 for a hole")
    return found == "1"


def _with_holes(
    drawn: Sequence[_Drawn], holes: Sequence[tuple[str | None, MultiPolygon]], warnings: list[str]
) -> list[Region]:
    """Return a layer's regions with its holes cut out.

    Regions of which nothing is left are dropped.

    Parameters
    ----------
    drawn
        The layer's regions.
    holes
        Its holes, each with the id of the region that it is cut out of, or None for all regions of the layer.
    warnings
        Is added to.
    """
    own: dict[str | None, list[MultiPolygon]] = {}
    for target, shape in holes:
        own.setdefault(target, []).append(shape)
    anyones = own.pop(None, [])
    tree, vain = shapely.STRtree(anyones), set(range(len(anyones)))
    regions = []
    for one in drawn:
        shape = one.region.shape
        met = tree.query(shape, predicate="intersects").tolist()
        vain.difference_update(met)
        cut = own.get(one.identity, []) + [anyones[place] for place in sorted(met)]
        left = polygons(shapely.difference(shape, shapely.union_all(cut)) if cut else shape)
        if left:
            regions.append(Region(one.region.name, MultiPolygon(left)))
        else:
            warnings.append(f"{one.subject}: holes of its layer leave nothing of it")
    if vain:
        warnings.append(f"holes (negative regions) that meet no region of their layer cut nothing ({len(vain)})")
    return regions


def _vertices(region: Element, form: XmlFormat, subject: str, *, findings: Findings) -> list[Vertex]:
    """Return a region's vertices.

    Raises
    ------
    AnnotationError
        When a coordinate is not a number, text or other elements take the place of vertices, or there are several
        outlines.
    """
    outlines = list(region.iter(form.outline))
    if any((vertices.text or "").strip() for vertices in outlines):
        raise findings.error(subject, f"its vertices are text: {AGAIN}")
    if strange := [one.tag for own in outlines for one in own if one.tag != form.vertex and not has_place(one)]:
        raise findings.error(subject, f"<{strange[0]}> is among its vertices: {AGAIN}")
    if len(outlines) > 1:
        raise findings.error(subject, f"it has {len(outlines)} outlines: make each a separate region")
    places = form.ordered(list(region.iter(form.vertex)))
    return [findings.vertex(one.get("X"), one.get("Y"), subject) for one in places]


def _list_outlined(form: str, vertices: Sequence[Vertex], subject: str, *, findings: Findings) -> MultiPolygon | None:
    """Return the area in a polygon, rectangle or ellipse, or None if it is empty.

    Parameters
    ----------
    form
        ``"polygon"``, ``"rectangle"`` or ``"ellipse"``; the latter two may be given by opposite corners.
    vertices
        In level-0 pixels.
    subject, findings
        What messages call the region, and what is added to.

    Raises
    ------
    AnnotationError
        When the outline cannot be repaired, or a rectangle has three corners. When an ellipse has neither two opposite
        corners of its bounding box, nor all four, nor the middles of its sides: it may be turned.
    """
    if len(vertices) < (3 if form == "polygon" else 2):
        findings.drop(f"{subject}: {len(vertices)} vertices enclose nothing, and it was left out")
        return None
    left, top, right, bottom = bounding_box(vertices)
    middle = (left + right) / 2, (top + bottom) / 2
    places = set(vertices)
    upright = all(
        (_is_near(x, (left, right)) and _is_near(y, (top, bottom)))
        or _is_near(x, middle[:1])
        or _is_near(y, middle[1:])
        for x, y in places
    )
    if (form == "rectangle" and len(places) == 3) or (form == "ellipse" and not (upright and len(places) in (1, 2, 4))):
        raise findings.error(
            subject,
            f"its {len(places)} vertices are not the corners of the {form}, two opposite ones or all four: draw it as "
            "a polygon",
        )
    if form != "ellipse":
        return enclose([[corners(vertices)]], subject, findings)
    angles = np.linspace(0.0, 2 * np.pi, ELLIPSE_VERTICES, endpoint=False)
    radii = (right - left) / 2, (bottom - top) / 2
    outline = np.column_stack([np.cos(angles), np.sin(angles)]) * radii + middle
    return enclose([[Polygon(outline)]], subject, findings)


def _is_near(value: float, known: Iterable[float]) -> bool:
    return any(abs(value - one) <= 1 for one in known)
