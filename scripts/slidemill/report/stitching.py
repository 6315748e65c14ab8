"""Patches put back together at their places, at any scale: what is shifted, missing or doubled is seen at once."""

from __future__ import annotations

import math
from collections.abc import Container, Iterator
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
from slidemill.errors import SlidemillError
from slidemill.report._area_sums import edges, summed
from slidemill.slides.grid import Grid
from slidemill.slides.patch_table import patches_of

if TYPE_CHECKING:
    from slidemill.datasets.dataset import Dataset

LONGEST = 1000
"""Pixels of the longer side of a picture, unless told."""
Floats = npt.NDArray[np.float32]

BLOCK_BYTES = 32_000_000
"""Of pixels that are read at once."""


@dataclass(frozen=True, eq=False)
class Stitched:
    """A slide's canvas with patches at their places.

    Parameters
    ----------
    pixels
        ``uint8 (height, width, 3)``, RGB.
    share
        ``float32 (height, width)``: how much of each pixel patches cover, 0 to 1.
    downsample
        Level-0 pixels a pixel.
    """

    pixels: Pixels
    share: Floats
    downsample: float


@dataclass(frozen=True)
class Laid:
    """A slide of a dataset, and the grid that its patches belong to."""

    info: SlideInfo
    spec: GridSpec
    outcome: Outcome

    @cached_property
    def downsample(self) -> float:
        """Level-0 pixels a patch's pixel."""
        return Grid(self.info.pyramid, self.spec).downsample

    @property
    def corner(self) -> tuple[int, int]:
        """Where the grid begins, in level-0 pixels."""
        return self.info.corner if self.spec.limit_bounds else (0, 0)


@dataclass(frozen=True, slots=True)
class _Sums:
    """The picture while patches are added to it.

    Parameters
    ----------
    own
        The slide that the patches are of.
    pixels, weights
        ``float32 (height, width, 3)`` and ``(height, width)``: sums of the patches' pixels, and how much of each pixel
        of the picture they cover.
    scales
        Pixels of the picture per pixel of a patch, across and down.
    """

    own: Laid
    pixels: Floats
    weights: Floats
    scales: tuple[float, float]

    def add(self, patch: PatchRef, one: Pixels, counted: Pixels) -> None:
        """Add what a patch has in each pixel of the picture; `counted` is 1 where it counts, and `one` 0 elsewhere."""
        own, scales = self.own, self.scales
        (part, start), (counted, _) = _inside(own, patch, one), _inside(own, patch, counted)
        if not part.size:
            return
        begins = [(at + edge / own.downsample) * by for at, edge, by in zip(start, own.corner, scales, strict=True)]
        x, across = edges(begins[0], scales[0], part.shape[1], self.weights.shape[1])
        y, down = edges(begins[1], scales[1], part.shape[0], self.weights.shape[0])
        place = np.s_[y : y + len(down) - 1, x : x + len(across) - 1]
        self.pixels[place] += summed(part, down, across) * (scales[0] * scales[1])
        self.weights[place] += summed(counted, down, across) * (scales[0] * scales[1])


def laid(ds: Dataset, slide: str) -> Laid:
    """Return what the results know of a slide of `ds`.

    Raises
    ------
    SlidemillError
        When the dataset has no patch of it, or the results lack its facts.
    """
    if slide not in ds.slides:
        known = ", ".join(map(str, ds.slides[:5])) + (", ..." if len(ds.slides) > 5 else "")
        raise SlidemillError(
            f"{slide}: the dataset has no patch of such a slide: name one of {known}"
            if known
            else f"{slide}: the dataset is empty: select patches that there are"
        )
    facts = ds.results / FACTS.format(slide=slide)
    try:
        outcome = read_outcome(facts)
    except OSError as error:
        raise SlidemillError(
            f"{facts}: what is known of the slide cannot be read ({error.strerror}): copy the folder slides of the "
            "results too; what import-pywsi has made has none"
        ) from None
    return Laid(outcome.info, GridSpec(**ds.store(slide).manifest.sampling), outcome)


def stitched(
    ds: Dataset, slide: str, downsample: float | None = None, longest: int = LONGEST, background: str = "white"
) -> Stitched:
    """Return the patches of a slide that `ds` has, put back together over the slide's whole canvas.

    At the patches' own resolution every pixel is a patch's pixel. At a lower one each is the mean of what it covers,
    to fractions of pixels, so that neighbours meet without a seam. Memory is bounded by the picture.

    Parameters
    ----------
    ds, slide
        The dataset, and the slide's id.
    downsample
        Level-0 pixels a pixel of the picture, no less than those of a patch's pixel; or None.
    longest
        Pixels of the picture's longer side where there is no `downsample`; less where the patches have no more.
    background
        The colour where there is no patch, as Pillow names it.

    Raises
    ------
    SlidemillError
        When the dataset has no patch of the slide, or `downsample`, `longest` or `background` cannot be.
    """
    own = laid(ds, slide)
    wanted = _scale(own, downsample, longest)
    # A quotient that is whole but for the last bit is no pixel more.
    width, height = (max(math.ceil(side / wanted - 1e-9), 1) for side in own.info.size)
    return stitched_on(ds, slide, own, (width, height), (wanted, wanted), background)


