"""Outlines of masks as polygons along the edges of their pixels."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from slidemill.sampling.tissue_mask import Mask


def outlines(mask: Mask) -> list[shapely.Polygon]:
    """Return the connected areas of a mask with their holes, in level-0 pixels.

    Pixels are connected where they share an edge.
    """
    # Each run of pixels in a row is a box, and the boxes' union has the outlines.
    edges = np.diff(np.pad(mask.pixels, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    rows, starts = np.nonzero(edges == 1)
    ends = np.nonzero(edges == -1)[1]
    merged = shapely.union_all(shapely.box(starts, rows, ends, rows + 1))
    scale = np.divide(mask.size0, mask.pixels.shape[::-1])
    # The union keeps a vertex wherever boxes meet; those on straight edges are removed.
    areas = shapely.transform(shapely.simplify(merged, 0), lambda points: points * scale)
    return [
        area for area in shapely.get_parts(areas).tolist() if isinstance(area, shapely.Polygon) and not area.is_empty
    ]


def write_outlines(path: Path, areas: Sequence[shapely.Polygon], header: Mapping[str, Any]) -> None:
    """Write areas as GeoJSON, with their number as ``tissue_id``.

    Parameters
    ----------
    path
        The file.
    areas
        In the pixels of the file.
    header
        Further members of the collection.
    """
    features = [
        {"type": "Feature", "properties": {"tissue_id": number}, "geometry": shapely.geometry.mapping(area)}
        for number, area in enumerate(areas)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"type": "FeatureCollection", **header, "features": features}), encoding="utf-8")
