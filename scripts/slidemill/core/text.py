"""Numbers and lists in sentences: singular or plural, the first of many, digits without an exponent."""

from __future__ import annotations

import math
from collections.abc import Iterable

MOST_LISTED = 10

AGAIN = "remove it and run again"
"""What to do about a damaged store, table or outcome, which the message begins with."""


def format_count(number: int, one: str, many: str = "") -> str:
    """Return a number with what it counts, in the singular or the plural."""
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


def format_list(names: Iterable[str], total: int | None = None, most: int = MOST_LISTED, between: str = ", ") -> str:
    """Return the first names, and how many more there are.

    Parameters
    ----------
    names
        The names in their order, or the first of them.
    total
        How many there are, where `names` are not all.
    most
        How many are listed.
    between
        Stands between two names.
    """
    known = list(names)
    more = (len(known) if total is None else total) - len(known[:most])
    # Messages end in a semicolon before the last one too, names do not.
    return between.join(known[:most]) + (f"{between.rstrip(', ')} and {more:,} more" if more > 0 else "")


def format_digits(value: float, significant: int) -> str:
    """Return a number in plain digits, with commas between thousands.

    Parameters
    ----------
    value
        Any number; what is not finite is named as Python names it.
    significant
        Digits that are kept, 1 or more. All digits before the decimal point are written, with zeros for the others.
    """
    if not math.isfinite(value) or value == 0:
        return f"{value:g}"
    places = significant - 1 - math.floor(math.log10(abs(value)))
    rounded = round(value, places)
    text = f"{rounded:,.{max(places, 0)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def format_ratio(ratio: float) -> str:
    """Return a ratio as readers say it, such as ``about 110 times``, with two significant digits."""
    return f"about {format_digits(ratio, 2)} times"
