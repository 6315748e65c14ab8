"""Colours: the ICC profile that a slide may carry, and its pixels converted by it to sRGB.

Relative colorimetric: what sRGB can show is shown as the profile measured it, and white stays white. The perceptual
intent would shift all colours as each profile's maker thought best, and slides of several scanners differently.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from PIL import features

from slidemill.errors import SlideError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import openslide

Convert: TypeAlias = "Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.uint8]]"
"""Pixels, ``uint8 (height, width, 3)``, to as many converted ones; several threads may call it at once."""

IGNORED, CONVERTED, NO_PROFILE = "ignore", "srgb (relative colorimetric)", "srgb (no profile)"
"""What manifests say of the colours of a store's pixels."""

LITTLECMS = str(features.version("littlecms2"))
"""The version of the library that converts."""

ICC_SIZE = "openslide.icc-size"
"""OpenSlide's property of slides that have a profile."""

LONGEST = 80
"""Characters of a profile's own description that are kept."""


def profile_of(slide: openslide.OpenSlide) -> str:
    """Return the description and the size of a slide's ICC profile, or nothing where it has none."""
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
    """Return what is done to the pixels of a slide: one of `IGNORED`, `CONVERTED` and `NO_PROFILE`.

    Parameters
    ----------
    icc
        ``"ignore"`` or ``"srgb"``, as the configuration has it.
    profile
        What `profile_of` says of the slide.
    """
    return IGNORED if icc == "ignore" else CONVERTED if profile else NO_PROFILE


def build_conversion(slide: openslide.OpenSlide, colours: str) -> Convert:
    """Return what makes the pixels that are wanted of the slide's own.

    Parameters
    ----------
    slide
        The open slide. It may be closed after this.
    colours
        As `colour_state` gives it.

    Raises
    ------
    SlideError
        When its profile is damaged, or is none for RGB.
    """
    if colours != CONVERTED:
        return _unchanged
    import numpy as np
    from PIL import Image, ImageCms

    try:
        transform = ImageCms.buildTransform(
            _given(slide.color_profile),
            ImageCms.createProfile("sRGB"),
            "RGB",
            "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            # Its cache of the last pixel is why LittleCMS would have each thread have a transform of its own.
            ImageCms.Flags.NOCACHE,
        )
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError) as error:
        raise SlideError(
            f"icc is srgb, and the slide's ICC profile, {profile_of(slide)}, cannot be used ({error}): mend the slide, "
            "or set icc to ignore"
        ) from None
    return lambda pixels: np.asarray(ImageCms.applyTransform(Image.fromarray(pixels), transform))


def _unchanged(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    return pixels


def _given(profile: Any) -> Any:
    if profile is None:
        raise ValueError("OpenSlide gives none")
    return profile
