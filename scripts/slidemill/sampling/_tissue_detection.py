"""Make the tissue mask of a bright-field slide from a low resolution."""

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
"""µm per pixel of a mask, about those of a 1.25x objective; finer than useful patches."""

LONGEST = 6000
"""The longest side of a mask in pixels: 48 mm of glass at `MASK_MPP`."""

USUAL_MPP = 0.25
"""µm per pixel assumed for slides that state none: a scan at 40x."""


def tissue_mask(source: Path, info: SlideInfo, spec: TissueSpec) -> SelectedArea:
    """Return a slide's tissue mask, with notes and warnings.

    Areas that cannot be read count as tissue, so that `unreadable_patches` decides about their patches.

    Parameters
    ----------
    source
        The slide's file.
    info
        The slide's facts.
    spec
        The method, the level to read (None for `MASK_MPP`), and what to do with pens.

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
    found = find_tissue(image, spec.method, longest * mpp / max(image.shape), pens=spec.pens)
    mask = Mask(np.where(view.unread, 1, found.pixels).astype(np.uint8), info.size, found.ink.pixels)
    notes, warnings = tissue_remarks(image, found, mask, bounds=info.bounds)
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
    """Return the step that drops patches with too little tissue."""

    def step(rows: Sequence[Row]) -> list[str]:
        texts = [f"{fraction:.4f}" for fraction in fractions(rows)]
        for row, fraction in zip(rows, texts, strict=True):
            row["tissue_fraction"] = fraction
        # The rounded value of the table decides.
        return ["" if float(fraction) >= min_fraction else "tissue" for fraction in texts]

    return step
