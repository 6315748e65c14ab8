"""Turn pydantic's errors about a configuration into messages for users.

Each is a line with key, value and remedy.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

from pydantic import ValidationError

from slidemill.config._model import Configuration
from slidemill.config.reference import json_schema

TYPE_NAMES = {
    "string": "text (put it in quotes)",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "object": "a mapping (leave the key out for its defaults)",
    "array": "a list, such as [a, b]",
    "null": "null",
}

BOUNDS = {
    "greater_than_equal": ("{} or more", "minimum"),
    "greater_than": ("more than {}", "exclusiveMinimum"),
    "less_than_equal": ("{} or less", "maximum"),
}
"""What a number should have been, and the schema's name of the bound, by pydantic's type of error."""

EMPTY = "too_short"
"""Pydantic's type of error for text and lists that hold nothing."""

MISMATCH = "string_pattern_mismatch"
"""Pydantic's type of error for text that does not match a pattern."""

LONGEST_SHOWN = 200
"""Characters of a wrong value that a message has."""

Place = tuple[Any, ...]
Errors = Mapping[Place, list[Mapping[str, Any]]]


def faults(values: Mapping[str, Any]) -> list[str]:
    """Return a line for each fault of a configuration.

    A section's own faults come before those of its keys.
    """
    schema, by_place = json_schema(), dict[Place, list[Any]]()
    try:
        Configuration.model_validate(_drop_unknown(values, schema))
    except ValidationError as error:
        for one in error.errors(include_url=False):
            by_place.setdefault(one["loc"], []).append(one)
    return list(dict.fromkeys(_lines((), values, schema, errors=by_place)))


def _drop_unknown(value: Any, schema: Mapping[str, Any]) -> Any:
    """Return a value without unknown keys.

    If such a key is not Unicode, pydantic reports only that one.
    """
    entry = schema.get("additionalProperties")
    if isinstance(value, dict) and isinstance(entry, dict):
        return {name: _drop_unknown(own, entry) for name, own in value.items()}
    if not isinstance(value, dict) or "properties" not in schema:
        return value
    return {name: _drop_unknown(value[name], own) for name, own in schema["properties"].items() if name in value}


def _lines(place: Place, value: Any, schema: Mapping[str, Any], *, errors: Errors) -> Iterator[str]:
    """Yield the lines of faults of a section or key, and of all that it contains.

    Parameters
    ----------
    place
        The names of the sections and of the key.
    value
        What the configuration has there.
    schema
        The schema of the key.
    errors
        Pydantic's errors by the places where they are.
    """
    for error in errors.get(place, ()):
        yield _line(place, error, schema)
    if not isinstance(value, dict) or "properties" not in schema:
        yield from _lines_of_entries(place, schema, errors)
        entry = schema.get("additionalProperties")
        if isinstance(value, dict) and isinstance(entry, dict) and "properties" in entry:
            for name, own in value.items():
                if isinstance(own, dict):
                    yield from _lines((*place, name), own, entry, errors=errors)
        return
    known = schema["properties"]
    for name in sorted(set(value) - set(known), key=str):
        # Looser than for labels' names: a wrong guess costs nothing, and part of a key is often meant.
        close = difflib.get_close_matches(str(name), known, n=1)
        hint = f"did you mean {close[0]}? There" if close else "there"
        yield f"{_join_place((*place, name))} is {_shorten(value[name])}, an unknown key: {hint} are {', '.join(known)}"
    for name in schema.get("required", ()):
        if name not in value:
            yield f"{_join_place((*place, name))} is missing: give {known[name]['description']}"
    for name, own in known.items():
        if name in value:
            yield from _lines((*place, name), value[name], own, errors=errors)


def _lines_of_entries(place: Place, schema: Mapping[str, Any], errors: Errors) -> Iterator[str]:
    """Yield the lines of faults in a list, or in a mapping with free names.

    Faults of the names come first.
    """
    of_names = [found for other, found in errors.items() if other[:-2] == place and other[-1] == "[key]"]
    for error in chain(*of_names):
        yield _line(place, error, schema["propertyNames"])
    for other in (other for other in errors if other[:-1] == place and other):
        for error in errors[other]:
            yield _line(other, error, schema["items"] if "items" in schema else schema["additionalProperties"])


def _line(place: Place, error: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    description = schema.get("description", "see config/README.md")
    key = _join_place(place) or "the configuration"
    return f"{key} is {_shorten(error['input'])}, not {_describe_expected(error['type'], schema)}: {description}"


def _describe_expected(kind: str, schema: Mapping[str, Any]) -> str:
    """Return in words what a value with this pydantic error should have been."""
    if kind in BOUNDS:
        words, bound = BOUNDS[kind]
        return words.format(schema[bound])
    if kind == MISMATCH:
        return "of this form"
    if kind in (EMPTY, "too_long") and "maxItems" in schema:
        return f"a list of {schema['maxItems']}"
    if kind == EMPTY:
        return "a choice"
    if "enum" in schema:
        return f"one of {', '.join('null' if one is None else one for one in schema['enum'])}"
    kinds = [schema["type"]] if isinstance(schema["type"], str) else schema["type"]
    inside = f" of {', '.join(schema['properties'])}" if "properties" in schema else ""
    return " or ".join(TYPE_NAMES[kind] for kind in kinds) + inside


def _shorten(value: object) -> str:
    """Return a value's Python representation, cut off if it is long."""
    text = repr(value)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}..."


def _join_place(place: Place) -> str:
    return ".".join(map(str, place))
