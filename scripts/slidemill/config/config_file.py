"""Check a configuration's file before Snakemake reads it.

Snakemake ends with a traceback on some wrong files, and never ends on others.

Snakemake copies a value once for each reference to it, so that ten lines can take all memory.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from slidemill.errors import ConfigError

MOST_BYTES = 1_000_000
MOST_VALUES = 100_000
"""Keys and values of a configuration, counted once per reference."""
DEEPEST = 20
"""Levels of mappings and lists within each other; a configuration has four."""
MERGE = "<<"


def check_file(path: Path) -> None:
    """Check that a configuration exists, is YAML or JSON, and is not too large.

    Its size is counted after references are resolved.

    Raises
    ------
    ConfigError
        With one sentence, when the file cannot be used.
    """
    text = _text(path)

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        twice = [key for key, count in Counter(key for key, _ in pairs).items() if count > 1]
        if twice:
            raise ConfigError(f"{path}: the key {twice[0]!r} is given twice: remove one of the two")
        return dict(pairs)

    try:
        values = json.loads(text, object_pairs_hook=unique)  # as Snakemake does, which tries JSON first
    except (ValueError, RecursionError):
        values = _yaml(path, text)
    if not isinstance(values, dict):
        kind = "nothing" if values is None else f"a {type(values).__name__}"
        raise ConfigError(f"{path}: holds {kind}, not keys with values: write key: value, as in config/config.yaml")
    check_size(values, str(path))


def check_size(values: Mapping[str, Any], name: str = "the configuration") -> None:
    """Check the size and depth of a configuration's values.

    Values are counted once per reference.

    Raises
    ------
    ConfigError
        When there are too many values or levels, or a value contains itself.
    """
    sizes: dict[int, int] = {}

    def size(value: Any, depth: int) -> int:
        if not isinstance(value, Mapping | list | tuple):
            return 1
        if depth > DEEPEST:
            raise ConfigError(
                f"{name}: has more than {DEEPEST} nested levels, or a value that contains itself: write out what it "
                "refers to"
            )
        if id(value) not in sizes:
            parts = value.values() if isinstance(value, Mapping) else value
            sizes[id(value)] = 1 + sum(size(part, depth + 1) for part in parts)
        return sizes[id(value)]

    if (found := size(values, 0)) > MOST_VALUES:
        raise _too_large(name, found)


def _text(path: Path) -> str:
    try:
        if path.exists() and not path.is_file():
            raise ConfigError(f"{path}: is not a file: name a YAML file, such as config/config.yaml")
        length = path.stat().st_size
        if length > MOST_BYTES:
            raise ConfigError(f"{path}: has {length:,} bytes, too many for a configuration: name another file")
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(f"{path}: this configuration does not exist: correct its path") from None
    except OSError as error:
        raise ConfigError(f"{path}: the configuration cannot be read ({error.strerror}): see its permissions") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8 at byte {error.start}: save the configuration as UTF-8") from None


def _yaml(path: Path, text: str) -> Any:
    try:
        _check_events(path, text)
        return yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        why = ", ".join(filter(None, (error.context, error.problem)))
        raise ConfigError(f"{path}: {place}not valid YAML ({why}): correct it; tabs may not indent lines") from None
    except (yaml.YAMLError, ValueError) as error:
        said = " ".join(str(error).split())
        raise ConfigError(f"{path}: not valid YAML ({said}): correct it") from None


def _check_events(path: Path, text: str) -> None:
    """Check keys, references and size from parser events, which build no values.

    Raises
    ------
    ConfigError
        When a mapping has a key twice, a value contains itself, or there are too many values or levels.
    """
    sizes: dict[str, int] = {}  # of what an anchor names, when that has ended
    open_nodes: list[_Open] = [_Open(None)]
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            if any(node.anchor == event.anchor for node in open_nodes):
                raise ConfigError(
                    f"{_at(path, event)}: *{event.anchor} refers to a value that contains it: write it out"
                )
            open_nodes[-1].take(sizes.get(str(event.anchor), 1))
        elif isinstance(event, yaml.ScalarEvent):
            if open_nodes[-1].repeats(event.value):
                raise ConfigError(f"{_at(path, event)}: the key {event.value!r} is given twice: remove one of the two")
            if event.anchor:
                sizes[event.anchor] = 1
            open_nodes[-1].take(1)
        elif isinstance(event, yaml.CollectionStartEvent):
            open_nodes.append(_Open(event.anchor, isinstance(event, yaml.MappingStartEvent)))
            if len(open_nodes) > DEEPEST + 1:
                raise ConfigError(f"{_at(path, event)}: more than {DEEPEST} nested levels: write fewer")
        elif isinstance(event, yaml.CollectionEndEvent):
            node = open_nodes.pop()
            if node.anchor:
                sizes[node.anchor] = node.size
            open_nodes[-1].take(node.size)
        if (found := sum(node.size for node in open_nodes)) > MOST_VALUES:
            raise _too_large(str(path), found)


class _Open:
    """A mapping or list whose end is not read yet.

    It has an anchor, its keys, and the number of its values so far.
    """

    def __init__(self, anchor: str | None, is_mapping: bool = False) -> None:
        self.anchor, self.size = anchor, 1
        self._is_mapping, self._parts = is_mapping, 0
        self._keys: set[str] = set()

    def take(self, size: int) -> None:
        """Add a part that has `size` values."""
        self.size += size
        self._parts += 1

    def repeats(self, value: str) -> bool:
        """Add a scalar, and return whether it repeats a key."""
        is_key = self._is_mapping and self._parts % 2 == 0 and value != MERGE
        known = is_key and value in self._keys
        if is_key:
            self._keys.add(value)
        return known


def _at(path: Path, event: yaml.Event) -> str:
    return f"{path}: line {event.start_mark.line + 1}" if event.start_mark else str(path)


def _too_large(name: str, found: int) -> ConfigError:
    return ConfigError(
        f"{name}: holds {found:,} values or more, counted as often as they are referred to, and {MOST_VALUES:,} are "
        "too many for a configuration: write less, or refer to less"
    )
