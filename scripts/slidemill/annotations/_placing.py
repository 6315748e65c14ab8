"""Where the regions of an annotation lie on its slide, and what to say of those that lie strangely."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from xml.etree.ElementTree import Element

import shapely

from slidemill.annotations.frames import Frame
from slidemill.annotations.regions import COUNTED, DROPPED, LINES, Annotation, Region
from slidemill.core.pyramid import Size
from slidemill.core.run_warnings import add_count

FAR = 0.1
"""Regions that reach farther beyond a slide, as a fraction of its side, are of another slide, level or frame."""

MOST_NOTES = 100
"""Notes of one file that are kept: each stands in the report, and of cells there are hundreds of thousands."""

NEAR = 1.02
"""Micrometres per pixel that differ by no more than this factor are the same, rounded."""


def of_another_scan(root: Element, frame: Frame) -> Iterator[str]:
    """Yield a warning where ImageScope drew on pixels of another size than the slide's, or where that is unclear."""
    told = root.get("MicronsPerPixel", "").strip()
    try:
        mpp = float(told.replace(",", ".") or 0)
    except ValueError:
        mpp = -1.0
    if not 0 <= mpp < float("inf"):
        yield f"its MicronsPerPixel is {told!r:.40}, which is no number: see whether it is this slide's annotation"
    elif frame.mpp and mpp and not 1 / NEAR < mpp / frame.mpp < NEAR:
        yield f"it was drawn at {mpp:g} µm per pixel, and the slide has {frame.mpp:g}: see whether it is this slide's"


def placed(annotation: Annotation, frame: Frame, origin: str) -> Annotation:
    """Return an annotation moved to where its coordinates start, with no more notes than somebody would read.

    A warning is added where all that it holds was left out, or where regions lie beyond the slide.

    Parameters
    ----------
    annotation
        As it was read.
    frame
        Where the slide lies in its coordinates.
    origin
        Where these start unless the frame says otherwise: ``"canvas"`` or ``"bounds"``.
    """
    regions, warnings = annotation.regions, list(annotation.warnings)
    corner, told = frame.laid(origin)
    if regions and any(corner):
        shapes = shapely.transform([one.shape for one in regions], lambda vertices: vertices + corner)
        regions = tuple(Region(one.name, shape) for one, shape in zip(regions, shapes, strict=True))
    if not regions and annotation.notes:
        warnings = [one for one in warnings if one not in (DROPPED, LINES)]  # the next one says it of them all
        warnings.append("no region of the annotation encloses an area, so that it marks nothing")
    if regions and frame.canvas:
        warnings += _beyond(regions, frame.canvas)
    counts = {text: warnings.count(text) for text in COUNTED}
    counted = [add_count(text, count, "region") for text, count in counts.items() if count]
    warnings = counted + [one for one in warnings if one not in counts]
    notes = (*(told if regions else ()), *annotation.notes)
    return replace(annotation, regions=regions, notes=_few(notes), warnings=_few(warnings))


def _beyond(regions: Sequence[Region], canvas: Size) -> Iterator[str]:
    """Yield a warning where regions lie where no annotation of the slide would have them."""
    width, height = canvas
    left, top, right, bottom = shapely.bounds([one.shape for one in regions]).T
    outside = (right <= 0) | (bottom <= 0) | (left >= width) | (top >= height)
    low, high = -FAR, 1 + FAR
    far = (left < low * width) | (top < low * height) | (right > high * width) | (bottom > high * height)
    if count := int((outside | far).sum()):
        text = "regions lie outside the slide or reach far beyond it: are they of this slide, in level-0 pixels?"
        yield add_count(text, count, "region")
    elif right.max() <= 1 and bottom.max() <= 1:
        yield "all regions lie within one pixel: coordinates are level-0 pixels, not fractions of the slide"


def _few(texts: Sequence[str]) -> tuple[str, ...]:
    """Return the first of many texts, and how many more there are."""
    more = len(texts) - MOST_NOTES
    return (*texts[:MOST_NOTES], f"and {more} more notes of this kind") if more > 0 else tuple(texts)
