"""Checking the one HDF5 file over the stores of a cohort against what would be written anew."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import h5py

from slidemill.core.child_process import ChildCrashedError, ChildProcess
from slidemill.core.files import check_readable
from slidemill.core.results_layout import JOINED, METADATA_PARQUET, REPORT, SLIDES_TABLE, STORES_TABLE
from slidemill.datasets.joined_hdf5 import MADE_OF, join_stores
from slidemill.errors import machine_error

OF = (METADATA_PARQUET, SLIDES_TABLE, STORES_TABLE)
"""The tables that it is made of."""

LARGEST = 1024 * 1024
"""Bytes of the largest attribute that is read."""

OUTDATED = "was made of other tables"
"""Stands for what is wrong with a file that a run to the stores alone, which makes tables anew, has left as it was."""


def joined_fault(process: ChildProcess, results: Path) -> str | None:
    """Return what is wrong with the file of finished results that have stores in HDF5, looked at in another process.

    Pixels are not looked at: these are the stores' own.

    Returns
    -------
    str or None
        Empty where nothing is wrong; `OUTDATED`; None where there is no such file, and no run to the report that has
        made one.
    """
    if not (results / JOINED).exists():
        made = (results / REPORT).exists() and not older(results, REPORT)
        return "is missing, and the last run has made it" if made else None
    try:
        return process.call(_fault, results)
    except ChildCrashedError as error:
        check_readable(results / JOINED)
        return f"the process that read it died ({error})"


def older(results: Path, name: str | Path = JOINED) -> bool:
    """Return whether a file is older than the tables, so that a run to the report would make it anew."""
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
                return "is no file"
            with h5py.File(results / JOINED, "r", locking=False) as found, h5py.File(wanted, "r") as anew:
                if found.attrs.get(MADE_OF, anew.attrs[MADE_OF]) != anew.attrs[MADE_OF]:
                    # Snakemake goes by times, so a younger one stays until it is removed.
                    return OUTDATED if older(results) else f"{OUTDATED} than there are"
                return _difference(found, anew)
        except Exception as error:
            if fault := machine_error(error, results / JOINED):
                raise fault from error
            return f"cannot be read ({error})"


def _difference(found: h5py.File, anew: h5py.File) -> str:
    """Return where a file differs from one that was written anew; empty where it does not."""
    for name in (MADE_OF, *anew.attrs):
        if name in found.attrs and found.attrs.get_id(name).get_storage_size() > LARGEST:
            return f"its attribute {name} claims to be larger than {LARGEST} bytes"
    # What it was made of is compared before, and files of earlier versions do not say.
    for name in anew.attrs.keys() - {MADE_OF}:
        if found.attrs.get(name) != anew.attrs[name]:
            return f"its attribute {name} is {found.attrs.get(name)!r}, and by the tables {anew.attrs[name]!r}"
    columns = [f"table/{name}" for name in anew["table"]]
    # The group first: what it is linked to is not followed.
    for name in ("table", *(name for name in anew if name != "table"), *columns):
        if not isinstance(found.get(name, getlink=True), h5py.HardLink):
            return f"has no {name} of its own"
        own, other = found[name], anew[name]
        if name == "table":
            continue
        if not isinstance(own, h5py.Dataset) or (own.shape, own.dtype) != (other.shape, other.dtype):
            return f"its {name} has not the shape or the type that the stores and the tables give it"
        if own.external or own.chunks != other.chunks:
            return f"its {name} does not keep its bytes as the one written anew does"
        if _sources(own) != _sources(other):
            return f"its {name} does not name the stores in the order of the table"
        if not other.is_virtual and own[:].tobytes() != other[:].tobytes():
            return f"its {name} holds other values than the tables and the stores"
    return ""


def _sources(dataset: h5py.Dataset) -> list[tuple[object, ...]]:
    """Return of what files, and of which rows of these, a virtual dataset is made; nothing where it is none."""
    return [
        (one.file_name, one.dset_name, _selected(one.vspace), _selected(one.src_space))
        for one in (dataset.virtual_sources() if dataset.is_virtual else ())
    ]


def _selected(space: h5py.h5s.SpaceID) -> object:
    """Return which part of a dataset is selected; None for all of it, for which there are no bounds."""
    return None if space.get_select_type() == h5py.h5s.SEL_ALL else space.get_select_bounds()
