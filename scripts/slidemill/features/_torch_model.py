"""Models of timm, of torchvision, of a custom callable, and TorchScript files, run by torch."""

from __future__ import annotations

import importlib
import re
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from slidemill.core.encodings import Pixels
from slidemill.core.files import file_digest
from slidemill.core.job_log import LOG
from slidemill.core.specs import HUB, MODEL_PACKAGES, TORCHSCRIPT, FeatureSpec
from slidemill.errors import ModelError
from slidemill.features._encoder import Array, Encoder, Place, check_rows
from slidemill.features._preparation import Preparation

HEADS = ("fc", "classifier", "heads", "head")
"""Names of the classifiers of torchvision's models."""

WRAPPERS = ("state_dict", "model")
"""Keys of checkpoints that hold the weights."""


@dataclass(frozen=True, slots=True)
class _Model:
    """A model with its input, and the prefix of weights that features do not need."""

    module: Any
    input: Preparation | Callable[[Any], Any] | None
    head: str = ""


def open_torch(name: str, spec: FeatureSpec, place: Place) -> Encoder:
    """Open a model with torch; see `slidemill.features.models.open_encoder`."""
    device = _device(place.device)
    torch.set_num_threads(place.threads)
    model, digest, versions = _load(name, spec)
    dtype = getattr(torch, spec.dtype)
    try:
        module = model.module.eval().to(device)
        if not spec.model.endswith(TORCHSCRIPT) and hasattr(module, "to"):
            module = module.to(dtype=dtype, memory_format=torch.channels_last)
    except torch.OutOfMemoryError:
        raise ModelError(
            f"features.{name}.model is {spec.model}: the memory of {device} is not enough for it: end what else uses "
            "that device, or set another device"
        ) from None
    prepare, finish, transform = _preparing(model, place.patch_size, dtype)

    def encode(prepared: Any) -> Array:
        try:
            with torch.inference_mode():
                rows = module(finish(prepared.to(device, non_blocking=True)))
                check_rows(name, spec, rows, len(prepared))
                rows = rows if rows.dtype in (torch.float16, torch.float32) else rows.float()
                found: Array = rows.cpu().numpy()
                return found
        except torch.OutOfMemoryError:
            raise ModelError(
                f"features.{name}.batch is {spec.batch}: the memory of {device} is not enough for so many patches: "
                "lower it"
            ) from None
        except ModelError:
            raise
        except Exception as error:  # a custom model may raise anything
            raise fault(error) from None

    def fault(error: Exception) -> ModelError:
        LOG.info("".join(traceback.format_exception(error)))
        size = f"{place.patch_size} x {place.patch_size}"
        return ModelError(
            f"features.{name}.model is {spec.model}: it cannot take patches of {size} ({_line(error)}): correct its "
            "transform, or set size and dtype"
        )

    def guarded(pixels: Pixels) -> Any:
        try:
            return prepare(pixels)
        except Exception as error:  # a custom transform may raise anything, too
            raise fault(error) from None

    product = f" ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else ""
    return Encoder(
        prepare=guarded,
        encode=encode,
        transform=transform,
        weights=digest,
        device=f"{device}{product}",
        versions={"torch": str(torch.__version__)} | versions,
    )


def _device(asked: str) -> Any:
    """Return the device; the first of CUDA for ``auto``, or the CPU."""
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if asked == "auto":
        asked = "cuda:0" if count else "cpu"
    if asked.startswith("cuda") and int(asked.partition(":")[2] or 0) >= count:
        raise ModelError(f"device is {asked}: torch finds {count} CUDA devices on this machine: set auto or cpu")
    return torch.device(asked)


def _load(name: str, spec: FeatureSpec) -> tuple[_Model, str, dict[str, str]]:
    """Return a model with its weights, their digest, and the versions of what made it."""
    subject = f"features.{name}.model is {spec.model}"
    if spec.model.endswith(TORCHSCRIPT):
        path = Path(spec.model)
        if not path.is_file():
            raise ModelError(f"{subject}: the file does not exist: correct the path")
        try:
            module = torch.jit.load(str(path), map_location="cpu")
        except (RuntimeError, ValueError) as error:
            raise ModelError(
                f"{subject}: it is not a TorchScript file ({_line(error)}): export it by torch.jit"
            ) from None
        return _Model(module, Preparation().with_settings(spec)), file_digest(path), {}
    package, _, own = spec.model.partition(":")
    try:
        if package not in MODEL_PACKAGES:
            return _custom(subject, package, own, spec=spec), "", {}
        library = importlib.import_module(package)
        model = (_timm if package == "timm" else _torchvision)(own, spec)
    except (ModelError, ModuleNotFoundError):
        raise
    except Exception as error:
        raise ModelError(f"{subject}: it cannot be made ({_line(error)}): correct its name or arguments") from None
    digest = HUB if spec.weights == HUB else _load_weights(name, spec, model)
    return model, digest, {package: library.__version__}


def _timm(own: str, spec: FeatureSpec) -> _Model:
    import timm

    module = timm.create_model(own, pretrained=spec.weights == HUB, num_classes=0, **spec.arguments)
    known = timm.data.resolve_model_data_config(module)
    preparation = Preparation(tuple(known["input_size"][1:]), known["mean"], known["std"], known["interpolation"])
    head = module.pretrained_cfg.get("classifier") or "head"
    return _Model(module, preparation.with_settings(spec), head if isinstance(head, str) else head[0])


