"""Read annotations in GeoJSON, as QuPath exports them.

A FeatureCollection, a list of features, or one feature. A region's label is the name of its classification
(QuPath's derived classes have ``names``, joined with ``: ``), which may be text that holds JSON, as
geopandas writes it. Other places are not guessed: `labels.property` names another property.
Polygons and multipolygons are read, with their holes, for any of QuPath's types of objects, and those of collections of
geometries however deep; points and lines enclose nothing. Any other geometry is rejected.

QuPath writes ``plane`` into geometries that are not of its default plane: ``z`` counts focal planes and ``t`` time
points, from 0. OpenSlide reads one plane, so a warning counts regions of others.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import shapely
from shapely.geometry import MultiPolygon, Polygon

from slidemill.annotations.regions import (
    DROPPED,
    ISLANDS,
    LINE_VERTICES,
    LINES,
    NESTED,
    PLANES,
    Annotation,
    Findings,
    Region,
    Vertex,
    enclose,
    solid,
)
from slidemill.core.run_warnings import add_count
from slidemill.core.specs import CLASSIFICATION, Naming
from slidemill.errors import AnnotationError

AREALESS = ("Point", "MultiPoint", "LineString", "MultiLineString")
QUPATHS = {CLASSIFICATION, "objectType", "object_type", "isLocked", "isEllipse", "measurements", "color", "metadata"}
"""Properties that QuPath gives to objects without a class; none of them is a class."""

COLOURS = {"color", "colorRGB"}
"""What QuPath's classification has besides its name."""

LOOP = 3
"""A line with more positions that ends where it begins goes round something."""


def read_geojson(value: object, findings: Findings) -> Annotation:
    """Return the regions of decoded GeoJSON.

    Raises
    ------
    AnnotationError
        When it is not GeoJSON, a value is not what GeoJSON has there, an outline cannot be repaired, or a region is not
        understood or has no name.
    """
    regions: list[Region] = []
    features, warnings = _features(value, findings.file), findings.warnings
    warnings += [] if _are_tridents(features) else _system(value, features)
    known: set[str] = set()
    closed = named = 0
    for number, feature in enumerate(features, start=1):
        subject = f"feature {number}"
        geometry = _mapping(feature, "geometry", subject, findings=findings)
        parts = list(_parts(geometry, subject, findings)) if geometry else []  # null has none
        lines = list(_lines(geometry))
        closed += sum(1 for line in lines if len(line) > LOOP and line[0] == line[-1])
        warnings += [LINES for line in lines if len(line) > LINE_VERTICES and line[0] != line[-1]]
        if not parts:
            findings.arealess[f"features of type {geometry.get('type', 'none')}"] += 1
            warnings += [] if geometry else [DROPPED]
            continue
        shape = _shape(parts, subject, findings)
        if shape is not None:
            plane = geometry.get("plane")
            warnings += [PLANES] * (isinstance(plane, dict) and any(plane.get(axis) for axis in ("z", "t")))
            properties = _mapping(feature, "properties", subject, findings=findings)
            known.update(properties)
            remedy = (
                f"its properties are {', '.join(sorted(properties)) or 'none'!s:.400}; give it a class, or name the "
                "property that holds it by labels.property"
            )
            name = _name(properties, subject, findings)
            named += bool(name)
            regions.append(findings.region(name, shape, subject=subject, remedy=remedy))
    if closed:
        warnings.append(
            add_count("lines that end where they begin enclose nothing: draw them as polygons", closed, "line")
        )
    if regions and not named:
        warnings += _nameless(known, findings.naming)
    return findings.annotation(regions)


def geojson_origin(value: object, findings: Findings) -> str:
    """Return where coordinates start: ``"bounds"`` as QuPath's do, or ``"canvas"`` as contours of TRIDENT do."""
    return "canvas" if _are_tridents(_features(value, findings.file)) else "bounds"


