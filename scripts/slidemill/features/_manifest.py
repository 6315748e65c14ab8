"""Manifest of a file of features: its model, its slide, and a digest of its rows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from slidemill.core.encodings import digest
from slidemill.core.text import AGAIN
from slidemill.errors import StoreError

FORMAT, VERSION = "slidemill features", 1
"""The format of the file, and the version of its manifest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureManifest:
    """The metadata of a file of features, equal for two runs with one model over one slide on one device.

    Parameters
    ----------
    name
        The name of the features in the configuration.
    slide, fingerprint
        The slide's id, and the fingerprint of its content.
    model
        The model as the configuration names it.
    weights
        The digest (XXH3-128) of the file of weights, ``"hub"``, or empty where the model brings its own.
    transform
        How pixels become the model's input, as one line of text.
    dtype
        The floating-point type that the model computes in.
    device
        The device that computed the features, such as ``"cpu"`` or ``"cuda:0"`` with its product name.
    patch_size, sampling
        Width of every patch in pixels, and the grid as `slidemill.core.specs.GridSpec` takes it.
    icc
        What was done to the slide's colours, as `slidemill.slides.icc.colour_state` returns it.
    source
        The backend of the store that the patches were read from, or ``"slides"``.
    versions
        By name, the versions of the libraries that computed the features.
    count, dim
        Number of rows, and of values in each; `dim` is 0 where there are no rows.
    content
        The digest of features, coordinates and ids.
    """

    name: str
    slide: str
    fingerprint: str
    model: str
    weights: str = ""
    transform: str = ""
    dtype: str = "float32"
    device: str = "cpu"
    patch_size: int = 256
    sampling: Mapping[str, Any] = field(default_factory=dict)
    icc: str = "ignore"
    source: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    count: int = 0
    dim: int = 0
    content: str = ""

    @property
    def encoder(self) -> dict[str, str]:
        """What rows of two files have in common if one model returned them."""
        return {name: getattr(self, name) for name in ("model", "weights", "transform", "dtype")}

    def to_bytes(self) -> bytes:
        """Return the manifest as JSON in UTF-8, with a digest of its text as last key, ``seal``."""
        text = json.dumps({"format": FORMAT, "version": VERSION} | asdict(self), separators=(",", ":")).encode()[:-1]
        return text + f',"seal":"{digest(text)}"}}'.encode()

    @classmethod
    def from_bytes(cls, data: bytes, subject: object) -> FeatureManifest:
        """Return the manifest that `to_bytes` wrote; messages name `subject`.

        Raises
        ------
        StoreError
            When the bytes are not a manifest, differ from those that were sealed, or are of another version.
        """
        text, _, seal = data.rpartition(b',"seal":"')
        try:
            values = json.loads(data)
            if values.pop("format") != FORMAT:
                raise ValueError
        except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
            raise StoreError(f"{subject}: its manifest is not one of slidemill's features: {AGAIN}") from None
        if seal != f'{digest(text)}"}}'.encode():
            raise StoreError(f"{subject}: its manifest is not as it was sealed: {AGAIN}")
        if (version := values.pop("version", None)) != VERSION:
            raise StoreError(
                f"{subject}: has version {version} of the format, and this slidemill reads {VERSION}: upgrade it"
            )
        del values["seal"]
        kinds = {one.name: {"str": str, "int": int}.get(str(one.type), dict) for one in fields(cls)}
        if values.keys() != kinds.keys() or any(type(values[name]) is not kind for name, kind in kinds.items()):
            raise StoreError(f"{subject}: its manifest lacks a key, or holds a value of another kind: {AGAIN}")
        return cls(**values)
