"""Read scores of patches from a table, which a model of any program may have written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from slidemill.core.text import format_count, format_list, format_suggestions, suggest
from slidemill.datasets.dataset import Dataset
from slidemill.datasets.slide_names import slide_ids
from slidemill.errors import SlidemillError, machine_error

if TYPE_CHECKING:
    import pandas

PATCH, SLIDE = "patch_id", "slide"
NO_SCORES = (PATCH, SLIDE, "x0", "y0", "width0", "height0", "label_name")
"""Columns of metadata.csv that say which patch a row is of, where it is, and what it shows."""


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """A score per patch of a dataset.

    Parameters
    ----------
    name
        The column that they were read from.
    values
        ``float64 (rows of the dataset,)``; NaN for patches that the table does not have.
    """

    name: str
    values: npt.NDArray[np.float64]


def read_scores(path: Path, dataset: Dataset, column: str | None = None) -> Scores:
    """Read a column of scores.

    Parameters
    ----------
    path
        A CSV table with a row per patch: ``patch_id``, ``slide`` (if the dataset has several), and scores.
    dataset
        The patches; the table may have some of them.
    column
        The column of the scores; None for the only one besides the keys.

    Raises
    ------
    SlidemillError
        When the table cannot be read, lacks a column, or names an unknown patch or a patch twice, or a score is no
        finite number.
    """
    table = _read(path)
    name = _column(path, [str(one) for one in table.columns], column)
    slides = _slides(path, table, dataset)
    own: Any = dataset.table
    places = {key: place for place, key in enumerate(zip(own[SLIDE], own[PATCH], strict=True))}
    found = [places.get(key, -1) for key in zip(slides, table[PATCH], strict=True)]
    if unknown := [f"{slide} {patch}" for slide, patch, at in zip(slides, table[PATCH], found, strict=True) if at < 0]:
        raise SlidemillError(
            f"{path}: the results lack {_count(len(unknown))}: {format_list(unknown)}; remove the rows"
        )
    if len(set(found)) < len(found):
        twice = table[[PATCH]].assign(at=found).duplicated("at").to_numpy()
        names = [f"{slide} {patch}" for slide, patch in zip(slides[twice], table[PATCH][twice], strict=True)]
        raise SlidemillError(
            f"{path}: has {_count(len(names))} more than once: {format_list(names)}; keep one row each"
        )
    values = np.full(len(own), np.nan)
    values[found] = _numbers(path, table, name)
    return Scores(name, values)


def _read(path: Path) -> pandas.DataFrame:
    import pandas

    try:
        return pandas.read_csv(path, dtype=str, keep_default_na=False, skipinitialspace=True)
    except FileNotFoundError as error:
        raise SlidemillError(f"{path}: cannot be read ({error.strerror}); correct the path") from None
    except Exception as error:  # each kind of compression has errors of its own classes
        text = getattr(error, "strerror", None) or str(error).strip()
        raise machine_error(error, path) or SlidemillError(
            f"{path}: is not a CSV table ({text}); write one with {PATCH}, {SLIDE} and scores"
        ) from None


def _column(path: Path, columns: Sequence[str], asked: str | None) -> str:
    """Return the column of the scores."""
    if len(columns) == 1 and PATCH in columns[0] and (other := next((one for one in ";\t|" if one in columns[0]), "")):
        raise SlidemillError(f"{path}: its columns are separated by {other!r}; save it with commas")
    if PATCH not in columns:
        raise SlidemillError(f"{path}: has no column {PATCH}, but {format_list(columns)}; add the patches' ids")
    others = [one for one in columns if one not in NO_SCORES]
    if asked is not None:
        if asked not in others:
            near = format_suggestions(suggest(asked, others))
            raise SlidemillError(f"--column: {path} has no scores {asked!r}{near}; choose from {format_list(others)}")
        return asked
    if len(others) != 1:
        choice = f"choose one by --column: {format_list(others)}" if others else "add a column of scores"
        raise SlidemillError(f"{path}: has {format_count(len(others), 'column')} of scores; {choice}")
    return others[0]


def _slides(path: Path, table: pandas.DataFrame, dataset: Dataset) -> npt.NDArray[np.object_]:
    """Return the slide's id of each row."""
    if SLIDE not in table.columns:
        if len(dataset.slides) > 1:
            raise SlidemillError(
                f"{path}: has no column {SLIDE}, and the results have {len(dataset.slides)} slides; add the slides' ids"
            )
        return np.full(len(table), dataset.slides[0], object)
    names = list(dict.fromkeys(table[SLIDE]))
    try:
        ids = dict(zip(names, slide_ids(dataset.paths, dataset.slides, names), strict=True))
    except SlidemillError as error:
        raise SlidemillError(f"{path}: {error}") from None
    return table[SLIDE].map(ids).to_numpy(object)


def _numbers(path: Path, table: pandas.DataFrame, name: str) -> npt.NDArray[np.float64]:
    import pandas

    numbers: npt.NDArray[np.float64] = pandas.to_numeric(table[name], errors="coerce").to_numpy(np.float64)
    wrong = ~np.isfinite(numbers)
    if wrong.any():
        texts = [f"{text!r} of {patch}" for text, patch in zip(table[name][wrong], table[PATCH][wrong], strict=True)]
        raise SlidemillError(
            f"{path}: {format_count(int(wrong.sum()), 'value')} of {name} are not finite numbers: "
            f"{format_list(texts)}; correct them, or remove the rows"
        )
    return numbers


def _count(patches: int) -> str:
    return format_count(patches, "patch", "patches")
