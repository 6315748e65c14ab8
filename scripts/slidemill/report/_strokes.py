"""Patterns of pictures: hatches, dashes and dots."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from slidemill.core.encodings import Pixels

HATCHES = {"tissue": "/", "label": "\\", "unannotated": "\\"}
"""By the reason of dropped patches, the direction of their hatch."""

OTHER_HATCH = "x"
"""The hatch of patches that were dropped for their quality."""

PERIOD = 5
"""Pixels of a dash, and of the gap after it."""

SPACING = 8
"""Pixels between the lines of a hatch."""

SHADE = 0.45
"""What a hatch leaves of a pixel's brightness."""

Places = npt.NDArray[np.bool_]


def hatch(pixels: Pixels, area: Places, pattern: str) -> None:
    r"""Darken the lines of a hatch in an area.

    Lines go on from patch to patch, so that a hatch of patches of two pixels is still one.

    Parameters
    ----------
    pixels
        ``uint8 (height, width, 3)``, changed in place.
    area
        ``bool (height, width)``.
    pattern
        ``"/"``, ``"\\"``, or both, ``"x"``.
    """
    down, across = np.indices(area.shape, np.int32)
    lines = np.zeros(area.shape, bool)
    if pattern in ("/", "x"):
        lines |= (down + across) % SPACING == 0
    if pattern in ("\\", "x"):
        lines |= (down - across) % SPACING == 0
    pixels[area & lines] = (pixels[area & lines] * SHADE).astype(np.uint8)


def dashes(shape: tuple[int, int]) -> Places:
    """Return where lines of any direction have gaps, ``bool (height, width)``."""
    down, across = np.indices(shape, np.int32)
    return np.asarray((down + across) // PERIOD % 2 == 1)


def dots(pixels: Pixels, area: Places) -> None:
    """Draw black dots with white edges over an area; parameters are those of `hatch`."""
    down, across = np.indices(area.shape, np.int32) % SPACING
    ring = (down < 4) & (across < 4)
    dot = (down > 0) & (down < 3) & (across > 0) & (across < 3)
    pixels[area & ring] = 255
    pixels[area & dot] = 0
