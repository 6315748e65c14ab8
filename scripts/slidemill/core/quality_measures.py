"""Quality measures of patches, each with its columns, limits, plots and docs.

Functions import OpenCV and NumPy themselves: the Snakefile reads the entries in every job, and measures no pixel.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

WHITE = 220
"""A pixel is white if its red, green and blue are all at least this, of 255: glass and fat, not pale stroma."""
BLACK = 40
"""A pixel is black if its red, green and blue are all at most this, of 255: folds, black ink, padding."""

BINS = 20


class Planes:
    """The colour planes of one patch, in memory that is reused for each patch.

    Each thread has one instance, since allocating the memory takes as long as measuring.

    Parameters
    ----------
    shape
        ``(height, width)`` of the patches.

    Attributes
    ----------
    pixels
        ``uint8 (height, width, 3)``, RGB.
    red, green, blue, most, least
        ``uint8 (height, width)``: the channels, and the largest and smallest of the three.
    lanes
        ``uint8 (height, width)``: each pixel's column, modulo 4.
    spare, signed
        ``uint8`` and ``int16 (height, width)`` that a measure may overwrite.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        import numpy as np

        self.shape, self.count = shape, math.prod(shape)
        self.red, self.green, self.blue, self.most, self.least, self.spare = np.empty((6, *shape), np.uint8)
        self.signed = np.empty(shape, np.int16)
        self.lanes = np.empty(shape, np.uint8)
        self.lanes[:] = np.arange(shape[1]) % 4

    def load(self, pixels: npt.NDArray[np.uint8]) -> None:
        """Split a patch into its planes."""
        import cv2

        self.pixels = pixels
        cv2.split(pixels, (self.red, self.green, self.blue))
        cv2.max(cv2.max(self.red, self.green, self.most), self.blue, self.most)
        cv2.min(cv2.min(self.red, self.green, self.least), self.blue, self.least)


def blur(planes: Planes) -> float:
    """Return the variance of the Laplacian of green.

    Green, since both haematoxylin and eosin absorb it, and grey, which is mostly green, takes as long again to make.
    Pixels beyond the edge mirror those within, without repeating the edge. As a measure of focus: Pech-Pacheco et al.,
    "Diatom autofocusing in brightfield microscopy: a comparative study", ICPR 2000.
    """
    import cv2

    laplacian = cv2.Laplacian(planes.green, cv2.CV_16S, planes.signed)
    mean = cv2.sumElems(laplacian)[0] / planes.count
    return max(cv2.norm(laplacian, cv2.NORM_L2SQR) / planes.count - mean * mean, 0.0)


def mean_saturation(planes: Planes) -> float:
    """Return the mean saturation of a patch, 0 to 1.

    Saturation is (most - least) / most, rounded to 1/255, and 0 for black.
    """
    import cv2

    range_ = cv2.subtract(planes.most, planes.least, planes.spare)
    return cv2.sumElems(cv2.divide(range_, planes.most, planes.spare, 255))[0] / (255 * planes.count)


def white_fraction(planes: Planes) -> float:
    """Return the share of pixels that are `WHITE` or more in all channels."""
    import cv2

    return (
        cv2.countNonZero(cv2.threshold(planes.least, WHITE - 1, 1, cv2.THRESH_BINARY, planes.spare)[1]) / planes.count
    )


def black_fraction(planes: Planes) -> float:
    """Return the share of pixels that are `BLACK` or less in all channels."""
    import cv2

    return cv2.countNonZero(cv2.threshold(planes.most, BLACK, 1, cv2.THRESH_BINARY_INV, planes.spare)[1]) / planes.count


