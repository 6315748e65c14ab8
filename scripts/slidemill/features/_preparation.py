"""How pixels become a model's input: resized by a named filter, scaled, and normalized."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from slidemill.core.encodings import Pixels
from slidemill.core.specs import FeatureSpec

FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
"""By name, the filters that resize patches, antialiased, and rounded to 8 bits as Pillow does."""


@dataclass(frozen=True, slots=True)
class Preparation:
    """The input of a model.

    Parameters
    ----------
    size
        ``(height, width)`` of its input in pixels; None for patches of any size.
    mean, std
        By channel, what is subtracted from pixels in 0 to 1, and what divides the difference.
    filter
        The filter that resizes patches of another size, one of `FILTERS`.
    """

    size: tuple[int, int] | None = None
    mean: Sequence[float] = (0.0, 0.0, 0.0)
    std: Sequence[float] = (1.0, 1.0, 1.0)
    filter: str = "bicubic"

    def with_settings(self, spec: FeatureSpec) -> Preparation:
        """Return the preparation with the size, mean and std that the configuration gives."""
        size = (spec.size, spec.size) if spec.size else self.size
        own = replace(self, size=size, mean=tuple(spec.mean or self.mean), std=tuple(spec.std or self.std))
        return own if own.filter in FILTERS else replace(own, filter="bicubic")

    def resizes(self, patch_size: int) -> bool:
        """Whether patches of this width are resized."""
        return self.size not in (None, (patch_size, patch_size))

    def describe(self, patch_size: int) -> str:
        """Return one line of text."""
        steps = []
        if self.size and self.resizes(patch_size):
            steps.append(f"resized from {patch_size} x {patch_size} to {self.size[1]} x {self.size[0]} ({self.filter})")
        mean, std = (", ".join(f"{value:g}" for value in own) for own in (self.mean, self.std))
        return "; ".join([*steps, "scaled to 0 to 1", f"mean {mean}", f"std {std}"])

    def apply(self, pixels: Pixels, dtype: npt.DTypeLike = np.float32) -> npt.NDArray[Any]:
        """Return the input of a model, ``(b, 3, height, width)``, of pixels ``uint8 (b, height, width, 3)``."""
        if self.size and self.size != pixels.shape[1:3]:
            size, own = self.size[::-1], FILTERS[self.filter]
            pixels = np.stack([np.asarray(Image.fromarray(one).resize(size, own)) for one in pixels])
        scale, shift = self.linear()
        values = pixels.astype(np.float32) * np.array(scale, np.float32) - np.array(shift, np.float32)
        return np.ascontiguousarray(values.transpose(0, 3, 1, 2), dtype)

    def linear(self) -> tuple[list[float], list[float]]:
        """Return, by channel, the factor of a pixel's value, and what is subtracted from the product."""
        scale = [1 / (255 * own) for own in self.std]
        return scale, [mean / own for mean, own in zip(self.mean, self.std, strict=True)]
