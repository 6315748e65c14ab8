"""Tables, files that are published whole, outcomes, and the log of a job."""

import json
import logging
import math
import os
import threading
from contextlib import nullcontext
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slidemill.core import files
from slidemill.core import job_log as joblog
from slidemill.core.columns import METADATA_COLUMNS
from slidemill.core.csv_tables import read_columns, read_table, write_table
from slidemill.core.files import (
    RUN,
    asides,
    keep_synced,
    read_json,
    remove,
    replacing,
    scratch_folder,
    sync,
    write_json,
)
from slidemill.core.job_log import LOG, job_log, log_progress
from slidemill.core.outcomes import Outcome, attempt, read_outcome, write_outcome
from slidemill.core.results_layout import WORKER
from slidemill.core.stage_facts import SampleFacts, StoreFacts
from slidemill.datasets.results import read_metadata
from slidemill.errors import AnnotationError, ConfigError, SlideError, SlidemillError, StoreError
from tests.examples import examples

COLUMNS = ("a", "b,c", 'd "e"')
fields = st.text() | st.text(alphabet='",;\n\r \t\\|\0', max_size=6)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return tmp_path_factory.mktemp("tables") / "table.csv"


@given(st.lists(st.tuples(fields, fields, fields), max_size=5))
@examples(300, derandomize=True)
def test_a_table_holds_what_was_written(table, values):
    rows = [dict(zip(COLUMNS, row, strict=True)) for row in values]
    assert write_table(table, COLUMNS, rows) == len(rows)
    assert list(read_table(table, COLUMNS)) == rows
    assert read_columns(table) == list(COLUMNS)


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "=HYPERLINK(A1)"])
def test_cells_that_spreadsheets_run_are_kept(tmp_path, cell):
    """The documents say so; a quote in front would be another name."""
    write_table(tmp_path / "a.csv", ["a"], [{"a": cell}])
    assert (tmp_path / "a.csv").read_bytes().splitlines()[1].strip(b'"') == cell.encode()
    assert next(read_table(tmp_path / "a.csv")) == {"a": cell}


def test_a_carriage_return_is_kept(tmp_path):
    """A sheet's free column may hold one, and so may a library's message."""
    write_table(tmp_path / "t.csv", ("a", "b"), [{"a": "x\ry", "b": "\r"}])
    assert list(read_table(tmp_path / "t.csv")) == [{"a": "x\ry", "b": "\r"}]


def test_a_carriage_return_in_a_columns_name_is_kept(tmp_path):
    write_table(tmp_path / "t.csv", ("a", "b\rc"), [{"a": "1", "b\rc": "2"}])
    assert list(read_table(tmp_path / "t.csv")) == [{"a": "1", "b\rc": "2"}]


def test_a_table_is_plain_utf_8_with_a_row_a_line(tmp_path):
    write_table(tmp_path / "t.csv", ("a", "b"), [{"a": "ä, b", "b": 1}, {"a": None, "b": 0.5}, {"b": True}])
    assert (tmp_path / "t.csv").read_bytes() == 'a,b\n"ä, b",1\n,0.5\n,True\n'.encode()


def test_a_table_may_begin_with_a_byte_order_mark(tmp_path):
    (tmp_path / "t.csv").write_bytes(b"\xef\xbb\xbfa,b\n1,2\n")
    assert list(read_table(tmp_path / "t.csv", ("a",))) == [{"a": "1", "b": "2"}]
    assert read_columns(tmp_path / "t.csv") == ["a", "b"]


def test_a_name_that_is_no_unicode_is_escaped(tmp_path):
    write_table(tmp_path / "t.csv", ("path",), [{"path": os.fsdecode(b"caf\xe9.svs")}])
    assert list(read_table(tmp_path / "t.csv")) == [{"path": r"caf\udce9.svs"}]


