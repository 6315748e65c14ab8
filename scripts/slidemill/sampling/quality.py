"""How good one patch is: measures of all its pixels, each with an exact definition."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import cv2
import numpy as np

from slidemill.core.encodings import Pixels

WHITE = 220
"""A pixel is white whose red, green and blue are all at least this, of 255: glass and fat, not pale stroma."""
BLACK = 40
"""A pixel is black whose red, green and blue are all at most this, of 255: folds, black ink, padding."""


@dataclass(frozen=True, slots=True)
class Quality:
    """The measures of one patch.

    Parameters
    ----------
    blur
        Variance of the Laplacian of green, in squared levels of 255; 0 (flat) to 1,040,400. The less, the more blurred,
        or the less there is to see. The Laplacian is the sum of a pixel's four neighbours less four times the pixel;
        pixels beyond the edge mirror those within (the edge itself is not repeated). Green, since both haematoxylin and
        eosin absorb it, and since grey, which is green for the most part, takes as long again to make. As a measure of
        focus: Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy: a comparative study", ICPR 2000.
    mean_saturation
        Mean of the pixels' saturation in HSV, (most - least) / most of red, green and blue, 0 for (0, 0, 0), each
        rounded to 1/255; 0 (grey) to 1.
    white_fraction
        Share of pixels whose red, green and blue are all `WHITE` or more; 0 to 1. The bound is slidemill's own choice.
    black_fraction
        Share of pixels whose red, green and blue are all `BLACK` or less; 0 to 1. The bound is slidemill's own choice.
    """

    blur: float
    mean_saturation: float
    white_fraction: float
    black_fraction: float


class _Scratch(threading.local):
    """Memory of one thread, which is used for patch after patch: to ask for it anew took longer than some measures."""

    shape: tuple[int, ...] = ()

    def of(self, shape: tuple[int, ...]) -> _Scratch:
        """Return what fits patches of `shape`, ``(height, width)``."""
        if self.shape != shape:
            self.shape = shape
            self.red, self.green, self.blue, self.most, self.least, self.mask = (
                np.empty(shape, np.uint8) for _ in range(6)
            )
            self.laplacian = np.empty(shape, np.int16)
        return self


_SCRATCH = _Scratch()


def measured(pixels: Pixels) -> Quality:
    """Return the measures of a patch, ``uint8 (height, width, 3)``.

    It is quick and works on the calling thread; callers see to it that OpenCV starts none of its own
    (``cv2.setNumThreads(1)``), which would be in the way of those that read.
    """
    own = _SCRATCH.of(pixels.shape[:2])
    count = own.red.size
    cv2.split(pixels, (own.red, own.green, own.blue))
    cv2.Laplacian(own.green, cv2.CV_16S, own.laplacian)
    mean = cv2.sumElems(own.laplacian)[0] / count
    blur = cv2.norm(own.laplacian, cv2.NORM_L2SQR) / count - mean * mean
    most = cv2.max(cv2.max(own.red, own.green, own.most), own.blue, own.most)
    least = cv2.min(cv2.min(own.green, own.blue, own.least), own.red, own.least)
    white = cv2.countNonZero(cv2.threshold(least, WHITE - 1, 255, cv2.THRESH_BINARY, own.mask)[1])
    saturation = cv2.sumElems(cv2.divide(cv2.subtract(most, least, own.least), most, own.least, 255))[0]
    brighter = cv2.countNonZero(cv2.threshold(most, BLACK, 255, cv2.THRESH_BINARY, own.mask)[1])
    return Quality(
        blur=max(blur, 0.0),
        mean_saturation=saturation / (255 * count),
        white_fraction=white / count,
        black_fraction=(count - brighter) / count,
    )
