"""Read patches of py-wsi's LMDB databases without executing their pickles.

A database is a folder with ``data.mdb``. Its keys are ``SLIDE-X-Y``: the slide's file without its last four characters,
and the tile's place in the DeepZoom grid. Its values are pickles of an object with ``channels``, ``size`` (of a
square), ``data`` (the pixels' bytes), ``label`` (an integer; 0 without labels) and ``coords`` (the place
again, a NumPy array). Versions 1 and 2 write the same.

A pickle may call anything that it names. Here names become stand-ins that record their arguments and state: no class is
imported and no function called.
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
from typing import Any, Self

import lmdb
import numpy as np
import xxhash

from slidemill.core.encodings import Pixels
from slidemill.errors import SlidemillError, machine_error
from slidemill.stores.lmdb import PAGE
from slidemill.stores.manifest import LARGEST_PATCH

KEY = re.compile(r"(?P<slide>.+)-(?P<column>\d{1,5})-(?P<row>\d{1,5})", re.DOTALL)
INTEGERS = re.compile(r"[iu][1248]")

MOST_INSTRUCTIONS = 400
"""In one pickle; Python writes fewer than a hundred for an object of a few values."""

PUTS, GETS = ("MEMOIZE", "BINPUT", "LONG_BINPUT"), ("BINGET", "LONG_BINGET")
TUPLES = ("TUPLE", "TUPLE1", "TUPLE2", "TUPLE3")
INSTRUCTIONS = frozenset(
    {
        *("PROTO", "FRAME", "STOP", "MARK", *PUTS, *GETS, "EMPTY_TUPLE", *TUPLES),
        *("NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1", "SHORT_BINUNICODE", "BINUNICODE"),
        *("SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "BYTEARRAY8", "EMPTY_LIST", "APPEND", "APPENDS"),
        *("EMPTY_DICT", "SETITEM", "SETITEMS", "GLOBAL", "STACK_GLOBAL", "NEWOBJ", "REDUCE", "BUILD"),
    }
)
"""Those that Python's pickle protocols 3 to 5 need for such an object."""


class StrangeError(ValueError):
    """The pickle holds content that py-wsi never writes, and not mere damage."""


class StandIn:
    """Placeholder of a pickled object, which records its arguments and state."""

    name = ("", "")
    arguments: tuple[Any, ...]
    state: Any

    def __new__(cls, *arguments: Any) -> Self:
        """Record the arguments of the class or function `name`."""
        self = object.__new__(cls)
        self.arguments, self.state = arguments, None
        return self

    def __setstate__(self, state: Any) -> None:
        self.state = state


STAND_INS = {
    name: type("StandIn", (StandIn,), {"name": name})
    for name in [
        *(("py_wsi.item", "Item"), ("item", "Item"), ("numpy", "ndarray"), ("numpy", "dtype")),
        *((f"numpy.{core}.multiarray", name) for core in ("core", "_core") for name in ("_reconstruct", "scalar")),
        *((f"numpy.{core}.numeric", "_frombuffer") for core in ("core", "_core")),
    ]
}
"""The only modules and names that a pickle may name."""


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> type[StandIn]:
        if (module, name) not in STAND_INS:
            raise StrangeError(f"it names {module}.{name}")
        return STAND_INS[module, name]


def _read_pickle(data: bytes) -> Any:
    """Return the value of a pickle, with a `StandIn` for each object.

    Raises
    ------
    StrangeError
        When it names anything but `STAND_INS`, holds another instruction than `INSTRUCTIONS`, or is too long.
    ValueError
        When it is damaged.
    """
    is_tuple: dict[Any, bool] = {}
    before = ""
    for count, (instruction, argument, _) in enumerate(pickletools.genops(data)):
        kind = instruction.name
        if count >= MOST_INSTRUCTIONS:
            raise StrangeError(f"it has more than {MOST_INSTRUCTIONS} instructions")
        if kind not in INSTRUCTIONS:
            raise StrangeError(f"it holds the instruction {kind}")
        if kind in PUTS:
            is_tuple[len(is_tuple) if kind == "MEMOIZE" else argument] = before in TUPLES
            continue
        # Of tuples that share tuples, a hash or a text may take forever.
        if kind in GETS and is_tuple.get(argument):
            raise StrangeError("it uses a tuple twice")
        before = kind
    try:
        if max(is_tuple, default=0) > MOST_INSTRUCTIONS:
            data = pickletools.optimize(data)  # gives the memo small places: a large one takes gigabytes
        return _Unpickler(io.BytesIO(data), fix_imports=False).load()
    except (StrangeError, MemoryError):
        raise
    except Exception as error:
        raise ValueError(f"its pickle is broken ({type(error).__name__})") from None


@dataclass(frozen=True, slots=True)
class Item:
    """A patch of py-wsi: its pixels, ``uint8 (size, size, 3)``, and its label."""

    pixels: Pixels
    label: int


