"""Find patients, slides and slide areas that training and test data share."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from slidemill.core.columns import PATIENT, SLIDE, is_unknown
from slidemill.core.text import MOST_LISTED, format_count, name_slides
from slidemill.datasets._overlaps import count_overlaps
from slidemill.errors import LeakageError, SplitError

if TYPE_CHECKING:
    import pandas

    from slidemill.datasets.dataset import Dataset

PATCH = "patch"
SQUARE = ("x0", "y0", "width0", "height0", "downsample")


@dataclass(frozen=True, slots=True)
class Leakage:
    """Patients, slides and patches that training and test data share.

    Parameters
    ----------
    groups
        Number of patients, or other groups, on both sides.
    contents
        Number of slides' contents on both sides, with equal or different ids.
    patches
        Number of patches of the second side that overlap one of the first.
    listed
        A line each for the first ten of each kind.
    """

    groups: int
    contents: int
    patches: int
    listed: Sequence[str]

    def __bool__(self) -> bool:
        return bool(self.groups or self.contents or self.patches)

    def __str__(self) -> str:
        groups, slides = format_count(self.groups, "group"), format_count(self.contents, "slide")
        counts = f"{groups}, {slides} and {format_count(self.patches, 'patch', 'patches')} are on both sides"
        return "\n".join([f"leakage: {counts}; the first of each:", *(f"  {line}" for line in self.listed)])


def check_leakage(train: Dataset | pandas.DataFrame, test: Dataset | pandas.DataFrame, by: str | None = None) -> None:
    """Check that training and test data share nothing.

    Parameters
    ----------
    train, test
        Datasets, or tables of `slidemill.read_metadata`; copies of a slide are found only in datasets.
    by
        What may not be on both sides. The name of a column: its values, and slides' contents. ``"patch"``: parts of
        slides, for sides that share slides. None takes ``"patient"`` if both tables have that column, else
        ``"slide"``.

    Raises
    ------
    LeakageError
        When they share something, with a list.
    SplitError
        When a table lacks the column.
    """
    if found := find_leakage(train, test, by):
        raise LeakageError(f"{found}\nsplit by what they have in common, or remove one of them")


def find_leakage(train: Dataset | pandas.DataFrame, test: Dataset | pandas.DataFrame, by: str | None = None) -> Leakage:
    """Return the data that two sides share; parameters as in `check_leakage`.

    Raises
    ------
    SplitError
        When a table lacks the column.
    """
    import pandas as pd

    tables = [side if isinstance(side, pd.DataFrame) else side.table for side in (train, test)]
    # Without fingerprints of both sides, slides are compared by their ids.
    prints: list[Mapping[str, str]] = [
        {} if isinstance(side, pd.DataFrame) else side.fingerprints for side in (train, test)
    ]
    prints = prints if all(prints) else [{}, {}]
    paths = {
        slide: path
        for side in (train, test)
        if not isinstance(side, pd.DataFrame)
        for slide, path in side.paths.items()
    }
    column = by or (PATIENT if all(PATIENT in table for table in tables) else SLIDE)
    for name in ([] if column == PATCH else [column]) + [SLIDE, *SQUARE]:
        if not isinstance(name, str) or not all(name in table for table in tables):
            raise SplitError(f"a table has no column {name!r}: leakage is sought by a column of both, or by {PATCH!r}")
    slides = [_by_content(table, own) for table, own in zip(tables, prints, strict=True)]
    shared = sorted(slides[0].keys() & slides[1].keys())
    groups: list[str] = []
    copies: list[str] = []
    if column != PATCH:
        copies = sorted(name_slides({*slides[0][content], *slides[1][content]}, paths) for content in shared)
        groups = [] if column == SLIDE else sorted(_values(tables[0], column) & _values(tables[1], column))
    first, second = (
        _Placed.of(table, [own[content] for content in shared], paths)
        for table, own in zip(tables, slides, strict=True)
    )
    count, pairs = 0, list[str]()
    for content in range(len(shared)):
        patches, examples = _overlaps(first, second, content, most=MOST_LISTED - len(pairs))
        count += patches
        pairs += examples
    lines = [f"{column} {group} is on both sides" for group in groups[:MOST_LISTED]]
    lines += [f"the content of {names} is on both sides" for names in copies[:MOST_LISTED]]
    return Leakage(len(groups), len(copies), count, (*lines, *pairs))


def _by_content(table: pandas.DataFrame, prints: Mapping[str, str]) -> dict[str, list[str]]:
    """Return slide ids by fingerprint, or by id for slides without one."""
    found: dict[str, list[str]] = defaultdict(list)
    for slide in map(str, table[SLIDE].unique()):
        found[prints.get(slide) or slide].append(slide)
    return found


def _values(table: pandas.DataFrame, column: str) -> set[str]:
    """Return a column's values without outer blanks and missing values."""
    return {value.strip() for value in map(str, table[column].dropna().unique()) if not is_unknown(value)}


