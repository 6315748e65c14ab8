"""Ink of felt pens in a picture of a slide, and what tells it from stains of the same colours.

Light green, methyl green, aniline blue, methyl blue and Alcian blue have the hues of felt pens. A stroke of a pen is
long, of one thickness, smooth, and lies on the glass too; a slide whose tissue has such a colour has more of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from slidemill.core.encodings import Pixels

Shades = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

DARKEST = 40
"""What is darker in all three channels, of 255, is padding or ink: nuclei at this resolution are far brighter."""

PENS = (
    # Hue from and to, in half degrees, and the least saturation, of 255.
    (35, 95, 70),  # green
    (96, 120, 140),  # blue; haematoxylin has hues from 120
    (176, 8, 200),  # red; eosin and blood are paler at this resolution, and bluer
    (20, 34, 160),  # yellow
)
HALO = 3
"""Pixels around ink that its edge, half glass, reaches."""

LEAST_AREA = 30
"""Pixels of the smallest stroke that is looked at: a thousandth of a square millimetre or two."""

INNER = 2.5
"""Pixels from the edge of a stroke from which on its own colour is seen."""

SMOOTH = 0.1
"""The most that the optical density may vary within 3 x 3 pixels of ink, on the mean and as a share of itself.

On OpenSlide's CMU-1-Small-Region, at 8 micrometres a pixel, a quarter varies by less than 0.16, and a twentieth by less
than 0.09. A flat stroke in a low level, a JPEG of quality 85, varies by up to 0.08, for
JPEG's blocks reach in from its edges.
"""

LENGTH = 4.0
"""A stroke's area is at least so many times that of the largest circle within it: about three times as long as wide."""

EDGE = 1.0
"""Pixels by which a stroke with its blurred edge, which has its dye, is thicker on either side than its colour is."""

ON_GLASS = 0.95
"""At least this share of what lies around a stroke is glass, where the stroke proves that there was a pen."""

ALIKE = 30
"""Levels of 255, in each channel, within which two strokes are of one pen."""

ONE_DYE = 0.985
"""The cosine of two optical densities, as vectors of red, green and blue, from which on they may be of one dye.

By Beer and Lambert's law the direction is that of the dye, however much of it there is. Haematoxylin and blue ink have
0.95, light green and green ink 0.99.
"""

PALEST = 0.5
"""Tissue of a pen's dye is counted from this share of the pen's optical density on: eosin has red ink's, and far less.
"""

PROVEN = 0.5
"""At least this share of what has a pen's colour, within twice `ALIKE`, and of its dye, is strokes that prove it.

Where it is less, the colours of pens are the denser parts of a stain, cut out by the saturations of `PENS`.
"""

MOST_INK = 0.5
"""Of all that has colour, pens have no more; where it looks as if they had, they are stains."""


@dataclass(frozen=True, eq=False)
class Ink:
    """What of a picture is ink.

    Parameters
    ----------
    pixels
        ``uint8 (height, width)``: 1 where ink is left out, with its edge.
    doubtful
        ``uint8 (height, width)``: 1 where there are colours of pens that are kept, since stains have them too.
    padding
        ``uint8 (height, width)``: 1 where black reaches the edge of the slide, with its own edge.
    """

    pixels: Shades
    doubtful: Shades
    padding: Shades

    @property
    def unusable(self) -> Shades:
        """Ink and padding."""
        return self.pixels | self.padding


def pen_colours(image: Pixels) -> Shades:
    """Return which pixels have the colour of a felt pen, ``uint8 (height, width)`` of 0 and 1."""
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    found = np.zeros(image.shape[:2], np.uint8)
    for first, last, least in PENS:
        for low, high in [(first, last)] if first <= last else [(first, 180), (0, last)]:
            found |= np.asarray(cv2.inRange(hsv, (low, least, DARKEST), (high, 255, 255)), np.uint8) & 1
    return found


def find_ink(image: Pixels, coloured: Shades, pens: str) -> Ink:
    """Return what of a picture is ink.

    Parameters
    ----------
    image
        ``uint8 (height, width, 3)``, RGB, at about 8 micrometres a pixel.
    coloured
        ``uint8 (height, width)``: 1 where there is more colour than glass has.
    pens
        ``"auto"`` leaves out what can only be the stroke of a pen, ``"exclude"`` all that has the colour of one,
        ``"keep"`` none of it. Black is left out in each case.
    """
    # Single pixels of such colours are noise of the scanner; a stroke is wider.
    black, colours = _opened((image.max(axis=2) < DARKEST).astype(np.uint8)), _opened(pen_colours(image))
    if pens == "auto":
        strokes = _strokes(image, colours, coloured)
    else:
        strokes = colours if pens == "exclude" else np.zeros_like(colours)
    at_the_edge = _at_the_edge(black)
    padding = _grown(at_the_edge)
    ink = np.where(padding == 1, 0, _grown(np.where(at_the_edge == 1, strokes, strokes | black).astype(np.uint8)))
    doubtful = np.where((padding | ink == 1) | (pens == "keep"), 0, colours)
    return Ink(ink.astype(np.uint8), doubtful.astype(np.uint8), padding)


