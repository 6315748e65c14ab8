"""Where a slide has tissue: a mask from a low resolution.

Made for bright-field slides of any usual stain: tissue is what has colour. Glass has none (its saturation is next
to 0), nor have black and transparent padding; felt pens have more than stains have, and other hues.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt
import openslide

from slidemill.encodings import Pixels
from slidemill.errors import SlideError
from slidemill.masks import MOST_PIXELS, Fractions, Mask
from slidemill.pyramid import Size
from slidemill.reading import thumbnail
from slidemill.selecting import Row, Step
from slidemill.slides import SlideInfo
from slidemill.specs import TissueSpec

MASK_MPP = 8.0
"""Micrometres a pixel of a mask, about those of a 1.25x objective; finer than any patch of use."""

LONGEST = 6000
"""A mask is not longer than this, in pixels: 48 mm of glass at `MASK_MPP`."""

USUAL_MPP = 0.25
"""Stands for a slide that does not say what its pixels measure: a scan at 40x."""

SMOOTHED = 5
"""Pixels along the side of the square whose median takes a pixel's place, so that noise makes no tissue."""

LEAST_THRESHOLD, MOST_THRESHOLD = 14, 40
"""Between which Otsu's threshold may lie, of 255: on empty glass it would part noise, on tissue alone, tissue."""

FIXED_THRESHOLD = 20
"""The saturation from which ``hsv`` takes a pixel for stained, of 255."""

STAINED_HUES = (100, 20)
"""Hues of stains for ``hsv``, in OpenCV's half degrees: from blue over violet, pink and red to brown."""

DARKEST = 40
"""What is darker in all three channels, of 255, is padding or ink: nuclei at this resolution are far brighter."""

SPECK, HOLE = 5_000.0, 10_000.0
"""Square micrometres of the smallest piece of tissue that is kept, and of the smallest hole."""

PENS = (
    # Hue from and to, in half degrees, and the least saturation, of 255.
    (35, 95, 70),  # green; no stain of histology's usual ones has this hue
    (96, 120, 140),  # blue; haematoxylin has hues from 120
    (176, 8, 200),  # red; eosin and blood are paler at this resolution, and bluer
    (20, 34, 160),  # yellow
)
HALO = 3
"""Pixels around ink that its edge, half glass, reaches."""

Shades = npt.NDArray[np.uint8]


def tissue_mask(slide: openslide.OpenSlide, info: SlideInfo, spec: TissueSpec) -> Mask:
    """Return where a slide has tissue.

    Parameters
    ----------
    slide
        The open slide.
    info
        What `slide_info` says of it.
    spec
        The method, ``"otsu"`` or ``"hsv"``, and the level that is read, or None for `MASK_MPP`.

    Raises
    ------
    SlideError
        When the slide lacks the level, it is too large for a mask, or cannot be read.
    """
    mpp, longest = info.mpp or USUAL_MPP, max(info.size)
    if spec.level is None:
        pixels = max(mask_size(info))
    else:
        if spec.level >= len(info.dimensions):
            raise SlideError(
                f"tissue.level is {spec.level}, and the slide has levels 0 to {len(info.dimensions) - 1}: choose one "
                "of them, or null"
            )
        width, height = info.dimensions[spec.level]
        if width * height > MOST_PIXELS:
            raise SlideError(
                f"tissue.level is {spec.level}, of {width} x {height} pixels, and a mask has {MOST_PIXELS:,} at most: "
                "choose a coarser level, or null"
            )
        pixels = max(width, height)
    image = np.asarray(thumbnail(slide, info, pixels))
    return Mask(stained(image, spec.method, longest * mpp / max(image.shape)), info.size)


def mask_size(info: SlideInfo) -> Size:
    """Return the ``(width, height)`` of a mask at `MASK_MPP`."""
    mpp, longest = info.mpp or USUAL_MPP, max(info.size)
    pixels = min(math.ceil(longest * mpp / MASK_MPP), LONGEST)
    width, height = (max(round(side * pixels / longest), 1) for side in info.size)
    return width, height


