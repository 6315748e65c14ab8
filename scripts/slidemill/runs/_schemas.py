"""Values against a JSON schema: what is wrong with them, in words, and the defaults of what they leave out."""

from __future__ import annotations

import copy
import difflib
import math
from collections.abc import Iterator, Mapping
from typing import Any

import jsonschema

TYPE_NAMES = {
    "string": "text (put it in quotes)",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "object": "a mapping (leave the key out for its defaults)",
    "array": "a list, such as [a, b]",
    "null": "null",
}

LONGEST_SHOWN = 200
"""Characters of a wrong value that a message has."""

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


def faults(values: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each way in which `values` break the schema."""
    for error in _VALIDATOR(schema).iter_errors(values):
        key = ".".join(str(part) for part in error.absolute_path)
        known = list(error.schema.get("properties", {})) if isinstance(error.schema, dict) else []
        description = error.schema.get("description", "see config/README.md")
        if error.validator == "additionalProperties":
            for name in sorted(set(error.instance) - set(known), key=str):
                # Looser than for labels' names: a wrong guess costs nothing, and part of a key is often meant.
                close = difflib.get_close_matches(str(name), known, n=1)
                hint = f"did you mean {close[0]}? There" if close else "there"
                value = _shown(error.instance[name])
                yield f"{_joined(key, name)} is {value}, an unknown key: {hint} are {', '.join(known)}"
        elif error.validator == "required":
            missing = [name for name in error.validator_value if name not in error.instance]
            for name in missing:
                yield f"{_joined(key, name)} is missing: give {error.schema['properties'][name]['description']}"
        else:
            yield f"{key or 'the configuration'} is {_shown(error.instance)}, not {_expected(error)}: {description}"


def _shown(value: object) -> str:
    """Return a value as Python writes it, cut off where it is long."""
    text = repr(value)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}..."


def _expected(error: jsonschema.ValidationError) -> str:
    """Return in words what a value should have been."""
    schema: Mapping[str, Any] = error.schema if isinstance(error.schema, Mapping) else {}
    rule: Any = error.validator_value
    if error.validator == "type":
        kinds = [rule] if isinstance(rule, str) else rule
        inside = f" of {', '.join(schema['properties'])}" if "properties" in schema else ""
        return " or ".join(TYPE_NAMES[kind] for kind in kinds) + inside
    if error.validator == "enum":
        return f"one of {', '.join('null' if one is None else one for one in rule)}"
    bounds = {"minimum": "{} or more", "exclusiveMinimum": "more than {}", "maximum": "{} or less"}
    return bounds.get(str(error.validator), "a choice").format(rule)


def _joined(key: str, name: object) -> str:
    return f"{key}.{name}" if key else str(name)


def completed(values: Mapping[str, Any], schema: Mapping[str, Any], root: Mapping[str, Any]) -> dict[str, Any]:
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
            filled[name] = completed(filled[name], properties[name], root)
    return filled


def _resolved(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the schema that a ``$ref`` points at, or the schema itself."""
    reference = schema.get("$ref")
    return root["$defs"][reference.rsplit("/", 1)[1]] if reference else schema