def test_a_table_is_read_as_a_stream(tmp_path):
    (tmp_path / "t.csv").write_text("a\n1\n2,3\n", encoding="utf-8")
    rows = read_table(tmp_path / "t.csv")
    assert next(rows) == {"a": "1"}
    with pytest.raises(SlidemillError, match=r"t\.csv: line 3 has not 1 fields: remove the table and run again"):
        next(rows)


@pytest.mark.parametrize("text", ["", "a\n", "a,b\n1\n", "a,b\n1,2\n3", "a,b\n1,2,3\n"])
def test_a_truncated_or_foreign_table_is_told(tmp_path, text):
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    with pytest.raises(SlidemillError, match=r"t\.csv: .*remove (it|the table) and run again"):
        list(read_table(tmp_path / "t.csv", ("a", "b")))


def test_the_columns_that_are_missing_are_named(tmp_path):
    (tmp_path / "t.csv").write_text("a,b\n", encoding="utf-8")
    with pytest.raises(SlidemillError, match="the table lacks c, d: it is truncated or from elsewhere"):
        list(read_table(tmp_path / "t.csv", ("c", "a", "d")))


def test_an_empty_file_has_no_columns(tmp_path):
    (tmp_path / "t.csv").touch()
    assert read_columns(tmp_path / "t.csv") == []


def test_a_column_too_many_is_an_error_and_nothing_is_published(tmp_path):
    with pytest.raises(ValueError, match="extra"):
        write_table(tmp_path / "t.csv", ("a",), [{"a": 1, "extra": 2}])
    assert list(tmp_path.iterdir()) == []


def test_rows_that_break_off_leave_the_old_table_and_nothing_aside(tmp_path):
    path = tmp_path / "t.csv"
    write_table(path, ("a",), [{"a": "old"}])

    def rows():
        yield {"a": "new"}
        raise SlideError("the slide broke off")

    with pytest.raises(SlideError, match="broke off"):
        write_table(path, ("a",), rows())
    assert list(read_table(path)) == [{"a": "old"}]
    assert list(tmp_path.iterdir()) == [path]


def test_a_table_stands_under_its_name_only_when_it_is_whole(tmp_path):
    path = tmp_path / "t.csv"
    seen = []

    def rows():
        for number in range(3):
            seen.append(path.exists())
            yield {"a": number}

    write_table(path, ("a",), rows())
    assert seen == [False, False, False]
    assert list(tmp_path.iterdir()) == [path]


def fill(path, kind, text):
    """Make a file or a folder with a file; "none" makes nothing."""
    if kind == "file":
        path.write_text(text, encoding="utf-8")
    elif kind == "folder":
        (path / "sub").mkdir(parents=True)
        (path / "sub" / text).write_text(text, encoding="utf-8")


def content(path):
    if path.is_dir():
        return sorted((str(file.relative_to(path)), file.read_text(encoding="utf-8")) for file in path.rglob("*.*"))
    return path.read_text(encoding="utf-8") if path.exists() else None


@pytest.mark.parametrize("new", ["file", "folder"])
@pytest.mark.parametrize("old", ["none", "file", "folder"])
def test_what_is_written_whole_replaces_what_was_there(tmp_path, old, new):
    path, like = tmp_path / "out", tmp_path / "like"
    fill(path, old, "old.txt")
    fill(like, new, "new.txt")
    with replacing(path) as aside:
        assert aside.parent == path.parent
        assert not aside.exists()
        fill(aside, new, "new.txt")
    assert content(path) == content(like)
    assert sorted(tmp_path.iterdir()) == [like, path]


@pytest.mark.parametrize("new", ["none", "file", "folder"])
@pytest.mark.parametrize("old", ["none", "file", "folder"])
def test_a_block_that_fails_leaves_what_was_there(tmp_path, old, new):
    path = tmp_path / "out"
    fill(path, old, "old.txt")
    before = content(path)
    with pytest.raises(KeyboardInterrupt), replacing(path) as aside:
        fill(aside, new, "new.txt")
        raise KeyboardInterrupt
    assert content(path) == before
    assert list(tmp_path.iterdir()) == ([] if old == "none" else [path])