def tissue_step(fractions: Fractions, min_fraction: float) -> Step:
    """Return the step that tells each patch's ``tissue_fraction``, and drops those with less than `min_fraction`."""

    def step(rows: Sequence[Row]) -> list[str]:
        told = [f"{fraction:.4f}" for fraction in fractions(rows)]
        for row, fraction in zip(rows, told, strict=True):
            row["tissue_fraction"] = fraction
        # What the table says decides.
        return ["" if float(fraction) >= min_fraction else "tissue" for fraction in told]

    return step


def stained(image: Pixels, method: str, mpp: float) -> Shades:
    """Return which pixels show tissue, ``uint8 (height, width)`` of 0 and 1.

    Parameters
    ----------
    image
        ``uint8 (height, width, 3)``, RGB.
    method
        ``"otsu"`` parts the saturations of this slide (N. Otsu, 1979), ``"hsv"`` takes the same threshold and the
        hues of stains for all slides.
    mpp
        Micrometres a pixel.
    """
    excluded = _unusable(image)
    hue, saturation, _ = cv2.split(cv2.cvtColor(image, cv2.COLOR_RGB2HSV))
    saturation = cv2.medianBlur(saturation, SMOOTHED)
    if method == "otsu":
        tissue = saturation > _threshold(saturation[excluded == 0])
    else:
        first, last = STAINED_HUES
        tissue = (saturation > FIXED_THRESHOLD) & ((hue >= first) | (hue <= last))
    whole = _without_small(np.where(excluded, 0, tissue).astype(np.uint8), mpp)
    # A stroke within tissue is no hole in it.
    return np.where(excluded, 0, whole).astype(np.uint8)


def _threshold(saturation: Shades) -> float:
    """Return Otsu's threshold, kept within what glass and stains have."""
    if not saturation.size:
        return float(MOST_THRESHOLD)
    found, _ = cv2.threshold(saturation.reshape(1, -1), 0, 255, cv2.THRESH_OTSU)
    return float(np.clip(found, LEAST_THRESHOLD, MOST_THRESHOLD))


def ink(image: Pixels) -> Shades:
    """Return which pixels have the colour of a felt pen, ``uint8 (height, width)`` of 0 and 1."""
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    found = np.zeros(image.shape[:2], np.uint8)
    for first, last, least in PENS:
        for low, high in [(first, last)] if first <= last else [(first, 180), (0, last)]:
            found |= np.asarray(cv2.inRange(hsv, (low, least, DARKEST), (high, 255, 255)), np.uint8) & 1
    return found


def _unusable(image: Pixels) -> Shades:
    """Return which pixels are ink, with its edge, or black."""
    black = (image.max(axis=2) < DARKEST).astype(np.uint8)
    # Single pixels of such colours are noise of the scanner; a stroke is wider.
    square = np.ones((2, 2), np.uint8)
    marks = cv2.morphologyEx(ink(image) | black, cv2.MORPH_OPEN, square, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    reach = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * HALO + 1, 2 * HALO + 1))
    return np.asarray(cv2.dilate(marks, reach), np.uint8)


def _without_small(tissue: Shades, mpp: float) -> Shades:
    """Return the mask without small specks, and then without small holes."""
    kept = _large(tissue, SPECK / mpp**2)
    return 1 - _large(1 - kept, HOLE / mpp**2, connectivity=4)


def _large(mask: Shades, least: float, connectivity: int = 8) -> Shades:
    """Return the connected pieces of a mask that have at least so many pixels."""
    _, piece, facts, _ = cv2.connectedComponentsWithStats(mask, connectivity=connectivity)
    large = facts[:, cv2.CC_STAT_AREA] >= least
    large[0] = False
    return np.asarray(large[piece], np.uint8)
