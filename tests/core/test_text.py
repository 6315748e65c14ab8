"""Numbers in sentences."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slidemill.core.text import format_digits, format_ratio


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