def _strokes(image: Pixels, colours: Shades, coloured: Shades) -> Shades:
    """Return the pieces of pens' colours that are strokes of a pen."""
    piece, area, radius, smooth = _pieces(image, colours)
    count = len(area)
    colour = np.stack(
        [np.bincount(piece.ravel(), image[..., channel].ravel(), count) / area for channel in range(3)], axis=1
    )
    large = (area >= LEAST_AREA) & (radius >= INNER)
    proofs = np.flatnonzero(smooth & (area >= LENGTH * math.pi * radius**2))
    chosen = np.zeros(count, bool)
    if len(proofs):
        proofs = proofs[_on_glass(piece, coloured, count)[proofs] >= ON_GLASS]
    every = coloured | colours
    todo = proofs[np.argsort(-area[proofs], kind="stable")]
    while len(todo):
        apart = np.abs(colour - colour[todo[0]]).max(axis=1)
        apart[0] = np.inf
        dye = _of_one_dye(image, colour[todo[0]], every)
        # Where a pen's colour is the denser part of a stain, holes and gaps make it look thin.
        alike = proofs[apart[proofs] <= ALIKE]
        depth = np.asarray(cv2.distanceTransform(dye | np.isin(piece, alike).astype(np.uint8), cv2.DIST_L2, 5))
        np.maximum.at(wide := np.zeros(count), piece[colours == 1], depth[colours == 1])
        alike = alike[area[alike] >= LENGTH * math.pi * (wide[alike] - EDGE).clip(INNER) ** 2]
        # What such a pen has drawn elsewhere, over the tissue or as a dot, has its colour, and is smooth. Tissue
        # that is stained so has more of that colour, in pieces that are no strokes or too pale for a pen, and then
        # nothing is proven.
        if area[alike].sum() >= PROVEN * max(area[apart <= 2 * ALIKE].sum(), np.count_nonzero(dye)):
            chosen |= (smooth | ~large) & (apart <= ALIKE)
        todo = todo[apart[todo] > ALIKE]
    strokes = chosen[piece].astype(np.uint8)
    # What is left out is the strokes with their edges, by which small pieces within tissue would be most of it.
    few = np.count_nonzero(_grown(strokes) & every) <= MOST_INK * np.count_nonzero(every)
    return strokes if few else np.zeros_like(colours)


def even_pieces(image: Pixels, tissue: Shades) -> Shades:
    """Return the pieces of tissue that are as smooth as ink, of whatever colour, ``uint8 (height, width)``."""
    piece, _, _, smooth = _pieces(image, tissue)
    return smooth[piece].astype(np.uint8)


def _pieces(image: Pixels, marks: Shades) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64], Floats, Bools]:
    """Return each pixel's piece of some marks, and each piece's area, radius, and whether it is as smooth as ink."""
    count, found, facts, _ = cv2.connectedComponentsWithStats(marks, connectivity=8)
    piece = np.asarray(found, np.int32)
    area = np.asarray(facts, np.int64)[:, cv2.CC_STAT_AREA]
    depth = np.asarray(cv2.distanceTransform(marks, cv2.DIST_L2, 5), np.float32)
    radius = np.zeros(count)
    np.maximum.at(radius, piece[marks == 1], depth[marks == 1])
    inner = (depth >= INNER) & (marks == 1)
    members = piece[inner]
    seen = np.maximum(np.bincount(members, minlength=count), 1)
    varies = np.bincount(members, _variation(image)[inner], count) / seen
    smooth = (area >= LEAST_AREA) & (radius >= INNER) & (varies <= SMOOTH)
    smooth[0] = False
    return piece, area, radius, smooth


def _of_one_dye(image: Pixels, colour: Floats, every: Shades) -> Shades:
    """Return which of some pixels may be of the dye of a colour, and are about as dense."""
    densities, density = (-np.log10((shade.astype(np.float32) + 1) / 256) for shade in (image[every == 1], colour))
    length, most = np.sqrt((densities**2).sum(axis=1)), np.sqrt((density**2).sum())
    cosine = densities @ density / np.maximum(length * most, 1e-6)
    found = np.zeros_like(every)
    found[every == 1] = (cosine >= ONE_DYE) & (length >= PALEST * most)
    return found


def _variation(image: Pixels) -> Floats:
    """Return how much the optical density varies around each pixel, as a share of itself."""
    density = -np.log10((image.mean(axis=2, dtype=np.float32) + 1) / 256)
    mean = cv2.blur(density, (3, 3))
    square = cv2.blur(density * density, (3, 3))
    return np.asarray(np.sqrt(np.maximum(square - mean * mean, 0)) / np.maximum(mean, 0.02), np.float64)


def _on_glass(piece: npt.NDArray[np.int32], coloured: Shades, count: int) -> Floats:
    """Return which share of what lies around each piece, beyond its blurred edge, has no colour."""
    numbers = piece.astype(np.float32)
    near, far = (cv2.dilate(numbers, _disc(reach)) for reach in (HALO, HALO + 1))
    ring = (near == 0) & (far > 0)
    around = far[ring].astype(np.intp)
    glass = np.bincount(around, coloured[ring] == 0, count)
    return np.asarray(glass / np.maximum(np.bincount(around, minlength=count), 1), np.float64)


def _at_the_edge(black: Shades) -> Shades:
    """Return the pieces of black that reach the edge of the picture."""
    _, piece = cv2.connectedComponents(black, connectivity=8)
    edges = np.unique(np.concatenate([piece[0], piece[-1], piece[:, 0], piece[:, -1]]))
    return np.asarray(np.isin(piece, edges) & (black == 1), np.uint8)


def _opened(marks: Shades) -> Shades:
    square = np.ones((2, 2), np.uint8)
    return np.asarray(
        cv2.morphologyEx(marks, cv2.MORPH_OPEN, square, borderType=cv2.BORDER_CONSTANT, borderValue=0), np.uint8
    )


def _grown(marks: Shades) -> Shades:
    return np.asarray(cv2.dilate(marks, _disc(HALO)), np.uint8)


def _disc(reach: int) -> Shades:
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1)), np.uint8)
