"""The metadata table: every patch with its place and its label."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slidemill.annotations.regions import Annotation
from slidemill.core.columns import FRACTIONS, METADATA_COLUMNS, WHOLE_NUMBERS
from slidemill.core.csv_tables import write_table
from slidemill.core.outcomes import read_outcome, seal_of
from slidemill.core.seals import Seal, cohort_seal
from slidemill.core.specs import LabelSpec
from slidemill.errors import SlidemillError, machine_error, machine_told
from slidemill.sampling._label_counts import counting_labeller
from slidemill.sampling._label_rules import UNMAPPED, Labeller
from slidemill.sampling.label_audit import label_audit, remembered

if TYPE_CHECKING:
    import pandas


BLOCK = 20_000
"""Rows that are labelled at once."""


def labelled(
    rows: Sequence[Mapping[str, Any]], annotation: Annotation, spec: LabelSpec, columns: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Return the rows with their labels, and with the sheet's `columns` for their slide.

    A name that the map lacks gives label -1.
    """
    return list(labelled_blocks(rows, annotation, spec, columns))


def _labelled(
    rows: Sequence[Mapping[str, Any]], decide: Labeller, spec: LabelSpec, columns: Mapping[str, str]
) -> list[dict[str, Any]]:
    names, fractions = decide(rows)
    told = [""] * len(rows) if fractions is None else [f"{fraction:.4f}" for fraction in fractions]
    return [
        {**row, "label": spec.map.get(name, UNMAPPED), "label_name": name, "label_fraction": fraction, **columns}
        for row, name, fraction in zip(rows, names, told, strict=True)
    ]


def labelled_blocks(
    rows: Iterable[Mapping[str, Any]],
    annotation: Annotation,
    spec: LabelSpec,
    columns: Mapping[str, str],
    reached: set[int] | None = None,
    within: Counter[str] | None = None,
    contested: Counter[str] | None = None,
) -> Iterator[dict[str, Any]]:
    """Yield the rows with their labels, as `labelled` gives them, a block of rows in memory at a time.

    The places of the regions that label a patch are added to `reached`, and to `within` how many patches the regions of
    each name label. `contested` is that of `slidemill.sampling._label_counts.counting_labeller`.
    """
    waiting = iter(rows)
    decide = counting_labeller(annotation, spec, Counter() if within is None else within, reached, contested)
    while block := list(islice(waiting, BLOCK)):
        yield from _labelled(block, decide, spec, columns)


def counted(rows: Iterable[dict[str, Any]], counts: Counter[str]) -> Iterator[dict[str, Any]]:
    """Yield the rows, and add up in `counts` how many have each label's name."""
    for row in rows:
        counts[row["label_name"]] += 1
        yield row


def write_labelled(
    table: Path,
    rows: Iterable[Mapping[str, Any]],
    count: int,
    annotation: Annotation,
    spec: LabelSpec,
    columns: Mapping[str, str],
    seed: int,
) -> dict[str, Any]:
    """Publish a slide's metadata table, and return what there is to tell of its labels, as JSON values.

    Parameters
    ----------
    table
        Where it will stand.
    rows, count
        The slide's patches, and how many they are.
    annotation, spec, columns
        As of `labelled`.
    seed
        Of the sample of patches that is audited.

    Returns
    -------
    dict
        ``counts`` of patches by label's name; ``within``, those of them that regions label; ``contested``, those that
        lie in a smaller region of another label; ``unmapped`` names;
        ``regions``, how many, and their ``reach``; ``notes`` on them; where there are any, the ``audit``.
    """
    reached: set[int] = set()
    counts: Counter[str] = Counter()
    chosen: list[dict[str, Any]] = []
    within: Counter[str] = Counter()
    contested: Counter[str] = Counter()
    blocks = labelled_blocks(rows, annotation, spec, columns, reached, within, contested)
    told = counted(blocks, counts)
    write_table(table, (*METADATA_COLUMNS, *columns), remembered(told, count, seed, chosen))
    audit = {"audit": label_audit(chosen, annotation, spec, reached)} if annotation.names else {}
    return {
        "counts": dict(sorted(counts.items())),
        "within": dict(sorted(within.items())),
        "contested": dict(sorted(contested.items())),
        "unmapped": sorted({*annotation.names, *within} - set(spec.map)),
        "regions": len(annotation.names),
        "notes": list(annotation.notes),
        **({"reach": _reach(annotation)} if annotation.regions else {}),
        **({"warnings": list(annotation.warnings)} if annotation.warnings else {}),
        **audit,
    }


def _reach(annotation: Annotation) -> list[float]:
    """Return the right and the bottom end of an annotation's regions, in level-0 pixels."""
    bounds = annotation.bounds
    return [max(sides[end] for sides in bounds) for end in (2, 3)]


def _seal(table: Path) -> Seal | None:
    """Return the seal of a metadata table, of a cohort or of a slide; None where there is none."""
    labelled = table.parent.parent / "outcomes" / "write_metadata" / f"{table.stem}.json"
    if table.parent.name == "metadata" and labelled.is_file():
        return seal_of([read_outcome(labelled)], "metadata")
    return cohort_seal(table)


def read_metadata(path: str | Path) -> pandas.DataFrame:
    """Return the metadata table of a cohort or of a slide.

    Parameters
    ----------
    path
        ``metadata.csv``, or the folder of results that holds it.

    Returns
    -------
    pandas.DataFrame
        A row a patch in raster order, slide by slide. Ids and names are strings; a number that is not known is NaN,
        such as a ``label_fraction`` where a point decided.

    Raises
    ------
    SlidemillError
        When there is no such table, or it is damaged.
    """
    table = Path(path)
    table = table / "metadata.csv" if table.is_dir() else table
    with machine_told(table):
        return _read_metadata(table)


def _read_metadata(table: Path) -> pandas.DataFrame:
    import pandas as pd

    try:
        if seal := _seal(table):
            seal.check(table)
        header = list(pd.read_csv(table, nrows=0).columns)
    except (OSError, ValueError) as error:
        raise machine_error(error, table) or SlidemillError(
            f"{table}: no table of metadata ({error}): run the workflow, or correct the path"
        ) from None
    missing = [column for column in METADATA_COLUMNS if column not in header]
    if missing:
        raise SlidemillError(f"{table}: lacks the columns {', '.join(missing)}: name a metadata.csv of slidemill")
    numbers: dict[str, Any] = dict.fromkeys((*WHOLE_NUMBERS, "label"), "int64")
    numbers |= dict.fromkeys(FRACTIONS, "float64")
    texts = {column: str for column in header if column not in numbers}
    empty = {column: [""] for column in FRACTIONS}
    try:
        return pd.read_csv(table, dtype={**numbers, **texts}, keep_default_na=False, na_values=empty)
    except (OSError, ValueError, TypeError, OverflowError) as error:
        raise machine_error(error, table) or SlidemillError(
            f"{table}: a value is not what its column holds ({error}): run the workflow again"
        ) from None
