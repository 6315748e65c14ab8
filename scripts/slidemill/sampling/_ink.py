"""Find felt-pen ink, and distinguish it from stains of the same colours.

Light green, methyl green, aniline blue, methyl blue and Alcian blue have the hues of felt pens. A pen stroke is long,
of one thickness, smooth, and partly on glass; tissue of such a colour has more of it. The criteria are custom.
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
"""Pixels that are darker in all channels, of 255, are padding or ink: nuclei at this resolution are far brighter."""

PENS = (
    # Hue from and to, in half degrees, and the least saturation, of 255.
    (35, 95, 70),  # green
    (96, 120, 140),  # blue; haematoxylin has hues from 120
    (176, 8, 200),  # red; eosin and blood are paler at this resolution, and bluer
    (20, 34, 160),  # yellow
)
HALO = 3
"""Width of the blurred edge around ink, in pixels."""

LEAST_AREA = 30
"""The smallest area of a stroke, in pixels: 0.002 mm²."""

INNER = 2.5
"""Distance from the edge of a stroke, in pixels, beyond which its colour is pure."""

SMOOTH = 0.1
"""The largest mean variation of optical density within 3 x 3 pixels of ink, as a share of the density.

On OpenSlide's CMU-1-Small-Region, at 8 micrometres a pixel, a quarter varies by less than 0.16, and a twentieth by less
than 0.09. A flat stroke in a low level, a JPEG of quality 85, varies by up to 0.08, for
JPEG's blocks reach in from its edges.
"""

LENGTH = 4.0
"""The least ratio of a stroke's area to the largest circle within it: about three times as long as wide."""

EDGE = 1.0
"""Pixels by which a stroke's dye, with its blurred edge, extends beyond its colour on each side."""

ON_GLASS = 0.95
"""The least share of glass around a stroke that proves a pen."""

ALIKE = 30
"""The largest difference, of 255 in each channel, between strokes of one pen."""

ONE_DYE = 0.985
"""The least cosine between optical densities, as vectors of red, green and blue, of one dye.

By Beer and Lambert's law, the direction depends only on the dye, not on its amount. Haematoxylin and blue ink have
0.95, light green and green ink 0.99.
"""

PALEST = 0.5
"""The least share of a pen's optical density at which tissue counts as of its dye: eosin is like red ink, but paler."""

PROVEN = 0.5
"""The least share that proving strokes have of everything in a pen's colour (within twice `ALIKE`) and of its dye.

If it is less, the colours of pens are the denser parts of a stain, cut out by the saturations of `PENS`.
"""

MOST_INK = 0.5
"""The largest share of the coloured area that pens may have; a larger one is stain."""


