"""CSV tables in UTF-8 with a header, written and read row by row."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from slidemill.core.files import replacing
from slidemill.core.seals import Seal, read_cohort_seal
from slidemill.errors import SlidemillError

# A label or a message may be longer than csv's default limit of 128 KiB.
csv.field_size_limit(2**31 - 1)


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> int:
    """Write `rows` as a table at `path`, and return their number."""
    count = 0
    with writing_table(path, columns) as write:
        for row in rows:
            write(row)
            count += 1
    return count


@contextmanager
def writing_table(path: Path, columns: Sequence[str]) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """Yield a function that adds a row to a table, and publish it after the block.

    None becomes an empty field. File names that are not valid Unicode are written with backslash escapes.

    Raises
    ------
    ValueError
        By the function, when a row has a column that `columns` lacks.
    """
    known = frozenset(columns)
    with (
        replacing(path) as aside,
        aside.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file,
    ):
        plain = csv.writer(file, lineterminator="\n")
        quoting = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL)

        def write(row: Mapping[str, Any]) -> None:
            if not known.issuperset(row):
                raise ValueError(f"{path}: the table has no columns {', '.join(sorted(set(row) - known))}")
            values = [row.get(column, "") for column in columns]
            # The csv module writes a lone carriage return without quotes, and reads it as the end of a line.
            bare = "\r" in "".join([value for value in values if value.__class__ is str])
            (quoting if bare else plain).writerow(values)

        write(dict(zip(columns, columns, strict=True)))
        yield write


def read_table(path: Path, columns: Sequence[str] = (), seal: Seal | None = None) -> Iterator[dict[str, str]]:
    """Yield the rows of the table at `path`, all values as strings.

    Parameters
    ----------
    path
        The table.
    columns
        Columns that it must have.
    seal
        The seal that its bytes are checked against first; None for no check.

    Raises
    ------
    SlidemillError
        When the table lacks a column, has a row of another length, is not CSV in UTF-8, or does not match its seal.
    """
    if seal:
        seal.check(path)
    with _open_table(path) as file:
        reader = csv.reader(file)
        header = next(reader, [])
        missing = [column for column in columns if column not in header]
        if missing:
            raise SlidemillError(
                f"{path}: the table lacks {', '.join(missing)}: "
                "it is truncated or from elsewhere; remove it and run again"
            )
        for values in filter(None, reader):
            if len(values) != len(header):
                where = f"{path}: line {reader.line_num}"
                raise SlidemillError(f"{where} has not {len(header)} fields: remove the table and run again")
            yield dict(zip(header, values, strict=True))


def read_cohort_table(path: Path, columns: Sequence[str] = ()) -> Iterator[dict[str, str]]:
    """Yield the rows of a cohort's table as `read_table` does, and check its seal."""
    return read_table(path, columns, read_cohort_seal(path))


def read_columns(path: Path) -> list[str]:
    """Return the names of a table's columns."""
    with _open_table(path) as file:
        return next(csv.reader(file), [])


@contextmanager
def _open_table(path: Path) -> Iterator[TextIO]:
    """Open a table; raise SlidemillError if the block finds another format."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        try:
            yield file
        except (UnicodeDecodeError, csv.Error) as error:
            raise SlidemillError(f"{path}: is not a table ({error}): remove it and run again") from None
