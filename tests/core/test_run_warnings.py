"""Warnings on their way from a stage, or from the plan, to the table, the report and the terminal."""

from pathlib import Path

import pytest

from slidemill.core.csv_tables import write_table
from slidemill.core.outcomes import Outcome, attempt
from slidemill.core.results_layout import PLAN
from slidemill.core.run_warnings import RunWarning, add_count, collect_warnings, format_warnings, join_warnings
from slidemill.errors import SlideError
from slidemill.runs.run_plan import Plan, read_plan, write_plan
from slidemill.slides.discovery import SlideFile
from slidemill.stages.gather import SlideResults, slide_row


def outcome(stage, *warnings, status="ok"):
    return Outcome("a", stage, status, warnings=warnings)


def test_warnings_of_all_stages_add_up():
    first = attempt("a", "one", lambda: outcome("one", "pale"))
    second = attempt("a", "two", lambda: outcome("two", "far", "pale"), after=first)
    silent = attempt("a", "three", lambda: outcome("three"), after=second)
    assert silent.warnings == ("pale", "far")


def test_warnings_survive_a_later_fault():
    def work():
        raise SlideError("broken")

    failed = attempt("a", "two", work, after=outcome("one", "pale"))
    assert failed.failed
    assert failed.warnings == ("pale",)


def test_slide_row_has_each_warning_once():
    facts = Outcome("a", "sample_patches", path="a.svs", fingerprint="f", warnings=["pale"])
    row = slide_row(SlideResults(facts, [outcome("store_patches", "pale", "far; away")]), [], False)
    assert row["warnings"] == "pale; far, away"


def test_equal_warnings_of_slides_come_together():
    rows = [
        {"slide": "a", "warnings": join_warnings(["pale", "far; away"])},
        {"slide": "b", "warnings": ""},
        {"slide": "c", "warnings": "pale"},
        {"slide": "d"},  # a table of an earlier version
    ]
    assert collect_warnings(["2 files fit no slide"], rows) == [
        RunWarning("2 files fit no slide"),
        RunWarning("pale", ("a", "c")),
        RunWarning("far, away", ("a",)),
    ]


def test_counts_of_a_warning_add_up_over_slides():
    rows = [
        {"slide": slide, "warnings": join_warnings([add_count("no label", number, "patch"), "pale"])}
        for slide, number in {"a": 1, "b": 1200, "c": 0}.items()
    ]
    assert rows[0]["warnings"] == "no label [1 patch]; pale"
    assert collect_warnings([], rows) == [
        RunWarning("no label: 1,201 patches", ("a", "b", "c")),
        RunWarning("pale", ("a", "b", "c")),
    ]
    one = [{"slide": "a", "warnings": add_count("far", 1, "region")}]
    assert collect_warnings([], one) == [RunWarning("far: 1 region", ("a",))]


def test_ten_slides_of_a_warning_are_named():
    where = RunWarning("pale", tuple(f"s{number}" for number in range(12))).where
    assert where.startswith("12 slides: s0, s1,")
    assert where.endswith("s9 and 2 more")


def test_terminal_lists_warnings(tmp_path):
    table = tmp_path / "slides.csv"
    rows = [{"slide": "a-12", "path": "x/a.svs", "warnings": "pale"}, {"slide": "b", "path": "", "warnings": "pale"}]
    write_table(table, ("slide", "path", "warnings"), rows)
    assert "".join(format_warnings(["one file fits no slide"], table)) == (
        "slidemill: 2 warnings, see the top of the report:\n  one file fits no slide\n  pale (2 slides: x/a.svs, b)\n"
    )


@pytest.mark.parametrize("there", [True, False])
def test_terminal_is_silent_without_warnings(tmp_path, there):
    table = tmp_path / "slides.csv"
    if there:
        write_table(table, ("slide", "warnings"), [{"slide": "a", "warnings": ""}])
    assert format_warnings([], table) == []


def test_plan_keeps_warnings(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plan = Plan({"a": SlideFile("a", "a.svs")}, {"a": ("f", None, None)}, ("lmdb",), ("one file fits no slide",))
    Path(PLAN).parent.mkdir()
    write_plan(plan)
    assert read_plan(PLAN) == plan
