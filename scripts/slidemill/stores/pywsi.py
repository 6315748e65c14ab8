"""Patches of py-wsi's LMDB databases, read without running anything that is in them.

A database is a folder with ``data.mdb``. Its keys are ``SLIDE-X-Y``, the slide's file without its last four characters
and the tile's place in the DeepZoom grid; its values are pickles of an object with ``channels``, ``size`` (of a
square), ``data`` (the pixels' bytes), ``label`` (an integer; 0 where nobody gave labels) and ``coords`` (the place once
more, an array of NumPy's). Versions 1 and 2 write the same.

The pickles are read as data (`slidemill.stores._pickles`): no class is imported, and nothing that one names is called.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
import xxhash

from slidemill.core.encodings import Pixels
from slidemill.errors import SlidemillError, machine_error
from slidemill.stores._lmdb_environments import PAGE
from slidemill.stores._pickles import Made, StrangeError, read_pickle
from slidemill.stores.manifest import LARGEST_PATCH

KEY = re.compile(r"(?P<slide>.+)-(?P<column>\d{1,5})-(?P<row>\d{1,5})", re.DOTALL)
NAMES = frozenset(
    {("py_wsi.item", "Item"), ("item", "Item"), ("numpy", "ndarray"), ("numpy", "dtype")}
    | {
        (f"numpy.{core}.{module}", name)
        for core in ("core", "_core")
        for module, name in (("multiarray", "_reconstruct"), ("multiarray", "scalar"), ("numeric", "_frombuffer"))
    }
)
INTEGERS = re.compile(r"[iu][1248]")


@dataclass(frozen=True, slots=True)
class Item:
    """One patch of py-wsi: its pixels, ``uint8 (size, size, 3)``, and its label."""

    pixels: Pixels
    label: int


def parse_item(data: bytes, column: int, row: int) -> Item:
    """Return the patch that a value holds.

    Raises
    ------
    ValueError
        When it is no patch of py-wsi, or not the one at that place; the message says what it is.
    """
    found = read_pickle(data, NAMES)
    if not (isinstance(found, Made) and found.name[1] == "Item" and isinstance(found.state, dict)):
        raise StrangeError("it is another object")
    try:
        size, channels, label, own = (found.state[name] for name in ("size", "channels", "label", "data"))
        coords = found.state["coords"]
    except KeyError as error:
        raise ValueError(f"it has no {error}") from None
    size, channels, label = _integer(size), _integer(channels), _integer(label)
    if not (0 < size <= LARGEST_PATCH and channels == 3 and isinstance(own, bytes) and len(own) == size * size * 3):
        raise ValueError(f"it has not the bytes of {size} x {size} pixels of {channels} channels")
    if (place := _pair(coords)) != (column, row):
        raise ValueError(f"it is of {place}, and its key of {(column, row)}")
    if not -1 <= label < 2**31:
        raise ValueError(f"its label is {label}")
    return Item(np.frombuffer(own, np.uint8).reshape(size, size, 3), label)


def _integer(value: Any) -> int:
    """Return an integer, Python's or NumPy's."""
    if isinstance(value, Made) and value.name[1] == "scalar" and isinstance(value.arguments, tuple):
        return _numbers(*value.arguments, count=1)[0] if len(value.arguments) == 2 else _no_number(value)
    return value if isinstance(value, int) else _no_number(value)


def _pair(value: Any) -> tuple[int, ...]:
    """Return two integers, of a list or of NumPy's array, in whichever way this was pickled."""
    if isinstance(value, list | tuple) and len(value) == 2:
        return tuple(map(_integer, value))
    if isinstance(value, Made):
        # Of protocol 5: the bytes, their kind, the shape. Before: a version, the shape, the kind, the order, the bytes.
        by_buffer = value.name[1] == "_frombuffer"
        known = value.arguments if by_buffer else value.state
        if isinstance(known, tuple) and len(known) == (4 if by_buffer else 5):
            own, kind, shape = (known[place] for place in ((0, 1, 2) if by_buffer else (4, 2, 1)))
            if shape == (2,):
                return tuple(_numbers(kind, own, count=2))
    raise ValueError("its place is no pair of numbers")


def _numbers(kind: Any, own: Any, count: int) -> list[int]:
    """Return the integers in bytes, of the kind that an object of NumPy's says."""
    if isinstance(kind, Made) and kind.name[1] == "dtype" and isinstance(own, bytes | bytearray):
        name, order = _part(kind.arguments, 0), _part(kind.state, 1)
        known = INTEGERS.fullmatch(name) and order in ("<", ">", "|")
        if known and len(own) == count * int(name[1]):
            numbers: list[int] = np.frombuffer(bytes(own), f"{order}{name}").tolist()
            return numbers
    raise ValueError("it holds numbers of another kind")


