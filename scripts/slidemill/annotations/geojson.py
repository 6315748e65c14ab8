"""Annotations as GeoJSON, as QuPath exports them.

A FeatureCollection, a list of features, or one feature. A region's label is the name of its classification
(QuPath's derived classes have ``names``, told with ``: `` between them), which may be text that holds JSON, as
geopandas writes it. Other places are not guessed: `labels.property` names another property.
Polygons and multipolygons are read, with their holes, whatever QuPath calls the object, and those of collections of
geometries however deep; points and lines enclose nothing. Any other geometry is refused.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from shapely.geometry import MultiPolygon, Polygon

from slidemill.annotations._holes import lie_in_each_other, meet
from slidemill.annotations._xml_layers import left_out
from slidemill.annotations.regions import (
    DROPPED,
    ISLANDS,
    LINE_VERTICES,
    LINES,
    NESTED,
    Annotation,
    Region,
    Vertex,
    enclosed,
    region_name,
    vertex,
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
"""A line that ends where it begins goes round something where it has more positions."""


def read_geojson(value: object, file: str, naming: Naming) -> Annotation:
    """Return the regions of GeoJSON that was decoded.

    Parameters
    ----------
    value
        What the file holds.
    file
        Its name.
    naming
        Which property names a region, and how regions without a name are labelled.

    Raises
    ------
    AnnotationError
        When it is no GeoJSON, a value is not what GeoJSON has there, an outline cannot be repaired, or a region is not
        understood or has no name.
    """
    regions: list[Region] = []
    notes: list[str] = []
    features = _features(value, file)
    warnings = list(_system(value, features))
    known: set[str] = set()
    others: Counter[str] = Counter()
    closed = named = 0
    for number, feature in enumerate(features, start=1):
        subject = f"feature {number}"
        geometry = _mapping(feature, "geometry", subject, file)
        parts = list(_parts(geometry, subject, file)) if geometry else []  # of null there are none
        lines = list(_lines(geometry))
        closed += sum(1 for line in lines if len(line) > LOOP and line[0] == line[-1])
        warnings += [LINES for line in lines if len(line) > LINE_VERTICES and line[0] != line[-1]]
        if not parts:
            others[geometry.get("type", "none")] += 1
            warnings += [] if geometry else [DROPPED]
            continue
        shape = _shape(parts, subject, file, notes, warnings)
        if shape is not None:
            properties = _mapping(feature, "properties", subject, file)
            known.update(properties)
            remedy = (
                f"its properties are {', '.join(sorted(properties)) or 'none'!s:.400}; give it a class, or name the "
                "property that holds it by labels.property"
            )
            name = _name(properties, naming.property, subject, file)
            named += bool(name)
            regions.append(Region(region_name(name, naming.unnamed, f"{file}: {subject}", remedy), shape))
    notes += left_out({f"features of type {kind}": count for kind, count in others.items()})
    if closed:
        warnings.append(
            add_count("lines that end where they begin enclose nothing: draw them as polygons", closed, "line")
        )
    if regions and not named:
        warnings += _nameless(known, naming)
    return Annotation(tuple(regions), tuple(notes), warnings=tuple(warnings))


def _system(value: object, features: Sequence[object]) -> Iterator[str]:
    """Yield a warning where a file, a feature or a geometry names a coordinate system: level-0 pixels have none."""
    own = [one for one in features if isinstance(one, dict)]
    for one in (value, *own, *(feature.get("geometry") for feature in own)):
        if isinstance(one, dict) and one.get("crs") is not None:
            yield f"names a coordinate system ({one['crs']!r:.100}); its coordinates were taken as level-0 pixels"
            return


def _nameless(known: set[str], naming: Naming) -> Iterator[str]:
    """Yield a warning where no region of an annotation has a name, unless QuPath's class is merely left out."""
    if naming.is_needed and (naming.property != CLASSIFICATION or known - QUPATHS):
        yield (
            f"no region has a name in the property {naming.property!r} (labels.property), so that all are "
            f"{naming.unnamed!r} (labels.unnamed): their properties are {', '.join(sorted(known)) or 'none'!s:.300}"
        )


def _parts(geometry: Mapping[str, Any], subject: str, file: str) -> Iterator[object]:
    """Yield the coordinates of each polygon of a geometry, however deep it lies in collections."""
    kind = geometry.get("type")
    if kind == "Polygon":
        yield geometry.get("coordinates")
    elif kind == "MultiPolygon":
        yield from _listed(geometry.get("coordinates"), subject, file) or [[]]  # an empty one is left out with a word
    elif kind == "GeometryCollection":
        geometries = _listed(geometry.get("geometries"), subject, file)
        if not geometries:
            yield []
        for part in geometries:
            if not isinstance(part, dict):
                raise AnnotationError(f"{file}: {subject}: a geometry is {part!r:.80}: export the annotation again")
            yield from _parts(part, subject, file)
    elif kind not in AREALESS:
        raise AnnotationError(
            f"{file}: {subject}: a geometry of type {kind!r:.40} may enclose an area, and GeoJSON has none: draw it "
            "as a Polygon, or remove it"
        )


