"""Patches of py-wsi's LMDB databases, read without running anything that is in them.

A database is a folder with ``data.mdb``. Its keys are ``SLIDE-X-Y``, the slide's file without its last four characters
and the tile's place in the DeepZoom grid; its values are pickles of an object with ``channels``, ``size`` (of a
square), ``data`` (the pixels' bytes), ``label`` (an integer; 0 where nobody gave labels) and ``coords`` (the place once
more, an array of NumPy's). Versions 1 and 2 write the same.

A pickle is a program. Each is looked through first: it may hold no more than the instructions of such an object, and
name no more than the classes of one; and these stand for a class that keeps what it is given, and does nothing.
"""

from __future__ import annotations

import io
import pickle
import pickletools
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

from slidemill.encodings import Pixels
from slidemill.errors import SlidemillError
from slidemill.stores.environments import PAGE
from slidemill.stores.manifest import LARGEST_PATCH

KEY = re.compile(r"(?P<slide>.+)-(?P<column>\d{1,5})-(?P<row>\d{1,5})", re.DOTALL)
MOST_INSTRUCTIONS = 400
"""In one pickle; Python's own of a patch has some eighty."""
MOST_REMEMBERED = 1000
"""The memo of a pickle may be addressed up to here: the memory for it is taken at once."""

INSTRUCTIONS = frozenset(
    {
        *("PROTO", "FRAME", "STOP", "MARK", "GLOBAL", "STACK_GLOBAL", "NEWOBJ", "REDUCE", "BUILD"),
        *("MEMOIZE", "BINPUT", "LONG_BINPUT", "BINGET", "LONG_BINGET"),
        *("EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "EMPTY_LIST", "APPEND", "APPENDS"),
        *("EMPTY_DICT", "SETITEM", "SETITEMS", "NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1"),
        *("SHORT_BINUNICODE", "BINUNICODE", "SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "BYTEARRAY8"),
    }
)
"""All that a patch needs; none of them runs what a pickle brings along."""

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


class _Inert:
    """Stands for every class that a pickle names: keeps what it is made from, and its state."""

    __slots__ = ("made", "state")
    made: tuple[Any, ...]
    state: Any

    def __new__(cls, *made: Any) -> _Inert:
        inert = super().__new__(cls)
        inert.made, inert.state = made, None
        return inert

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Unpickler(pickle.Unpickler):
    """Makes nothing but numbers, texts, bytes, collections and `_Inert`."""

    def find_class(self, module: str, name: str) -> type[_Inert]:
        if (module, name) not in NAMES:
            raise pickle.UnpicklingError(f"it names {module}.{name}")
        return _Inert


def item_of(data: bytes, column: int, row: int) -> Item:
    """Return the patch that a value holds.

    Raises
    ------
    ValueError
        When it is no patch of py-wsi, or not the one at that place; the message says what it is.
    """
    try:
        _look_through(data)
        found = _Unpickler(io.BytesIO(data)).load()
        state = dict(found.state)
        size, channels = _integer(state["size"]), _integer(state["channels"])
        label, coords, own = _integer(state["label"]), _integers(state["coords"]), state["data"]
    except Exception as error:  # over a damaged pickle, Python raises anything
        raise ValueError(str(error) or type(error).__name__) from None
    if not (0 < size <= LARGEST_PATCH and channels == 3 and isinstance(own, bytes) and len(own) == size * size * 3):
        raise ValueError(f"it has {size} x {size} pixels of {channels} channels, and other bytes than these")
    if coords != [column, row]:
        raise ValueError(f"it is of {coords}, and its key is of {[column, row]}")
    if not -1 <= label < 2**31:
        raise ValueError(f"its label is {label}")
    return Item(np.frombuffer(own, np.uint8).reshape(size, size, 3), label)


def _look_through(data: bytes) -> None:
    """Raise ValueError where a pickle holds an instruction that no patch needs, without running it."""
    for count, (instruction, argument, _) in enumerate(pickletools.genops(data)):
        if instruction.name not in INSTRUCTIONS:
            raise ValueError(f"it holds the instruction {instruction.name}")
        remembered = instruction.name in ("BINPUT", "LONG_BINPUT") and int(argument or 0) > MOST_REMEMBERED
        if count >= MOST_INSTRUCTIONS or remembered:
            raise ValueError("it is longer than a patch")


def _integer(value: Any) -> int:
    """Return an integer, Python's or NumPy's."""
    if isinstance(value, _Inert):
        kind, own = value.made
        return _numbers(kind, own, 1)[0]
    if not isinstance(value, int):
        raise ValueError(f"it holds a {type(value).__name__} where a number belongs")
    return int(value)


def _integers(value: Any) -> list[int]:
    """Return two integers, of a list or of NumPy's array, in whichever way this was pickled."""
    if not isinstance(value, _Inert):
        return [_integer(one) for one in value]
    if value.state is None:  # protocol 5
        own, kind, shape, _order = value.made
    else:
        _version, shape, kind, _fortran, own = value.state
    if shape != (2,):
        raise ValueError("its place is no pair")
    return _numbers(kind, own, 2)


def _numbers(kind: _Inert, own: Any, count: int) -> list[int]:
    name, order = kind.made[0], kind.state[1]
    if not (isinstance(name, str) and INTEGERS.fullmatch(name)) or order not in ("<", ">", "|"):
        raise ValueError("it holds numbers of another kind")
    data = bytes(own) if isinstance(own, bytes | bytearray) else b""
    if len(data) != count * int(name[1]):
        raise ValueError("it holds fewer numbers than it says")
    numbers: list[int] = np.frombuffer(data, f"{order}{name}").tolist()
    return numbers


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


def survey(path: Path) -> Survey:
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
def items(file: Path) -> Iterator[Callable[[str, int, int], Item]]:
    """Yield a function that returns the patch of a slide at a column and a row.

    It raises SlidemillError where the value is none, of which nothing has been run then.
    """
    with _opened(file) as transaction:

        def item(slide: str, column: int, row: int) -> Item:
            try:
                return item_of(bytes(transaction.get(_key(slide, column, row), b"")), column, row)
            except ValueError as error:
                raise SlidemillError(
                    f"{file}: the value of {slide}-{column}-{row} is no patch of py-wsi ({error}); nothing of it was "
                    "run: copy the database again from where it was made"
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
        raise SlidemillError(f"{file}: LMDB cannot open it ({error}): {remedy}") from None
    with env:
        # What LMDB reads of a file that was cut off would end the process.
        if file.stat().st_size < (env.info()["last_pgno"] + 1) * env.stat()["psize"]:
            raise SlidemillError(f"{file}: is truncated: copy it again from where it was made")
        try:
            with env.begin() as transaction:
                yield transaction
        except lmdb.Error as error:
            raise SlidemillError(f"{file}: is damaged ({error}): copy it again from where it was made") from None