@pytest.mark.parametrize("left", ["file", "folder"])
@pytest.mark.parametrize("new", ["file", "folder"])
def test_what_a_killed_process_left_aside_is_removed_first(tmp_path, left, new):
    path = tmp_path / "out"
    with replacing(path) as name:
        fill(name, "file", "first.txt")
    fill(name, left, "left.txt")
    path.unlink()
    other = tmp_path / ".out.txt.0123abcd.aside"
    other.touch()
    with replacing(path) as aside:
        # What outlived its run may still be writing under the old name.
        assert aside != name
        assert [file for file in tmp_path.iterdir() if file not in (other, aside)] == []
        fill(aside, new, "new.txt")
        assert asides(path) == [aside]
    fill(tmp_path / "like", new, "new.txt")
    assert content(path) == content(tmp_path / "like")
    assert other.exists()


@pytest.mark.parametrize("new", ["file", "folder"])
def test_a_job_whose_file_was_taken_from_it_publishes_nothing(tmp_path, new):
    """A job outlived its run, and the next one works on the same: it alone may publish."""
    path = tmp_path / "out"
    with pytest.raises(SlidemillError, match="is another run at work here"), replacing(path) as outlived:
        fill(outlived, new, "old.txt")
        with replacing(path) as aside:
            fill(aside, new, "new.txt")
    fill(tmp_path / "like", new, "new.txt")
    assert content(path) == content(tmp_path / "like")


@pytest.mark.parametrize("new", ["file", "folder"])
def test_what_is_written_elsewhere_first_is_moved_whole_and_compared(tmp_path, new, monkeypatch):
    path, scratch = tmp_path / "results" / "out", tmp_path / "scratch"
    scratch.mkdir()

    def flat(folder, text):
        if new == "folder":
            folder.mkdir()
        (folder / "a.txt" if new == "folder" else folder).write_text(text, encoding="utf-8")

    def publish(text):
        with replacing(path, scratch) as aside:
            assert aside.parent == scratch
            flat(aside, text)

    publish("old")
    before = content(path)
    assert list(scratch.iterdir()) == []
    digests = iter("abcdefgh")
    monkeypatch.setattr("slidemill.core.files.file_digest", lambda _: next(digests))
    with pytest.raises(SlidemillError, match="is not what was copied there"):
        publish("new")
    assert content(path) == before
    assert list(scratch.iterdir()) == []
    assert list(path.parent.iterdir()) == [path]
    monkeypatch.undo()
    publish("new")
    assert content(path) != before


def test_scratch_is_a_folder_of_this_machine(tmp_path, monkeypatch):
    monkeypatch.setenv("JOBS_OWN", str(tmp_path))
    assert scratch_folder("$JOBS_OWN") == tmp_path
    assert scratch_folder(None) is None
    with pytest.raises(SlidemillError, match=r"scratch is \$NOT_SET/x: \$NOT_SET/x is not a folder here"):
        scratch_folder("$NOT_SET/x")


def test_folders_above_are_made(tmp_path):
    with replacing(tmp_path / "a/b/c.txt") as aside:
        aside.write_text("text", encoding="utf-8")
    assert (tmp_path / "a/b/c.txt").read_text(encoding="utf-8") == "text"


def test_removing_a_link_leaves_what_it_points_at(tmp_path):
    fill(tmp_path / "real", "folder", "kept.txt")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    remove(tmp_path / "link")
    remove(tmp_path / "none")
    assert list(tmp_path.iterdir()) == [tmp_path / "real"]
    assert content(tmp_path / "real") == [("sub/kept.txt", "kept.txt")]


def test_files_and_folders_can_be_synced(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_ino))
    fill(tmp_path / "file", "file", "text")
    for path in (tmp_path / "file", tmp_path):
        sync(path)
    assert synced == [(tmp_path / "file").stat().st_ino, tmp_path.stat().st_ino]


