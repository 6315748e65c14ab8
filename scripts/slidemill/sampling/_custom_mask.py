"""Read custom tissue masks: regions, or an image that is 0 outside tissue."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import shapely

from slidemill.annotations.frames import Frame
from slidemill.annotations.label_image import Integers, LabelImage
from slidemill.annotations.read import read_annotation
from slidemill.annotations.regions import Annotation, polygons
from slidemill.core.pyramid import Size, SlideInfo
from slidemill.core.specs import Naming
from slidemill.core.text import format_list
from slidemill.errors import AnnotationError, SlideError
from slidemill.sampling._label_rules import fractions_within
from slidemill.sampling._mask_doubts import LEAST, doubts, palette_doubts
from slidemill.sampling.label_warnings import coarseness
from slidemill.sampling.tissue_mask import Mask, SelectedArea
from slidemill.slides.discovery import encode_path, slide_path

FINE = 4
"""Fractional bits of a pixel to which corners are drawn."""


def read_mask(
    path: Path,
    info: SlideInfo,
    size: Size,
    *,
    values: Sequence[int] | None = None,
    origin: str | None = None,
    side: float = math.inf,
) -> SelectedArea:
    """Return the area in a custom mask, with notes and warnings.

    Parameters
    ----------
    path
        A file that `slidemill.annotations.read.read_annotation` reads; names of regions do not count.
    info
        The slide.
    size
        ``(width, height)`` of the image.
    values
        The integers that mean tissue in an image; None for images of 0 and one other.
    origin
        As of `slidemill.annotations.frames.Frame`.
    side
        A patch's side in level-0 pixels.

    Raises
    ------
    AnnotationError
        When the file cannot be read, or is an image of several integers and `values` is None.
    """
    try:
        # A missing file and one that cannot be read give different errors.
        frame, naming = Frame(info.size, info.bounds, origin, info.mpp), Naming("tissue", is_needed=False)
        annotation = read_annotation(slide_path(path.parent, encode_path(Path(path.name))), frame, naming)
    except SlideError as error:
        raise AnnotationError(f"the mask of tissue {error}") from None
    notes = [f"its tissue is that of the mask {path.name}", *(f"{path.name}: {note}" for note in annotation.notes)]
    warnings = [f"{path.name}: {warning}" for warning in annotation.warnings]
    if image := annotation.image:
        warnings += [f"{path.name}: {warning}" for warning in coarseness(annotation, side)]
        there, image = image.values, _chosen(path.name, image, values)
        warnings += palette_doubts(path, image)
        annotation = replace(annotation, image=image)
        if values and not annotation.names:
            warnings.append(
                f"{path.name}: has none of tissue.mask_values {list(values)}, but {format_list(map(str, there))}"
            )
        elif there not in ((), (1,), (255,)):
            notes.append(f"{path.name}: tissue is where it is {format_list(map(str, image.values))}")
    elif len(kinds := {re.sub(r"[\W\d_]+", "", name).lower() for name in annotation.names}) > 1:
        warnings.append(
            f"{path.name}: its regions have {len(kinds)} kinds of names "
            f"({', '.join(sorted(set(annotation.names))[:5])}), and all count as tissue: leave in it what is tissue"
        )
    picture = Mask(_drawn(annotation, info, size), info.size)
    if not annotation.names:
        notes.append(f"{path.name}: holds no tissue")
        warnings.append(f"{path.name}: holds no tissue, so that no patch is kept: check whether it is the slide's mask")
    else:
        warnings += doubts(path.name, annotation, picture.pixels, size=info.size)
        if picture.fraction < LEAST:
            notes.append(f"{path.name}: {picture.fraction:.2%} of the slide is tissue by it, next to nothing")
    return SelectedArea(fractions_within(annotation), picture, tuple(notes), tuple(warnings))


def _chosen(name: str, image: LabelImage, values: Sequence[int] | None) -> LabelImage:
    """Return an image with only the integers that mean tissue."""
    if values is None:
        if len(image.values) > 1:
            raise AnnotationError(
                f"the mask of tissue {name}: holds {len(image.values)} values besides 0 "
                f"({format_list(map(str, image.values))}), and nothing says which of them mean tissue; name these, "
                "such as tissue.mask_values: [1], or save it as 0 "
                "and 1 without smoothing"
            )
        return image
    kept = np.array(sorted(set(values) & set(image.values)))
    places = np.flatnonzero(np.isin(image.values, kept))

    def bands(first: int, last: int) -> Iterator[tuple[int, Integers]]:
        for top, band in image.bands(first, last):
            yield top, np.where(np.isin(band, kept), band, 0)

    bounds = tuple(image.bounds[place] for place in places)
    return replace(image, values=tuple(kept.tolist()), bounds=bounds, bands=bands)


def _drawn(annotation: Annotation, info: SlideInfo, size: Size) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    if annotation.image:
        return (annotation.image.sampled(size) >= 0).astype(np.uint8)
    # Pixels on an outline are drawn too: fractions of patches are not computed from this image.
    picture = np.zeros(size[::-1], np.uint8)
    whole = shapely.union_all([region.shape for region in annotation.regions])
    scale = np.divide(size, info.size) * 2**FINE
    for polygon in polygons(whole):
        rings = [np.asarray(ring.coords) for ring in (polygon.exterior, *polygon.interiors)]
        # The middle of a pixel is half a pixel from its corner.
        corners = [np.round(ring * scale - 2 ** (FINE - 1)).astype(np.int32) for ring in rings]
        cv2.fillPoly(picture, corners, (1,), shift=FINE)
    return picture
