"""Find and delete files of removed slides and backends in the results."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from slidemill.core import results_layout as layout
from slidemill.core.columns import SLIDE_COLUMNS, VALIDATION_COLUMNS
from slidemill.core.files import asides, remove
from slidemill.core.outcomes import read_outcome
from slidemill.errors import SlidemillError
from slidemill.runs.run_plan import read_plan
from slidemill.stages.verify import read_results_table
from slidemill.stores.registry import STORES

MADE_BY = {stage: (layout.log_file(stage), *reversed(files)) for stage, files in layout.SLIDE_FILES.items()}
"""By stage, the files of one slide. The outcome is deleted last, so that an interrupted removal is found again."""

MADE = tuple(chain.from_iterable(reversed(MADE_BY.values())))

EMBEDDED = (
    Path(layout.feature_file("name")).parents[1],
    Path(layout.outcome_file(layout.embed_stage("name"))).parents[1],
)
"""The folders of features and of their outcomes, with a folder for each model."""

ANEW = "finish a run, or gather the tables again (--forcerun gather_results)"
NEWER = f"is newer than slides.csv: {ANEW}"
WANTED = f"of the last run, which did not gather it: {ANEW}"
"""Why files that are not listed are kept all the same."""


@dataclass(slots=True)
class Left:
    """Files of slides and backends that were removed.

    Parameters
    ----------
    sizes
        Bytes of each file or folder, in the order of deletion.
    slides
        The slides that were removed.
    backends
        By removed backend, the number of slides with files.
    kept
        Files that are kept though no table lists them, with the reason.
    """

    sizes: dict[Path, int] = field(default_factory=dict)
    slides: list[str] = field(default_factory=list)
    backends: dict[str, int] = field(default_factory=dict)
    kept: dict[Path, str] = field(default_factory=dict)


def find_left_over(results: Path) -> Left:
    """Find the files of slides and backends that were removed.

    A removed slide has facts (``slides/ID.json``) but no row in `slides.csv`, and all its files are older than that
    table: a run gathers the table again after a slide is removed, and files of a slide that an unfinished run added are
    newer. A slide of the last plan is not removed: it may have come back. The same holds for backends, which
    `validation.csv` lists. Links are not followed.

    Raises
    ------
    SlidemillError
        When `results` is not a folder of results, or its run has not ended.
    """
    listed = {row["slide"] for row in read_results_table(results, layout.SLIDES_TABLE, SLIDE_COLUMNS)}
    gathered = (results / layout.SLIDES_TABLE).stat().st_mtime_ns
    plan = read_plan(results / layout.PLAN) if (results / layout.PLAN).exists() else None
    left = Left()
    models = _models(results)
    embedded = [name for model in models for name in _made_by_model(model)]
    for facts in sorted((results / layout.FACTS).parent.glob("*.json")):
        slide = facts.stem
        if slide in listed or not _is_outcome(facts, slide):
            continue
        if plan and slide in plan.slides:
            left.kept[facts] = f"is of a slide {WANTED}"
        elif _add(left, results, [name.format(slide=slide) for name in (*embedded, *MADE)], gathered=gathered):
            left.slides.append(slide)
    looked_at = {row["backend"] for row in read_results_table(results, layout.VALIDATION_TABLE, VALIDATION_COLUMNS)}
    unstored = plan is not None and not plan.backends
    # If no store was checked, the tables do not list the backends, unless the run had none.
    for backend in layout.SUFFIXES if unstored or looked_at & layout.SUFFIXES.keys() else ():
        own = MADE_BY[layout.STORE_STAGES[backend]]
        there = [slide for slide in sorted(listed) if _is_outcome(results / own[-1].format(slide=slide), slide)]
        if backend in looked_at or not there:
            continue
        if plan is None or backend in plan.backends:
            left.kept[results / "stores" / backend] = f"is of a backend {WANTED}"
            continue
        if backend == layout.JOINED.parent.name:
            # It goes before the stores: without them it would read as zeros.
            _add(left, results, [str(layout.JOINED)], gathered=gathered)
        count = sum(
            _add(left, results, [name.format(slide=slide) for name in own], gathered=gathered) for slide in there
        )
        if count:
            left.backends[backend] = count
    for model in models:
        if plan is None or model in plan.features:
            continue
        names = [name.format(slide=slide) for slide in sorted(listed) for name in _made_by_model(model)]
        if _add(left, results, names, gathered=gathered):
            left.backends[model] = len(names) // len(_made_by_model(model))
    if plan and not plan.features:
        _add(left, results, [layout.FEATURES_TABLE], gathered=gathered)
    for slide in sorted(listed) if unstored and not looked_at & layout.SUFFIXES.keys() else ():
        _add(left, results, [name.format(slide=slide) for name in MADE_BY["validate_stores"]], gathered=gathered)
    return left


def _models(results: Path) -> list[str]:
    """Return the names of the models that have files in the results."""
    folders = (folder for parent in EMBEDDED for folder in (results / parent).glob("[!.]*") if folder.is_dir())
    return sorted({folder.name for folder in folders})


def _made_by_model(name: str) -> tuple[str, ...]:
    """Return the files of one slide that a model makes, the outcome last."""
    stage = layout.embed_stage(name)
    return layout.log_file(stage), layout.feature_file(name), layout.outcome_file(stage)


def _add(left: Left, results: Path, names: Sequence[str], *, gathered: int) -> bool:
    """Add the files of a slide or store, unless one is newer than the tables."""
    made = [results / name for name in names]
    there = [one for path in made if path.parent.is_dir() for one in (*asides(path), path) if os.path.lexists(one)]
    linked = {path for path in there if _is_link(results, path)}
    left.kept |= dict.fromkeys(linked, "is a link, or is behind one")
    own = [path for path in there if path not in linked]
    if any(file.lstat().st_mtime_ns >= gathered for path in own for file in _files(path)):
        left.kept[made[-1]] = NEWER
        return False
    for path in own:
        if strange := _strange(path):
            left.kept[path] = f"holds {strange}, which the workflow did not make"
        else:
            left.sizes[path] = sum(file.lstat().st_size for file in _files(path) if not file.is_dir())
    return True


def delete(left: Left) -> None:
    """Delete the files, and the empty folders of removed backends.

    The outcome of a slide or a store is last, so that after an interruption the rest is found again.
    """
    for path in left.sizes:
        remove(path)
    for folder in {path.parent for path in left.sizes if path.parent.name in left.backends}:
        if not any(folder.iterdir()):
            folder.rmdir()


def _is_outcome(path: Path, slide: str) -> bool:
    """Return whether a file is an outcome of the slide."""
    try:
        return not path.is_symlink() and read_outcome(path).slide == slide
    except (SlidemillError, OSError):
        return False


def _is_link(results: Path, path: Path) -> bool:
    """Return whether a path, or a folder above it in the results, is a symbolic link."""
    below = path.relative_to(results)
    return any((results / one).is_symlink() for one in (below, *below.parents[:-1]))


def _files(path: Path) -> list[Path]:
    """Return a file, or a folder with all files and folders in it."""
    return [path, *path.rglob("*")] if path.is_dir() else [path]


def _strange(path: Path) -> str:
    """Return the first file in a store's folder that is not part of a store, or ""."""
    if not path.is_dir():
        return ""
    kind = STORES.get(path.parent.name)
    names = kind.files if kind else None
    for file in sorted(path.iterdir()):
        if not (names and names.fullmatch(file.name)) or file.is_dir() or file.is_symlink():
            return file.name
    return ""