def test_json_comes_back(tmp_path):
    value = {"a": [1, 2.5, None, True], "b": {"ä": "\n\U0001f52c"}}
    write_json(tmp_path / "v.json", value)
    assert read_json(tmp_path / "v.json") == value


def test_json_that_is_none_leaves_the_old_file(tmp_path):
    write_json(tmp_path / "v.json", 1)
    with pytest.raises(ValueError, match="Out of range"):
        write_json(tmp_path / "v.json", math.nan)
    assert read_json(tmp_path / "v.json") == 1


@pytest.mark.parametrize("data", [b"", b'{"a": 1', b"\xff"])
def test_a_file_that_is_no_json_is_told(tmp_path, data):
    (tmp_path / "v.json").write_bytes(data)
    with pytest.raises(SlidemillError, match=r"v\.json: not a JSON file of slidemill .*remove it and run again"):
        read_json(tmp_path / "v.json")


OK = Outcome("case-1", "sample_patches", sample=SampleFacts(grid=4, patches=3), slide_notes=("ä",))
FAILED = Outcome("case-1", "discover_slides", "failed", "broken.svs: no slide")


@pytest.mark.parametrize("outcome", [OK, FAILED, Outcome("x", "y", "empty")])
def test_an_outcome_comes_back(tmp_path, outcome):
    write_outcome(tmp_path / "o.json", outcome)
    assert read_outcome(tmp_path / "o.json") == outcome


@pytest.mark.parametrize("value", [[], 3, {"slide": "a"}, {"slide": "a", "stage": "b", "more": 1}])
def test_a_file_that_holds_no_outcome_is_told(tmp_path, value):
    (tmp_path / "o.json").write_text(json.dumps(value), encoding="utf-8")
    with pytest.raises(SlidemillError, match=r"o\.json: holds no outcome of a stage \(.+\): remove it and run again"):
        read_outcome(tmp_path / "o.json")


def test_only_failed_outcomes_have_failed():
    assert [outcome.failed for outcome in (OK, FAILED, Outcome("x", "y", "empty"))] == [False, True, False]


@pytest.mark.parametrize("before", [None, OK, Outcome("case-1", "sample_patches", "empty")])
def test_work_that_succeeds_gives_its_own_outcome(before):
    outcome = Outcome("case-1", "write_metadata")
    told = {"sample": before.sample, "slide_notes": before.slide_notes} if before else {}
    assert attempt("case-1", "write_metadata", lambda: outcome, after=before) == replace(outcome, **told)


@pytest.mark.parametrize("fails", [False, True])
def test_what_earlier_stages_told_stays_told(fails):
    before = Outcome("case-1", "sample_patches", path="case-1.svs", sample=SampleFacts(grid=3, patches=3))

    store = StoreFacts(backend="lmdb", patches=2, bytes=5)

    def work():
        if fails:
            raise SlideError("case-1.svs: what is wrong")
        return Outcome("case-1", "store_patches", store=store)

    outcome = attempt("case-1", "store_patches", work, after=before)
    assert (outcome.path, outcome.sample, outcome.store) == ("case-1.svs", before.sample, None if fails else store)


@pytest.mark.parametrize("error", [SlideError, AnnotationError])
def test_a_fault_of_the_slide_becomes_a_failed_outcome(error):
    def work():
        raise error("case-1.svs: what is wrong")

    expected = Outcome("case-1", "store_patches", "failed", "case-1.svs: what is wrong")
    assert attempt("case-1", "store_patches", work) == expected


def test_an_earlier_failure_is_carried_along_and_nothing_done():
    done = []
    assert attempt("case-1", "store_patches", lambda: done.append(1), after=FAILED) is FAILED
    assert done == []


