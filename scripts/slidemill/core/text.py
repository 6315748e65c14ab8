"""Text of messages: counts, lists, digits without an exponent, and "did you mean"."""

from __future__ import annotations

import difflib
import math
import re
import unicodedata
from collections.abc import Iterable, Sequence

MOST_LISTED = 10
LIKENESS = 0.75
"""How alike two names must be, by `difflib.SequenceMatcher.ratio`, to be suggested for their spelling."""
MOST_SUGGESTED = 2

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


def suggest(name: str, known: Iterable[str]) -> list[str]:
    """Return the known names that `name` may have been meant to be, at most `MOST_SUGGESTED`.

    The first that finds any decides: names that are equal but for letter case, accents, Unicode form and separators;
    names that begin with the other's words, such as short barcodes; names of about the same spelling, such as plurals.
    The last must have the same numbers: ``Grade 3`` is no misspelt ``Grade 4``.
    """
    own, others = _words(name), {one: _words(one) for one in known if one != name}
    if not own:
        return []
    equal = [one for one, words in others.items() if "".join(words) == "".join(own)]
    begun = [one for one, words in others.items() if words and _begins(own, words)]
    return (equal or begun or _spelt_alike(own, others))[:MOST_SUGGESTED]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return what `suggest` finds as a question in brackets after a blank, or nothing where nothing is near."""
    return format_suggestions(suggest(name, known))


def format_suggestions(near: Sequence[str]) -> str:
    """Return names as `did_you_mean` does, in quotes where some of their characters would not be seen."""
    return f" (did you mean {' or '.join(map(_visible, near))}?)" if near else ""


def _visible(name: str) -> str:
    return name if name.isprintable() and name == " ".join(name.split()) else repr(name)


def _words(name: str) -> list[str]:
    """Return the runs of letters and digits of a name, in lower case and without accents."""
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", name).casefold())
    bare = "".join(character for character in plain if not unicodedata.combining(character))
    return re.findall(r"[^\W_]+", bare)


def _begins(one: list[str], other: list[str]) -> bool:
    """Return whether the longer list of words begins with the shorter."""
    shorter = min(len(one), len(other))
    return one[:shorter] == other[:shorter]


def _spelt_alike(own: list[str], others: dict[str, list[str]]) -> list[str]:
    """Return the names of about the same spelling and the same numbers, the most alike first."""
    spelt, numbers = " ".join(own), _numbers(own)
    by_spelling: dict[str, str] = {}
    for one, words in others.items():
        if _numbers(words) == numbers:
            by_spelling.setdefault(" ".join(words), one)
    return [by_spelling[near] for near in difflib.get_close_matches(spelt, by_spelling, MOST_SUGGESTED, LIKENESS)]


def _numbers(words: list[str]) -> list[int]:
    return [int(number) for number in re.findall(r"[0-9]{1,30}", " ".join(words))]
