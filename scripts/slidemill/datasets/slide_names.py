"""Resolve the names that people use for slides to the slides' ids."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import PurePath

from slidemill.core.text import format_list, format_suggestions, suggest
from slidemill.errors import SlidemillError


def slide_ids(paths: Mapping[str, str], own: Collection[str], names: Iterable[str]) -> list[str]:
    """Return the ids of slides that are named by id, path, file name or stem.

    Parameters
    ----------
    paths
        By id of each slide of the results, its path as in ``slides.csv``; it may be empty.
    own
        Ids of the slides that may be named.
    names
        The names. One that two slides of the results share is refused, even if only one of them may be named, so that
        a name has the same meaning in every selection.

    Raises
    ------
    SlidemillError
        When no slide or more than one has a name.
    """
    by_name: dict[str, list[str]] = {}
    for slide, path in paths.items():
        for name in filter(None, {path, PurePath(path).name, PurePath(path).stem}):
            by_name.setdefault(name, []).append(slide)
    by_name |= {slide: [slide] for slide in (*paths, *own)}
    return [_slide_id(by_name, own, name) for name in names]


def _slide_id(by_name: Mapping[str, list[str]], own: Collection[str], name: str) -> str:
    found = by_name.get(name, [])
    if len(found) > 1:
        raise SlidemillError(f"{name}: {len(found)} slides have this name; give an id: {format_list(sorted(found))}")
    if not found:
        near = format_suggestions(suggest(name, by_name))
        raise SlidemillError(
            f"{name}: the dataset has no such slide{near}; its slides are {format_list(own) or 'none'}"
        )
    if found[0] not in own:
        raise SlidemillError(f"{name}: the dataset has no patch of this slide; slides.csv says why, or select more")
    return found[0]
