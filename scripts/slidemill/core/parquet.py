"""The cohort's metadata as Parquet: the rows of metadata.csv with typed columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slidemill.core.columns import FRACTIONS, NEEDED_COLUMNS, WHOLE_NUMBERS
from slidemill.core.csv_tables import read_columns
from slidemill.core.files import replacing
from slidemill.core.seals import read_cohort_seal
from slidemill.errors import SlidemillError, machine_error

if TYPE_CHECKING:
    import pandas


def write_parquet(path: Path, table: Path) -> None:
    """Publish the metadata table at `table`, a CSV, as Parquet at `path`.

    Raises
    ------
    SlidemillError
        When a value does not have its column's type.
    """
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet as pq

    header = read_columns(table)
    types: dict[str, Any] = dict.fromkeys(WHOLE_NUMBERS, pa.int32())
    types |= dict.fromkeys(FRACTIONS, pa.float64())
    types |= {"label": pa.int64(), "patch_id": pa.string()}
    schema = pa.schema(
        [(name, types[name] if name in types else pa.dictionary(pa.int32(), pa.string())) for name in header]
    )
    # Only an empty field is a missing number: a label may be called NA.
    converting = pa.csv.ConvertOptions(column_types=schema, null_values=[""], strings_can_be_null=False)
    parsing = pa.csv.ParseOptions(newlines_in_values=True)
    with (
        replacing(path) as aside,
        _table_errors(table),
        pq.ParquetWriter(aside, schema, compression="zstd", write_page_checksum=True) as writer,
    ):
        # Names are given, since Arrow may read a quoted header otherwise than read_columns.
        reading = pa.csv.ReadOptions(block_size=8 << 20, column_names=header, skip_rows_after_names=1)
        with pa.csv.open_csv(table, reading, parsing, converting) as reader:
            for batch in reader:
                writer.write_batch(batch)


def read_parquet(path: Path, wanted: Sequence[str] = ()) -> pandas.DataFrame:
    """Read the table at `path` as a frame; all columns if `wanted` names none.

    Returns
    -------
    pandas.DataFrame
        A row per patch in the order of metadata.csv, numbered from 0. Slides, label names and a sheet's columns are
        categories; unknown numbers are NaN.

    Raises
    ------
    SlidemillError
        When the table is missing, lacks a column, or is damaged.
    """
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns: dict[str, Any] = {}
    with _table_errors(path):
        if seal := read_cohort_seal(path):
            seal.check(path)
    with _table_errors(path), pq.ParquetFile(path, memory_map=True, page_checksum_verification=True) as file:
        missing = [column for column in (*NEEDED_COLUMNS, *wanted) if column not in file.schema_arrow.names]
        if missing:
            raise SlidemillError(f"{path}: lacks the columns {', '.join(missing)}: run the workflow again")
        # Column by column, so that Arrow holds only one of them next to the frame.
        for name in wanted or file.schema_arrow.names:
            column = file.read([name]).column(0)
            if column.null_count and name not in FRACTIONS:
                raise SlidemillError(f"{path}: the column {name} has rows without a value: run the workflow again")
            if pa.types.is_string(column.type) and name != "patch_id":  # written by something else
                column = column.dictionary_encode()
            if pa.types.is_dictionary(column.type):
                column = column.unify_dictionaries()
            columns[name] = column.to_pandas()
            del column
            # Arrow keeps what decoding took, which is a quarter of a large table.
            pa.default_memory_pool().release_unused()
    return pd.DataFrame(columns, copy=False)


@contextmanager
def _table_errors(path: Path) -> Iterator[None]:
    """Convert Arrow's errors to SlidemillError or MachineError naming the file."""
    import pyarrow as pa

    try:
        yield
    except (FileNotFoundError, NotADirectoryError):
        raise SlidemillError(
            f"{path}: this table does not exist: run the workflow to its end, or correct the path"
        ) from None
    except (pa.ArrowInvalid, pa.ArrowKeyError, pa.ArrowNotImplementedError, OSError) as error:
        raise machine_error(error, path) or SlidemillError(
            f"{path}: cannot be read as a table ({error}): remove it and run the workflow again"
        ) from None
