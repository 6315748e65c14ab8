"""What a slide that was taken away has left in the results."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from slidemill.columns import SLIDE_COLUMNS
from slidemill.encodings import ENCODINGS
from slidemill.errors import SlidemillError
from slidemill.files import asides, remove
from slidemill.outcomes import read_outcome
from slidemill.planned import PLAN, read_plan
from slidemill.stores.disk import INDEX
from slidemill.stores.manifest import PATCH_ID
from slidemill.stores.paths import MANIFEST, SUFFIXES, store_path
from slidemill.verification import read_results_table

FACTS = "slides/{slide}.json"
MADE = (
    FACTS,
    "patches/{slide}.csv",
    "metadata/{slide}.csv",
    "validation/{slide}.csv",
    "outcomes/sample_patches/{slide}.json",
    "outcomes/write_metadata/{slide}.json",
    *(f"outcomes/store_patches/{backend}/{{slide}}.json" for backend in SUFFIXES),
    *(str(store_path(backend, "{slide}")) for backend in SUFFIXES),
    "figures/overlay/{slide}.jpg",
    "figures/montage/{slide}.jpg",
    *(
        f"logs/{rule}/{{slide}}.log"
        for rule in ("discover_slides", "sample_patches", "write_metadata", "validate_stores", "draw_slide")
    ),
    *(f"logs/store_patches/{backend}/{{slide}}.log" for backend in SUFFIXES),
)
"""All that the workflow makes of one slide alone; the rules say so too."""


NEWER = "is newer than slides.csv: let a run come to its end, or make that anew (--forcerun gather_results)"
"""Why a slide that is not listed is not taken for one that was taken away."""


@dataclass(frozen=True, slots=True)
class Left:
    """What is left of slides that were taken away.

    Parameters
    ----------
    sizes
        The bytes of each file or folder of a slide that was taken away.
    slides
        The slides that were taken away.
    kept
        What is left alone though the table of slides does not have it, and why.
    """

    sizes: dict[Path, int]
    slides: tuple[str, ...]
    kept: dict[Path, str]


def left_over(results: Path) -> Left:
    """Return what is left of the slides that `slides.csv` no longer has.

    A slide that was taken away is one that has facts (``slides/ID.json``) and no row in `slides.csv`, of which all is
    older than that table: a run gathers the table anew after a slide is taken away, and what a run that did not come
    to its end made of a new slide is younger than it. A slide that the last run was planned for is none either: it
    may have come back. Links are not followed.

    Raises
    ------
    SlidemillError
        When `results` is no folder of results, or its run has not ended yet.
    """
    listed = {row["slide"] for row in read_results_table(results, "slides.csv", SLIDE_COLUMNS)}
    gathered = (results / "slides.csv").stat().st_mtime_ns
    wanted = set(read_plan(results / PLAN)[0]) if (results / PLAN).exists() else set()
    sizes: dict[Path, int] = {}
    kept: dict[Path, str] = {}
    slides = []
    for facts in sorted((results / FACTS).parent.glob("*.json")):
        slide = facts.stem
        if slide in listed or not _is_facts(facts, slide):
            continue
        made = [results / name.format(slide=slide) for name in MADE]
        there = [one for path in made if path.parent.is_dir() for one in (path, *asides(path)) if os.path.lexists(one)]
        linked = {path for path in there if _is_link(results, path)}
        kept |= dict.fromkeys(linked, "is a link, or lies behind one")
        own = [path for path in there if path not in linked]
        if slide in wanted:
            kept[facts] = "is of a slide that the last run had, and did not come to gather"
            continue
        if any(file.lstat().st_mtime_ns >= gathered for path in own for file in _files(path)):
            kept[facts] = NEWER
            continue
        slides.append(slide)
        for path in own:
            if strange := _strange(path):
                kept[path] = f"holds {strange}, which the workflow did not make"
            else:
                sizes[path] = sum(file.lstat().st_size for file in _files(path) if not file.is_dir())
    return Left(sizes, tuple(slides), kept)


def delete(left: Left) -> None:
    """Remove what is left; the facts come last, so that what is cut off here is found again."""
    for path in sorted(left.sizes, key=lambda path: path.parent.name == Path(FACTS).parent.name):
        remove(path)


def _is_facts(path: Path, slide: str) -> bool:
    """Return whether the file says of itself that it is what discover_slides found of the slide."""
    try:
        return not path.is_symlink() and read_outcome(path).slide == slide
    except (SlidemillError, OSError):
        return False


def _is_link(results: Path, path: Path) -> bool:
    """Return whether a path below the results is a symbolic link, or a folder on the way to it is."""
    below = path.relative_to(results)
    return any((results / one).is_symlink() for one in (below, *below.parents[:-1]))


def _files(path: Path) -> list[Path]:
    """Return a file, or a folder and all that is in it."""
    return [path, *path.rglob("*")] if path.is_dir() else [path]


def _strange(path: Path) -> str:
    """Return the name of a file in a store's folder that no store has, if there is one."""
    if not path.is_dir():
        return ""
    suffixes = {encoding.suffix for encoding in ENCODINGS.values()}
    for file in sorted(path.iterdir()):
        own = file.name in (INDEX, MANIFEST) or (PATCH_ID.fullmatch(file.stem) and file.suffix in suffixes)
        if not own or file.is_dir() or file.is_symlink():
            return file.name
    return ""
