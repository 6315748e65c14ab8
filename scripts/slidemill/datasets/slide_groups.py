"""Groups of slides that are never cut, such as a patient's: what is counted of them, and what is refused."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slidemill.core.text import format_list
from slidemill.errors import SplitError

if TYPE_CHECKING:
    import pandas

PATIENT = "patient"
SLIDE = "slide"


@dataclass(frozen=True, slots=True)
class SlidePatches:
    """A slide's group, and how many patches it has of each stratum."""

    group: str
    strata: Mapping[str, int]


def counted(table: pandas.DataFrame, by: str, stratify: str | None = None) -> dict[str, SlidePatches]:
    """Return what each slide of a table of patches has.

    Parameters
    ----------
    table
        A row a patch, with the column ``slide``.
    by, stratify
        The columns that hold the groups, and the strata; without strata all patches are one.

    Raises
    ------
    SplitError
        When there is no such column, or a slide has no group or several.
    """
    import pandas as pd

    for column in (by,) if stratify is None else (by, stratify):
        if not isinstance(column, str) or column not in table:
            raise SplitError(f"the table has no column {column!r}: name one of {', '.join(map(str, table.columns))}")
    keys = list(dict.fromkeys((SLIDE, by, stratify or SLIDE)))
    sizes = table.groupby(keys, observed=True, dropna=False, sort=False).size()
    frame = sizes.index.to_frame(index=False)
    texts = {key: ["" if pd.isna(value) else str(value) for value in frame[key]] for key in keys}
    strata = texts[stratify] if stratify else [""] * len(frame)
    groups: dict[str, str] = {}
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for slide, group, stratum, count in zip(texts[SLIDE], texts[by], strata, sizes, strict=True):
        if groups.setdefault(slide, group) != group:
            raise SplitError(
                f"{slide}: its patches have several values of {by}, {groups[slide]!r} and {group!r} among them: "
                "split by a column that is the same all over a slide"
            )
        counts[slide][stratum] += int(count)
    check_groups(groups, by)
    return {slide: SlidePatches(group, counts[slide]) for slide, group in groups.items()}


def check_groups(groups: Mapping[str, str], by: str) -> None:
    """See that each slide has a group.

    A blank before or behind a name would make a group of its own, which nobody sees.

    Parameters
    ----------
    groups
        By slide.
    by
        What the groups are, such as ``"patient"``.

    Raises
    ------
    SplitError
        When a slide has none, or the group's name has blanks around it.
    """
    nameless = [slide for slide, group in groups.items() if not group.strip()]
    if nameless:
        raise SplitError(f"{format_list(sorted(nameless))}: without a {by}: give each slide its {by} in the sheet")
    blank = [slide for slide, group in groups.items() if group != group.strip()]
    if blank:
        raise SplitError(
            f"{format_list(sorted(blank))}: {by} is {groups[min(blank)]!r}, with blanks around it: "
            "take them out of the sheet"
        )


def shared_contents(groups: Mapping[str, str], fingerprints: Mapping[str, str], by: str) -> list[str]:
    """Return a line for each content that slides of several groups have.

    Parameters
    ----------
    groups, fingerprints
        By slide: its group, and its content's fingerprint.
    by
        What the groups are.
    """
    same: dict[str, list[str]] = defaultdict(list)
    for slide in sorted(groups):
        if fingerprints.get(slide):
            same[fingerprints[slide]].append(slide)
    remedy = "take one away" if by == SLIDE else f"give them the same {by}, or take one away"
    if by == SLIDE:
        remedy += f", or give them one {PATIENT} in a sheet and split by it"
    return [
        f"{format_list(slides)} have the same content, and could be trained on and tested on: {remedy}"
        for slides in same.values()
        if len({groups[slide] for slide in slides}) > 1
    ]


def shared_patients(groups: Mapping[str, str], patients: Mapping[str, str], by: str) -> list[str]:
    """Return a line for each patient whose slides are in several groups; slides without a patient do not count.

    Blanks around a patient's name do not make another of it, as in `slidemill.datasets.leakage`.

    Parameters
    ----------
    groups, patients
        By slide.
    by
        What the groups are.
    """
    of: dict[str, list[str]] = defaultdict(list)
    for slide in sorted(groups):
        if patient := patients.get(slide, "").strip():
            of[patient].append(slide)
    return [
        f"{PATIENT} {patient} has {format_list(slides)}, which have several values of {by} and could be trained on and "
        f"tested on: split by {PATIENT}"
        for patient, slides in sorted(of.items())
        if len({groups[slide] for slide in slides}) > 1
    ]


def slides_values(table: pandas.DataFrame, column: str) -> dict[str, str]:
    """Return the column's value of each slide, the last where it has several; empty where it is missing."""
    pairs = table[[SLIDE, column]].drop_duplicates()
    return dict(zip(pairs[SLIDE].astype(str), pairs[column].astype("object").fillna("").astype(str), strict=True))


def refuse(names: Iterable[str], verb: tuple[str, str], complaint: str) -> None:
    """Raise `SplitError` with the names, the verb in singular or plural, and the complaint, where there are names."""
    if names := list(names):
        raise SplitError(f"{format_list(sorted(names))}: {verb[len(names) > 1]} {complaint}")
