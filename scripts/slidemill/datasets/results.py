"""Open finished results: the patches as a dataset, and the metadata table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from slidemill.core.columns import FRACTIONS, NEEDED_COLUMNS, WHOLE_NUMBERS
from slidemill.core.csv_tables import read_cohort_table
from slidemill.core.outcomes import find_seal, read_outcome
from slidemill.core.parquet import read_parquet
from slidemill.core.results_layout import (
    METADATA,
    METADATA_PARQUET,
    METADATA_TABLE,
    SLIDES_TABLE,
    STORES_TABLE,
    SUFFIXES,
    outcome_file,
)
from slidemill.core.seals import Seal, read_cohort_seal
from slidemill.core.specs import SLIDES
from slidemill.datasets.dataset import Dataset
from slidemill.datasets.stored_patches import StoredPatches
from slidemill.errors import SlidemillError, machine_error, machine_errors
from slidemill.stores.store_pool import MOST_OPEN, StorePool, no_pixels

if TYPE_CHECKING:
    import pandas

BLOCK = 500_000
"""Rows whose labels are compared at once."""


def open_dataset(
    results: str | Path,
    backend: str | None = None,
    where: str | None = None,
    most_open: int = MOST_OPEN,
    *,
    slides: str | Path | None = None,
) -> Dataset:
    """Open the patches of finished results as one sequence.

    Patches are in the order of metadata.csv.

    Parameters
    ----------
    results
        The results folder.
    backend
        ``"lmdb"``, ``"hdf5"``, ``"disk"``, ``"tar"`` or ``"zarr"``; None takes the first of these that has stores.
        Where the run wrote none (``stores: {}``), the dataset has a table and no pixels. ``"slides"`` reads the slides
        themselves, and gives the pixels that a lossless store has: by their tiles where these equalled OpenSlide's
        pixels when the slide was sampled, else by OpenSlide.
    where
        A query that selects patches, as of `Dataset.select`.
    most_open
        Number of stores or slides that are open at once; with fewer than 64, shuffled batches may reopen some often.
    slides
        With backend ``"slides"``, the folder of the slides, or of their sheet; None for the one of the run.

    Returns
    -------
    Dataset
        The patches of all slides that are ok. Stores and slides open on demand; a store that a later run has written is
        an error, and so is a slide that has changed.

    Raises
    ------
    SlidemillError
        When the run has not finished, a table is damaged, there are no such stores, or the query is not a condition.
        Of a run without stores, where pixels are read.
    """
    results = Path(results).absolute()
    if most_open < 1:
        raise SlidemillError(f"most_open is {most_open}: give 1 or more")
    if slides is not None and backend != SLIDES:
        raise SlidemillError(f"slides is {str(slides)!r} and backend {backend!r}: only backend {SLIDES!r} reads slides")
    with machine_errors(results):  # includes loading the libraries that read tables
        if backend == SLIDES:
            dataset = _of_slides(results, most_open, None if slides is None else Path(slides))
        else:
            dataset = _of_stores(results, backend, most_open)
        return dataset if where is None else dataset.select(query=where)


def _of_slides(results: Path, most_open: int, root: Path | None) -> Dataset:
    from slidemill.datasets.slide_pool import open_pool  # stores need no OpenSlide

    table, (prints, paths) = read_parquet(results / METADATA_PARQUET), _slides(results)
    pool = open_pool(results, table, prints, most_open=most_open, root=root)
    return Dataset(table, StoredPatches.of(pool, table), prints, classes_of(table), paths)


def _of_stores(results: Path, backend: str | None, most_open: int) -> Dataset:
    table = read_parquet(results / METADATA_PARQUET)
    stores = _rows(results / STORES_TABLE, ("slide", "backend", "content"))
    stored = {row["backend"] for row in stores}
    kinds = [name for name in SUFFIXES if name in stored]
    chosen = backend or next(iter(kinds), "")
    if not len(table) and not kinds:
        raise SlidemillError(f"{results}: no slide has a store: slides.csv says what became of each")
    if backend and not kinds:
        raise SlidemillError(no_pixels(results))
    if kinds and chosen not in kinds:
        raise SlidemillError(f"{results}: has no stores of {chosen}: choose from {', '.join(kinds)}")
    prints, paths = _slides(results)
    contents = {row["slide"]: row["content"] for row in stores if row["backend"] == chosen}
    pool = StorePool(results, chosen, most_open, contents)
    return Dataset(table, StoredPatches.of(pool, table), prints, classes_of(table), paths)


def _slides(results: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Return the fingerprint and the path of each slide of the results."""
    rows = _rows(results / SLIDES_TABLE, ("slide", "fingerprint"))
    prints = {row["slide"]: row["fingerprint"] for row in rows}
    return prints, {row["slide"]: row.get("path") or "" for row in rows}


def _rows(table: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    try:
        return list(read_cohort_table(table, columns))
    except OSError as error:
        raise machine_error(error, table) or SlidemillError(
            f"{table}: cannot be read ({error.strerror}): run the workflow to its end, or correct the path"
        ) from None


def classes_of(table: pandas.DataFrame) -> dict[int, str]:
    """Return the name of each label, from 0; several names are joined."""
    pairs, both = set[tuple[int, str]](), table[["label", "label_name"]]
    for start in range(0, len(both), BLOCK):  # of all rows at once, they would take more than the table's columns
        pairs.update(both.iloc[start : start + BLOCK].drop_duplicates().itertuples(index=False, name=None))
    names: dict[int, list[str]] = {}
    for label, name in sorted(pairs):
        names.setdefault(int(label), []).append(str(name))
    return {label: " or ".join(own) for label, own in names.items() if label >= 0}


def read_metadata(path: str | Path) -> pandas.DataFrame:
    """Read the metadata table of a cohort or of a slide.

    Parameters
    ----------
    path
        ``metadata.csv``, or the results folder.

    Returns
    -------
    pandas.DataFrame
        A row per patch in raster order, slide by slide. Ids and names are strings; unknown numbers are NaN, such as
        ``label_fraction`` where a point decides.

    Raises
    ------
    SlidemillError
        When this table does not exist, or it is damaged.
    """
    table = Path(path)
    table = table / METADATA_TABLE if table.is_dir() else table
    with machine_errors(table):
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
    missing = [column for column in NEEDED_COLUMNS if column not in header]
    if missing:
        raise SlidemillError(f"{table}: lacks the columns {', '.join(missing)}: name a metadata.csv of slidemill")
    numbers: dict[str, Any] = dict.fromkeys((*WHOLE_NUMBERS, "label"), "int64")
    numbers |= dict.fromkeys(FRACTIONS, "float64")
    texts = {column: str for column in header if column not in numbers}
    empty = {column: [""] for column in FRACTIONS if column in header}
    try:
        return pd.read_csv(table, dtype={**numbers, **texts}, keep_default_na=False, na_values=empty)
    except (OSError, ValueError, TypeError, OverflowError) as error:
        raise machine_error(error, table) or SlidemillError(
            f"{table}: a value is not what its column holds ({error}): run the workflow again"
        ) from None


def _seal(table: Path) -> Seal | None:
    """Return the seal of a cohort's or a slide's metadata table, if any."""
    labelled = table.parent.parent / outcome_file("write_metadata", table.stem)
    if table.parent.name == Path(METADATA).parent.name and labelled.is_file():
        return find_seal([read_outcome(labelled)], "metadata")
    return read_cohort_seal(table)
