"""Models that embed patches, opened by the names that the configuration gives them."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np

from slidemill.core.specs import ONNX, FeatureSpec
from slidemill.errors import ModelError
from slidemill.features._encoder import Encoder as Encoder
from slidemill.features._encoder import Place as Place

PASSIVE = ("OMP_WAIT_POLICY", "PASSIVE")
"""The setting of OpenMP by which threads without work sleep. By default they spin, and take the processor from the
threads that read patches. https://www.openmp.org/spec-html/5.2/openmpse107.html"""


def open_encoder(name: str, spec: FeatureSpec, place: Place) -> Encoder:
    """Open a model.

    Parameters
    ----------
    name
        The name of the features; messages begin with it.
    spec, place
        The model, and where it runs.

    Raises
    ------
    ModelError
        When a package or file is missing, the weights do not fit, the device does not exist, or the model does not
        return one row of numbers per patch.
    """
    # OpenMP reads it when torch is loaded.
    os.environ.setdefault(*PASSIVE)
    try:
        if spec.model.endswith(ONNX):
            from slidemill.features._onnx_model import open_onnx

            encoder = open_onnx(name, spec, place)
        else:
            from slidemill.features._torch_model import open_torch

            encoder = open_torch(name, spec, place)
    except ModuleNotFoundError as error:
        raise ModelError(
            f"features.{name}.model is {spec.model}: the package {error.name} is not installed: install it (pip "
            "install '.[features]' in slidemill's folder has all but a custom model's), or choose another model"
        ) from None
    # One patch shows before the slide is read whether the model fits.
    prepared = encoder.prepare(np.zeros((1, place.patch_size, place.patch_size, 3), np.uint8))
    encoder.encode(prepared)
    return replace(encoder, prepared_bytes=prepared.nbytes)