def _torchvision(own: str, spec: FeatureSpec) -> _Model:
    from torchvision import models

    weights = models.get_model_weights(own).DEFAULT
    module = models.get_model(own, weights=weights if spec.weights == HUB else None, **spec.arguments)
    known = weights.transforms()
    head = next(name for name in HEADS if hasattr(module, name))
    classifier, prefix = getattr(module, head), head
    if isinstance(classifier, torch.nn.Sequential):
        # What comes before the last layer is part of the features.
        prefix = f"{head}.{list(classifier._modules)[-1]}"
        classifier[-1] = torch.nn.Identity()
    else:
        setattr(module, head, torch.nn.Identity())
    size = (known.crop_size * 2)[:2]
    preparation = Preparation((size[0], size[1]), known.mean, known.std, known.interpolation.value)
    return _Model(module, preparation.with_settings(spec), prefix)


def _custom(subject: str, package: str, own: str, *, spec: FeatureSpec) -> _Model:
    """Return the model of a callable, which returns a module and a transform."""
    made = getattr(importlib.import_module(package), own)(**spec.arguments)
    if not (
        isinstance(made, tuple) and len(made) == 2 and callable(made[0]) and (made[1] is None or callable(made[1]))
    ):
        raise ModelError(
            f"{subject}: it returns {type(made).__name__}: return a pair of a module and a transform, "
            "or of a module and None"
        )
    module, transform = made
    return _Model(module if isinstance(module, torch.nn.Module) else _as_module(module), transform)


def _as_module(function: Callable[[Any], Any]) -> Any:
    class Function(torch.nn.Module):  # type: ignore[misc]
        def forward(self, batch: Any) -> Any:
            return function(batch)

    return Function()


def _load_weights(name: str, spec: FeatureSpec, model: _Model) -> str:
    """Load a file of weights strictly, except for those of the classifier; return its digest."""
    path, subject = Path(spec.weights or ""), f"features.{name}.weights is {spec.weights}"
    if not path.is_file():
        raise ModelError(f"{subject}: the file does not exist: correct the path, or set hub to download weights")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            found: Any = load_file(path)
        else:
            found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ModelError(
            f"{subject}: it is not a file of weights ({_line(error)}): save a state dict by torch.save"
        ) from None
    for wrapper in WRAPPERS:
        if isinstance(found, Mapping) and isinstance(found.get(wrapper), Mapping):
            found = found[wrapper]
    wanted = model.module.state_dict()
    if not isinstance(found, Mapping):
        raise ModelError(f"{subject}: it holds {type(found).__name__}, not a state dict: save one by torch.save")
    unused = [key for key in found if key.startswith(f"{model.head}.") and key not in wanted]
    if unused:
        LOG.info("%s: the classifier's weights are not used: %s", subject, ", ".join(unused))
    own = {key: value for key, value in found.items() if key not in unused}
    if faults := _misfits(wanted, own):
        raise ModelError(
            f"{subject}: it does not fit {spec.model} ({'; '.join(faults)}): choose the model that it was saved from, "
            "or set arguments"
        )
    model.module.load_state_dict(own)
    return file_digest(path)


def _misfits(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """Return what is missing, unexpected, or of another shape in a state dict, a text for each kind."""
    kinds = {
        "missing": [key for key in wanted if key not in found],
        "unexpected": [key for key in found if key not in wanted],
        "of another shape": [
            key for key in wanted if key in found and getattr(found[key], "shape", None) != wanted[key].shape
        ],
    }
    return [f"{len(keys)} {kind}, such as {keys[0]}" for kind, keys in kinds.items() if keys]


def _preparing(model: _Model, patch_size: int, dtype: Any) -> tuple[Callable[[Pixels], Any], Callable[[Any], Any], str]:
    """Return what prepares a batch on any thread, what finishes it on the device, and both as text."""
    transform = model.input

    def as_tensor(pixels: Pixels) -> Any:
        return torch.from_numpy(pixels).permute(0, 3, 1, 2)

    if isinstance(transform, Preparation):
        own = transform
        return as_tensor, lambda batch: _prepared(batch, own, dtype), own.describe(patch_size)
    if transform is None:
        return as_tensor, lambda batch: batch, "none: the module takes uint8"
    custom = transform

    def as_input(batch: Any) -> Any:
        batch = custom(batch)
        return batch.to(dtype) if batch.is_floating_point() else batch

    # Without addresses, which differ from job to job.
    text = re.sub(" at 0x[0-9a-f]+", "", " ".join(repr(transform).split()))[:500]
    # Transforms that need an image of Pillow raise on a tensor.
    try:
        found = as_input(as_tensor(np.zeros((2, patch_size, patch_size, 3), np.uint8)))
        by_batch = len(found) == 2 and found.is_floating_point()
    except Exception:
        by_batch = False
    if by_batch:
        return as_tensor, as_input, text

    def stack(pixels: Pixels) -> Any:
        return torch.stack([custom(Image.fromarray(one)) for one in pixels]).to(dtype)

    return stack, lambda batch: batch, f"{text} (image by image)"


def _prepared(batch: Any, own: Preparation, dtype: Any) -> Any:
    """Return a model's input of ``uint8 (b, 3, height, width)``: resized and rounded to 8 bits, then normalized."""
    if own.size and tuple(batch.shape[2:]) != own.size:
        # Only the CPU resizes whole numbers.
        whole = batch if batch.device.type == "cpu" else batch.float()
        batch = torch.nn.functional.interpolate(whole, own.size, mode=own.filter, antialias=True)
        batch = batch if batch.dtype == torch.uint8 else batch.round_().clamp_(0, 255)
    scale, shift = (torch.tensor(values, device=batch.device).view(1, 3, 1, 1) for values in own.linear())
    return batch.to(torch.float32, memory_format=torch.channels_last).mul_(scale).sub_(shift).to(dtype)


def _line(error: Exception) -> str:
    text = " ".join(str(error).split())[:200]
    return text if isinstance(error, RuntimeError) and text else f"{type(error).__name__}: {text}"
