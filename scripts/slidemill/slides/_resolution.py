"""Check slides' pixel sizes, and find the downsample of a requested resolution.

This is pure arithmetic.
"""

from __future__ import annotations

from slidemill.core.pyramid import Pyramid
from slidemill.errors import SlideError

POWER_MPP = 10.0
"""Micrometres per pixel times the objective power: scanners give about 0.25 at 40x and 0.5 at 20x."""

FINEST, COARSEST = 0.02, 50.0
"""Micrometres per level-0 pixel that a slide can have; other values are mistakes in its properties."""

APART = 1.3
"""Power and mpp contradict each other where they differ by more than this factor."""

UNEVEN = 0.02
"""Pixels are square where their longer side exceeds the shorter by at most this fraction."""

NEAR = 0.02
"""A level whose resolution differs from the requested one by at most this fraction is read without shrinking."""


def is_plausible(mpp: float | None) -> bool:
    """Return whether a slide can have this many micrometres per level-0 pixel."""
    return mpp is not None and FINEST <= mpp <= COARSEST


def are_square(mpp_x: float, mpp_y: float) -> bool:
    """Return whether pixels of `mpp_x` by `mpp_y` micrometres count as square."""
    return max(mpp_x, mpp_y) <= (1 + UNEVEN) * min(mpp_x, mpp_y)


def contradiction(mpp: float | None, power: float | None) -> str:
    """Return a note if a slide's mpp and power contradict each other, else nothing."""
    if mpp is None or power is None or 1 / APART <= POWER_MPP / power / mpp <= APART:
        return ""
    return (
        f"the slide states {mpp:.4g} µm per pixel, and an objective power of {power:g}, which means about "
        f"{POWER_MPP / power:.4g}"
    )


def wanted_downsample(pyramid: Pyramid, mpp: float | None, magnification: float | None) -> float:
    """Return the level-0 pixels per pixel of the requested resolution.

    Parameters
    ----------
    pyramid
        The slide's levels and the size of its pixels.
    mpp
        The requested micrometres per pixel; or None.
    magnification
        The requested magnification; or None. Exactly one of the two is given. Where the slide states no power, it
        follows from its mpp by ``power = 10 / mpp``.

    Returns
    -------
    float
        That of a native level where one is within `NEAR` of the request.

    Raises
    ------
    SlideError
        When the slide does not state the size of its pixels, they are not square, it is coarser than requested, or it
        is shorter than a requested pixel.
    """
    if mpp is not None:
        asked = f"mpp {mpp:g}"
        exact = mpp / pyramid.mpp if pyramid.mpp else None
        own = pyramid.mpp
    else:
        asked = f"magnification {magnification:g}"
        power = pyramid.power or (POWER_MPP / pyramid.mpp if pyramid.mpp else None)
        exact = power / magnification if power and magnification else None
        own = power
    if pyramid.sides and not are_square(*pyramid.sides):
        mpp_x, mpp_y = pyramid.sides
        raise SlideError(
            f"the slide's pixels are not square ({mpp_x:.4g} x {mpp_y:.4g} µm), and {asked} needs square ones: set the "
            "mpp that counts in sampling.assume_mpp or in a sheet of slides, or set sampling.level, which keeps the "
            "slide's pixels"
        )
    if exact is None:
        raise SlideError(
            f"the slide does not state its µm per pixel, and {asked} needs them: set sampling.assume_mpp, or the "
            "column mpp of a sheet of slides"
        )
    for downsample in pyramid.downsamples:
        if abs(exact / downsample - 1) <= NEAR:
            return downsample
    if exact > (longest := max(pyramid.dimensions[0])):
        raise SlideError(
            f"{asked} is coarser than the slide is long: its {longest} level-0 pixels would be less than one: choose a "
            "finer resolution"
        )
    if exact < pyramid.downsamples[0]:
        raise SlideError(
            f"{asked} is finer than the slide, which has {own:.4g}: choose a resolution that all slides have"
        )
    return exact
