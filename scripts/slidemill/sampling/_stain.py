"""What of a picture of a slide is tissue: what has more colour than glass has.

Glass has next to no saturation, nor have black and transparent padding.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from slidemill.core.encodings import Pixels
from slidemill.sampling._ink import Ink, Shades, even_pieces, find_ink

SMOOTHED = 5
"""Pixels along the side of the square whose median takes a pixel's place, so that noise makes no tissue."""

LEAST_THRESHOLD, MOST_THRESHOLD = 14, 40
"""Between which Otsu's threshold may lie, of 255: on empty glass it would part noise, on tissue alone, tissue."""

FIXED_THRESHOLD = 20
"""The saturation from which ``hsv`` takes a pixel for stained, of 255."""

STAINED_HUES = (80, 20)
"""Hues of stains for ``hsv``, in OpenCV's half degrees: from the greens and blues of trichromes over violet, pink and
red to brown."""

SPECK, HOLE = 5_000.0, 10_000.0
"""Square micrometres of the smallest piece of tissue that is kept, and of the smallest hole."""

GLASS_NOISE, GLASS_BRIGHT = 2.0, 180
"""Glass varies by no more, in levels of 255, and one of its channels is no darker."""

GLASS_SHARE, GLASS_EDGE = 0.05, 0.25
"""How much of the slide, and of its edge, glass must be for its tint to be known."""

MOST_TINT = 64
"""The saturation, of 255, of glass of the strongest tint; pale stains have more."""


@dataclass(frozen=True, slots=True)
class Rule:
    """From which saturation on, of 255, a method takes pixels for tissue.

    Parameters
    ----------
    method
        ``"otsu"`` or ``"hsv"``.
    threshold
        The one that is used.
    found
        Otsu's, before it was kept within `LEAST_THRESHOLD` and `MOST_THRESHOLD`.
    """

    method: str
    threshold: int
    found: int


@dataclass(frozen=True, eq=False)
class FoundTissue:
    """Where a picture shows tissue, and how that was found.

    Parameters
    ----------
    pixels
        ``uint8 (height, width)``: 1 where there is tissue.
    ink
        What was left out as ink and padding.
    rule
        The threshold.
    tint
        The colour of the glass, float64 (3,), RGB, where it had to be taken out first; or None.
    even
        ``uint8 (height, width)``: 1 where tissue is as smooth as ink, in a piece of its own; nowhere where pens are
        kept.
    """

    pixels: Shades
    ink: Ink
    rule: Rule
    tint: npt.NDArray[np.float64] | None
    even: Shades


def find_tissue(image: Pixels, method: str, mpp: float, pens: str = "auto") -> FoundTissue:
    """Return which pixels show tissue.

    Parameters
    ----------
    image
        ``uint8 (height, width, 3)``, RGB.
    method
        ``"otsu"`` parts the saturations of this slide (N. Otsu, 1979), ``"hsv"`` takes the same threshold and the
        hues of stains for all slides.
    mpp
        Micrometres a pixel.
    pens
        What is done with ink, see `slidemill.sampling._ink.find_ink`.
    """
    rule = _rule(image, method)
    tint = _tinted_glass(image, rule)
    if tint is not None:
        # Beer and Lambert's law is about what passes of the light that falls in, which the glass has coloured.
        image = np.minimum(image * (255 / np.maximum(tint, 1)), 255).astype(np.uint8)
        rule = _rule(image, method)
    ink = find_ink(image, _coloured(image, rule).astype(np.uint8), pens)
    excluded = ink.unusable
    # Ink and padding do not move the threshold.
    rule = _rule(image, method, excluded == 0)
    whole = _without_small(np.where(excluded, 0, _coloured(image, rule)).astype(np.uint8), mpp)
    # A stroke within tissue is no hole in it.
    tissue = np.where(excluded, 0, whole).astype(np.uint8)
    even = np.zeros_like(tissue) if pens == "keep" else even_pieces(image, tissue)
    return FoundTissue(tissue, ink, rule, tint, even)


def _rule(image: Pixels, method: str, usable: npt.NDArray[np.bool_] | None = None) -> Rule:
    """Return from which saturation on a method takes pixels for tissue, by those that are usable."""
    if method == "hsv":
        return Rule(method, FIXED_THRESHOLD, FIXED_THRESHOLD)
    saturation = _smoothed(image)[1]
    seen = saturation.ravel() if usable is None else saturation[usable]
    if not seen.size:
        return Rule(method, MOST_THRESHOLD, MOST_THRESHOLD)
    found, _ = cv2.threshold(seen.reshape(1, -1), 0, 255, cv2.THRESH_OTSU)
    return Rule(method, int(np.clip(found, LEAST_THRESHOLD, MOST_THRESHOLD)), int(found))


def _coloured(image: Pixels, rule: Rule) -> npt.NDArray[np.bool_]:
    """Return which pixels have the colour of tissue."""
    hue, saturation = _smoothed(image)
    coloured = saturation > rule.threshold
    if rule.method == "hsv":
        first, last = STAINED_HUES
        coloured &= (hue >= first) | (hue <= last)
    return np.asarray(coloured, np.bool_)


def _smoothed(image: Pixels) -> tuple[Shades, Shades]:
    """Return hue and saturation, the latter without noise."""
    hue, saturation, _ = cv2.split(cv2.cvtColor(image, cv2.COLOR_RGB2HSV))
    return np.asarray(hue, np.uint8), np.asarray(cv2.medianBlur(saturation, SMOOTHED), np.uint8)


def _tinted_glass(image: Pixels, rule: Rule) -> npt.NDArray[np.float64] | None:
    """Return the colour of the glass where it would be taken for tissue, float64 (3,), RGB; None elsewhere.

    Glass is bright and smoother than any tissue, and lies at the edge of the slide.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    mean = cv2.blur(grey, (SMOOTHED, SMOOTHED))
    spread = cv2.blur(grey * grey, (SMOOTHED, SMOOTHED)) - mean * mean
    even = (spread <= GLASS_NOISE**2) & (image.max(axis=2) >= GLASS_BRIGHT)
    frame = np.concatenate([even[0], even[-1], even[:, 0], even[:, -1]])
    if even.mean() < GLASS_SHARE or frame.mean() < GLASS_EDGE:
        return None
    colour = np.median(image[even], axis=0)
    patch = np.full((SMOOTHED, SMOOTHED, 3), np.round(colour), np.uint8)
    tinted = _coloured(patch, rule).all() and _smoothed(patch)[1].max() <= MOST_TINT
    return np.asarray(colour, np.float64) if tinted else None


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
