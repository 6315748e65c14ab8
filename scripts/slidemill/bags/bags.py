"""Bags: the features of all patches of a slide or a patient, with one target."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args, overload

import numpy as np
import numpy.typing as npt

from slidemill.bags.feature_rows import Array, FeatureRows, group_places
from slidemill.bags.targets import Targets, read_targets
from slidemill.core.columns import PATIENT, SLIDE
from slidemill.core.text import format_list
from slidemill.errors import SlidemillError, StoreError

if TYPE_CHECKING:
    import pandas

Level = Literal["slide", "patient"]
"""What a bag is of."""


class Bag(NamedTuple):
    """The patches of a slide or a patient.

    Parameters
    ----------
    features
        ``(n, dim)``, in the type of the file; the caller may change it.
    coords
        The top left of each patch, x and y in level-0 pixels of its slide, ``int64 (n, 2)``.
    target
        The sheet's text; None if it is unknown, or no target was requested.
    id
        The id of the slide or the patient.
    """

    features: Array
    coords: npt.NDArray[np.int64]
    target: str | None
    id: str


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Bags(Sequence[Bag]):
    """The bags of a dataset, in the order of its slides; a patient is at the place of its first slide.

    A file is opened when its bag is read, and closed after: no file stays open.

    Parameters
    ----------
    rows
        The patches, and the files with their features.
    groups
        By id of each bag, the patches of each of its slides in order: places in the dataset, integers ``(n,)``.
    targets
        The targets, in the order of the bags; None if none was requested.
    """

    rows: FeatureRows
    groups: Sequence[tuple[str, Sequence[npt.NDArray[np.intp]]]]
    targets: Targets | None = None

    def __len__(self) -> int:
        return len(self.groups)

    def __repr__(self) -> str:
        return f"Bags({len(self):,} bags of {self.rows.name}, {self.rows.results})"

    @property
    def ids(self) -> list[str]:
        """The ids of the bags."""
        return [name for name, _ in self.groups]

    @overload
    def __getitem__(self, number: int) -> Bag: ...
    @overload
    def __getitem__(self, number: slice) -> Bags: ...
    def __getitem__(self, number: int | slice) -> Bag | Bags:
        """Return a bag, read from its files; for a slice, return these bags.

        Raises
        ------
        IndexError
            When the bag does not exist.
        StoreError
            When a file is missing or damaged, lacks a patch, or is of a slide that has changed.
        """
        if isinstance(number, slice):
            return self.take(range(len(self))[number])
        if not -len(self) <= number < len(self):
            raise IndexError(f"bag {number} does not exist: there are {len(self)}, counted from 0")
        name, parts = self.groups[number]
        read = [self._read(places) for places in parts]
        if len({(features.shape[1], features.dtype) for features, _ in read}) > 1:
            raise StoreError(
                f"{name}: features {self.rows.name} of its slides differ in type or length: run the workflow to its end"
            )
        features, coords = (own[0] if len(own) == 1 else np.concatenate(own) for own in zip(*read, strict=True))
        return Bag(features, coords, self.targets[name] if self.targets is not None else None, name)

    def take(self, numbers: Sequence[int] | npt.NDArray[Any]) -> Bags:
        """Return the bags at these places, or where a mask is True: ``bags.take(bags.targets.labels >= 0)``.

        Raises
        ------
        SlidemillError
            When `numbers` are neither, or name a bag twice: each id has one target.
        IndexError
            When a bag does not exist.
        """
        chosen = np.asarray(numbers) if len(numbers) else np.empty(0, np.intp)
        if chosen.dtype.kind not in "iub" or chosen.ndim != 1:
            raise SlidemillError(f"bags are requested by {chosen.dtype} {chosen.shape}: give whole numbers or a mask")
        groups = [self.groups[number] for number in np.arange(len(self))[chosen].tolist()]
        if twice := [name for name, count in Counter(name for name, _ in groups).items() if count > 1]:
            raise SlidemillError(
                f"{format_list(twice)}: requested more than once: name each bag once, and repeat bags by a sampler"
            )
        targets = self.targets
        if targets is not None:
            targets = replace(targets, texts={name: targets[name] for name, _ in groups})
        return replace(self, groups=groups, targets=targets)

    def places(self, number: int) -> npt.NDArray[np.intp]:
        """Return the places of a bag's patches in the dataset, ``intp (n,)``, in the order of its features."""
        return np.concatenate(self.groups[number][1])

    def _read(self, places: npt.NDArray[np.intp]) -> tuple[Array, npt.NDArray[np.int64]]:
        file = self.rows.open(int(self.rows.codes[places[0]]))
        own = self.rows.rows(file, places)
        # A copy, or each bag would keep its file open.
        return np.array(file.features()[own]), file.coords[own]


def make_bags(rows: FeatureRows, table: pandas.DataFrame, target: str | None = None, level: str = SLIDE) -> Bags:
    """Return the bags of a dataset.

    Parameters
    ----------
    rows, table
        The patches, and a row per patch with the columns of the sheet.
    target
        A column of the sheet, or None.
    level
        ``"slide"`` or ``"patient"``.

    Raises
    ------
    SlidemillError
        When the level or the column does not exist, a slide has no patient, or a patient's slides differ in the target.
    """
    if level not in get_args(Level):
        raise SlidemillError(f"level is {level!r}: give {' or '.join(get_args(Level))}")
    targets = None if target is None else read_targets(table, rows.slides, target)
    by_slide = {rows.slides[code]: places for code, places in group_places(rows.codes)}
    names = {slide: slide for slide in by_slide}
    if level == PATIENT:
        patients = read_targets(table, rows.slides, PATIENT)
        if nameless := sorted(slide for slide in by_slide if patients[slide] is None):
            raise SlidemillError(
                f"{format_list(nameless)}: without a patient: give each slide its patient in the sheet"
            )
        names = {slide: str(patients[slide]) for slide in by_slide}
    groups: dict[str, list[npt.NDArray[np.intp]]] = {}
    for slide, places in by_slide.items():
        groups.setdefault(names[slide], []).append(places)
    if targets is not None and level == PATIENT:
        targets = replace(targets, texts=_of_patients(targets, names))
    return Bags(rows, list(groups.items()), targets)


def _of_patients(targets: Targets, patients: dict[str, str]) -> dict[str, str | None]:
    """Return the target of each patient: that of the slides where it is known."""
    found: dict[str, str | None] = {}
    of_slide: dict[str, str] = {}
    for slide, patient in patients.items():
        text, known = targets[slide], found.setdefault(patient, None)
        if text is not None and known is not None and text != known:
            raise SlidemillError(
                f"{patient}: {targets.column} is {known!r} for slide {of_slide[patient]} and {text!r} for {slide}: "
                "correct the sheet, or make bags of slides"
            )
        if text is not None:
            found[patient], of_slide[patient] = text, slide
    return found
