"""The configuration: checked against a schema, completed by its defaults, and turned into values.

Whatever is wrong ends as one `ConfigError` with a line for each fault.
"""

from __future__ import annotations

import copy
import difflib
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema

from slidemill.errors import ConfigError
from slidemill.geometry import GridSpec
from slidemill.specs import BenchmarkSpec, LabelSpec, StoreSpec, ValidationSpec

JPEG_QUALITY = 90
LARGEST_SHRUNK = 1024
"""Largest patch_size with a DeepZoom level, in pixels: 4096 x 4096 of a native level are held at once then."""

WRITTEN = (
    *("slides", "patches", "metadata", "stores", "outcomes", "validation", "figures", "logs", "passed", ".snakemake"),
    *("slides.csv", "metadata.csv", "unreadable.csv", "validation.csv", "benchmark.csv"),
)
"""What a run writes into the results; slides may not lie there."""

TYPE_NAMES = {
    "string": "text (put it in quotes)",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "object": "a mapping (leave the key out for its defaults)",
    "null": "null",
}

# JSON Schema takes 256.0 for an integer, and YAML knows .nan and .inf.
_VALIDATOR = jsonschema.validators.extend(  # type: ignore[no-untyped-call]
    jsonschema.Draft202012Validator,
    type_checker=jsonschema.Draft202012Validator.TYPE_CHECKER.redefine(
        "integer", lambda _, value: isinstance(value, int) and not isinstance(value, bool)
    ).redefine(
        "number",
        lambda _, value: isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value),
    ),
)


@dataclass(frozen=True, slots=True)
class Config:
    """A checked configuration; its paths are absolute."""

    slides: Path
    annotations: Path | None
    results: Path
    sampling: GridSpec
    labels: LabelSpec
    reader: str
    unreadable_patches: str
    max_failed: int
    scratch: str | None
    stores: Mapping[str, StoreSpec]
    validation: ValidationSpec
    benchmark: BenchmarkSpec
    seed: int

    @property
    def root(self) -> Path:
        """The folder that slides' paths are relative to."""
        return self.slides.parent if is_sheet(self.slides) else self.slides

    @property
    def annotations_root(self) -> Path:
        """The folder that annotations' paths are relative to."""
        return self.annotations or self.root


def is_sheet(slides: Path) -> bool:
    """Return whether `slides` names a sheet rather than a folder."""
    return slides.suffix.lower() in (".csv", ".tsv")


def read_config(values: Mapping[str, Any], schema: Mapping[str, Any], base: Path) -> Config:
    """Return the checked configuration, completed by the schema's defaults.

    Parameters
    ----------
    values
        The configuration as YAML or the command line gave it.
    schema
        The JSON schema, ``workflow/schemas/config.schema.yaml``.
    base
        The folder that relative paths start from.

    Raises
    ------
    ConfigError
        With a line for each fault: the key, the value, the remedy.
    """
    faults = list(dict.fromkeys(_faults(values, schema)))
    if faults:
        raise ConfigError("\n".join(faults))
    full = _completed(values, schema, schema)
    slides, results = (base / full["slides"]).resolve(), (base / full["results"]).resolve()
    faults = list(_contradictions(full, slides, results))
    if faults:
        raise ConfigError("\n".join(faults))
    sampling = full["sampling"]
    annotations = full["annotations"]
    return Config(
        slides=slides,
        annotations=(base / annotations).resolve() if annotations else None,
        results=results,
        sampling=GridSpec(**({"level": 0} if "deepzoom_level" not in sampling else {}) | sampling),
        labels=LabelSpec(**full["labels"]),
        reader=full["reader"],
        unreadable_patches=full["unreadable_patches"],
        max_failed=full["max_failed"],
        scratch=full["scratch"],
        stores={name: _store_spec(**settings) for name, settings in full["stores"].items()},
        validation=ValidationSpec(**full["validation"]),
        benchmark=BenchmarkSpec(**full["benchmark"]),
        seed=full["seed"],
    )


def _store_spec(encoding: str, quality: int = JPEG_QUALITY) -> StoreSpec:
    return StoreSpec(encoding, quality if encoding == "jpeg" else None)