def _are_tridents(features: Sequence[object]) -> bool:
    """Return whether features are TRIDENT's contours of tissue, which name a coordinate system and are in pixels."""
    found = [feature.get("properties") if isinstance(feature, dict) else None for feature in features]
    tridents = (isinstance(own, dict) and "tissue_id" in own and CLASSIFICATION not in own for own in found)
    return bool(found) and all(tridents)


def _system(value: object, features: Sequence[object]) -> Iterator[str]:
    """Yield a warning if a file, feature or geometry names a coordinate system.

    Level-0 pixels have none.
    """
    own = [one for one in features if isinstance(one, dict)]
    for one in (value, *own, *(feature.get("geometry") for feature in own)):
        if isinstance(one, dict) and one.get("crs") is not None:
            yield f"names a coordinate system ({one['crs']!r:.100}); its coordinates were taken as level-0 pixels"
            return


def _nameless(known: set[str], naming: Naming) -> Iterator[str]:
    """Yield a warning if no region of an annotation has a name.

    It yields none if objects merely lack QuPath's class.
    """
    if naming.is_needed and (naming.property != CLASSIFICATION or known - QUPATHS):
        yield (
            f"no region has a name in the property {naming.property!r} (labels.property), so that all are "
            f"{naming.unnamed!r} (labels.unnamed): their properties are {', '.join(sorted(known)) or 'none'!s:.300}"
        )


def _parts(geometry: Mapping[str, Any], subject: str, findings: Findings) -> Iterator[object]:
    """Yield the coordinates of a geometry's polygons, including nested collections."""
    kind = geometry.get("type")
    if kind == "Polygon":
        yield geometry.get("coordinates")
    elif kind == "MultiPolygon":
        yield from _require_list(geometry.get("coordinates"), subject, findings) or [
            []
        ]  # an empty one is dropped and noted
    elif kind == "GeometryCollection":
        geometries = _require_list(geometry.get("geometries"), subject, findings)
        if not geometries:
            yield []
        for part in geometries:
            if not isinstance(part, dict):
                raise findings.error(subject, f"a geometry is {part!r:.80}: export the annotation again")
            yield from _parts(part, subject, findings)
    elif kind not in AREALESS:
        raise findings.error(
            subject,
            f"a geometry of type {kind!r:.40} may enclose an area, and GeoJSON has none: draw it as a Polygon, or "
            "remove it",
        )


def _lines(geometry: Mapping[str, Any]) -> Iterator[list[Any]]:
    """Yield the positions of a geometry's lines, including nested collections."""
    kind, lines = geometry.get("type"), geometry.get("coordinates")
    if kind == "GeometryCollection":
        for part in geometry.get("geometries") or ():
            yield from _lines(part) if isinstance(part, dict) else ()
    elif kind in ("LineString", "MultiLineString") and isinstance(lines, list):
        yield from (line for line in ([lines] if kind == "LineString" else lines) if isinstance(line, list))


def _features(value: object, file: str) -> Sequence[object]:
    """Return the features of a file."""
    kind = value.get("type") if isinstance(value, dict) else None
    features = value.get("features") if isinstance(value, dict) and kind == "FeatureCollection" else value
    if kind == "Feature":
        return [value]
    if not isinstance(features, list):
        raise AnnotationError(f"{file}: holds no features of GeoJSON: export the annotation again, as GeoJSON")
    return features


def _mapping(feature: object, key: str, subject: str, *, findings: Findings) -> dict[str, Any]:
    """Return a feature's mapping.

    It is empty if the value is null, or if the feature has no properties.
    """
    found = None
    if isinstance(feature, dict) and feature.get("type") == "Feature" and (key in feature or key == "properties"):
        found = {} if feature.get(key) is None else feature[key]
    if not isinstance(found, dict):
        raise AnnotationError(
            f"{findings.file}: {subject} is not a GeoJSON feature with {key}: export the annotation again"
        )
    return found


