"""Folds of slides for training and testing, and the file that holds them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Generic, Protocol, Self, TypeVar

from slidemill.core.csv_tables import read_cohort_table, write_table
from slidemill.core.results_layout import SPLITS_SEAL
from slidemill.core.seals import SEALED_BY, seal_tables
from slidemill.datasets.slide_groups import count_patches, refuse
from slidemill.errors import SplitError, explain, machine_error

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas

COLUMNS = ("slide", "fingerprint", "group", "fold", "patches", "by", "stratify", "seed")
DIGITS = 4300
"""The most digits of a seed: Python converts no longer integers by default."""
COUNT = re.compile(r"[0-9]{1,18}")
SEED = re.compile(rf"[0-9]{{1,{DIGITS}}}")


class Divisible(Protocol):
    """Protocol of a dataset that can be split into folds."""

    @property
    def table(self) -> pandas.DataFrame:
        """A row per patch, with its ``slide``."""

    @property
    def fingerprints(self) -> Mapping[str, str]:
        """By slide, the fingerprint of its content."""

    @property
    def paths(self) -> Mapping[str, str]:
        """By slide, its path."""

    def take(self, places: npt.NDArray[np.bool_]) -> Self:
        """Return the patches for which a mask is True."""


D = TypeVar("D", bound=Divisible)
E = TypeVar("E", bound=Divisible)


@dataclass(frozen=True, slots=True)
class SlideFold:
    """A slide's fold, from 0, with its group, patches and fingerprint."""

    slide: str
    fingerprint: str
    group: str
    fold: int
    patches: int


@dataclass(frozen=True, slots=True)
class Splits(Generic[D]):
    """Folds of a cohort's slides.

    Parameters
    ----------
    by
        The column whose values, the groups, stay in one fold; or ``"slide"``.
    stratify
        The column of which all folds have the same shares as far as possible; or None.
    seed
        Seed of the order of equally large groups.
    slides
        One per slide, sorted by id.
    dataset
        The dataset that is split; None if unknown, as in a file.
    """

    by: str
    stratify: str | None
    seed: int
    slides: Sequence[SlideFold]
    dataset: D | None = field(default=None, compare=False, repr=False)

    @property
    def folds(self) -> int:
        """The number of folds."""
        return 1 + max(row.fold for row in self.slides)

    def of(self, dataset: E) -> Splits[E]:
        """Return these folds for a dataset with the same slides, contents and groups.

        Raises
        ------
        SplitError
            When the dataset has others.
        """
        own, paths = {row.slide: row for row in self.slides}, dataset.paths
        found = count_patches(dataset.table, self.by, paths=paths)
        refuse(
            found.keys() - own,
            ("is", "are"),
            "in no fold: split again, or give each a row in the file of folds",
            paths=paths,
        )
        refuse(
            own.keys() - found,
            ("has", "have"),
            "a fold, but no patch in the dataset: apply the folds before you select, or split again",
            paths=paths,
        )
        prints = dataset.fingerprints
        refuse(
            [name for name, row in own.items() if prints.get(name, row.fingerprint) != row.fingerprint],
            ("has", "have"),
            "other content than when the folds were made: split again",
            paths=paths,
        )
        refuse(
            [name for name, row in own.items() if found[name].group != row.group],
            ("has", "have"),
            f"another {self.by} than when the folds were made: split again",
            paths=paths,
        )
        return Splits(self.by, self.stratify, self.seed, self.slides, dataset)

    def fold(self, number: int) -> tuple[D, D]:
        """Return the training and test datasets of a fold, numbered from 0.

        The test dataset is the fold; the training dataset has all others.

        Raises
        ------
        SplitError
            When the fold does not exist, or the dataset is missing.
        """
        others = [one for one in range(self.folds) if one != number]
        both = self.parts(train=others, test=[number])
        return both["train"], both["test"]

    def parts(self, **folds: Collection[int]) -> dict[str, D]:
        """Return a dataset per part: ``train=(0, 1, 2), val=(3,), test=(4,)``.

        Each fold must be in exactly one part.

        Raises
        ------
        SplitError
            When a fold is missing, repeated or unknown, a part is not a collection, or there is no dataset.
        """
        if self.dataset is None:
            raise SplitError("the folds are of no dataset yet: give it, as splits.of(dataset)")
        for name, numbers in folds.items():
            if isinstance(numbers, str) or not isinstance(numbers, Collection):
                raise SplitError(f"{name} is {numbers!r}: give the numbers of its folds, as {name}=(0, 1)")
        asked = [number for numbers in folds.values() for number in numbers]
        for number in asked:
            if number not in range(self.folds):
                raise SplitError(f"fold {number!r} does not exist: there are {self.folds}, counted from 0")
        for number in range(self.folds):
            if (count := asked.count(number)) != 1:
                times = f"{count} parts" if count else "no part"
                raise SplitError(f"fold {number} is in {times}: name each fold once")
        fold_of = {row.slide: row.fold for row in self.slides}
        places = self.dataset.table["slide"].map(fold_of).astype("int64")
        return {name: self.dataset.take(places.isin(list(own)).to_numpy()) for name, own in folds.items()}

    def save(self, path: str | Path) -> None:
        """Write the folds as a CSV with a row per slide, for `read_splits`.

        Raises
        ------
        SplitError
            When `path` is a folder, or cannot be written.
        """
        path = Path(path)
        # Writing would replace the folder and its content.
        if path.is_dir():
            raise SplitError(f"{path}: is a folder: give the path of a file, such as {path / 'splits.csv'}")
        shared = {"by": self.by, "stratify": self.stratify, "seed": self.seed}
        try:
            rows = write_table(path, COLUMNS, ({**asdict(row), **shared} for row in self.slides))
            # These folds replace those of a run, so their seal must too.
            if SEALED_BY.get(path.name) == SPLITS_SEAL and path.with_name(SPLITS_SEAL).exists():
                seal_tables(path.parent, {path.name: rows}, SPLITS_SEAL)
        except OSError as error:
            raise SplitError(explain(error)) from None


