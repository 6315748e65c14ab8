"""CSV tables: UTF-8, a header, one row a line; written and read as streams."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from slidemill.core.files import replacing
from slidemill.core.seals import Seal, read_cohort_seal
from slidemill.errors import SlidemillError

# A label or a message may be longer than the 128 KiB that the csv module reads unless told.
csv.field_size_limit(2**31 - 1)


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> int:
    """Publish `rows` as a table at `path` and return how many there were.

    None becomes an empty field; a row must not hold a column that `columns` lacks. Names of files that are
    not valid Unicode are written with backslash escapes.
    """
    count = 0
    with writing_table(path, columns) as write:
        for row in rows:
            write(row)
            count += 1
    return count


@contextmanager
def writing_table(path: Path, columns: Sequence[str]) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """Yield a function that adds a row to a table, which is published at the end of the block.

    Rows are written as `write_table` writes them.
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
            # The csv module leaves a lone carriage return bare, and reads it as the end of a line.
            bare = "\r" in "".join([value for value in values if value.__class__ is str])
            (quoting if bare else plain).writerow(values)

        write(dict(zip(columns, columns, strict=True)))
        yield write


def read_table(path: Path, columns: Sequence[str] = (), seal: Seal | None = None) -> Iterator[dict[str, str]]:
    """Yield the rows of the table at `path`, every value a string; its bytes are checked first, where it has a `seal`.

    Raises
    ------
    SlidemillError
        When the table lacks one of `columns`, a row is longer or shorter than the header, it is no CSV in UTF-8, or its
        bytes are not those that were sealed.
    """
    if seal:
        seal.check(path)
    with _opened(path) as file:
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
                raise SlidemillError(
                    f"{path}: line {reader.line_num} has not {len(header)} fields: remove the table and run again"
                )
            yield dict(zip(header, values, strict=True))


def read_cohort_table(path: Path, columns: Sequence[str] = ()) -> Iterator[dict[str, str]]:
    """Yield the rows of a cohort's table, as `read_table` does; its seal is the one that is listed next to it."""
    return read_table(path, columns, read_cohort_seal(path))


def read_columns(path: Path) -> list[str]:
    """Return the names of a table's columns."""
    with _opened(path) as file:
        return next(csv.reader(file), [])


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    """Open a table for reading; what the block finds to be no CSV in UTF-8 is told in words."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        try:
            yield file
        except (UnicodeDecodeError, csv.Error) as error:
            raise SlidemillError(f"{path}: is no table ({error}): remove it and run again") from None
