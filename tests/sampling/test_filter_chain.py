"""Every row of a grid is kept or dropped, once, and a step sees what those before it kept."""

from collections import Counter

import pytest

from slidemill.core.csv_tables import read_table
from slidemill.sampling._filter_chain import BLOCK, filter_rows, write_filtered


def without(divisor, seen):
    def step(rows):
        seen.extend(row["column"] for row in rows)
        return [f"by {divisor}" if row["column"] % divisor == 0 else "" for row in rows]

    return step


@pytest.mark.parametrize("count", [0, 1, BLOCK, BLOCK + 7])
def test_every_row_is_in_one_of_two_tables_and_in_order(tmp_path, count):
    rows = ({"patch_id": str(place), "column": place} for place in range(count))
    after_two, after_three = [], []
    steps = [without(2, after_two), without(3, after_three)]
    reasons = write_filtered(rows, steps, kept=tmp_path / "kept.csv", dropped=tmp_path / "dropped.csv")
    kept, dropped = list(read_table(tmp_path / "kept.csv")), list(read_table(tmp_path / "dropped.csv"))
    numbers = range(count)
    assert [int(row["column"]) for row in kept] == [n for n in numbers if n % 2 and n % 3]
    assert [(int(row["column"]), row["reason"]) for row in dropped] == [
        (n, "by 2" if n % 2 == 0 else "by 3") for n in numbers if n % 2 == 0 or n % 3 == 0
    ]
    assert reasons == Counter([*[""] * len(kept), *(row["reason"] for row in dropped)])
    assert after_two == list(numbers)
    assert after_three == [n for n in numbers if n % 2]


def test_without_steps_all_are_kept():
    assert [reason for _, reason in filter_rows([{"column": 1}, {"column": 2}], [])] == ["", ""]


def test_a_step_must_judge_each_row():
    with pytest.raises(ValueError, match="zip"):
        list(filter_rows([{"column": 1}], [lambda rows: []]))
