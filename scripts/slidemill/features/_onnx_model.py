"""Models in ONNX files, run by onnxruntime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from slidemill.core.files import file_digest
from slidemill.core.specs import FeatureSpec
from slidemill.errors import ModelError
from slidemill.features._encoder import Array, Encoder, Place, check_rows
from slidemill.features._preparation import Preparation

CUDA = "CUDAExecutionProvider"
TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
"""Types of a model's input, as onnxruntime names them."""


def open_onnx(name: str, spec: FeatureSpec, place: Place) -> Encoder:
    """Open an ONNX file; see `slidemill.features.models.open_encoder`."""
    import onnxruntime

    path, subject = Path(spec.model), f"features.{name}.model is {spec.model}"
    if not path.is_file():
        raise ModelError(f"{subject}: the file does not exist: correct the path")
    providers = _providers(onnxruntime, place)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = place.threads
    # Threads that wait would spin, and take the processor from those that read patches.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:  # each has a class of its own
        raise ModelError(f"{subject}: onnxruntime cannot open it ({_line(error)}): export it again") from None
    taken = session.get_inputs()
    if len(taken) != 1 or taken[0].type not in TYPES or len(taken[0].shape) != 4:
        found = ", ".join(f"{one.type} {one.shape}" for one in taken)
        raise ModelError(f"{subject}: it takes {found}: export a model that takes floats (B, 3, height, width)")
    count, _, *size = taken[0].shape
    fixed = (size[0], size[1]) if all(isinstance(one, int) for one in size) else None
    preparation = Preparation(fixed).with_settings(spec)
    dtype = TYPES[taken[0].type]

    def run(batch: Array) -> Array:
        try:
            (rows,) = session.run(None, {taken[0].name: batch})
        except ValueError:
            raise ModelError(
                f"{subject}: it has several outputs, and features are one: export a model with one"
            ) from None
        except Exception as error:
            raise ModelError(
                f"{subject}: it cannot take patches of {batch.shape[2:]} ({_line(error)}): set size"
            ) from None
        check_rows(name, spec, rows, len(batch))
        return np.asarray(rows)

    def encode(batch: Array) -> Array:
        if not isinstance(count, int):
            return _as_float(run(batch))
        # A model with a fixed batch takes no fewer patches.
        parts = [batch[start : start + count] for start in range(0, len(batch), count)]
        padded = [np.concatenate([part, np.zeros((count - len(part), *part.shape[1:]), dtype)]) for part in parts]
        return _as_float(np.concatenate([run(own)[: len(part)] for own, part in zip(padded, parts, strict=True)]))

    return Encoder(
        prepare=lambda pixels: preparation.apply(pixels, dtype),
        encode=encode,
        transform=preparation.describe(place.patch_size),
        weights=file_digest(path),
        device="cuda" if CUDA in providers else "cpu",
        versions={"onnxruntime": onnxruntime.__version__},
    )


def _providers(onnxruntime: Any, place: Place) -> list[Any]:
    """Return the execution providers for a device."""
    has_cuda = CUDA in onnxruntime.get_available_providers()
    if place.device.startswith("cuda") and not has_cuda:
        raise ModelError(f"device is {place.device}: this onnxruntime has no CUDA: install onnxruntime-gpu, or set cpu")
    if place.device == "cpu" or not has_cuda:
        return ["CPUExecutionProvider"]
    number = int(place.device.partition(":")[2] or 0)
    return [CUDA if not number else (CUDA, {"device_id": number}), "CPUExecutionProvider"]


def _as_float(rows: Array) -> Array:
    return rows if rows.dtype in (np.float16, np.float32) else rows.astype(np.float32)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
