"""Numbers in sentences: rounded, in plain digits and never with an exponent."""

from __future__ import annotations

import math


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
