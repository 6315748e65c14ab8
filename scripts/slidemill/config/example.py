"""Generate ``config/config.yaml``: every key with its default and a comment."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any, get_args

import yaml

from slidemill.config._key import COMMENT, Section
from slidemill.config._model import Configuration
from slidemill.config.reference import json_schema

HEAD = """\
# The configuration of slidemill, with every default: config/README.md explains the keys.
# A file given with --configfile replaces this one: keys that it omits have the values that they have here.
# pywsi.yaml, next to this file, does what py-wsi does. `make generate` writes this file from the model of the keys.
"""

FOLDERS = {"slides": "slides", "results": "results"}
"""Values of the keys that have no default."""

WIDTH = 120


def example_text() -> str:
    """Return the file ``config/config.yaml``."""
    parts = ["\n".join(lines) for lines in _keys(Configuration, json_schema(), "")]
    return "\n\n".join([HEAD.rstrip(), *parts]) + "\n"


def _keys(section: type[Section], schema: Mapping[str, Any], indent: str) -> Iterator[list[str]]:
    """Yield the lines of each key of a section: its comment, and the key with its default.

    A key that has no default, such as `labels.unannotated`, is only a comment.
    """
    for name, field in section.model_fields.items():
        own, lines = schema["properties"][name], list[str]()
        if isinstance(extra := field.json_schema_extra, dict) and COMMENT in extra:
            lines += _comment(str(extra[COMMENT]), indent)
        default = FOLDERS.get(name, own.get("default", ...))
        kinds = [one for one in (field.annotation, *get_args(field.annotation)) if inspect.isclass(one)]
        kind = next((one for one in kinds if issubclass(one, Section)), None)
        if default == {} and kind and "properties" in own:
            inner = [line for key in _keys(kind, own, f"{indent}  ") for line in key]
            yield [*lines, f"{indent}{name}:", *inner]
        elif lines:
            yield lines if default is ... else [*lines, *_assignment(name, default, indent)]


def _comment(text: str, indent: str) -> Iterator[str]:
    width = WIDTH - len(indent) - 2
    for paragraph in text.splitlines():
        lines = textwrap.wrap(paragraph, width, break_long_words=False, break_on_hyphens=False)
        yield from (f"{indent}# {line}" for line in lines)


def _assignment(name: str, default: object, indent: str) -> list[str]:
    text = yaml.safe_dump({name: default}, sort_keys=False, allow_unicode=True)
    return textwrap.indent(text, indent).splitlines()