@pytest.mark.parametrize("error", [SlidemillError, StoreError, ConfigError, OSError, KeyError, KeyboardInterrupt])
def test_faults_that_are_not_the_slides_get_through(error):
    def work():
        raise error("disk full")

    with pytest.raises(error, match="disk full"):
        attempt("case-1", "store_patches", work)


@pytest.fixture
def clock(monkeypatch):
    """A clock that goes on by itself, four seconds at each look."""
    times = iter(range(100, 10_000, 4))
    monkeypatch.setattr(joblog.time, "monotonic", lambda: float(next(times)))


@pytest.fixture
def told(caplog):
    caplog.set_level(logging.INFO, logger=LOG.name)
    return lambda: [record.getMessage() for record in caplog.records]


def test_progress_yields_everything_and_logs_the_total(told):
    assert list(log_progress(iter("abc"), 3, "patches")) == ["a", "b", "c"]
    (line,) = told()
    assert line.startswith("3 of 3 patches in ")


def test_progress_of_nothing_logs_a_total_too(told):
    assert list(log_progress([], 0, "patches")) == []
    assert told()[0].startswith("0 of 0 patches in ")


@pytest.mark.usefixtures("clock")
def test_progress_is_told_every_so_often(told):
    assert list(log_progress(range(8), 8, "patches", every=10)) == list(range(8))
    assert told() == [
        "3 of 8 patches, 0 per second, 20 s to go",
        "6 of 8 patches, 0 per second, 8 s to go",
        "8 of 8 patches in 36.0 s",
    ]


def test_a_job_logs_to_its_file_while_it_runs_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(LOG, "propagate", False)  # pytest-xdist cannot hand on what is no Unicode
    with job_log(tmp_path / "job.log"):
        LOG.info("within %s", os.fsdecode(b"caf\xe9"))
    LOG.warning("after")
    (line,) = (tmp_path / "job.log").read_text(encoding="utf-8").splitlines()
    assert line.endswith(r" INFO within caf\udce9")


def test_a_second_log_of_a_job_replaces_the_first(tmp_path):
    for word in ("first", "second"):
        with job_log(tmp_path / "job.log"):
            LOG.info(word)
    assert "first" not in (tmp_path / "job.log").read_text(encoding="utf-8")


def test_an_error_raised_on_purpose_ends_the_process_with_its_message(tmp_path):
    with pytest.raises(SystemExit) as caught, job_log(tmp_path / "job.log"):
        raise StoreError("a.lmdb: is truncated: remove it")
    assert caught.value.code == "slidemill: a.lmdb: is truncated: remove it"
    log = (tmp_path / "job.log").read_text(encoding="utf-8")
    assert "ERROR a.lmdb: is truncated: remove it\n" in log
    assert "Traceback" not in log


def test_any_other_error_is_logged_with_its_traceback_and_raised_on(tmp_path):
    with pytest.raises(KeyError, match="oops"), job_log(tmp_path / "job.log"):
        raise KeyError("oops")
    log = (tmp_path / "job.log").read_text(encoding="utf-8")
    assert "Traceback" in log
    assert "KeyError: 'oops'" in log


@pytest.mark.parametrize("error", [StoreError, KeyError, KeyboardInterrupt])
def test_a_job_that_ends_badly_takes_its_log_away(tmp_path, error):
    before = list(LOG.handlers)
    with pytest.raises((SystemExit, error)), job_log(tmp_path / "job.log"):
        raise error("x")
    assert LOG.handlers == before


def test_metadata_is_read_with_ids_and_names_as_strings(tmp_path):
    row = dict.fromkeys(METADATA_COLUMNS, 1) | {"patch_id": "0001_0002", "slide": "007", "label_name": "NA", "mpp": ""}
    write_table(tmp_path / "metadata.csv", (*METADATA_COLUMNS, "patient"), [row | {"patient": "0042"}])
    for path in (tmp_path, tmp_path / "metadata.csv", str(tmp_path)):
        (read,) = read_metadata(path).to_dict("records")
        texts = {name: read[name] for name in ("patch_id", "slide", "label_name", "patient")}
        assert texts == {"patch_id": "0001_0002", "slide": "007", "label_name": "NA", "patient": "0042"}
        assert math.isnan(read["mpp"])
        assert (read["label"], read["x0"], read["downsample"]) == (1, 1, 1.0)


