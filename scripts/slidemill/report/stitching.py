"""Reassemble a slide's patches at any scale.

This shows patches that are shifted, missing or doubled.
At a lower resolution each pixel is the mean of the area that it covers, to fractions of pixels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from slidemill.core.encodings import Pixels
from slidemill.core.outcomes import Outcome, read_outcome
from slidemill.core.patch import PatchRef
from slidemill.core.pyramid import SlideInfo
from slidemill.core.results_layout import FACTS
from slidemill.core.specs import GridSpec
from slidemill.datasets.slide_names import slide_ids
from slidemill.errors import SlidemillError
from slidemill.report._area_sums import pixel_edges, sum_pieces
from slidemill.report._seen_parts import overlap_finder
from slidemill.slides.grid import Grid
from slidemill.slides.patch_table import patches_of

if TYPE_CHECKING:
    from slidemill.datasets.dataset import Dataset

LONGEST = 1000
"""Pixels of the longer side of a picture by default."""
Floats = npt.NDArray[np.float32]

BLOCK_BYTES = 32_000_000
"""Bytes of pixels that are read at once."""


@dataclass(frozen=True, eq=False)
class Stitched:
    """A slide's canvas with its patches in place.

    Parameters
    ----------
    pixels
        ``uint8 (height, width, 3)``, RGB.
    share
        ``float32 (height, width)``: the share of each pixel that patches cover, 0 to 1.
    downsample
        Level-0 pixels per pixel.
    """

    pixels: Pixels
    share: Floats
    downsample: float


@dataclass(frozen=True)
class SlideCanvas:
    """The canvas of a slide in a dataset, on which its patches are placed.

    Parameters
    ----------
    ds, outcome, spec
        The dataset, the slide's outcome of discover_slides, and the grid of the patches.
    """

    ds: Dataset
    outcome: Outcome
    spec: GridSpec

    @property
    def info(self) -> SlideInfo:
        """The facts that OpenSlide reports of the slide."""
        return self.outcome.info

    @cached_property
    def grid(self) -> Grid:
        """The grid of the patches."""
        return Grid(self.info.pyramid, self.spec)

    @property
    def downsample(self) -> float:
        """Level-0 pixels per pixel of a patch."""
        return self.grid.downsample

    @property
    def corner(self) -> tuple[int, int]:
        """The origin of the grid in level-0 pixels."""
        return self.info.corner if self.spec.limit_bounds else (0, 0)

    def crop(self, patch: PatchRef, pixels: Any) -> tuple[Any, tuple[float, float]]:
        """Return the part of a patch within the slide, and its corner in grid pixels."""
        (left, top), (width, height) = patch.offset, patch.size
        return pixels[top : top + height, left : left + width], self.grid.start(patch)

    def patches(self) -> Iterator[tuple[PatchRef, Pixels]]:
        """Yield each patch and its pixels, ``uint8 (height, width, 3)``, in blocks."""
        table = self.ds.table
        # A sample with replacement has patches twice; each counts once.
        twice = table.duplicated(["slide", "column", "row"]).to_numpy()
        places = np.flatnonzero((table["slide"] == self.outcome.slide).to_numpy() & ~twice)
        rows: Any = table.iloc[places][["column", "row"]].to_dict("records")
        step = max(BLOCK_BYTES // (3 * self.spec.patch_size**2), 1)
        for start in range(0, len(places), step):
            block = slice(start, start + step)
            pixels = self.ds.read(places[block])
            yield from zip(patches_of(rows[block], self.info, self.spec), pixels, strict=True)


@dataclass(frozen=True, slots=True)
class _Sums:
    """Sums of pixels and weights, to which patches are added.

    Parameters
    ----------
    own
        The canvas of the slide.
    pixels, weights
        ``float32 (height, width, 3)`` and ``(height, width)``: sums of the patches' pixels, and the share of each
        pixel of the picture that patches cover.
    scales
        Pixels of the picture per pixel of a patch, across and down.
    """

    own: SlideCanvas
    pixels: Floats
    weights: Floats
    scales: tuple[float, float]

    def add(self, patch: PatchRef, pixels: Pixels, mask: Pixels) -> None:
        """Add a patch to the pixels of the picture that it touches.

        Parameters
        ----------
        patch, pixels, mask
            The patch; ``uint8 (height, width, 3)``, 0 where `mask` is; ``uint8 (height, width)``, 1 where it counts.
        """
        # 1. Leave out what lies beyond the slide.
        (part, start), (counted, _) = self.own.crop(patch, pixels), self.own.crop(patch, mask)
        if not part.size:
            return
        # 2. Find the patch's corner in pixels of the picture, which need not be whole.
        corner, downsample, (wide, high) = self.own.corner, self.own.downsample, self.scales
        left, top = ((at + edge / downsample) * by for at, edge, by in zip(start, corner, self.scales, strict=True))
        # 3. Cut the patch along the edges of the picture's pixels.
        x, across = pixel_edges(left, wide, part.shape[1], end=self.weights.shape[1])
        y, down = pixel_edges(top, high, part.shape[0], end=self.weights.shape[0])
        # 4. Add the sum of each piece, times the share of the picture's pixel that one pixel of the patch covers.
        place = np.s_[y : y + len(down) - 1, x : x + len(across) - 1]
        self.pixels[place] += sum_pieces(part, down, across) * (wide * high)
        self.weights[place] += sum_pieces(counted, down, across) * (wide * high)


def open_canvas(ds: Dataset, slide: str) -> SlideCanvas:
    """Open the canvas of a slide in a dataset.

    Raises
    ------
    SlidemillError
        When the dataset has no patch of the slide, or the results lack its facts.
    """
    if not len(ds):
        raise SlidemillError(f"{slide}: the dataset is empty: select patches that there are")
    (slide,) = slide_ids(ds.paths, ds.slides, [slide])
    facts = ds.results / FACTS.format(slide=slide)
    try:
        outcome = read_outcome(facts)
    except OSError as error:
        raise SlidemillError(
            f"{facts}: what is known of the slide cannot be read ({error.strerror}): copy the folder slides of the "
            "results too; what import-pywsi has made has none"
        ) from None
    return SlideCanvas(ds, outcome, ds.stored.pool.grid(slide))


def stitch_slide(
    ds: Dataset, slide: str, *, downsample: float | None = None, longest: int = LONGEST, background: str = "white"
) -> Stitched:
    """Reassemble a slide's patches over its whole canvas.

    Neighbours meet without a seam, and memory is bounded by the picture.

    Parameters
    ----------
    ds, slide
        The dataset, and the slide, named as in `Dataset.select`.
    downsample
        Level-0 pixels per pixel of the picture, at least those per pixel of a patch; or None.
    longest
        Pixels of the picture's longer side without `downsample`; fewer where the patches have fewer.
    background
        The colour where there is no patch, as Pillow names it.

    Raises
    ------
    SlidemillError
        When the dataset has no patch of the slide, or `downsample`, `longest` or `background` is out of range.
    """
    own = open_canvas(ds, slide)
    step = _downsample(own, downsample, longest)
    # A quotient that is whole but for the last bit must not add a pixel.
    width, height = (max(math.ceil(side / step - 1e-9), 1) for side in own.info.size)
    return stitch_canvas(own, (width, height), (step, step), background=background)


def stitch_canvas(
    own: SlideCanvas, size: tuple[int, int], steps: tuple[float, float], *, background: str = "white"
) -> Stitched:
    """Reassemble a slide's patches on a grid.

    Parameters
    ----------
    own
        The canvas of the slide.
    size
        Width and height of the picture in pixels.
    steps
        Level-0 pixels per pixel of the picture, across and down.
    background
        The colour where there is no patch, as Pillow names it.

    Raises
    ------
    SlidemillError
        When there is no such colour.
    """
    width, height = size
    ground = np.array(_parse_colour(background), np.float32)
    # At the patches' own resolution they are copied.
    if steps == (own.downsample, own.downsample):
        pixels = np.full((height, width, 3), ground.astype(np.uint8))
        share = np.zeros((height, width), np.float32)
        for patch, one in own.patches():
            _paste(pixels, share, own, patch=patch, one=one)
        return Stitched(pixels, share, max(steps))
    # 1. Add up the patches, each pixel of the slide once: a mean would lean towards areas where patches overlap.
    scales = own.downsample / steps[0], own.downsample / steps[1]
    sums = _Sums(own, np.zeros((height, width, 3), np.float32), np.zeros((height, width), np.float32), scales)
    table = own.ds.table[own.ds.table["slide"] == own.outcome.slide]
    places = list(zip(table["column"].tolist(), table["row"].tolist(), strict=True))
    seen_parts = overlap_finder(places, own.spec, own.downsample)
    for patch, one in own.patches():
        mask = np.ones(one.shape[:2], np.uint8)
        for seen in seen_parts(patch):
            one[seen] = mask[seen] = 0
        sums.add(patch, one, mask)
    # 2. Fill the rest of each pixel with the background.
    total = sums.pixels
    if own.spec.is_free:  # Corners of free patches are between the pixels of others, so seams may count twice.
        total /= np.maximum(sums.weights, 1)[..., None]
    total += np.maximum(1 - sums.weights, 0)[..., None] * ground
    # 3. Rounding errors of the sums stay out of the range.
    return Stitched(np.rint(np.clip(total, 0, 255)).astype(np.uint8), np.minimum(sums.weights, 1), max(steps))


def require_longest(longest: int) -> None:
    """Raise `SlidemillError` if `longest` is out of range."""
    if longest < 1:
        raise SlidemillError(f"longest is {longest}: give the pixels of the picture's longer side, 1 or more")


def _downsample(own: SlideCanvas, downsample: float | None, longest: int) -> float:
    if downsample is None:
        require_longest(longest)
        return max(max(own.info.size) / longest, own.downsample)
    if not own.downsample * (1 - 1e-9) <= downsample < math.inf:
        raise SlidemillError(
            f"downsample is {downsample}: a pixel of the patches is {own.downsample:g} of level 0; give that, or more"
        )
    return max(float(downsample), own.downsample)


def _parse_colour(name: str) -> tuple[int, ...]:
    from PIL import ImageColor

    try:
        return ImageColor.getrgb(name)[:3]
    except ValueError:
        raise SlidemillError(f"background is {name!r}: give a colour's name, or #rrggbb") from None


def _paste(pixels: Pixels, share: Floats, own: SlideCanvas, *, patch: PatchRef, one: Pixels) -> None:
    part, (x, y) = own.crop(patch, one)
    x, y = (round(start) + round(corner / own.downsample) for start, corner in zip((x, y), own.corner, strict=True))
    place = pixels[y : y + part.shape[0], x : x + part.shape[1]]
    # The mean of both axes' downsamples may make the canvas a pixel narrower than a level.
    place[:] = part[: place.shape[0], : place.shape[1]]
    share[y : y + part.shape[0], x : x + part.shape[1]] = 1
