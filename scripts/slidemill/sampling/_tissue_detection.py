"""Where a slide has tissue: a mask from a low resolution.

Made for bright-field slides of any usual stain: tissue is what has colour. Glass has none (its saturation is next
to 0), nor have black and transparent padding; felt pens have more than stains have, and other hues.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from slidemill.core.pyramid import Size, SlideInfo
from slidemill.core.specs import TissueSpec
from slidemill.errors import SlideError
from slidemill.sampling._filter_chain import Row, Step
from slidemill.sampling._stain import find_tissue
from slidemill.sampling._tissue_notes import tissue_remarks
from slidemill.sampling.tissue_mask import MOST_PIXELS, Fractions, Mask, SelectedArea
from slidemill.slides.low_resolution import low_resolution

MASK_MPP = 8.0
"""Micrometres a pixel of a mask, about those of a 1.25x objective; finer than any patch of use."""

LONGEST = 6000
"""A mask is not longer than this, in pixels: 48 mm of glass at `MASK_MPP`."""

USUAL_MPP = 0.25
"""Stands for a slide that does not say what its pixels measure: a scan at 40x."""


def tissue_mask(source: Path, info: SlideInfo, spec: TissueSpec) -> SelectedArea:
    """Return where a slide has tissue, and what there is to say of that.

    What no level can show is taken for tissue, so that `unreadable_patches` decides about its patches.

    Parameters
    ----------
    source
        The slide's file.
    info
        What `slide_info` says of it.
    spec
        The method, ``"otsu"`` or ``"hsv"``, the level that is read, or None for `MASK_MPP`, and what is done with pens.

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
    view = low_resolution(source, info, pixels)
    image = np.asarray(view.image)
    found = find_tissue(image, spec.method, longest * mpp / max(image.shape), spec.pens)
    mask = Mask(np.where(view.unread, 1, found.pixels).astype(np.uint8), info.size, found.ink.pixels)
    notes, warnings = tissue_remarks(image, found, mask, info.bounds)
    if view.unread.any():
        notes = (*notes, "tissue: what cannot be read counts as tissue, and unreadable_patches decides about it")
    return SelectedArea(mask.fractions, mask, (*view.notes, *notes), warnings)


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
