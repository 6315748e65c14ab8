"""The lines at the end of a run."""

import sys
from pathlib import Path

import pytest

from slidemill.core.csv_tables import write_table
from slidemill.core.outcomes import Outcome, write_outcome
from slidemill.core.results_layout import REPORT, SLIDES_TABLE, STORES_TABLE, outcome_file
from slidemill.core.stage_facts import LabelFacts
from slidemill.terminal._end_summary import Results, summarize
from slidemill.terminal._progress import Ended, Job


@pytest.fixture
def results(tmp_path):
    """Tables of three slides, of which one is ok."""
    rows = [
        {"slide": "a", "status": "ok", "patches": 1200},
        {"slide": "b", "status": "empty", "patches": 0},
        {"slide": "c", "status": "failed", "patches": 7},
    ]
    write_table(tmp_path / SLIDES_TABLE, ("slide", "status", "patches"), rows)
    stores = [{"slide": "a", "backend": name, "bytes": size} for name, size in (("lmdb", 2.5e9), ("disk", 4e6))]
    write_table(
        tmp_path / STORES_TABLE, ("slide", "backend", "bytes"), [one | {"bytes": int(one["bytes"])} for one in stores]
    )
    counts = {"outside": 1000, "Tumour": 150, "Normal": 50}
    write_outcome(
        tmp_path / outcome_file("write_metadata", "a"), Outcome("a", "write_metadata", labels=LabelFacts(counts=counts))
    )
    (tmp_path / REPORT).touch()
    return tmp_path


def summary(results, **changes):
    one = {
        "results": results,
        "tables": results,
        "labels": ["Normal", "Tumour"],
        "seconds": 125.0,
        "ended": Ended(written=4_000_000, warnings=2),
        "is_passed": True,
    }
    return summarize(Results(**one | changes))


def test_summary_of_a_run_that_passed(results):
    assert summary(results) == [
        "done after 2 min 5 s",
        "  slides    1 ok, 1 empty, 1 failed",
        "  patches   1,200 (Normal 50, Tumour 150, outside 1,000)",
        "  stores    2.5 GB (lmdb 2.5 GB, disk 4 MB); 4 MB written by this run",
        "  warnings  2, shown above and at the top of the report",
        f"  next      {command()} verify {results}",
        f"  report    {results / REPORT}",
    ]


def command():
    program = Path(sys.executable).with_name("slidemill")
    return program if program.exists() else f"{sys.executable} -m slidemill"


@pytest.mark.parametrize(
    ("ended", "head", "following"),
    [
        (
            Ended(failed_slides={"c"}, failed_jobs={Job("gate")}),
            "failed after 2 min 5 s: everything is written, but the results do not pass",
            "correct what is listed above and run the same command again, or set max_failed: 1 to accept failed slides",
        ),
        (
            Ended(failed_jobs={Job("store_patches_lmdb", "a"), Job("gate")}),
            "not finished after 2 min 5 s: 1 job failed",
            "run the same command again: it goes on where this run ended",
        ),
    ],
    ids=["gate", "job"],
)
def test_summary_of_a_run_that_failed(results, ended, head, following):
    lines = summary(results, ended=ended, is_passed=False)
    assert lines[0] == head
    assert lines[-2:] == [f"  next      {following}", f"  report    {results / REPORT}"]


def test_summary_without_tables_names_the_target(tmp_path):
    assert summary(tmp_path, tables=None, ended=Ended(written=1500)) == [
        "done after 2 min 5 s",
        "  written   1.5 kB",
        "  next      run the same command without a target to make the tables and the report",
    ]


def test_summary_of_nothing_is_one_line(results):
    assert summary(results, ended=Ended(is_idle=True)) == [
        f"Nothing to be done: the results are up to date: {results / REPORT}"
    ]


def test_summary_has_at_most_ten_lines(results):
    counts = {f"label {number:02}": number for number in range(40)}
    write_outcome(
        results / outcome_file("write_metadata", "a"), Outcome("a", "write_metadata", labels=LabelFacts(counts=counts))
    )
    lines = summary(results, ended=Ended(warnings=500, written=1, failed_slides={"c"}), is_passed=False)
    assert len(lines) <= 10
    assert "label 05 5, 34 more labels)" in lines[2]