@dataclass(frozen=True, slots=True, eq=False)
class _Placed:
    """Patches of selected contents, sorted by content.

    Parameters
    ----------
    table
        All patches.
    rows
        Places in the table.
    bounds
        The first row of each content, and the end of the last one.
    squares
        ``int64 (rows, 4)``: x0, y0, and the first x and y behind the patch.
    paths
        By slide, its path.
    """

    table: pandas.DataFrame
    rows: npt.NDArray[np.intp]
    bounds: npt.NDArray[np.intp]
    squares: npt.NDArray[np.int64]
    paths: Mapping[str, str]

    @classmethod
    def of(cls, table: pandas.DataFrame, contents: Sequence[Sequence[str]], paths: Mapping[str, str]) -> _Placed:
        """Collect the patches of contents, each given by the ids of its slides."""
        import pandas as pd

        codes, names = pd.factorize(table[SLIDE])
        number_of = {slide: number for number, slides in enumerate(contents) for slide in slides}
        numbers = np.array([number_of.get(str(name), -1) for name in names], np.intp)[codes]
        rows = np.flatnonzero(numbers >= 0)
        rows = rows[np.argsort(numbers[rows], kind="stable")]
        bounds = np.searchsorted(numbers[rows], np.arange(len(contents) + 1))
        return cls(table, rows, bounds, _squares(table[[*SQUARE]].iloc[rows]), paths)

    def name(self, place: int) -> str:
        """Return the slide and the patch at an index of the rows."""
        row = self.table.iloc[self.rows[place]]
        return f"{row['patch_id']} of {name_slides([str(row[SLIDE])], self.paths)}"


def _squares(rows: pandas.DataFrame) -> npt.NDArray[np.int64]:
    """Return patches as ``int64 (rows, 4)``.

    Patches of rounded size are one pixel smaller, since rounding may make neighbours overlap.
    """
    x0, y0, width, height = (rows[name].to_numpy(np.int64) for name in SQUARE[:4])
    rounded = (rows["downsample"].to_numpy() % 1 != 0).astype(np.int64)
    return np.column_stack((x0, y0, x0 + np.maximum(width - rounded, 1), y0 + np.maximum(height - rounded, 1)))


def _overlaps(train: _Placed, test: _Placed, content: int, *, most: int) -> tuple[int, list[str]]:
    """Return the number of overlapping patches, with lines on the first `most`."""
    begin, end = train.bounds[content : content + 2]
    begin_test, end_test = test.bounds[content : content + 2]
    first, second = train.squares[begin:end], test.squares[begin_test:end_test]
    places = np.flatnonzero(count_overlaps(first, second))
    lines = []
    for place in places[:most]:
        x0, y0, x1, y1 = second[place]
        meeting = (first[:, 0] < x1) & (first[:, 1] < y1) & (first[:, 2] > x0) & (first[:, 3] > y0)
        lines.append(f"patch {test.name(begin_test + place)} overlaps {train.name(begin + int(meeting.argmax()))}")
    return len(places), lines
