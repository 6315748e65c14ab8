"""Place an annotation's regions on its slide, and warn about odd positions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import shapely

from slidemill.annotations.regions import COUNTED, DROPPED, LINES, Annotation, Region, Vertex
from slidemill.core.pyramid import Size
from slidemill.core.run_warnings import add_count

FAR = 0.1
"""Regions that reach farther beyond a slide, as a fraction of its side, are of another slide, level or frame."""

MOST_NOTES = 100
"""Notes of one file that are kept: the report shows each, and cells have hundreds of thousands."""


@dataclass(frozen=True, slots=True)
class Frame:
    """Position of a slide in the coordinates of its annotation, in level-0 pixels.

    Parameters
    ----------
    canvas
        ``(width, height)`` of the slide; None where no image is laid over it.
    bounds
        ``(x, y, width, height)`` of the slide's bounds, or None where it names none.
    origin
        Where coordinates start, and what an image is laid over: ``"canvas"``, ``"bounds"``, or None where the format
        says. GeoJSON starts at the bounds, as QuPath's does, and all else at the canvas.
    mpp
        Micrometres per level-0 pixel of the slide, or None where it is not known.
    """

    canvas: Size | None = None
    bounds: tuple[int, int, int, int] | None = None
    origin: str | None = None
    mpp: float | None = None

    def start(self, default: str) -> tuple[Vertex, tuple[str, ...]]:
        """Return the point where coordinates start, and a note on it.

        The origin decides, or the `default` if the frame has none.
        """
        x, y, _, _ = self.bounds or (0, 0, 0, 0)
        if not (x or y) or (self.origin or default) == default == "canvas":
            return (0, 0), ()
        reason = f" (origin: {self.origin})" if self.origin else ", as QuPath's do"
        if (self.origin or default) == "bounds":
            return (x, y), (f"coordinates were taken to start at the slide's bounds, {x}, {y}{reason}",)
        return (0, 0), (f"coordinates were taken to start at the whole slide, not at its bounds, {x}, {y}{reason}",)


def place(annotation: Annotation, frame: Frame, origin: str) -> Annotation:
    """Return an annotation moved to its origin on the slide.

    It keeps at most `MOST_NOTES` notes and as many warnings.

    A warning is added if all of its content was left out, or if regions are beyond the slide.

    Parameters
    ----------
    annotation
        As it was read.
    frame
        The slide's position in its coordinates.
    origin
        Where these start unless the frame says otherwise: ``"canvas"`` or ``"bounds"``.
    """
    regions, warnings = annotation.regions, list(annotation.warnings)
    corner, note = frame.start(origin)
    if regions and any(corner):
        shapes = shapely.transform([one.shape for one in regions], lambda vertices: vertices + corner)
        regions = tuple(Region(one.name, shape) for one, shape in zip(regions, shapes, strict=True))
    if not regions and annotation.notes:
        warnings = [one for one in warnings if one not in (DROPPED, LINES)]  # the next one covers them all
        warnings.append("no region of the annotation encloses an area, so that it marks nothing")
    if regions and frame.canvas:
        warnings += _beyond(regions, frame.canvas)
    counts = {text: warnings.count(text) for text in COUNTED}
    counted = [add_count(text, count, "region") for text, count in counts.items() if count]
    warnings = counted + [one for one in warnings if one not in counts]
    notes = (*(note if regions else ()), *annotation.notes)
    return replace(annotation, regions=regions, notes=_few(notes), warnings=_few(warnings))


def _beyond(regions: Sequence[Region], canvas: Size) -> Iterator[str]:
    """Yield a warning if regions are far outside the slide, or within one pixel."""
    width, height = canvas
    left, top, right, bottom = shapely.bounds([one.shape for one in regions]).T
    outside = (right <= 0) | (bottom <= 0) | (left >= width) | (top >= height)
    low, high = -FAR, 1 + FAR
    far = (left < low * width) | (top < low * height) | (right > high * width) | (bottom > high * height)
    if count := int((outside | far).sum()):
        text = "regions are outside the slide or reach far beyond it: are they of this slide, in level-0 pixels?"
        yield add_count(text, count, "region")
    elif right.max() <= 1 and bottom.max() <= 1:
        yield "all regions are within one pixel: coordinates are level-0 pixels, not fractions of the slide"


def _few(texts: Sequence[str]) -> tuple[str, ...]:
    """Return the first of many texts, and the number of the others."""
    more = len(texts) - MOST_NOTES
    return (*texts[:MOST_NOTES], f"and {more} more notes of this kind") if more > 0 else tuple(texts)
