"""Numbers in sentences."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slidemill.core.text import format_digits, format_duration, format_ratio, format_size, name_slide


@given(st.floats(1e-9, 1e12), st.integers(1, 6))
def test_digits_are_plain_and_close(value, significant):
    text = format_digits(value, significant)
    assert "e" not in text
    assert float(text.replace(",", "")) == pytest.approx(value, rel=0.51 * 10 ** (1 - significant))


@pytest.mark.parametrize(
    ("value", "significant", "text"),
    [
        (999.9, 3, "1,000"),
        (9.96, 2, "10"),
        (0.11, 2, "0.11"),
        (1234.5, 3, "1,230"),
        (0.5, 4, "0.5"),
        (0, 2, "0"),
        (-12345, 2, "-12,000"),
        (float("inf"), 2, "inf"),
    ],
)
def test_digits_of_known_values(value, significant, text):
    assert format_digits(value, significant) == text


@pytest.mark.parametrize(
    ("ratio", "words"), [(110.4, "about 110 times"), (1.26, "about 1.3 times"), (10, "about 10 times")]
)
def test_times_are_words(ratio, words):
    assert format_ratio(ratio) == words


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (999, "999 bytes"),
        (1234, "1.23 kB"),
        (999_499, "999 kB"),
        (999_999, "1 MB"),
        (103_000_000, "103 MB"),
        (6.02e12, "6,020 GB"),
    ],
)
def test_sizes_have_three_digits(number, words):
    assert format_size(number) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (59.4, "59 s"), (59.6, "1 min"), (91, "1 min 31 s"), (3600, "1 h"), (90_061, "25 h 1 min")],
)
def test_durations_have_their_two_largest_units(seconds, words):
    assert format_duration(seconds) == words


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("sub/a b.svs", "sub/a b.svs (a_b-1234567890)"),
        ("two\nlines.svs", r"'two\nlines.svs' (a_b-1234567890)"),
        ("", "a_b-1234567890"),
        ("a_b-1234567890", "a_b-1234567890"),
    ],
)
def test_slides_are_named_by_path_and_id(path, words):
    assert name_slide("a_b-1234567890", path) == words
