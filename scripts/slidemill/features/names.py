"""Names of the features that results have."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from slidemill.core.results_layout import feature_file
from slidemill.core.text import did_you_mean, format_list
from slidemill.errors import StoreError


def feature_names(results: Path) -> list[str]:
    """Return the names of the features of a results folder, sorted."""
    folder = (results / feature_file("name")).parents[1]
    with suppress(FileNotFoundError, NotADirectoryError):
        return sorted(path.name for path in folder.iterdir() if path.is_dir())
    return []


def require_features(results: Path, name: object) -> None:
    """Check that a results folder has features of a name.

    Raises
    ------
    StoreError
        When it has none.
    """
    if name in (known := feature_names(results)):
        return
    near = did_you_mean(name, known) if isinstance(name, str) else ""
    remedy = "name their model in the section features of the configuration, and run again"
    choice = f"choose from {format_list(known)}, or {remedy}" if known else remedy
    raise StoreError(f"{results}: has no features {name!r}{near}; {choice}")