@dataclass(frozen=True, eq=False)
class Ink:
    """Masks of the ink in an image.

    Parameters
    ----------
    pixels
        ``uint8 (height, width)``: 1 in ink that is excluded, with its edge.
    doubtful
        ``uint8 (height, width)``: 1 in colours of pens that are kept, since stains have them too.
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
    """Return a mask of the pixels with the colour of a felt pen.

    The mask is ``uint8 (height, width)`` of 0 and 1.
    """
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    found = np.zeros(image.shape[:2], np.uint8)
    for first, last, least in PENS:
        for low, high in [(first, last)] if first <= last else [(first, 180), (0, last)]:
            found |= np.asarray(cv2.inRange(hsv, (low, least, DARKEST), (high, 255, 255)), np.uint8) & 1
    return found


def find_ink(image: Pixels, coloured: Shades, pens: str) -> Ink:
    """Find the ink in an image.

    Parameters
    ----------
    image
        ``uint8 (height, width, 3)``, RGB, at about 8 µm per pixel.
    coloured
        ``uint8 (height, width)``: 1 in pixels with more colour than glass.
    pens
        ``"auto"`` excludes what can only be a pen stroke, ``"exclude"`` everything in the colours of pens, ``"keep"``
        nothing. Black is excluded in each case.
    """
    # Single pixels of such colours are scanner noise; a stroke is wider.
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
    """Return the pieces in pen colours that are pen strokes."""
    # 1. Connected pieces, with their mean colours.
    piece, area, radius, smooth = _pieces(image, colours)
    count = len(area)
    colour = np.stack(
        [np.bincount(piece.ravel(), image[..., channel].ravel(), count) / area for channel in range(3)], axis=1
    )
    large = (area >= LEAST_AREA) & (radius >= INNER)
    # 2. Proofs: smooth, long pieces that are surrounded by glass.
    proofs = np.flatnonzero(smooth & (area >= LENGTH * math.pi * radius**2))
    chosen = np.zeros(count, bool)
    if len(proofs):
        proofs = proofs[_on_glass(piece, coloured, count)[proofs] >= ON_GLASS]
    # 3. From the largest proof on, decide about all pieces of its colour.
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
        # Other ink of the pen, over tissue or as a dot, has its colour and is smooth. Stained tissue has more of that
        # colour, in pieces that are not strokes or too pale for a pen, so that nothing is proven.
        if area[alike].sum() >= PROVEN * max(area[apart <= 2 * ALIKE].sum(), np.count_nonzero(dye)):
            chosen |= (smooth | ~large) & (apart <= ALIKE)
        todo = todo[apart[todo] > ALIKE]
    strokes = chosen[piece].astype(np.uint8)
    # 4. Strokes are excluded with their edges, which may be most of the area of small pieces within tissue.
    few = np.count_nonzero(_grown(strokes) & every) <= MOST_INK * np.count_nonzero(every)
    return strokes if few else np.zeros_like(colours)


def even_pieces(image: Pixels, tissue: Shades) -> Shades:
    """Return a mask of the pieces of tissue that are as smooth as ink.

    The mask is ``uint8 (height, width)``, 1 in such pieces.
    """
    piece, _, _, smooth = _pieces(image, tissue)
    return smooth[piece].astype(np.uint8)


def _pieces(image: Pixels, marks: Shades) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64], Floats, Bools]:
    """Return each pixel's piece, and the area, radius and smoothness of each piece."""
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
    """Return the pixels of `every` with the same dye and a similar density.

    The dye is that of `colour`. Pixels may be denser than `colour`, and only a little paler.
    """
    densities, density = (-np.log10((shade.astype(np.float32) + 1) / 256) for shade in (image[every == 1], colour))
    length, most = np.sqrt((densities**2).sum(axis=1)), np.sqrt((density**2).sum())
    cosine = densities @ density / np.maximum(length * most, 1e-6)
    found = np.zeros_like(every)
    found[every == 1] = (cosine >= ONE_DYE) & (length >= PALEST * most)
    return found


def _variation(image: Pixels) -> Floats:
    """Return the relative standard deviation of optical density within 3 x 3 pixels."""
    density = -np.log10((image.mean(axis=2, dtype=np.float32) + 1) / 256)
    mean = cv2.blur(density, (3, 3))
    square = cv2.blur(density * density, (3, 3))
    return np.asarray(np.sqrt(np.maximum(square - mean * mean, 0)) / np.maximum(mean, 0.02), np.float64)


def _on_glass(piece: npt.NDArray[np.int32], coloured: Shades, count: int) -> Floats:
    """Return the share of pixels without colour around each piece.

    The blurred edge of the piece is left out.
    """
    numbers = piece.astype(np.float32)
    near, far = (cv2.dilate(numbers, _disc(reach)) for reach in (HALO, HALO + 1))
    ring = (near == 0) & (far > 0)
    around = far[ring].astype(np.intp)
    glass = np.bincount(around, coloured[ring] == 0, count)
    return np.asarray(glass / np.maximum(np.bincount(around, minlength=count), 1), np.float64)


def _at_the_edge(black: Shades) -> Shades:
    """Return the black pieces that reach the edge of the image."""
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
