"""Draw scores of patches in colour over a slide's thumbnail, with a colour bar."""

from __future__ import annotations

import math

import matplotlib
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from slidemill.core.encodings import Pixels

Floats = npt.NDArray[np.float64]

COLOURS = "viridis"
"""Matplotlib's map of colours, whose lightness grows evenly, so that it is read without colour vision, too."""
OPACITY = 0.6
"""The share of the colour in a covered pixel; the thumbnail has the rest."""
MARGIN, BAR, GAP = 96, 18, 14
"""Pixels of the space to the right of the thumbnail, the width of the bar in it, and the gaps around the bar."""
TICKS = 5
FONT = 14


def draw_heatmap(
    thumbnail: Image.Image, width0: float, squares: npt.NDArray[np.int64], *, scores: Floats, title: str = ""
) -> Image.Image:
    """Return a thumbnail on which patches have the colours of their scores.

    Where patches overlap, a pixel has the colour of the mean of their scores. Colours range from 0 to 1 if all scores
    are within, else from the lowest to the highest score.

    Parameters
    ----------
    thumbnail
        The whole slide, RGB.
    width0
        Its width in level-0 pixels.
    squares
        Left, top, width and height of each patch in level-0 pixels, ``int64 (n, 4)``.
    scores
        ``float64 (n,)``; patches of NaN are left out.
    title
        A line above the colour bar, such as the name of the score.
    """
    there = ~np.isnan(scores)
    low, high = score_range(scores[there])
    # Halved, since a sum or a difference of the largest numbers would be infinite.
    span = high / 2 - low / 2
    shares = (scores[there] / 2 - low / 2) / span if span else np.zeros(int(there.sum()))
    means = mean_scores(thumbnail.size, thumbnail.width / width0, squares[there], scores=shares)
    pixels = np.array(thumbnail.convert("RGB"))
    covered = ~np.isnan(means)
    pixels[covered] = np.rint(_blend(_colours(means[covered]), pixels[covered])).astype(np.uint8)
    return _add_bar(Image.fromarray(pixels), low, high, title=title)


def score_range(scores: Floats) -> tuple[float, float]:
    """Return the scores of the first and the last colour."""
    if not len(scores):
        return 0.0, 1.0
    low, high = float(scores.min()), float(scores.max())
    if low >= 0 and high <= 1:
        return 0.0, 1.0
    return (low, high) if low < high else (low, low + 1)


def mean_scores(size: tuple[int, int], scale: float, squares: npt.NDArray[np.int64], *, scores: Floats) -> Floats:
    """Return the mean score of the patches on each pixel of a picture, ``float64 (height, width)``; NaN without one.

    Parameters
    ----------
    size
        Width and height of the picture.
    scale
        Pixels per level-0 pixel.
    squares, scores
        As of `draw_heatmap`, without NaN.
    """
    # A patch is added at its corners, and sums along both axes fill it: the cost does not grow with its area.
    sums, counts = (np.zeros((size[1] + 1, size[0] + 1)) for _ in range(2))
    first = np.rint(squares[:, :2] * scale).astype(np.int64)
    last = np.maximum(np.rint((squares[:, :2] + squares[:, 2:]) * scale).astype(np.int64), first + 1)
    (left, top), (right, bottom) = (np.clip(edge, 0, size).T for edge in (first, last))
    for x, y, sign in ((left, top, 1), (right, top, -1), (left, bottom, -1), (right, bottom, 1)):
        np.add.at(sums, (y, x), sign * scores)
        np.add.at(counts, (y, x), sign)
    sums, counts = (field.cumsum(0).cumsum(1)[:-1, :-1] for field in (sums, counts))
    means: Floats = np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0.5)
    return means


def _colours(values: Floats) -> Floats:
    """Return the colours of values from 0 to 1, from 0 to 255, ``(..., 3)``."""
    found: Floats = matplotlib.colormaps[COLOURS](np.clip(values, 0, 1))[..., :3] * 255
    return found


def _blend(colours: Floats, ground: Pixels | int) -> Floats:
    """Return colours over a ground."""
    return OPACITY * colours + (1 - OPACITY) * ground


def _add_bar(picture: Image.Image, low: float, high: float, *, title: str) -> Image.Image:
    """Return the picture with a colour bar at its right."""
    font = ImageFont.load_default(FONT)
    height = max(picture.height, 120)
    above = FONT + GAP if title else 0
    pen_width = font.getlength(title)
    whole = Image.new("RGB", (picture.width + max(MARGIN, math.ceil(pen_width) + 2 * GAP), height), "white")
    whole.paste(picture, (0, 0))
    top, bottom, left = GAP + above, height - GAP, picture.width + GAP
    # As on white glass.
    rows: Pixels = np.rint(_blend(_colours(np.linspace(1, 0, bottom - top)), 255)).astype(np.uint8)
    whole.paste(Image.fromarray(np.repeat(rows[:, None], BAR, axis=1)), (left, top))
    pen = ImageDraw.Draw(whole)
    if title:
        pen.text((left, GAP // 2), title, fill="black", font=font)
    pen.rectangle((left, top, left + BAR - 1, bottom - 1), outline="black")
    for number in range(TICKS):
        share = number / (TICKS - 1)
        y = bottom - 1 - round(share * (bottom - 1 - top))
        pen.line((left + BAR, y, left + BAR + 4, y), fill="black")
        pen.text((left + BAR + 8, y), f"{(1 - share) * low + share * high:.3g}", fill="black", font=font, anchor="lm")
    return whole
