"""Opening the patches of finished results as a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from slidemill.core.csv_tables import read_cohort_table
from slidemill.core.parquet import TABLE, read_columnar
from slidemill.datasets.dataset import Dataset, dataset_of
from slidemill.errors import SlidemillError, machine_error, machine_told
from slidemill.stores.paths import SUFFIXES
from slidemill.stores.store_pool import MOST_OPEN, StorePool

if TYPE_CHECKING:
    import pandas


def open_dataset(
    results: str | Path, backend: str | None = None, where: str | None = None, most_open: int = MOST_OPEN
) -> Dataset:
    """Open the patches of finished results as one sequence, in the order of metadata.csv; no store is opened yet.

    Parameters
    ----------
    results
        The folder of results.
    backend
        ``"lmdb"``, ``"hdf5"``, ``"disk"`` or ``"tar"``; None takes the first of these that there are stores of.
    where
        A query, as `Dataset.select` takes it: which patches are wanted.
    most_open
        How many stores are held open at once; with fewer than 64, shuffled batches may open some again and again.

    Returns
    -------
    Dataset
        Of all patches of the slides that are ok. A store that another run has written since is told when it is opened.

    Raises
    ------
    SlidemillError
        When the results are not those of a run that came to its end, a table is damaged, there are no such stores, or
        the query is none.
    """
    results = Path(results).absolute()
    if most_open < 1:
        raise SlidemillError(f"most_open is {most_open}: give 1 or more")
    with machine_told(results):  # the libraries that read tables are loaded here too
        return _opened(results, backend, where, most_open)


def _opened(results: Path, backend: str | None, where: str | None, most_open: int) -> Dataset:
    table = read_columnar(results / TABLE)
    stores = _rows(results / "stores.csv", ("slide", "backend", "content"))
    stored = {row["backend"] for row in stores}
    kinds = [name for name in SUFFIXES if name in stored]
    chosen = backend or next(iter(kinds), "")
    if not kinds:
        raise SlidemillError(f"{results}: no slide has a store: slides.csv says what became of each")
    if chosen not in kinds:
        raise SlidemillError(f"{results}: there are no stores of {chosen}: there are {', '.join(kinds)}")
    prints = {row["slide"]: row["fingerprint"] for row in _rows(results / "slides.csv", ("slide", "fingerprint"))}
    contents = {row["slide"]: row["content"] for row in stores if row["backend"] == chosen}
    dataset = dataset_of(table, StorePool(results, chosen, most_open, contents), prints, classes_of(table))
    return dataset if where is None else dataset.select(query=where)


def _rows(table: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    try:
        return list(read_cohort_table(table, columns))
    except OSError as error:
        raise machine_error(error, table) or SlidemillError(
            f"{table}: cannot be read ({error.strerror}): run the workflow to its end, or correct the path"
        ) from None


def classes_of(table: pandas.DataFrame) -> dict[int, str]:
    """Return the name of each label from 0 up; several names of one label are joined."""
    pairs = table[["label", "label_name"]].drop_duplicates()
    names: dict[int, list[str]] = {}
    for label, name in sorted(pairs.itertuples(index=False, name=None)):
        names.setdefault(int(label), []).append(str(name))
    return {label: " or ".join(own) for label, own in names.items() if label >= 0}
