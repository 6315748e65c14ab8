"""The JSON schema of the configuration, derived from its model: for editors, and for the words of messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slidemill.runs._config_model import Configuration

TITLE = "slidemill's configuration; `default` fills what a configuration leaves out"
FIRST = ("type", "additionalProperties", "required", "enum", "minProperties")
LAST = ("default", "description", "properties")
"""What stands first and last in the schema of a key."""


def json_schema() -> dict[str, Any]:
    """Return the schema in the form that people write: without references, and with a list of types for `null`."""
    made = Configuration.model_json_schema()
    whole = _plain(made, made["$defs"])
    own = {name: value for name, value in whole.items() if name not in ("$defs", "description")}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": TITLE, **own}


def _plain(node: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema of one key with its references, and the choice between it and null, resolved."""
    own = dict(node)
    if reference := own.pop("$ref", None):
        own = {**definitions[reference.rsplit("/", 1)[1]], **own}
    own.pop("title", None)
    if choices := own.pop("anyOf", None):
        own = {**_merged([_plain(choice, definitions) for choice in choices]), **own}
    if "const" in own:
        own["enum"] = [own.pop("const")]
    if "enum" in own:
        own.pop("type", None)
    for name in ("items", "propertyNames", "additionalProperties"):
        if isinstance(own.get(name), dict):
            own[name] = _plain(own[name], definitions)
    if "propertyNames" in own:
        own["propertyNames"] = {"type": "string"} | own["propertyNames"]
    if "properties" in own:
        own["properties"] = {name: _plain(inner, definitions) for name, inner in own["properties"].items()}
    if own.get("default", ...) is None and "null" not in own.get("type", ()) and None not in own.get("enum", ()):
        del own["default"]  # null is a fault there
    first = {name: own[name] for name in FIRST if name in own}
    last = {name: own[name] for name in LAST if name in own}
    return first | {name: own[name] for name in own if name not in LAST} | last


def _merged(choices: list[dict[str, Any]]) -> dict[str, Any]:
    """Return one schema for a value and null."""
    merged = {name: value for choice in choices for name, value in choice.items()}
    if "enum" in merged:
        return merged | {"enum": [*merged["enum"], None]}
    return merged | {"type": [choice["type"] for choice in choices]}