@pytest.mark.parametrize(("name", "message"), [("none.csv", "no table of metadata"), ("t.csv", "lacks the columns")])
def test_what_is_no_metadata_is_told(tmp_path, name, message):
    write_table(tmp_path / "t.csv", METADATA_COLUMNS[:-1], [])
    with pytest.raises(SlidemillError, match=rf"{name}: {message}"):
        read_metadata(tmp_path / name)


def test_a_field_may_be_longer_than_the_csv_module_reads_unless_told(tmp_path):
    write_table(tmp_path / "t.csv", ["a"], [{"a": "x" * 200_000}])
    assert [len(row["a"]) for row in read_table(tmp_path / "t.csv")] == [200_000]


class Syncs:
    """Counts syncs, and fails those of the numbers given."""

    def __init__(self, monkeypatch, failing):
        self.count = 0
        self.failing = failing
        self.seen = threading.Event()
        monkeypatch.setattr(files.os, "fsync", self.fsync)
        monkeypatch.setattr(files, "SYNC_EVERY", 0.001)

    def fsync(self, _descriptor):
        self.count += 1
        self.seen.set()
        if self.count in self.failing:
            raise OSError(5, "Input/output error")


def test_a_file_is_synced_early_and_at_the_end(tmp_path, monkeypatch):
    syncs = Syncs(monkeypatch, set())
    with keep_synced(tmp_path / "a"):
        assert syncs.seen.wait(30)
        early = syncs.count
    assert early >= 1
    assert syncs.count > early


def test_what_the_disk_refused_early_is_no_secret(tmp_path, monkeypatch):
    syncs = Syncs(monkeypatch, {1})
    with pytest.raises(OSError, match="Input/output error"), keep_synced(tmp_path / "a"):
        assert syncs.seen.wait(30)


def test_what_the_disk_refuses_at_the_end_is_told(tmp_path, monkeypatch):
    syncs = Syncs(monkeypatch, {1})
    monkeypatch.setattr(files, "SYNC_EVERY", 60)
    with pytest.raises(OSError, match="Input/output error"), keep_synced(tmp_path / "a"):
        assert syncs.count == 0


def test_a_block_that_fails_keeps_its_own_fault(tmp_path):
    before = threading.active_count()
    with pytest.raises(ValueError, match="own"), keep_synced(tmp_path / "a"):
        raise ValueError("own")
    assert threading.active_count() == before


def test_a_slide_is_not_blamed_where_its_file_is_not_what_it_was():
    def work():
        raise SlideError("a.svs: cannot be read")

    def away():
        raise SlidemillError("a.svs: the disk is away")

    assert attempt("a", "stage", work).message == "a.svs: cannot be read"
    with pytest.raises(SlidemillError, match="the disk is away"):
        attempt("a", "stage", work, unchanged=away)


@pytest.mark.parametrize("own", [None, "run 1"])
@pytest.mark.parametrize("now", [None, "", "run 1", "run 2"])
def test_job_of_an_earlier_run_publishes_nothing(tmp_path, monkeypatch, own, now):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(RUN, raising=False)
    if own is not None:
        monkeypatch.setenv(RUN, own)
    if now is not None:
        WORKER.parent.mkdir()
        WORKER.write_text(now)
    path = tmp_path / "store"
    path.write_text("of the later run")
    refused = (own, now) == ("run 1", "run 2")
    told = pytest.raises(SlidemillError, match=r"is not published.*run 2 took over") if refused else nullcontext()
    with told, replacing(path) as aside:
        aside.write_text("of the earlier run")
    assert path.read_text() == ("of the later run" if refused else "of the earlier run")
    assert asides(path) == []
