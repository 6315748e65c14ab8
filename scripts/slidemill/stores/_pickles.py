"""Pickles as data: what one would make, without making any of it.

A pickle is a program for a machine of one stack, and may call whatever it names. Here nothing is imported and nothing
called: what would be an object of some class is a note of its name, its arguments and its state.
"""

from __future__ import annotations

import pickletools
from collections.abc import Collection
from typing import Any

MOST_INSTRUCTIONS = 400
"""In one pickle; what Python writes for an object of a few values has less than a hundred."""

VALUES = frozenset(
    {
        *("NONE", "BININT", "BININT1", "BININT2", "LONG1", "SHORT_BINUNICODE", "BINUNICODE"),
        *("SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "BYTEARRAY8"),
    }
)
"""Instructions that put the value after them on the stack."""

CONSTANTS = {"NEWTRUE": True, "NEWFALSE": False}
EMPTY = {"EMPTY_TUPLE": tuple, "EMPTY_LIST": list, "EMPTY_DICT": dict}
TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
MARK = object()


class StrangeError(ValueError):
    """The pickle holds what those that are looked for never hold: no damage, but another's work."""


class Made:
    """Stands for what a pickle makes of a class or a function, `name`, from `arguments`, and for its `state`."""

    __slots__ = ("arguments", "name", "state")

    def __init__(self, name: tuple[str, str], arguments: Any) -> None:
        self.name, self.arguments, self.state = name, arguments, None


class Name:
    """Stands for a class or a function that a pickle names, by its module and its own name."""

    __slots__ = ("name",)

    def __init__(self, name: tuple[str, str]) -> None:
        self.name = name


def read_pickle(data: bytes, names: Collection[tuple[str, str]]) -> Any:
    """Return what a pickle would make: numbers, texts, bytes and collections as they are, all else as `Made`.

    Parameters
    ----------
    data
        The pickle, of protocol 3, 4 or 5.
    names
        The modules and names that it may name.

    Raises
    ------
    StrangeError
        When it names anything else, holds an instruction that none of these need, or is too long.
    ValueError
        When it is damaged.
    """
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    for count, (instruction, argument, _) in enumerate(pickletools.genops(data)):
        if count >= MOST_INSTRUCTIONS:
            raise StrangeError(f"it has more than {MOST_INSTRUCTIONS} instructions")
        try:
            if instruction.name == "STOP":
                return stack.pop()
            _step(instruction.name, argument, stack, memo, names)
        except (IndexError, KeyError, TypeError, AttributeError):
            raise ValueError(f"its instruction {instruction.name} has nothing to work on") from None
    raise ValueError("it does not end")


def _step(kind: str, argument: Any, stack: list[Any], memo: dict[int, Any], names: Collection[tuple[str, str]]) -> None:
    """Do what one instruction says, as far as data are concerned."""
    if kind in VALUES:
        stack.append(argument)
    elif kind in CONSTANTS:
        stack.append(CONSTANTS[kind])
    elif kind in EMPTY:
        stack.append(EMPTY[kind]())
    elif kind == "MARK":
        stack.append(MARK)
    elif kind == "MEMOIZE":
        memo[len(memo)] = stack[-1]
    elif kind in ("BINPUT", "LONG_BINPUT"):
        memo[argument] = stack[-1]
    elif kind in ("BINGET", "LONG_BINGET"):
        stack.append(memo[argument])
    elif kind == "TUPLE":
        stack.append(tuple(_since_mark(stack)))
    elif kind in TUPLES:
        stack[-TUPLES[kind] :] = [tuple(stack[-TUPLES[kind] :])]
    elif kind in ("APPEND", "APPENDS", "SETITEM", "SETITEMS"):
        _fill(kind, stack)
    elif kind in ("GLOBAL", "STACK_GLOBAL"):
        own = tuple(argument.split(" ", 1)) if kind == "GLOBAL" else (stack.pop(-2), stack.pop())
        # Of tuples within tuples a hash, or a text, may take forever.
        if not all(isinstance(part, str) for part in own):
            raise TypeError
        if own not in names:
            raise StrangeError(f"it names {'.'.join(own)}")
        stack.append(Name(own))
    elif kind in ("NEWOBJ", "REDUCE"):
        arguments, called = stack.pop(), stack.pop()
        stack.append(Made(called.name, arguments))
    elif kind == "BUILD":
        state = stack.pop()
        if not isinstance(stack[-1], Made):
            raise TypeError
        stack[-1].state = state
    elif kind not in ("PROTO", "FRAME"):
        raise StrangeError(f"it holds the instruction {kind}")


def _fill(kind: str, stack: list[Any]) -> None:
    """Put the last values into the list or the dictionary before them."""
    if kind in ("APPEND", "SETITEM"):
        count = 1 if kind == "APPEND" else 2
        values = stack[-count:]
        del stack[-count:]
    else:
        values = _since_mark(stack)
    if kind.startswith("APPEND") and isinstance(stack[-1], list):
        stack[-1].extend(values)
    elif (
        kind.startswith("SETITEM") and isinstance(stack[-1], dict) and all(isinstance(one, str) for one in values[::2])
    ):
        stack[-1].update(zip(values[::2], values[1::2], strict=True))
    else:
        raise TypeError


def _since_mark(stack: list[Any]) -> list[Any]:
    """Take what was put on the stack since the last mark, and the mark."""
    place = next((place for place in reversed(range(len(stack))) if stack[place] is MARK), None)
    if place is None:
        raise IndexError
    values = stack[place + 1 :]
    del stack[place:]
    return values