def stitched_on(
    ds: Dataset,
    slide: str,
    own: Laid,
    size: tuple[int, int],
    steps: tuple[float, float],
    background: str = "white",
) -> Stitched:
    """Return what `stitched` does on a grid of `size`, each pixel `steps` level-0 pixels wide and high."""
    width, height = size
    ground = np.array(_colour(background), np.float32)
    if steps == (own.downsample, own.downsample):
        pixels = np.full((height, width, 3), ground.astype(np.uint8))
        share = np.zeros((height, width), np.float32)
        for patch, one in _patches(ds, slide, own):
            _paste(pixels, share, own, patch, one)
        return Stitched(pixels, share, max(steps))
    scales = own.downsample / steps[0], own.downsample / steps[1]
    sums = _Sums(own, np.zeros((height, width, 3), np.float32), np.zeros((height, width), np.float32), scales)
    table = ds.table[ds.table["slide"] == slide]
    there = set(zip(table["column"].tolist(), table["row"].tolist(), strict=True))
    for patch, one in _patches(ds, slide, own):
        # Where patches overlap each pixel counts once, or a mean would lean towards what lies in two of them.
        counted = np.ones(one.shape[:2], np.uint8)
        for seen in _seen(patch, there, own.spec):
            one[seen] = counted[seen] = 0
        sums.add(patch, one, counted)
    # What patches cover in part has ground in it.
    total = sums.pixels
    total += np.maximum(1 - sums.weights, 0)[..., None] * ground
    return Stitched(np.rint(np.clip(total, 0, 255)).astype(np.uint8), np.minimum(sums.weights, 1), max(steps))


def require_longest(longest: int) -> None:
    """Raise `SlidemillError` where no picture can be so long."""
    if longest < 1:
        raise SlidemillError(f"longest is {longest}: give the pixels of the picture's longer side, 1 or more")


def _scale(own: Laid, downsample: float | None, longest: int) -> float:
    if downsample is None:
        require_longest(longest)
        return max(max(own.info.size) / longest, own.downsample)
    if not own.downsample * (1 - 1e-9) <= downsample < math.inf:
        raise SlidemillError(
            f"downsample is {downsample}: a pixel of the patches is {own.downsample:g} of level 0; give that, or more"
        )
    return max(float(downsample), own.downsample)


def _colour(name: str) -> tuple[int, ...]:
    from PIL import ImageColor

    try:
        return ImageColor.getrgb(name)[:3]
    except ValueError:
        raise SlidemillError(f"background is {name!r}: give a colour's name, or #rrggbb") from None


def _patches(ds: Dataset, slide: str, own: Laid) -> Iterator[tuple[PatchRef, Pixels]]:
    """Yield each patch of a slide, and its pixels, a block of them in memory at a time."""
    # What is there twice, as in a sample that was drawn with replacement, counts once.
    twice = ds.table.duplicated(["slide", "column", "row"])
    places = np.flatnonzero((ds.table["slide"] == slide).to_numpy() & ~twice.to_numpy())
    rows: Any = ds.table.iloc[places][["column", "row"]].to_dict("records")
    step = max(BLOCK_BYTES // (3 * own.spec.patch_size**2), 1)
    for start in range(0, len(places), step):
        block = slice(start, start + step)
        pixels = ds.read(places[block])
        yield from zip(patches_of(rows[block], own.info, own.spec), pixels, strict=True)


def _inside(own: Laid, patch: PatchRef, pixels: Any) -> tuple[Any, tuple[int, int]]:
    """Return what of a patch lies in the slide, and where that begins in the grid."""
    (left, top), (width, height) = patch.offset, patch.size
    start = own.spec.step * patch.column - own.spec.overlap + left, own.spec.step * patch.row - own.spec.overlap + top
    return pixels[top : top + height, left : left + width], start


def _paste(pixels: Pixels, share: Floats, own: Laid, patch: PatchRef, one: Pixels) -> None:
    part, (x, y) = _inside(own, patch, one)
    x, y = (start + round(corner / own.downsample) for start, corner in zip((x, y), own.corner, strict=True))
    place = pixels[y : y + part.shape[0], x : x + part.shape[1]]
    # The mean of both axes' downsamples may make the canvas a pixel narrower than a level.
    place[:] = part[: place.shape[0], : place.shape[1]]
    share[y : y + part.shape[0], x : x + part.shape[1]] = 1


def _seen(patch: PatchRef, there: Container[tuple[int, int]], spec: GridSpec) -> Iterator[tuple[slice, slice]]:
    """Yield the parts of a patch that patches before it in raster order have too."""
    reach = (spec.patch_size - 1) // spec.step
    for down in range(-reach, 1):
        for across in range(-reach, reach + 1 if down else 0):
            if (patch.column + across, patch.row + down) in there:
                left, bottom = spec.step * across, spec.step * down + spec.patch_size
                yield slice(bottom), slice(max(left, 0), left + spec.patch_size)
