"""Annotations as GeoJSON, as QuPath exports them.

A FeatureCollection, a list of features, or one feature. A region's label is the name of its classification
(QuPath's derived classes have ``names``, told with ``: `` between them), or its own name where it has none.
Polygons and multipolygons are read, with their holes, whatever QuPath calls the object; points and lines
enclose nothing.

QuPath crops a slide to its bounds when it opens it, where the slide names them (``openslide.bounds-*``, as those
of MIRAX do), and counts pixels from their corner. So the corner is added to all coordinates; a file says
nothing of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from shapely.geometry import MultiPolygon, Polygon

from slidemill.errors import AnnotationError
from slidemill.regions import Annotation, Region, Vertex, enclosed, vertex


def read_geojson(value: object, file: str, corner: Vertex) -> Annotation:
    """Return the regions of GeoJSON that was decoded.

    Parameters
    ----------
    value
        What the file holds.
    file
        Its name.
    corner
        Where its coordinates start, in level-0 pixels.

    Raises
    ------
    AnnotationError
        When it is no GeoJSON, a value is not what GeoJSON has there, or an outline cannot be repaired.
    """
    regions: list[Region] = []
    notes: list[str] = []
    others: Counter[str] = Counter()
    for number, feature in enumerate(_features(value, file), start=1):
        subject = f"feature {number}"
        geometry = _mapping(feature, "geometry", subject, file)
        kind = geometry.get("type", "none")
        if kind not in ("Polygon", "MultiPolygon"):
            others[f"{kind!s:.40}"] += 1
            continue
        coordinates = geometry.get("coordinates")
        shape = _shape([coordinates] if kind == "Polygon" else coordinates, subject, file, corner, notes)
        if shape is not None:
            regions.append(Region(_name(_mapping(feature, "properties", subject, file), subject, file), shape))
    notes += [f"{count} features of type {kind} enclose nothing and were left out" for kind, count in others.items()]
    if regions and any(corner):
        x, y = corner
        notes.insert(0, f"coordinates were taken to start at the slide's bounds, {x:g}, {y:g}, as QuPath's do")
    return Annotation(tuple(regions), tuple(notes))


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
    """Return a mapping that a feature has, or an empty one where it has null."""
    found = (feature.get(key) or {}) if isinstance(feature, dict) and feature.get("type") == "Feature" else None
    if not isinstance(found, dict):
        raise AnnotationError(f"{file}: {subject} is no feature of GeoJSON with {key}: export the annotation again")
    return found


def _name(properties: dict[str, Any], subject: str, file: str) -> str:
    """Return a region's label."""
    told = properties.get("classification")
    if isinstance(told, dict):
        names = told.get("names")
        told = ": ".join(map(str, names)) if isinstance(names, list) else told.get("name")
    name = properties.get("name") if told is None else told
    if not isinstance(name, str | None):
        raise AnnotationError(f"{file}: {subject} is named {name!r:.80}: give text")
    return (name or "").strip()


def _shape(parts: object, subject: str, file: str, corner: Vertex, notes: list[str]) -> MultiPolygon | None:
    """Return polygons' coordinates as a valid shape, or None where they enclose nothing."""
    kept = []
    for part in _listed(parts, subject, file):
        rings = [_ring(ring, subject, file, corner) for ring in _listed(part, subject, file)]
        short = [len(ring) for ring in rings if len(ring) < 3]
        if short or not rings:
            notes.append(f"{subject}: {min(short, default=0)} vertices enclose nothing, and were left out")
        if rings and len(rings[0]) > 2:
            kept.append([Polygon(ring) for ring in rings if len(ring) > 2])
    return enclosed(kept, subject, file, notes) if kept else None


def _ring(ring: object, subject: str, file: str, corner: Vertex) -> list[Vertex]:
    """Return a ring's vertices in level-0 pixels of the whole slide; numbers after x and y are passed over."""
    places = []
    for position in _listed(ring, subject, file):
        place = _listed(position, subject, file)[:2]
        if len(place) < 2 or any(isinstance(value, str) for value in place):
            raise AnnotationError(f"{file}: {subject}: a position is {place!r:.80}: give two numbers")
        x, y = vertex(place[0], place[1], subject, file)
        places.append((x + corner[0], y + corner[1]))
    return places


def _listed(value: object, subject: str, file: str) -> list[Any]:
    if not isinstance(value, list):
        raise AnnotationError(f"{file}: {subject}: its coordinates hold {value!r:.80}: give lists of x and y")
    return value
