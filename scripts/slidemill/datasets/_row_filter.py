"""Select rows of a dataset's table by slide, by label, and by a query."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from slidemill.errors import SlidemillError

if TYPE_CHECKING:
    import pandas

Mask = npt.NDArray[np.bool_]


def select_rows(
    table: pandas.DataFrame,
    classes: Mapping[int, str],
    *,
    slides: Collection[str] | None,
    labels: Collection[int | str] | int | str | None,
    query: str | None,
) -> Mask:
    """Return a mask of the rows that meet all conditions, ``bool (n,)``.

    A condition of None always holds.

    Parameters
    ----------
    table, classes
        As of `slidemill.datasets.dataset.Dataset`.
    slides
        Ids of slides.
    labels, query
        As of `slidemill.datasets.dataset.Dataset.select`.

    Raises
    ------
    SlidemillError
        When a label does not exist, or the query is not a condition.
    """
    mask = np.ones(len(table), bool)
    if slides is not None:
        mask &= table["slide"].isin(slides).to_numpy()
    if labels is not None:
        mask &= _match_labels(table, classes, [labels] if isinstance(labels, str | int | np.integer) else list(labels))
    if query is not None:
        mask &= _match_query(table, query)
    return mask


def _match_labels(table: pandas.DataFrame, classes: Mapping[int, str], labels: list[int | str]) -> Mask:
    names = table["label_name"]
    if unknown := [label for label in labels if label not in {*classes, -1, *names.cat.categories}]:
        known = ", ".join(f"{label} {name}" for label, name in classes.items())
        raise SlidemillError(f"{unknown[0]!r} is not a label of these results, which have {known or 'none'}")
    mask: Mask = (table["label"].isin(labels) | names.isin(labels)).to_numpy()
    return mask


def _match_query(table: pandas.DataFrame, query: str) -> Mask:
    try:
        found: Any = table.eval(query)
        mask = np.asarray(found)
    except Exception as error:
        raise SlidemillError(f"the query {query!r} cannot be evaluated ({error}): use columns of ds.table") from None
    if mask.dtype != bool or mask.shape != (len(table),):
        raise SlidemillError(f"the query {query!r} is not true or false for each patch: compare a column with a value")
    return mask