def parse_item(data: bytes, column: int, row: int) -> Item:
    """Return the patch in a value of the database.

    Parameters
    ----------
    data
        The value, a pickle.
    column, row
        The place that its key names.

    Raises
    ------
    ValueError
        When it is not a patch of py-wsi, or not the one at that place; the message says what it is.
    """
    found = _read_pickle(data)
    if not (isinstance(found, StandIn) and found.name[1] == "Item" and isinstance(found.state, dict)):
        raise StrangeError("it is another object")
    if missing := {"size", "channels", "label", "data", "coords"} - found.state.keys():
        raise ValueError(f"it has no {min(missing)!r}")
    size, channels, label = (_integer(found.state[name]) for name in ("size", "channels", "label"))
    own, coords = found.state["data"], found.state["coords"]
    if not (0 < size <= LARGEST_PATCH and channels == 3 and isinstance(own, bytes) and len(own) == size * size * 3):
        raise ValueError(f"it has not the bytes of {size} x {size} pixels of {channels} channels")
    if (place := _pair(coords)) != (column, row):
        raise ValueError(f"it is of {place}, and its key of {(column, row)}")
    if not -1 <= label < 2**31:
        raise ValueError(f"its label is {label}")
    return Item(np.frombuffer(own, np.uint8).reshape(size, size, 3), label)


def _integer(value: Any) -> int:
    """Return an integer, Python's or NumPy's."""
    if isinstance(value, StandIn) and value.name[1] == "scalar" and len(value.arguments) == 2:
        return _numbers(*value.arguments, count=1)[0]
    if isinstance(value, int):
        return value
    raise ValueError(f"it holds a {type(value).__name__} where a number belongs")


def _pair(value: Any) -> tuple[int, ...]:
    """Return the two integers of a list or a NumPy array, however it was pickled."""
    if isinstance(value, list | tuple) and len(value) == 2:
        return tuple(map(_integer, value))
    if isinstance(value, StandIn):
        # Protocol 5: bytes, kind, shape, order. Earlier ones: version, shape, kind, order, bytes.
        by_buffer = value.name[1] == "_frombuffer"
        known = value.arguments if by_buffer else value.state
        if isinstance(known, tuple) and len(known) == (4 if by_buffer else 5):
            own, kind, shape = (known[place] for place in ((0, 1, 2) if by_buffer else (4, 2, 1)))
            if shape == (2,):
                return tuple(_numbers(kind, own, count=2))
    raise ValueError("its place is not a pair of numbers")


def _numbers(kind: Any, own: Any, count: int) -> list[int]:
    """Return `count` integers from bytes, with the type of a dtype's stand-in."""
    if isinstance(kind, StandIn) and kind.name[1] == "dtype" and isinstance(own, bytes | bytearray):
        name, order = _part(kind.arguments, 0), _part(kind.state, 1)
        known = INTEGERS.fullmatch(name) and order in ("<", ">", "|")
        if known and len(own) == count * int(name[1]):
            return [int(number) for number in np.frombuffer(bytes(own), f"{order}{name}")]
    raise ValueError("it holds numbers of another kind")


def _part(value: Any, place: int) -> str:
    """Return the text at an index of a tuple; empty if there is none."""
    found = value[place] if isinstance(value, tuple) and len(value) > place else ""
    return found if isinstance(found, str) else ""


@dataclass(frozen=True, slots=True)
class Survey:
    """A database's file, and each slide's digest and ``(column, row)`` places.

    Places are in raster order.
    """

    file: Path
    places: Mapping[str, list[tuple[int, int]]]
    prints: Mapping[str, str]


def survey_database(path: Path) -> Survey:
    """Read a whole py-wsi database, and list its patches.

    Raises
    ------
    SlidemillError
        When it is not a database, is damaged, or has a key that is not py-wsi's.
    """
    file = path / "data.mdb" if path.is_dir() else path
    places: dict[str, list[tuple[int, int]]] = {}
    digests: dict[str, xxhash.xxh3_128] = {}
    with _open_database(file) as transaction:
        for key, value in transaction.cursor():
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

    Raises
    ------
    SlidemillError
        When the database cannot be read; the function raises it when a value is not a patch.
    """
    with _open_database(file) as transaction:

        def item(slide: str, column: int, row: int) -> Item:
            try:
                return parse_item(transaction.get(_key(slide, column, row), b""), column, row)
            except ValueError as error:
                remedy = "copy the database again from where it was made"
                if isinstance(error, StrangeError):
                    remedy = "py-wsi never wrote such a value: do not trust this database, nor open it by other means"
                raise SlidemillError(
                    f"{file}: the value of {slide}-{column}-{row} is not a patch of py-wsi ({error}); nothing of it "
                    f"was run: {remedy}"
                ) from None

        yield item


def _key(slide: str, column: int, row: int) -> bytes:
    return f"{slide}-{column}-{row}".encode("ascii", "backslashreplace")


@contextmanager
def _open_database(file: Path) -> Iterator[lmdb.Transaction[bytes]]:
    """Open a database for reading, and check that it is complete."""
    remedy = "name the folder that py-wsi wrote to (db_location and db_name), which holds data.mdb"
    if not file.is_file():
        raise SlidemillError(f"{file}: this LMDB database does not exist: {remedy}")
    if file.stat().st_size < 2 * PAGE:
        raise SlidemillError(f"{file}: {file.stat().st_size} bytes are not an LMDB database: {remedy}")
    try:
        env = lmdb.open(str(file), subdir=False, lock=False, readonly=True)
    except lmdb.Error as error:
        raise machine_error(error, file) or SlidemillError(f"{file}: LMDB cannot open it ({error}): {remedy}") from None
    with env:
        # Reading beyond the end of a truncated file would end the process.
        if file.stat().st_size < (env.info()["last_pgno"] + 1) * env.stat()["psize"]:
            raise SlidemillError(f"{file}: is truncated: copy it again from where it was made")
        try:
            with env.begin() as transaction:
                yield transaction
        except lmdb.Error as error:
            raise machine_error(error, file) or SlidemillError(
                f"{file}: is damaged ({error}): copy it again from where it was made"
            ) from None