def entropy(planes: Planes) -> float:
    """Return Shannon's entropy of the grey values in bits.

    It is the sum of -p log2(p) over the share p of each value.

    Grey is the luma of ITU-R BT.601, as OpenCV rounds it. C. E. Shannon, "A mathematical theory of communication",
    Bell System Technical Journal 27, 1948.
    """
    import cv2
    import numpy as np

    grey = cv2.cvtColor(planes.pixels, cv2.COLOR_RGB2GRAY, planes.spare)
    # Neighbours are often alike, and counting one value waits for the count before: four histograms halve the time.
    counts = cv2.calcHist([grey, planes.lanes], [0, 1], None, [256, 4], [0, 256, 0, 4]).sum(axis=1, dtype=np.float64)
    shares = counts[counts > 0] / planes.count
    return max(0.0, -float(shares @ np.log2(shares)))


@dataclass(frozen=True, slots=True)
class Measure:
    """A quality measure of patches.

    Parameters
    ----------
    function
        Takes the planes of a patch and returns the value, 0 or more. Its name is the column's in the tables, and the
        reason of patches that the limit drops.
    definition
        The value's definition and unit, for the docs and the report.
    limit
        The key below `quality` in the configuration: ``min_...`` drops smaller values, ``max_...`` larger ones.
    meaning
        What the limit's value is, for messages and editors.
    largest
        The largest value, up to which `BINS` bins are equally wide; infinity gives a bin for each doubling from 1.
    advice
        How to choose the limit.
    is_costly
        Whether patches are measured only where the limit is set, to 0 at least.
    """

    function: Callable[[Planes], float]
    definition: str
    limit: str
    meaning: str
    largest: float = 1
    advice: str = ""
    is_costly: bool = False

    @property
    def column(self) -> str:
        """The column's name."""
        return self.function.__name__

    @property
    def is_minimum(self) -> bool:
        """Whether the limit drops smaller values."""
        return self.limit.startswith("min_")

    @property
    def edges(self) -> list[float]:
        """The edges of the histogram's bins.

        The first and the last bin also count the values beyond them.
        """
        if math.isinf(self.largest):
            return [2.0**place for place in range(BINS + 1)]
        return [place * self.largest / BINS for place in range(BINS + 1)]


MEASURES = (
    Measure(
        blur,
        "variance of the Laplacian of green (four neighbours less four times the pixel), in squared levels of 255; "
        "the less, the more blurred or empty",
        "min_blur",
        "the least blur (the less, the more blurred) that a patch may have, 0 or more",
        largest=math.inf,
        advice="It depends on scanner, resolution and stain: choose it from the report of a run with `quality: true`. "
        "Blank glass has next to none.",
    ),
    Measure(
        mean_saturation,
        "mean saturation in HSV, 0 (grey) to 1",
        "min_saturation",
        "the least mean saturation that a patch may have, 0 to 1",
    ),
    Measure(
        white_fraction,
        f"share of pixels whose red, green and blue are all {WHITE} or more, of 255",
        "max_white_fraction",
        "how much of a patch may be white, 0 to 1",
    ),
    Measure(
        black_fraction,
        f"share of pixels whose red, green and blue are all {BLACK} or less, of 255",
        "max_black_fraction",
        "how much of a patch may be black, 0 to 1",
    ),
    Measure(
        entropy,
        "entropy of the grey values, 0 (one value) to 8 bits (256 values equally often); measured only with its limit",
        "min_entropy",
        "the least entropy of grey values in bits that a patch may have, 0 to 8",
        largest=8,
        advice="0 measures and drops nothing. It is measured only with a limit, since it takes almost as long as all "
        "other measures.",
        is_costly=True,
    ),
)

_THREAD = threading.local()


def measure(pixels: npt.NDArray[np.uint8], measures: Sequence[Measure] = MEASURES) -> dict[str, float]:
    """Measure a patch; return the values by column.

    It works on the calling thread. Callers keep OpenCV from starting threads (``cv2.setNumThreads(1)``), which would
    compete with those that read.

    Parameters
    ----------
    pixels
        ``uint8 (height, width, 3)``, RGB.
    measures
        What to measure.
    """
    planes: Planes | None = getattr(_THREAD, "planes", None)
    if planes is None or planes.shape != pixels.shape[:2]:
        planes = _THREAD.planes = Planes(pixels.shape[:2])
    planes.load(pixels)
    return {one.column: one.function(planes) for one in measures}
