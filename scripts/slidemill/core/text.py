"""Text of messages: counts, lists, digits without an exponent, and "did you mean"."""

from __future__ import annotations

import difflib
import math
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

MOST_LISTED = 10
LIKENESS = 0.75
"""How alike two names must be, by `difflib.SequenceMatcher.ratio`, to be suggested for their spelling."""
MOST_SUGGESTED = 2

AGAIN = "remove it and run again"
"""The remedy for a damaged store, table or outcome, with which the message begins."""


def format_count(number: int, one: str, many: str = "") -> str:
    """Return a number with its unit, in the singular or plural."""
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


def format_list(names: Iterable[str], total: int | None = None, *, most: int = MOST_LISTED, between: str = ", ") -> str:
    """Return the first names, and the number of the others.

    Parameters
    ----------
    names
        The names in order, or the first of them.
    total
        Their number, where `names` are not all.
    most
        The number of names to list.
    between
        The separator.
    """
    known = list(names)
    more = (len(known) if total is None else total) - len(known[:most])
    # After messages, a semicolon comes before "and" too.
    return between.join(known[:most]) + (f"{between.rstrip(', ')} and {more:,} more" if more > 0 else "")


def format_digits(value: float, significant: int) -> str:
    """Return a number with `significant` digits, 1 or more, without exponent."""
    if not math.isfinite(value) or value == 0:
        return f"{value:g}"
    places = significant - 1 - math.floor(math.log10(abs(value)))
    rounded = round(value, places)
    text = f"{rounded:,.{max(places, 0)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def format_ratio(ratio: float) -> str:
    """Return a ratio with two significant digits, such as ``about 110 times``."""
    return f"about {format_digits(ratio, 2)} times"


def format_size(number: float) -> str:
    """Return a number of bytes with three significant digits, such as ``1.23 GB``."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if number >= 0.9995 * size:
            return f"{format_digits(number / size, 3)} {unit}"
    return format_count(round(number), "byte")


def format_duration(seconds: float) -> str:
    """Return a duration in its two largest units, such as ``12 s``, ``3 min 20 s`` or ``2 h``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    large, small = (f"{hours:,} h", f"{minutes} min") if hours else (f"{minutes} min", f"{rest} s")
    parts = [part for part in (large, small) if not part.startswith("0 ")]
    return " ".join(parts) or "0 s"


def name_slide(slide: str, path: str) -> str:
    """Return how messages name a slide: its path, and its id in brackets; on one line, whatever the path holds."""
    return f"{format_name(path)} ({slide})" if path and path != slide else slide


def name_slides(slides: Iterable[str], paths: Mapping[str, str]) -> str:
    """Return how messages name several slides: the first of them by id, each as `name_slide` does.

    Parameters
    ----------
    slides
        Their ids.
    paths
        By id, paths as in ``slides.csv``; slides without one are named by their ids.
    """
    return format_list(name_slide(slide, paths.get(slide, "")) for slide in sorted(slides))


def suggest(name: str, known: Iterable[str]) -> list[str]:
    """Return at most `MOST_SUGGESTED` similar names, by the first rule that finds any.

    1. Equal but for letter case, accents, Unicode form and separators.
    2. One begins with all words of the other, such as a short barcode.
    3. Similar spelling with the same numbers: ``Grade 3`` is not a misspelt ``Grade 4``.
    """
    own, others = _words(name), {one: _words(one) for one in known if one != name}
    if not own:
        return []
    equal = [one for one, words in others.items() if "".join(words) == "".join(own)]
    begun = [one for one, words in others.items() if words and _begins(own, words)]
    return (equal or begun or _spelt_alike(own, others))[:MOST_SUGGESTED]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return the names that `suggest` finds as a question in brackets, or nothing."""
    return format_suggestions(suggest(name, known))


def format_suggestions(near: Sequence[str]) -> str:
    """Return names as a question in brackets, quoted if characters are invisible."""
    return f" (did you mean {' or '.join(map(format_name, near))}?)" if near else ""


def format_name(name: str) -> str:
    """Return a name of a file or label, quoted if characters are invisible."""
    return name if name.isprintable() and name == " ".join(name.split()) else repr(name)


def _words(name: str) -> list[str]:
    """Return a name's runs of letters and digits in lower case without accents."""
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", name).casefold())
    bare = "".join(character for character in plain if not unicodedata.combining(character))
    return re.findall(r"[^\W_]+", bare)


def _begins(one: list[str], other: list[str]) -> bool:
    """Return whether the longer list of words begins with the shorter."""
    shorter = min(len(one), len(other))
    return one[:shorter] == other[:shorter]


def _spelt_alike(own: list[str], others: dict[str, list[str]]) -> list[str]:
    """Return names of similar spelling and the same numbers, the most similar first."""
    spelt, numbers = " ".join(own), _numbers(own)
    by_spelling: dict[str, str] = {}
    for one, words in others.items():
        if _numbers(words) == numbers:
            by_spelling.setdefault(" ".join(words), one)
    return [by_spelling[near] for near in difflib.get_close_matches(spelt, by_spelling, MOST_SUGGESTED, LIKENESS)]


def _numbers(words: list[str]) -> list[int]:
    return [int(number) for number in re.findall(r"[0-9]{1,30}", " ".join(words))]
