"""Numbers and lists in sentences: singular or plural, the first of many, digits without an exponent."""

from __future__ import annotations

import math
from collections.abc import Sequence


def counted(number: int, one: str, many: str = "") -> str:
    """Return a number with what it counts, in the singular or the plural."""
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


def listed(first: Sequence[str], total: int) -> str:
    """Return the first of `total` names, and how many more there are."""
    more = total - len(first)
    return ", ".join(first) + (f" and {more:,} more" if more > 0 else "")


def in_digits(value: float, significant: int) -> str:
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


def about_times(ratio: float) -> str:
    """Return a ratio as readers say it, such as ``about 110 times``, with two significant digits."""
    return f"about {in_digits(ratio, 2)} times"
