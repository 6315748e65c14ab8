"""Check the HDF5 file over a cohort's stores against a newly written one, and files of features by their digests."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import h5py

from slidemill.core.child_process import ChildCrashedError, ChildProcess
from slidemill.core.csv_tables import read_table
from slidemill.core.files import check_readable, file_digest
from slidemill.core.results_layout import (
    COHORT_SEALS,
    FEATURES_TABLE,
    JOINED,
    METADATA_PARQUET,
    REPORT,
    SLIDES_TABLE,
    STORES_TABLE,
    feature_file,
)
from slidemill.core.seals import read_seals
from slidemill.core.text import AGAIN
from slidemill.datasets.joined_hdf5 import MADE_OF, join_stores
from slidemill.errors import machine_error
from slidemill.stages._table_checks import FileFault, TableCheck

OF = (METADATA_PARQUET, SLIDES_TABLE, STORES_TABLE)
"""The tables that the file is made of."""

LARGEST = 1024 * 1024
"""Most bytes of an attribute that is read."""

OUTDATED = "was made of other tables"
"""The fault of a file that a run to the stores has left as it was while it gathered the tables again."""


def joined_fault(process: ChildProcess, results: Path) -> str | None:
    """Return the fault of the HDF5 file over all slides of finished results.

    Pixels are not checked, since they are those of the stores.

    Parameters
    ----------
    process
        The child process that reads the file.
    results
        The folder of results.

    Returns
    -------
    str or None
        Empty without a fault, or `OUTDATED`. None if there is no file, and no later run to the report made one.
    """
    if not (results / JOINED).exists():
        made = (results / REPORT).exists() and not is_older(results, REPORT)
        return "is missing, and the last run has made it" if made else None
    try:
        return process.call(_fault, results)
    except ChildCrashedError as error:
        check_readable(results / JOINED)
        return f"the process that read it died ({error})"


def feature_faults(results: Path) -> list[FileFault]:
    """Return the faults of the files of features that the cohort's table lists.

    Raises
    ------
    MachineError
        When the machine is at fault.
    """
    # Without a seal the table is of an earlier run that had models.
    if FEATURES_TABLE not in read_seals(results / COHORT_SEALS):
        return []
    check = TableCheck()
    for row in read_table(results / FEATURES_TABLE, ("slide", "name", "digest")):
        check.attempt(results, feature_file(row["name"], row["slide"]), partial(_digest_fault, wanted=row["digest"]))
    return check.faults


def _digest_fault(path: Path, wanted: str) -> str:
    return "" if file_digest(path) == wanted else f"is not what was written: {AGAIN}"


def is_older(results: Path, name: str | Path = JOINED) -> bool:
    """Return whether a file is older than the tables, so that a run would remake it."""
    tables = (results / table for table in OF)
    return (results / name).stat().st_mtime_ns < max(table.stat().st_mtime_ns for table in tables if table.exists())


def _fault(results: Path) -> str:
    with TemporaryDirectory() as folder:
        wanted = Path(folder) / JOINED.name
        try:
            join_stores(results, wanted)
        except Exception as error:  # over a damaged file, libraries raise anything
            if fault := machine_error(error, wanted):
                raise fault from error
            return f"cannot be compared with the stores and the tables ({error})"
        try:
            if not (results / JOINED).is_file():
                return "is not a file"
            with h5py.File(results / JOINED, "r", locking=False) as found, h5py.File(wanted, "r") as again:
                if found.attrs.get(MADE_OF, again.attrs[MADE_OF]) != again.attrs[MADE_OF]:
                    # Snakemake compares times, so a newer file stays until it is removed.
                    return OUTDATED if is_older(results) else f"{OUTDATED} than there are"
                return _difference(found, again)
        except Exception as error:
            if fault := machine_error(error, results / JOINED):
                raise fault from error
            return f"cannot be read ({error})"


def _difference(found: h5py.File, again: h5py.File) -> str:
    """Return the first difference of a file from a newly written one, or nothing."""
    for name in (MADE_OF, *again.attrs):
        if name in found.attrs and found.attrs.get_id(name).get_storage_size() > LARGEST:
            return f"its attribute {name} claims to be larger than {LARGEST} bytes"
    # MADE_OF is compared before; files of earlier versions have none.
    for name in again.attrs.keys() - {MADE_OF}:
        if found.attrs.get(name) != again.attrs[name]:
            return f"its attribute {name} is {found.attrs.get(name)!r}, and by the tables {again.attrs[name]!r}"
    columns = [f"table/{name}" for name in again["table"]]
    # The group comes first: links are not followed.
    for name in ("table", *(name for name in again if name != "table"), *columns):
        if not isinstance(found.get(name, getlink=True), h5py.HardLink):
            return f"has no {name} that is not a link"
        own, other = found[name], again[name]
        if name == "table":
            continue
        if not isinstance(own, h5py.Dataset) or (own.shape, own.dtype) != (other.shape, other.dtype):
            return f"its {name} has not the shape or the type that the stores and the tables give it"
        if own.external or own.chunks != other.chunks:
            return f"its {name} does not store its bytes as a new one does"
        if _source_files(own) != _source_files(other):
            return f"its {name} does not name the stores in the order of the table"
        if not other.is_virtual and own[:].tobytes() != other[:].tobytes():
            return f"its {name} holds other values than the tables and the stores"
    return ""


def _source_files(dataset: h5py.Dataset) -> list[tuple[object, ...]]:
    """Return the files and selected rows of a virtual dataset; else an empty list."""
    return [
        (one.file_name, one.dset_name, _selection(one.vspace), _selection(one.src_space))
        for one in (dataset.virtual_sources() if dataset.is_virtual else ())
    ]


def _selection(space: h5py.h5s.SpaceID) -> object:
    """Return the bounds of a selection; None if the whole dataset is selected."""
    return None if space.get_select_type() == h5py.h5s.SEL_ALL else space.get_select_bounds()
