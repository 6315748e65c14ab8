"""Slide-level targets: the values of a sheet's column, one per slide."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from slidemill.core.columns import LABEL, METADATA_COLUMNS, SLIDE_LABEL, is_unknown
from slidemill.core.specs import normalize_name
from slidemill.core.text import did_you_mean, format_list
from slidemill.errors import SlidemillError

if TYPE_CHECKING:
    import pandas

NO_CLASS = -1
"""The class of an unknown target."""


@dataclass(frozen=True, slots=True, eq=False)
class Targets(Mapping[str, str | None]):
    """The targets of slides or patients: a mapping from id to the sheet's text, None if unknown.

    Parameters
    ----------
    column
        The sheet's column.
    texts
        By id, in order, the text of its cell without outer blanks, or None.
    classes
        All values of the column in the results, sorted: numbers by their value before texts. They are the same for
        every selection of one dataset.
    """

    column: str
    texts: Mapping[str, str | None]
    classes: Sequence[str]

    def __getitem__(self, name: str) -> str | None:
        return self.texts[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.texts)

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """Per id, the index of its value in `classes`, ``int64 (n,)``; -1 if unknown."""
        places = {name: place for place, name in enumerate(self.classes)}
        found = (NO_CLASS if text is None else places[text] for text in self.texts.values())
        return np.fromiter(found, np.int64, len(self))

    @property
    def numbers(self) -> npt.NDArray[np.float64]:
        """Per id, its value as a number, ``float64 (n,)``; NaN if unknown.

        Raises
        ------
        SlidemillError
            When a value is not a finite number.
        """
        found = {name: math.nan if text is None else _number(text) for name, text in self.texts.items()}
        wrong = [f"{name} ({self.texts[name]})" for name, number in found.items() if number is None]
        if wrong:
            raise SlidemillError(
                f"{self.column}: not a number for {format_list(sorted(wrong))}: correct the sheet, or use the classes"
            )
        return np.array(list(found.values()), np.float64)


def read_targets(table: pandas.DataFrame, slides: Sequence[str], column: str) -> Targets:
    """Return the targets of a dataset's slides.

    Parameters
    ----------
    table
        A row per patch, with the columns of the sheet as categories.
    slides
        The ids of the slides with patches in the table, in the order of the targets.
    column
        A column of the sheet; ``"label"`` is the sheet's own column of this name, ``slide_label`` in the table.

    Raises
    ------
    SlidemillError
        When the sheet had no such column.
    """
    name = target_column(table, column)
    codes = table["slide"].cat.codes.to_numpy()
    first = np.full(len(table["slide"].cat.categories), -1)
    first[codes[::-1]] = np.arange(len(codes) - 1, -1, -1)  # of equal places, NumPy keeps the last
    known = np.flatnonzero(first >= 0)
    values = table[name].astype("category")
    cells = values.iloc[first[known]].astype(object)
    names = dict(zip(table["slide"].cat.categories[known].astype(str), cells, strict=True))
    texts = {slide: clean_target(names[slide]) for slide in slides}
    classes = sorted({text for value in values.cat.categories if (text := clean_target(value)) is not None}, key=_order)
    return Targets(column, texts, tuple(classes))


def target_column(table: pandas.DataFrame, column: str) -> str:
    """Return the table's name of a sheet's column; SlidemillError if there is none."""
    own = [str(name) for name in table.columns if name not in METADATA_COLUMNS]
    name = SLIDE_LABEL if column == LABEL else column
    if name in own:
        return name
    there = f"has the columns {', '.join(own)}" if own else "has no further columns"
    near = did_you_mean(column, own) if isinstance(column, str) else ""
    raise SlidemillError(
        f"{column}: not a column of the sheet of slides{near}; the sheet {there}: add it, and run the workflow again"
    )


def clean_target(value: object) -> str | None:
    """Return a cell's text in Unicode's NFC without outer blanks; None if it means unknown."""
    text = normalize_name(value) if isinstance(value, str) else ""
    return None if is_unknown(text) else text


def _number(text: str) -> float | None:
    try:
        value = float(text.replace("_", "?"))  # to Python, 1_0 is 10
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _order(text: str) -> tuple[bool, float, str]:
    number = _number(text)
    return number is None, number or 0.0, text
