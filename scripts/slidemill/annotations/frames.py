"""Where annotations start: at the slide's canvas or at its bounds."""

from __future__ import annotations

from dataclasses import dataclass

from slidemill.annotations.regions import Vertex
from slidemill.core.pyramid import Size


@dataclass(frozen=True, slots=True)
class Frame:
    """Where a slide lies in the frame of its annotation, in level-0 pixels.

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

    def laid(self, default: str) -> tuple[Vertex, tuple[str, ...]]:
        """Return where coordinates start by the origin, or else by the `default`; and a note on it."""
        x, y, _, _ = self.bounds or (0, 0, 0, 0)
        if not (x or y) or (self.origin or default) == default == "canvas":
            return (0, 0), ()
        told = f" (origin: {self.origin})" if self.origin else ", as QuPath's do"
        if (self.origin or default) == "bounds":
            return (x, y), (f"coordinates were taken to start at the slide's bounds, {x}, {y}{told}",)
        return (0, 0), (f"coordinates were taken to start at the whole slide, not at its bounds, {x}, {y}{told}",)
