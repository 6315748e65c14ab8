"""Define the configuration's section `features`, and check and convert its keys."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from slidemill.config._key import NonEmpty, Section, Text, key, spec_of
from slidemill.core.specs import HUB, MODEL_PACKAGES, ONNX, TORCHSCRIPT, FeatureSpec

NAMES = "letters, digits and underscores, the first a letter, since files and rules are named by it"
Name = Annotated[Text, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$", description=f"names of {NAMES}")]
Channels = Annotated[list[Annotated[float, Field(description="a number")]], Field(min_length=3, max_length=3)]
Divisors = Annotated[
    list[Annotated[float, Field(gt=0, description="a number above 0")]], Field(min_length=3, max_length=3)
]
CALLABLE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
"""A custom model: a module and a callable in it."""


class Feature(Section):
    """A model that embeds patches."""

    model_config = ConfigDict(
        json_schema_extra={"description": "a model, such as {model: 'timm:resnet50', weights: /models/r50.pth}"}
    )

    model: NonEmpty = key(
        ..., "timm:NAME, torchvision:NAME, package.module:callable, or a file that ends in .onnx or .pt (TorchScript)"
    )
    """The model: `timm:NAME`, `torchvision:NAME`, a custom `package.module:callable`, or a file that ends in `.onnx`
    or `.pt` (TorchScript). See [Embed a cohort](../docs/how-to/embed-a-cohort.md).
    """

    weights: NonEmpty | None = key(
        None, "the file of weights of a model of timm or torchvision, or hub to download them; null for other models"
    )
    """The file of weights of a model of timm or torchvision (`.pth`, `.bin`, `.pt`, `.safetensors`), which must fit it
    exactly. `hub` downloads the library's weights for this model; nothing else does. Other models contain their
    weights.
    """

    batch: Annotated[int, Field(ge=1)] = key(64, "patches that the model gets at once, 1 or more; 64 by default")
    """Patches that the model gets at once. A new value embeds no slide again."""

    dtype: Literal["float32", "float16", "bfloat16"] = key(
        "float32", "the type that the model computes with, float32, float16 or bfloat16"
    )
    """The type that the model computes with. Features are stored as float16 with `float16`, else as float32."""

    arguments: dict[str, Any] = key({}, "a mapping of further arguments of the model, such as {init_values: 1.0e-5}")
    """Further arguments of the model in timm or torchvision, or of the callable, such as `{init_values: 1.0e-5}`."""

    size: Annotated[int, Field(ge=1)] | None = key(
        None, "width and height of the model's input in pixels, or null for what the model says"
    )
    """Width and height of the model's input in pixels. `null`: the size that the model states, or else that of the
    patches. Patches of another size are resized.
    """

    mean: Channels | None = key(None, "three numbers that are subtracted from red, green and blue in 0 to 1")
    """The mean of red, green and blue, from 0 to 1, which is subtracted. `null`: the mean that the model states."""

    std: Divisors | None = key(None, "three numbers above 0 that divide red, green and blue after that")
    """The standard deviation that divides red, green and blue after that. `null`: the one that the model states."""


def wrong_features(given: Mapping[str, Feature], base: Path) -> Iterator[str]:
    """Yield a line for each fault of a model that concerns several keys, or the disk."""
    folded: dict[str, str] = {}
    for name in given:
        if (other := folded.setdefault(name.casefold(), name)) != name:
            yield f"features has {other} and {name}, one folder where letter case does not count: rename one"
    for name, one in given.items():
        where, package = f"features.{name}", one.model.partition(":")[0]
        is_file = one.model.endswith((ONNX, TORCHSCRIPT))
        if not (is_file or CALLABLE.fullmatch(one.model) or (package in MODEL_PACKAGES and one.model != f"{package}:")):
            yield (
                f"{where}.model is {one.model!r}: give timm:NAME, torchvision:NAME, package.module:callable, or a file "
                "that ends in .onnx or .pt"
            )
            continue
        is_named = package in MODEL_PACKAGES and not is_file
        if is_named and one.weights is None:
            yield (
                f"{where}.weights is missing: give the file of the weights of {one.model}, or hub, which downloads them"
            )
        if not is_named and one.weights is not None:
            yield f"{where}.weights is {one.weights!r}: {one.model} contains its weights: leave the key out"
        if is_file and one.arguments:
            yield f"{where}.arguments is {one.arguments}: a file takes none: leave it out"
        if not (is_named or is_file) and (one.size or one.mean or one.std):
            yield f"{where}: size, mean and std are those of the callable's transform: leave them out"
        files = {"model": one.model if is_file else None, "weights": one.weights if is_named else None}
        for key_name, file in files.items():
            if file not in (None, HUB) and not (base / str(file)).is_file():
                yield f"{where}.{key_name} is {file!r}: the file does not exist: correct the path"


def feature_specs(given: Mapping[str, Feature], base: Path) -> dict[str, FeatureSpec]:
    """Return the models by name, with absolute paths."""

    def absolute(file: str) -> str:
        return str((base / file).resolve())

    specs = {}
    for name, one in given.items():
        changes: dict[str, Any] = {}
        if one.model.endswith((ONNX, TORCHSCRIPT)):
            changes["model"] = absolute(one.model)
        if one.weights not in (None, HUB):
            changes["weights"] = absolute(str(one.weights))
        specs[name] = spec_of(FeatureSpec, one.model_copy(update=changes))
    return specs
