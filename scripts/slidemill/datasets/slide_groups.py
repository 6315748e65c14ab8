"""Groups of slides that stay in one fold, such as those of a patient."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from slidemill.core.columns import PATIENT, SLIDE, is_unknown
from slidemill.core.text import did_you_mean, name_slides
from slidemill.errors import SplitError

if TYPE_CHECKING:
    import pandas

NO_PATHS: Mapping[str, str] = MappingProxyType({})
"""Where the paths of slides are not known, messages name them by their ids."""


@dataclass(frozen=True, slots=True)
class SlidePatches:
    """A slide's group, and its number of patches per stratum."""

    group: str
    strata: Mapping[str, int]


def count_patches(
    table: pandas.DataFrame, by: str, stratify: str | None = None, *, paths: Mapping[str, str] = NO_PATHS
) -> dict[str, SlidePatches]:
    """Return the group and the patches per stratum of each slide.

    Parameters
    ----------
    table
        A row per patch, with the column ``slide``.
    by, stratify
        The columns of the groups and of the strata; None counts all patches as one stratum.
    paths
        By slide, its path, for messages.

    Raises
    ------
    SplitError
        When a column is missing, or a slide has no group or several groups.
    """
    import pandas as pd

    for column in (by,) if stratify is None else (by, stratify):
        if not isinstance(column, str) or column not in table:
            near = did_you_mean(column, table.columns) if isinstance(column, str) else ""
            known = ", ".join(map(str, table.columns))
            raise SplitError(f"the table has no column {column!r}{near}: name one of {known}")
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
                f"{name_slides([slide], paths)}: its patches have several values of {by}, {groups[slide]!r} and "
                f"{group!r} among them: split by a column that is the same in a whole slide"
            )
        counts[slide][stratum] += int(count)
    check_groups(groups, by, paths=paths)
    return {slide: SlidePatches(group, counts[slide]) for slide, group in groups.items()}


def check_groups(groups: Mapping[str, str], by: str, *, paths: Mapping[str, str]) -> None:
    """Check that each slide has a valid group.

    Parameters
    ----------
    groups
        By slide.
    by
        The column of the groups, such as ``"patient"``.
    paths
        By slide, its path, for messages.

    Raises
    ------
    SplitError
        When a slide has no group, or blanks around its name would silently make another group.
    """
    # A slide's id is known, whatever it is.
    nameless = [slide for slide, group in groups.items() if by != SLIDE and is_unknown(group)]
    if nameless:
        cell = groups[min(nameless)].strip()
        given = f" ({cell!r} means an unknown one)" if cell else ""
        raise SplitError(
            f"{name_slides(nameless, paths)}: without a {by}{given}: give each slide its {by} in the sheet"
        )
    blank = [slide for slide, group in groups.items() if group != group.strip()]
    if blank:
        raise SplitError(
            f"{name_slides(blank, paths)}: {by} is {groups[min(blank)]!r}, with blanks around it: "
            "remove them from the sheet"
        )


def find_shared(
    groups: Mapping[str, str],
    by: str,
    *,
    fingerprints: Mapping[str, str],
    patients: Mapping[str, str],
    paths: Mapping[str, str],
) -> list[str]:
    """Return a line per content or patient whose slides are in several groups.

    Blanks around a patient's name do not count, as in `slidemill.datasets.leakage`.

    Parameters
    ----------
    groups
        By slide.
    by
        The column of the groups.
    fingerprints, patients
        By slide: its content's fingerprint, and its patient; slides without one do not count.
    paths
        By slide, its path, for messages.
    """
    remedy = "remove one" if by == SLIDE else f"give them the same {by}, or remove one"
    if by == SLIDE:
        remedy += f", or give them one {PATIENT} in a sheet and split by it"
    copies = [
        f"{name_slides(slides, paths)} have the same content, and could be in training and test data: {remedy}"
        for _, slides in _slides_in_several(groups, fingerprints)
    ]
    return copies + [
        f"{PATIENT} {patient} has {name_slides(slides, paths)}, which have several values of {by} and could be in "
        f"training and test data: split by {PATIENT}"
        for patient, slides in sorted(_slides_in_several(groups, patients))
    ]


def _slides_in_several(groups: Mapping[str, str], values: Mapping[str, str]) -> Iterator[tuple[str, list[str]]]:
    """Yield each value whose slides are in several groups, and those slides.

    The slides are sorted.
    """
    slides_of: dict[str, list[str]] = defaultdict(list)
    for slide in sorted(groups):
        if not is_unknown(value := values.get(slide, "")):
            slides_of[value.strip()].append(slide)
    return ((value, slides) for value, slides in slides_of.items() if len({groups[slide] for slide in slides}) > 1)


def refuse(
    slides: Iterable[str], verb: tuple[str, str], complaint: str, *, paths: Mapping[str, str] = NO_PATHS
) -> None:
    """Raise a `SplitError` that lists slides, unless there are none.

    The verb is in singular or plural; `paths` are those of the slides.
    """
    if names := list(slides):
        raise SplitError(f"{name_slides(names, paths)}: {verb[len(names) > 1]} {complaint}")