def read_splits(path: str | Path, dataset: D | None = None) -> Splits[D]:
    """Read the folds that `Splits.save` or a run wrote.

    With `dataset`, they are checked against it and returned for it.

    Raises
    ------
    SplitError
        When the table holds no folds, or they are not of the dataset.
    SlidemillError
        When the file is not a table, or is damaged.
    """
    path = Path(path)
    try:
        rows = list(read_cohort_table(path, COLUMNS))
    except (OSError, MemoryError) as error:
        raise machine_error(error, path) or SplitError(f"{path}: cannot be read ({error}): correct the path") from None
    if not rows:
        raise SplitError(f"{path}: contains no slide: split again")
    slides = []
    for row in rows:
        numbers = [row[name] for name in ("fold", "patches", "seed")]
        if not all(form.fullmatch(number) for form, number in zip((COUNT, COUNT, SEED), numbers, strict=True)):
            raise SplitError(f"{path}: {row['slide']}: fold, patches and seed are {numbers}: give whole numbers")
        slides.append(SlideFold(row["slide"], row["fingerprint"], row["group"], int(row["fold"]), int(row["patches"])))
    _check_rows(path, slides)
    shared = {(row["by"], row["stratify"], row["seed"]) for row in rows}
    if len(shared) != 1:
        raise SplitError(f"{path}: by, stratify and seed differ between rows: make them equal, or split again")
    ((by, stratify, seed),) = shared
    splits: Splits[D] = Splits(by, stratify or None, int(seed), tuple(sorted(slides, key=lambda row: row.slide)))
    return splits.of(dataset) if dataset is not None else splits


def _check_rows(path: Path, slides: Sequence[SlideFold]) -> None:
    """Check the rows of a table of folds.

    Each slide has one row, each group is in one fold, and there are at least two folds, numbered from 0.
    """
    twice = [slide for slide, count in Counter(row.slide for row in slides).items() if count > 1]
    refuse(twice, ("is", "are"), f"twice in {path}: keep one row of each")
    fold_of: dict[str, int] = {}
    for row in slides:
        if fold_of.setdefault(row.group, row.fold) != row.fold:
            raise SplitError(
                f"{path}: {row.group} is in the folds {fold_of[row.group]} and {row.fold}: a group must be in one "
                "fold; correct the file, or split again"
            )
    used = set(fold_of.values())
    if len(used) < 2 or used != set(range(len(used))):
        raise SplitError(f"{path}: the folds are {sorted(used)}: there must be two at least, numbered from 0")