def _name(properties: Mapping[str, Any], subject: str, findings: Findings) -> str:
    """Return a region's label, or an empty text if it has none."""
    key = findings.naming.property
    found = properties.get(key)
    if isinstance(found, str) and found.lstrip()[:1] in ("{", "["):
        try:
            found = json.loads(found)
        except ValueError:
            raise findings.error(
                subject, f"its {key} is text that is not JSON ({found!r:.80}): export the annotation again"
            ) from None
    if isinstance(found, dict):
        if not {"name", "names"} & found.keys() and found.keys() - COLOURS:
            raise findings.error(subject, f"its {key} is {found!r:.80}, which has no name: give it one")
        names = found.get("names")
        found = found.get("name")
        if names and isinstance(names, list) and all(isinstance(name, str) for name in names):
            found = ": ".join(names)
    if not isinstance(found, str | None):
        raise AnnotationError(f"{findings.file}: {subject} is named {found!r:.80}: give text")
    return (found or "").strip()


def _shape(parts: Sequence[object], subject: str, findings: Findings) -> MultiPolygon | None:
    """Return polygons' coordinates as a valid shape, or None if it is empty."""
    kept = []
    for part in parts:
        rings = [_ring(ring, subject, findings) for ring in _require_list(part, subject, findings)]
        short = [len(ring) for ring in rings if len(ring) < 3]
        if short or not rings:
            findings.drop(f"{subject}: {min(short, default=0)} vertices enclose nothing, and were left out")
        if rings and len(rings[0]) > 2:
            outer, *holes = (Polygon(ring) for ring in rings if len(ring) > 2)
            if any(hole.area >= outer.area > 0 for hole in holes):
                raise findings.error(subject, "a hole is as large as its outline: write the outline first")
            if any(not _meet(hole, outer) for hole in holes):
                raise findings.error(subject, "a hole is outside its outline: write outlines as separate polygons")
            findings.warnings.extend([ISLANDS] * _lie_in_each_other([[hole] for hole in holes]))
            kept.append([outer, *holes])
    findings.warnings.extend([NESTED] * _lie_in_each_other(kept))
    return enclose(kept, subject, findings) if kept else None


def _lie_in_each_other(parts: Sequence[Sequence[Polygon]]) -> bool:
    """Return whether an outline is within the area of another part.

    It may be meant as that part's hole.
    """
    if len(parts) < 2:
        return False
    shapes = [solid(*part) for part in parts]
    shapely.prepare(shapes)
    one, other = shapely.STRtree(shapes).query(shapes)
    low, high = np.hsplit(shapely.bounds(shapes), 2)
    within = (one != other) & (low[one] >= low[other]).all(axis=1) & (high[one] <= high[other]).all(axis=1)
    for inner, around in zip(one[within], other[within], strict=True):
        places = shapely.get_coordinates(shapes[inner].exterior)
        if shapely.intersects_xy(shapes[around], *places[0]) and shapely.intersects_xy(shapes[around], places).all():
            return True
    return False


def _meet(hole: Polygon, outer: Polygon) -> bool:
    """Return whether a hole and the area in its outline overlap or touch.

    Contact of the edges of their bounding boxes does not count.
    """
    left, top, right, bottom = hole.bounds
    low_x, low_y, high_x, high_y = outer.bounds
    if min(right, high_x) <= max(left, low_x) or min(bottom, high_y) <= max(top, low_y):
        return False
    shapely.prepare(outer)  # there may be thousands of holes
    return bool(shapely.intersects(outer, hole))


def _ring(ring: object, subject: str, findings: Findings) -> list[Vertex]:
    """Return a ring's vertices in level-0 pixels; numbers after x and y are ignored."""
    places = []
    for position in _require_list(ring, subject, findings):
        place = _require_list(position, subject, findings)[:2]
        if len(place) < 2 or any(isinstance(value, str) for value in place):
            raise findings.error(subject, f"a position is {place!r:.80}: give two numbers")
        places.append(findings.vertex(place[0], place[1], subject))
    return places


def _require_list(value: object, subject: str, findings: Findings) -> list[Any]:
    if not isinstance(value, list):
        raise findings.error(subject, f"its coordinates hold {value!r:.80}: give lists of x and y")
    return value
