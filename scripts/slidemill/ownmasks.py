"""Masks of tissue that somebody has made: the regions of an annotation, or an image that is 0 where there is none."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import shapely

from slidemill.annotations import read_annotation
from slidemill.discovery import encoded, slide_path
from slidemill.errors import AnnotationError, SlideError
from slidemill.frames import frame_of
from slidemill.labelling import fractions_within
from slidemill.masks import Fractions, Mask
from slidemill.pyramid import Size
from slidemill.regions import Annotation, polygons
from slidemill.slides import SlideInfo
from slidemill.specs import Naming

FINE = 4
"""Bits of a pixel's fraction to which corners are drawn."""


def own_mask(
    path: Path, info: SlideInfo, size: Size, origin: str | None = None
) -> tuple[Fractions, Mask, tuple[str, ...]]:
    """Return how much of patches a mask of one's own covers, exactly, a picture of it, and notes on it.

    Parameters
    ----------
    path
        Whatever `slidemill.annotations.read_annotation` reads; what the regions are called counts for nothing.
    info
        The slide.
    size
        ``(width, height)`` of the picture.
    origin
        As of `slidemill.frames.Frame`.

    Raises
    ------
    AnnotationError
        When the file cannot be read.
    """
    try:
        # Tells a file that is missing from one that cannot be read.
        annotation = read_annotation(
            slide_path(path.parent, encoded(Path(path.name))), frame_of(info, origin), Naming(unnamed="tissue")
        )
    except SlideError as error:
        raise AnnotationError(f"the mask of tissue {error}") from None
    notes = [
        f"its tissue is that of the mask {path.name}",
        *(f"{path.name}: {note}" for note in (*annotation.warnings, *annotation.notes)),
    ]
    if not annotation.names:
        notes.append(f"{path.name}: holds no tissue")
    return fractions_within(annotation), Mask(_drawn(annotation, info, size), info.size), tuple(notes)


def _drawn(annotation: Annotation, info: SlideInfo, size: Size) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    if annotation.image:
        return (annotation.image.sampled(size) >= 0).astype(np.uint8)
    # Pixels that an outline runs through are drawn too: shares are not taken from here.
    picture = np.zeros(size[::-1], np.uint8)
    whole = shapely.union_all([region.shape for region in annotation.regions])
    scale = np.divide(size, info.size) * 2**FINE
    for polygon in polygons(whole):
        rings = [np.asarray(ring.coords) for ring in (polygon.exterior, *polygon.interiors)]
        # A pixel's middle lies half a pixel from its corner.
        corners = [np.round(ring * scale - 2 ** (FINE - 1)).astype(np.int32) for ring in rings]
        cv2.fillPoly(picture, corners, (1,), shift=FINE)
    return picture