def _part(value: Any, place: int) -> str:
    """Return the text at a place of a tuple; empty where there is none."""
    found = value[place] if isinstance(value, tuple) and len(value) > place else ""
    return found if isinstance(found, str) else ""


def _no_number(value: Any) -> int:
    raise ValueError(f"it holds a {type(value).__name__} where a number belongs")


@dataclass(frozen=True, slots=True)
class Survey:
    """What a database holds.

    Parameters
    ----------
    file
        The database.
    places
        By slide, the column and the row of each patch, in raster order.
    prints
        By slide, a digest of all that there is of it.
    """

    file: Path
    places: Mapping[str, list[tuple[int, int]]]
    prints: Mapping[str, str]


def survey_database(path: Path) -> Survey:
    """Look through a database of py-wsi, a folder or its ``data.mdb``, from its first byte to its last.

    Raises
    ------
    SlidemillError
        When it is none, or a key is not one of py-wsi's.
    """
    file = path / "data.mdb" if path.is_dir() else path
    places: dict[str, list[tuple[int, int]]] = {}
    digests: dict[str, xxhash.xxh3_128] = {}
    with _opened(file) as transaction:
        for key, value in ((bytes(one), bytes(other)) for one, other in transaction.cursor()):
            match = KEY.fullmatch(key.decode("ascii", "backslashreplace"))
            if match is None or _key(match["slide"], int(match["column"]), int(match["row"])) != key:
                raise SlidemillError(
                    f"{file}: its key {key[:80]!r} is none of py-wsi's patches, SLIDE-X-Y: name the database of the "
                    "patches, not the one that ends in _meta"
                )
            places.setdefault(match["slide"], []).append((int(match["column"]), int(match["row"])))
            digests.setdefault(match["slide"], xxhash.xxh3_128()).update(value)
    for own in places.values():
        own.sort(key=itemgetter(1, 0))
    return Survey(file, dict(sorted(places.items())), {slide: one.hexdigest() for slide, one in digests.items()})


@contextmanager
def open_items(file: Path) -> Iterator[Callable[[str, int, int], Item]]:
    """Yield a function that returns the patch of a slide at a column and a row.

    It raises SlidemillError where the value is none, of which nothing has been run then.
    """
    with _opened(file) as transaction:

        def item(slide: str, column: int, row: int) -> Item:
            try:
                return parse_item(bytes(transaction.get(_key(slide, column, row), b"")), column, row)
            except ValueError as error:
                remedy = "copy the database again from where it was made"
                if isinstance(error, StrangeError):
                    remedy = "py-wsi never wrote such a value: do not trust this database, nor open it by other means"
                raise SlidemillError(
                    f"{file}: the value of {slide}-{column}-{row} is no patch of py-wsi ({error}); nothing of it was "
                    f"run: {remedy}"
                ) from None

        yield item


def _key(slide: str, column: int, row: int) -> bytes:
    return f"{slide}-{column}-{row}".encode("ascii", "backslashreplace")


@contextmanager
def _opened(file: Path) -> Iterator[lmdb.Transaction]:
    """Open a database for reading, and see that all of it is there."""
    remedy = "name the folder that py-wsi wrote to (db_location and db_name), which holds data.mdb"
    if not file.is_file():
        raise SlidemillError(f"{file}: there is no LMDB database: {remedy}")
    if file.stat().st_size < 2 * PAGE:
        raise SlidemillError(f"{file}: {file.stat().st_size} bytes are no LMDB database: {remedy}")
    try:
        env = lmdb.open(str(file), subdir=False, lock=False, readonly=True)
    except lmdb.Error as error:
        raise machine_error(error, file) or SlidemillError(f"{file}: LMDB cannot open it ({error}): {remedy}") from None
    with env:
        # What LMDB reads of a file that was cut off would end the process.
        if file.stat().st_size < (env.info()["last_pgno"] + 1) * env.stat()["psize"]:
            raise SlidemillError(f"{file}: is truncated: copy it again from where it was made")
        try:
            with env.begin() as transaction:
                yield transaction
        except lmdb.Error as error:
            raise machine_error(error, file) or SlidemillError(
                f"{file}: is damaged ({error}): copy it again from where it was made"
            ) from None