def _contradictions(full: Mapping[str, Any], slides: Path, results: Path) -> Iterator[str]:
    """Yield a line for each fault that a schema cannot tell."""
    sampling = full["sampling"]
    if "deepzoom_level" in sampling and "level" in sampling:
        yield (
            f"sampling.deepzoom_level is {sampling['deepzoom_level']} and sampling.level is {sampling['level']}: "
            "give one of the two"
        )
    if "deepzoom_level" in sampling and sampling["patch_size"] > LARGEST_SHRUNK:
        yield (
            f"sampling.patch_size is {sampling['patch_size']}: patches of a DeepZoom level are read up to four times "
            f"as wide and shrunk, so that memory allows for {LARGEST_SHRUNK}: choose no more, or give a native level"
        )
    if 2 * sampling["overlap"] >= sampling["patch_size"]:
        yield (
            f"sampling.overlap is {sampling['overlap']}: 2 x overlap must be less than patch_size "
            f"({sampling['patch_size']})"
        )
    for backend, settings in full["stores"].items():
        if "quality" in settings and settings["encoding"] != "jpeg":
            yield (
                f"stores.{backend}.quality is {settings['quality']}: only encoding jpeg has a quality, "
                f"this is {settings['encoding']}: leave it out, or choose jpeg"
            )
        if settings["encoding"] == "source":
            yield from _unfit_for_source(backend, full)
    if full["annotations"] and is_sheet(slides):
        yield (
            f"annotations is {full['annotations']}: a sheet lists annotations itself: "
            "use its column 'annotation', and null here"
        )
    standing = next((folder for folder in (results, *results.parents) if folder.exists()), results)
    if not standing.is_dir() or not os.access(standing, os.W_OK | os.X_OK):
        yield f"results is {results}: {standing} is no folder that one may write to: choose another"
    if any(character in str(results) for character in "{}\n"):
        yield (
            f"results is {str(results)!r}: its path may not hold braces or line breaks, which Snakemake takes for "
            "wildcards: choose a path without"
        )
    if results == slides or (results in slides.parents and slides.relative_to(results).parts[0] in WRITTEN):
        yield (
            f"results is {results}, which is or holds the slides ({slides}) and would write among them: "
            "choose another, or one below the slides"
        )


def _unfit_for_source(backend: str, full: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each setting with which no slide's tiles could be copied."""
    sampling = full["sampling"]
    for key, value, needed in (
        ("sampling.overlap", sampling["overlap"], (0,)),
        ("sampling.edges", sampling["edges"], ("drop",)),
        ("reader", full["reader"], ("auto", "tiles")),
    ):
        if value not in needed:
            yield (
                f"stores.{backend}.encoding is source, which copies the slide's tiles, and {key} is {value}: give "
                f"{' or '.join(map(str, needed))}, or choose another encoding"
            )


def _faults(values: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each way in which `values` break the schema."""
    for error in _VALIDATOR(schema).iter_errors(values):
        key = ".".join(str(part) for part in error.absolute_path)
        known = list(error.schema.get("properties", {})) if isinstance(error.schema, dict) else []
        description = error.schema.get("description", "see config/README.md")
        if error.validator == "additionalProperties":
            for name in sorted(set(error.instance) - set(known), key=str):
                close = difflib.get_close_matches(str(name), known, n=1)
                hint = f"did you mean {close[0]}? There" if close else "there"
                yield f"{_joined(key, name)} is {error.instance[name]!r}, an unknown key: {hint} are {', '.join(known)}"
        elif error.validator == "required":
            missing = [name for name in error.validator_value if name not in error.instance]
            for name in missing:
                yield f"{_joined(key, name)} is missing: give {error.schema['properties'][name]['description']}"
        else:
            yield f"{key or 'the configuration'} is {error.instance!r}, not {_expected(error)}: {description}"


def _expected(error: jsonschema.ValidationError) -> str:
    """Return in words what a value should have been."""
    schema: Mapping[str, Any] = error.schema if isinstance(error.schema, Mapping) else {}
    rule: Any = error.validator_value
    if error.validator == "type":
        kinds = [rule] if isinstance(rule, str) else rule
        inside = f" of {', '.join(schema['properties'])}" if "properties" in schema else ""
        return " or ".join(TYPE_NAMES[kind] for kind in kinds) + inside
    if error.validator == "enum":
        return f"one of {', '.join(rule)}"
    bounds = {"minimum": "{} or more", "exclusiveMinimum": "more than {}", "maximum": "{} or less"}
    return bounds.get(str(error.validator), "a choice").format(rule)


def _joined(key: str, name: object) -> str:
    return f"{key}.{name}" if key else str(name)


def _completed(values: Mapping[str, Any], schema: Mapping[str, Any], root: Mapping[str, Any]) -> dict[str, Any]:
    """Return `values` with the defaults of the schema's properties in place of what is missing.

    A mapping with a default of its own, such as ``stores``, is replaced by the user's and not merged with it:
    ``stores: {lmdb: {}}`` asks for LMDB alone.
    """
    filled = dict(values)
    properties = _resolved(schema, root).get("properties", {})
    for name in properties:
        own = _resolved(properties[name], root)
        if name not in filled:
            if "default" not in own:
                continue
            filled[name] = copy.deepcopy(own["default"])
        if isinstance(filled[name], dict) and "properties" in own:
            filled[name] = _completed(filled[name], properties[name], root)
    return filled


def _resolved(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the schema that a ``$ref`` points at, or the schema itself."""
    reference = schema.get("$ref")
    return root["$defs"][reference.rsplit("/", 1)[1]] if reference else schema
