"""The eight symmetries of the square, for augmentation.

The bits of a symmetry's number: 4 exchanges rows and columns, then 1 mirrors left to right, and 2 top to bottom. So 0
is the identity, 3 is half a turn, and 5 and 6 are quarter turns. They are the dihedral group of order 8
(https://en.wikipedia.org/wiki/Dihedral_group).
"""

from __future__ import annotations

import numpy as np

from slidemill.core.encodings import Pixels

COUNT = 8
"""The number of symmetries."""


def turn_view(pixels: Pixels, number: int) -> Pixels:
    """Return a view of square patches, transformed by the symmetry `number`, 0 to 7.

    `pixels` is ``uint8 (size, size, channels)`` or ``uint8 (patches, size, size, channels)``.

    Raises
    ------
    ValueError
        When there is no such symmetry.
    """
    if not 0 <= number < COUNT:
        raise ValueError(f"symmetry {number} does not exist: a square has {COUNT}, counted from 0")
    view = pixels.swapaxes(-3, -2) if number & 4 else pixels
    return view[..., :: -1 if number & 2 else 1, :: -1 if number & 1 else 1, :]


def turn_into(pixels: Pixels, number: int, out: Pixels) -> None:
    """Write a patch to `out`, transformed by a symmetry of the square.

    Parameters
    ----------
    pixels, out
        C-contiguous ``uint8 (size, size, 3)``.
    number
        The symmetry, 0 to 7.
    """
    # OpenCV writes to the array that it is given; NumPy takes ten times as long to copy a mirrored view.
    # https://docs.opencv.org/4.x/d2/de8/group__core__array.html
    import cv2

    if number == 0:
        np.copyto(out, pixels)
    elif number < 4:
        cv2.flip(pixels, {1: 1, 2: 0, 3: -1}[number], dst=out)
    elif number in (5, 6):
        cv2.rotate(pixels, cv2.ROTATE_90_CLOCKWISE if number == 5 else cv2.ROTATE_90_COUNTERCLOCKWISE, dst=out)
    else:
        cv2.transpose(pixels, dst=out)
        if number == 7:
            cv2.flip(out, -1, dst=out)
