"""Check, before a run, whether any slide can be sampled as configured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from slidemill.core.specs import GridSpec
from slidemill.errors import SlideError
from slidemill.slides.grid import Grid
from slidemill.slides.slide_info import choose_mpp, open_slide, slide_info

MOST_SHOWN = 3
"""Slides whose reason is returned."""


def find_refusals(slides: Sequence[tuple[Path, float | None]], spec: GridSpec, assume_mpp: float | None) -> list[str]:
    """Return why the first slides cannot be sampled, if none can; else nothing.

    Only headers are read, up to the first slide that can be sampled. Slides that cannot be opened count as slides that
    cannot be sampled; a file that cannot be read at all ends the check, since it may be readable later.

    Parameters
    ----------
    slides
        The file of each slide, and its µm per pixel from the sample sheet, or None.
    spec
        The requested grid.
    assume_mpp
        µm per pixel of slides that do not state any; or None.

    Returns
    -------
    list of str
        ``name: reason`` of the first `MOST_SHOWN` slides that open and cannot be sampled.
    """
    reasons = []
    for path, mpp in slides:
        try:
            with path.open("rb"):
                pass
        except OSError:
            return []
        try:
            with open_slide(path) as handle:
                info, _, _ = choose_mpp(slide_info(handle), mpp, assume_mpp)
        except SlideError:
            continue
        try:
            Grid(info.pyramid, spec)
        except SlideError as error:
            reasons.append(f"{path.name}: {error}")
        else:
            return []
    return reasons[:MOST_SHOWN]
