"""Find tissue: pixels that are more colourful than glass and padding."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from slidemill.core.encodings import Pixels
from slidemill.sampling._ink import Ink, Shades, even_pieces, find_ink

SMOOTHED = 5
"""Side, in pixels, of the square of the median filter against noise."""

LEAST_THRESHOLD, MOST_THRESHOLD = 14, 40
"""Limits of Otsu's threshold, of 255: else it would split the noise of empty glass, or tissue without glass."""

FIXED_THRESHOLD = 20
"""The saturation, of 255, above which ``hsv`` counts a pixel as stained."""

STAINED_HUES = (80, 20)
"""Hues of stains for ``hsv``, in OpenCV's half degrees: from the greens and blues of trichromes over violet, pink and
red to brown."""

SPECK, HOLE = 5_000.0, 10_000.0
"""Areas, in µm², of the smallest piece of tissue and of the smallest hole."""

GLASS_NOISE, GLASS_BRIGHT = 2.0, 180
"""Glass has at most this standard deviation, and its brightest channel at least this value, of 255."""

GLASS_SHARE, GLASS_EDGE = 0.05, 0.25
"""The least shares of the slide, and of its edge, that glass must have for its tint to be measured."""

MOST_TINT = 64
"""The saturation, of 255, of glass of the strongest tint; pale stains have more."""


@dataclass(frozen=True, slots=True)
class Rule:
    """The threshold of saturation, 0 to 255, above which a pixel counts as tissue.

    Parameters
    ----------
    method
        ``"otsu"`` or ``"hsv"``.
    threshold
        The threshold in use.
    found
        Otsu's threshold, before it was limited to `LEAST_THRESHOLD` and `MOST_THRESHOLD`.
    """

    method: str
    threshold: int
    found: int


@dataclass(frozen=True, eq=False)
class FoundTissue:
    """The tissue in an image, and how it was found.

    Parameters
    ----------
    pixels
        ``uint8 (height, width)``: 1 where there is tissue.
    ink
        The ink and padding that were excluded.
    rule
        The threshold.
    tint
        ``float64 (3,)``, RGB: the colour of tinted glass that was corrected first; or None.
    even
        ``uint8 (height, width)``: 1 in pieces of tissue that are as smooth as ink; 0 everywhere if pens are kept.
    """

    pixels: Shades
    ink: Ink
    rule: Rule
    tint: npt.NDArray[np.float64] | None
    even: Shades


def find_tissue(image: Pixels, method: str, mpp: float, *, pens: str = "auto") -> FoundTissue:
    """Find the pixels of an image that show tissue.

    Parameters
    ----------
    image
        ``uint8 (height, width, 3)``, RGB.
    method
        ``"otsu"``: a threshold of the slide's own saturations (N. Otsu, "A threshold selection method from gray-level
        histograms", IEEE Transactions on Systems, Man, and Cybernetics 9, 1979). ``"hsv"``: one threshold, and the hues
        of stains, for all slides.
    mpp
        µm per pixel.
    pens
        What to do with ink, see `slidemill.sampling._ink.find_ink`.
    """
    # 1. A first threshold, to recognize tinted glass and ink by.
    rule = _rule(image, method)
    tint = _tinted_glass(image, rule)
    if tint is not None:
        # 2. Divide by the colour of the glass: by Beer and Lambert's law, stains absorb shares of its light.
        image = np.minimum(image * (255 / np.maximum(tint, 1)), 255).astype(np.uint8)
        rule = _rule(image, method)
    # 3. Find ink and padding among the coloured pixels.
    ink = find_ink(image, _find_coloured(image, rule).astype(np.uint8), pens)
    excluded = ink.unusable
    # 4. The final threshold, without the influence of ink and padding.
    rule = _rule(image, method, excluded == 0)
    # 5. Coloured pixels are tissue; remove small specks, then fill small holes.
    whole = _without_small(np.where(excluded, 0, _find_coloured(image, rule)).astype(np.uint8), mpp)
    # 6. Exclude ink again: filling holes may have covered a stroke within tissue.
    tissue = np.where(excluded, 0, whole).astype(np.uint8)
    even = np.zeros_like(tissue) if pens == "keep" else even_pieces(image, tissue)
    return FoundTissue(tissue, ink, rule, tint, even)


def _rule(image: Pixels, method: str, usable: npt.NDArray[np.bool_] | None = None) -> Rule:
    """Return the threshold of a method, from the usable pixels."""
    if method == "hsv":
        return Rule(method, FIXED_THRESHOLD, FIXED_THRESHOLD)
    saturation = _smooth(image)[1]
    seen = saturation.ravel() if usable is None else saturation[usable]
    if not seen.size:
        return Rule(method, MOST_THRESHOLD, MOST_THRESHOLD)
    found, _ = cv2.threshold(seen.reshape(1, -1), 0, 255, cv2.THRESH_OTSU)
    return Rule(method, int(np.clip(found, LEAST_THRESHOLD, MOST_THRESHOLD)), int(found))


def _find_coloured(image: Pixels, rule: Rule) -> npt.NDArray[np.bool_]:
    """Return the pixels that have the colour of tissue."""
    hue, saturation = _smooth(image)
    coloured = saturation > rule.threshold
    if rule.method == "hsv":
        first, last = STAINED_HUES
        coloured &= (hue >= first) | (hue <= last)
    return np.asarray(coloured, np.bool_)


def _smooth(image: Pixels) -> tuple[Shades, Shades]:
    """Return hue and median-filtered saturation, ``uint8 (height, width)`` each."""
    hue, saturation, _ = cv2.split(cv2.cvtColor(image, cv2.COLOR_RGB2HSV))
    return np.asarray(hue, np.uint8), np.asarray(cv2.medianBlur(saturation, SMOOTHED), np.uint8)


def _tinted_glass(image: Pixels, rule: Rule) -> npt.NDArray[np.float64] | None:
    """Return the colour of glass that would count as tissue; else None.

    The colour is ``float64 (3,)``, RGB.

    Glass is bright, smoother than tissue, and reaches the edge of the slide.
    """
    # The variance within 5 x 5 pixels, as the mean of squares less the square of the mean.
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    mean = cv2.blur(grey, (SMOOTHED, SMOOTHED))
    spread = cv2.blur(grey * grey, (SMOOTHED, SMOOTHED)) - mean * mean
    even = (spread <= GLASS_NOISE**2) & (image.max(axis=2) >= GLASS_BRIGHT)
    frame = np.concatenate([even[0], even[-1], even[:, 0], even[:, -1]])
    if even.mean() < GLASS_SHARE or frame.mean() < GLASS_EDGE:
        return None
    # The median colour of glass, and whether a patch of it passes for tissue.
    colour = np.median(image[even], axis=0)
    patch = np.full((SMOOTHED, SMOOTHED, 3), np.round(colour), np.uint8)
    tinted = _find_coloured(patch, rule).all() and _smooth(patch)[1].max() <= MOST_TINT
    return np.asarray(colour, np.float64) if tinted else None


def _without_small(tissue: Shades, mpp: float) -> Shades:
    """Return the mask without small specks, and then without small holes."""
    kept = _large(tissue, SPECK / mpp**2)
    return 1 - _large(1 - kept, HOLE / mpp**2, connectivity=4)


def _large(mask: Shades, least: float, connectivity: int = 8) -> Shades:
    """Return the connected pieces of a mask with at least a minimum of pixels."""
    _, piece, facts, _ = cv2.connectedComponentsWithStats(mask, connectivity=connectivity)
    large = facts[:, cv2.CC_STAT_AREA] >= least
    large[0] = False
    return np.asarray(large[piece], np.uint8)