def _lines(geometry: Mapping[str, Any]) -> Iterator[list[Any]]:
    """Yield the positions of each line of a geometry, however deep it lies in collections."""
    kind, lines = geometry.get("type"), geometry.get("coordinates")
    if kind == "GeometryCollection":
        for part in geometry.get("geometries") or ():
            yield from _lines(part) if isinstance(part, dict) else ()
    elif kind in ("LineString", "MultiLineString") and isinstance(lines, list):
        yield from (line for line in ([lines] if kind == "LineString" else lines) if isinstance(line, list))


def _features(value: object, file: str) -> Sequence[object]:
    """Return the features that a file holds."""
    kind = value.get("type") if isinstance(value, dict) else None
    features = value.get("features") if isinstance(value, dict) and kind == "FeatureCollection" else value
    if kind == "Feature":
        return [value]
    if not isinstance(features, list):
        raise AnnotationError(f"{file}: holds no features of GeoJSON: export the annotation again, as GeoJSON")
    return features


def _mapping(feature: object, key: str, subject: str, file: str) -> dict[str, Any]:
    """Return a mapping that a feature has, or an empty one where it has null, or no properties."""
    found = None
    if isinstance(feature, dict) and feature.get("type") == "Feature" and (key in feature or key == "properties"):
        found = {} if feature.get(key) is None else feature[key]
    if not isinstance(found, dict):
        raise AnnotationError(f"{file}: {subject} is no feature of GeoJSON with {key}: export the annotation again")
    return found


def _name(properties: Mapping[str, Any], key: str, subject: str, file: str) -> str:
    """Return a region's label, or nothing where it has none."""
    told = properties.get(key)
    if isinstance(told, str) and told.lstrip()[:1] in ("{", "["):
        try:
            told = json.loads(told)
        except ValueError:
            raise AnnotationError(
                f"{file}: {subject}: its {key} is text that is no JSON ({told!r:.80}): export the annotation again"
            ) from None
    if isinstance(told, dict):
        if not {"name", "names"} & told.keys() and told.keys() - COLOURS:
            raise AnnotationError(f"{file}: {subject}: its {key} is {told!r:.80}, which has no name: give it one")
        names = told.get("names")
        told = told.get("name")
        if names and isinstance(names, list) and all(isinstance(name, str) for name in names):
            told = ": ".join(names)
    if not isinstance(told, str | None):
        raise AnnotationError(f"{file}: {subject} is named {told!r:.80}: give text")
    return (told or "").strip()


def _shape(
    parts: Sequence[object], subject: str, file: str, notes: list[str], warnings: list[str]
) -> MultiPolygon | None:
    """Return polygons' coordinates as a valid shape, or None where they enclose nothing."""
    kept = []
    for part in parts:
        rings = [_ring(ring, subject, file) for ring in _listed(part, subject, file)]
        short = [len(ring) for ring in rings if len(ring) < 3]
        if short or not rings:
            notes.append(f"{subject}: {min(short, default=0)} vertices enclose nothing, and were left out")
            warnings.append(DROPPED)
        if rings and len(rings[0]) > 2:
            outer, *holes = (Polygon(ring) for ring in rings if len(ring) > 2)
            if any(hole.area >= outer.area > 0 for hole in holes):
                raise AnnotationError(f"{file}: {subject}: a hole is as large as its outline: write the outline first")
            if any(not meet(hole, outer) for hole in holes):
                raise AnnotationError(
                    f"{file}: {subject}: a hole lies outside its outline: write outlines as polygons of their own"
                )
            if len(holes) > 1 and lie_in_each_other([[hole] for hole in holes]):
                warnings.append(ISLANDS)
            kept.append([outer, *holes])
    if len(kept) > 1 and lie_in_each_other(kept):
        warnings.append(NESTED)
    return enclosed(kept, subject, file, notes, warnings) if kept else None


def _ring(ring: object, subject: str, file: str) -> list[Vertex]:
    """Return a ring's vertices in level-0 pixels; numbers after x and y are passed over."""
    places = []
    for position in _listed(ring, subject, file):
        place = _listed(position, subject, file)[:2]
        if len(place) < 2 or any(isinstance(value, str) for value in place):
            raise AnnotationError(f"{file}: {subject}: a position is {place!r:.80}: give two numbers")
        places.append(vertex(place[0], place[1], subject, file))
    return places


def _listed(value: object, subject: str, file: str) -> list[Any]:
    if not isinstance(value, list):
        raise AnnotationError(f"{file}: {subject}: its coordinates hold {value!r:.80}: give lists of x and y")
    return value
