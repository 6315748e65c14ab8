"""Read a slide's ICC profile, and convert its pixels to sRGB.

The intent is relative colorimetric: colours within sRGB are shown as the profile measured them, and white stays white.
The perceptual intent would shift all colours as each profile's maker chose, and slides of several scanners differently.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from PIL import features

from slidemill.errors import SlideError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import openslide

Convert: TypeAlias = "Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.uint8]]"
"""Pixels, ``uint8 (height, width, 3)``, to as many converted ones; several threads may call it at once."""

IGNORED, CONVERTED, NO_PROFILE = "ignore", "srgb (relative colorimetric)", "srgb (no profile)"
"""What manifests record of the colours of a store's pixels."""

LITTLECMS = str(features.version("littlecms2"))
"""The version of the library of the conversion."""

ICC_SIZE = "openslide.icc-size"
"""OpenSlide's property of slides that have a profile."""

LONGEST = 80
"""Characters of a profile's description that are kept."""


def profile_of(slide: openslide.OpenSlide) -> str:
    """Return the description and the size of a slide's ICC profile.

    The text is empty if the slide has no profile.
    """
    size = slide.properties.get(ICC_SIZE)
    if size is None:
        return ""
    from PIL import ImageCms

    try:
        profile = slide.color_profile
        name = ImageCms.getProfileDescription(profile) if profile else ""
    except (ImageCms.PyCMSError, OSError, ValueError) as error:
        name = f"damaged: {error}"
    name = " ".join("".join(character if character.isprintable() else " " for character in name).split())
    return f"{name[:LONGEST] or 'unnamed'} ({size} bytes)"


def colour_state(icc: str, profile: str) -> str:
    """Return how pixels are converted, given the key `icc` and the slide's profile."""
    return IGNORED if icc == "ignore" else CONVERTED if profile else NO_PROFILE


def build_conversion(slide: openslide.OpenSlide, colours: str) -> Convert:
    """Return a function that converts the slide's pixels as `colours` says.

    `colours` is the slide's `colour_state`; for some states the pixels stay unchanged.

    The slide may be closed after this.

    Raises
    ------
    SlideError
        When its profile is damaged, or not for RGB.
    """
    if colours != CONVERTED:
        return lambda pixels: pixels
    import numpy as np
    from PIL import Image, ImageCms

    try:
        profile = slide.color_profile
        if profile is None:
            raise ValueError("OpenSlide gives none")
        transform = ImageCms.buildTransform(
            profile,
            ImageCms.createProfile("sRGB"),
            "RGB",
            "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            # Without its cache of the last pixel, LittleCMS lets threads share a transform.
            ImageCms.Flags.NOCACHE,
        )
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError) as error:
        raise SlideError(
            f"icc is srgb, and the slide's ICC profile, {profile_of(slide)}, cannot be used ({error}): fix the slide, "
            "or set icc to ignore"
        ) from None
    return lambda pixels: np.asarray(ImageCms.applyTransform(Image.fromarray(pixels), transform))
