"""Notes and warnings on tissue masks: nearly empty, nearly full, ink."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from slidemill.core.encodings import Pixels
from slidemill.sampling._ink import DARKEST, Shades
from slidemill.sampling._stain import LEAST_THRESHOLD, MOST_THRESHOLD, FoundTissue, Rule
from slidemill.sampling.tissue_mask import Mask

EMPTY, WHOLE = 0.01, 0.95
"""Masks of a smaller or a larger share of the slide give a note."""

DARK = 0.5
"""Slides with a larger share of black are not bright-field."""

LEAST_DOUBTFUL, MOST_DOUBTFUL = 0.01, 0.05
"""The least shares of tissue that may be ink for a note, and for a warning."""

REMEDIES = {
    "otsu": "hsv (one threshold and the hues of stains for all slides)",
    "hsv": "otsu (a threshold of each slide's own)",
}
"""The other method to try."""


def tissue_remarks(
    image: Pixels, found: FoundTissue, mask: Mask, *, bounds: Sequence[int] | None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return notes and warnings on a tissue mask made from a slide's image.

    Parameters
    ----------
    image
        ``uint8 (height, width, 3)``, RGB.
    found, mask
        The tissue, and the mask made from it.
    bounds
        The scanned area in level-0 pixels, ``x, y, width, height``; or None.
    """
    notes, warnings = [], []
    remedies = (
        f"see its overlay, and try tissue.method {REMEDIES[found.rule.method]}, none (every patch), or a custom "
        "mask (tissue.masks)"
    )
    share = float(_within(mask.pixels, mask, bounds).mean())
    if found.tint is not None:
        notes.append(
            f"tissue: its glass is tinted, #{bytes(found.tint.astype(np.uint8)).hex()}, and was taken for white"
        )
    if share < EMPTY:
        notes.append(f"tissue: {share:.2%} of the slide, next to nothing: {rule_in_words(found.rule)}; {remedies}")
    elif share > WHOLE:
        notes.append(f"tissue: {share:.1%} of the slide, next to all: {rule_in_words(found.rule)}; {remedies}")
    elif found.rule.found < LEAST_THRESHOLD:
        notes.append(f"tissue: it is pale: {rule_in_words(found.rule)}; see its overlay")
    dark = float((_within(image.max(axis=2), mask, bounds) < DARKEST).mean())
    if dark > DARK:
        warnings.append(
            f"tissue: {dark:.0%} of the slide is black, which is left out, and otsu and hsv are made for bright-field "
            "slides: see its overlay, and try tissue.method none, or a custom mask (tissue.masks)"
        )
    if mask.ink_fraction:
        notes.append(
            f"ink: {mask.ink_fraction:.2%} of the slide was left out as felt pen, yellow in its overlay; where that is "
            "stain, set tissue.pens: keep"
        )
    if dark <= DARK:
        lines, share = _doubts(found)
        (warnings if share > MOST_DOUBTFUL else notes).extend(lines)
    return tuple(notes), tuple(warnings)


def _doubts(found: FoundTissue) -> tuple[list[str], float]:
    """Return warnings on tissue that may be ink, and its share of the tissue."""
    doubtful = _share(found.ink.doubtful, found.pixels)
    even = _share(found.even & (1 - found.ink.doubtful), found.pixels)
    lines = []
    if doubtful >= LEAST_DOUBTFUL:
        lines.append(
            f"tissue: {doubtful:.0%} of the tissue has a colour of both felt pens and stains, and was kept: look at "
            "the overlay, then set tissue.pens to keep (it is stain) or exclude (it is ink)"
        )
    if even >= LEAST_DOUBTFUL:
        lines.append(
            f"tissue: {even:.0%} of the tissue is in pieces as smooth as ink, and was kept: look at the overlay; where "
            "they are not tissue but felt pen (such as violet, orange or pale) or tinted glass, give the slide a "
            "custom mask (tissue.masks), else set tissue.pens: keep"
        )
    return lines, doubtful + even


def _share(marks: Shades, tissue: Shades) -> float:
    """Return the share of the tissue that is marked."""
    return float((marks & tissue).sum() / max(tissue.sum(), 1))


def rule_in_words(rule: Rule) -> str:
    """Return a description of how a threshold was found."""
    taken = f"{rule.method} took what has more colour than a saturation of {rule.threshold} of 255"
    if rule.method != "otsu":
        return taken
    limits = f"Otsu's own threshold is {rule.found}, and is kept within {LEAST_THRESHOLD} and {MOST_THRESHOLD}"
    return f"{taken} ({limits})"


def _within(pixels: npt.NDArray[np.uint8], mask: Mask, bounds: Sequence[int] | None) -> npt.NDArray[np.uint8]:
    """Return the part of an image within the scanned area, at least one pixel."""
    if not bounds:
        return pixels
    x, y, width, height = bounds
    scale_x, scale_y = np.divide(pixels.shape[1::-1], mask.size0)
    left, top = min(int(x * scale_x), pixels.shape[1] - 1), min(int(y * scale_y), pixels.shape[0] - 1)
    return pixels[top : max(int((y + height) * scale_y), top + 1), left : max(int((x + width) * scale_x), left + 1)]
