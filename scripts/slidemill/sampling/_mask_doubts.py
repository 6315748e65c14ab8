"""Warn of custom tissue masks that look inverted, shrunk, or not of tissue."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import shapely
from PIL import PngImagePlugin

from slidemill.annotations.label_image import LabelImage
from slidemill.annotations.label_image_file import PNG
from slidemill.annotations.regions import Annotation, Region
from slidemill.core.pyramid import Size

Shades = npt.NDArray[np.uint8]

LEAST = 0.01
"""Masks of a smaller share of the slide give a note."""

ROUND = 0.9
"""A mask with tissue along a larger share of the slide's edge looks inverted."""

CORNER = 0.25
"""Regions that are all within this share of the sides, from the corner, may be in pixels of a smaller image."""

NO_TISSUE = re.compile(
    r"back ?ground|arti?[ef]?fact|ignore|exclude|glass|blank|empty|\bpen\b|\bink\b|fold|blur|hole", re.I
)
"""Names that usually do not mean tissue; QuPath has a class ``Ignore*``."""


def doubts(file: str, annotation: Annotation, drawn: Shades, *, size: Size) -> Iterator[str]:
    """Yield a warning per doubt about a mask that marks some tissue.

    Parameters
    ----------
    file
        The mask's name.
    annotation
        The mask.
    drawn
        ``uint8 (height, width)``: the mask over the whole slide, 1 for tissue.
    size
        ``(width, height)`` of the slide.
    """
    frame = np.concatenate([drawn[0], drawn[-1], drawn[1:-1, 0], drawn[1:-1, -1]])
    if drawn.all():
        yield f"{file}: all of the slide is tissue by it: check whether it is a mask, and not turned round"
    elif frame.mean() > ROUND:
        yield (
            f"{file}: {frame.mean():.0%} of the slide's edge and {drawn.mean():.0%} of the slide are tissue by it: see "
            "whether it is turned round, with 0 for tissue"
        )
    names = sorted({name for name in annotation.names if NO_TISSUE.search(name)}) if annotation.regions else []
    if names:
        called = ", ".join(names[:5])
        yield f"{file}: regions called {called} count as tissue, as all regions of a mask do: leave them out"
    if annotation.regions and _is_in_corner(annotation.regions, size):
        yield (
            f"{file}: all regions are in the slide's top left corner: check whether they are in level-0 pixels, and "
            "not in those of a smaller picture"
        )


def _is_in_corner(regions: Sequence[Region], size: Size) -> bool:
    """Return whether all regions are near the slide's first pixel."""
    _, _, right, bottom = shapely.bounds([one.shape for one in regions]).T
    return bool(right.max() <= CORNER * size[0] and bottom.max() <= CORNER * size[1])


def palette_doubts(path: Path, image: LabelImage) -> Iterator[str]:
    """Yield a warning if a grey palette shows 0 as the brightest value.

    Programs that save a mask of black and white with a palette often give white the number 0.
    """
    colours = _palette(path)
    if colours is None or not image.values or max(image.values) >= len(colours):
        return
    seen = colours[[0, *image.values]]
    if (np.ptp(seen, axis=1) == 0).all() and seen[0, 0] > seen[1:, 0].max():
        yield (
            f"{path.name}: its palette shows 0 as white and what counts as tissue as black: check whether tissue is "
            "white in it; if so, save it in grey, without a palette"
        )


def _palette(path: Path) -> Shades | None:
    """Return the palette of an image; None where it has none.

    The palette is ``uint8 (n, 3)``, RGB by pixel value.
    """
    with path.open("rb") as file:
        is_png = file.read(len(PNG)) == PNG
    if is_png:
        with PngImagePlugin.PngImageFile(path) as image:
            own = image.getpalette("RGB") if image.mode == "P" else None
        return None if own is None else np.array(own, np.uint8).reshape(-1, 3)
    import tifffile

    with tifffile.TiffFile(path) as tiff:
        table = tiff.pages.first.colormap
    return None if table is None else (np.asarray(table).T >> 8).astype(np.uint8)
