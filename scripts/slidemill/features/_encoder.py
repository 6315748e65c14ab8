"""What a model that embeds patches is, and where it runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from slidemill.core.encodings import Pixels
from slidemill.core.specs import FeatureSpec
from slidemill.errors import ModelError

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoder:
    """A model that embeds patches.

    Parameters
    ----------
    prepare
        Takes pixels, ``uint8 (b, height, width, 3)``, on any thread; returns what `encode` takes.
    encode
        Returns the features of a prepared batch, ``(b, dim)``, float16 or float32.
    transform
        How pixels become the model's input, as one line of text.
    weights
        The digest of the file of weights, ``"hub"``, or empty.
    device
        The device, and its product name.
    versions
        By name, the versions of the libraries that compute.
    prepared_bytes
        Bytes of a patch that is prepared.
    """

    prepare: Callable[[Pixels], Any]
    encode: Callable[[Any], Array]
    transform: str
    weights: str
    device: str
    versions: Mapping[str, str]
    prepared_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Place:
    """Where a model runs, and on what.

    Parameters
    ----------
    device
        The configuration's key: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:1"``.
    threads
        Threads that compute on a CPU.
    patch_size
        Width of the patches in pixels.
    """

    device: str = "auto"
    threads: int = 1
    patch_size: int = 256


def check_rows(name: str, spec: FeatureSpec, rows: Any, count: int) -> None:
    """Check that a model's output is one row of numbers per patch.

    Raises
    ------
    ModelError
        When it is another value.
    """
    shape = getattr(rows, "shape", None)
    # Numbers with an imaginary part would lose it.
    is_complex = "complex" in str(getattr(rows, "dtype", ""))
    if shape is None or len(shape) != 2 or shape[0] != count or not shape[1] or is_complex:
        kind = "an array of complex numbers" if is_complex else "an array"
        found = type(rows).__name__ if shape is None else f"{kind} of shape {tuple(shape)}"
        raise ModelError(
            f"features.{name}.model is {spec.model}: for {count} {'patch' if count == 1 else 'patches'} it returns "
            f"{found}, and features are ({count}, D): wrap it in a callable that pools its output"
        )
