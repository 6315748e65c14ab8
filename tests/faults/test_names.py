"""Names that break shells, tables and patterns: each slide is found, named safely, and told by its own name."""

import os
import unicodedata

import pytest

from slidemill.slides.discovery import decode_path
from tests.faults.conftest import Cohort

pytestmark = pytest.mark.cases

NAMES = {
    "spaces": b"two words .svs",
    "quotes": b'it\'s "quoted".svs',
    "a line break": b"line\nbreak\r.svs",
    "a shell's words": b";$(touch pwned)`id`&.svs",
    "braces": b"{slide}.svs",
    "200 characters": b"x" * 196 + b".svs",
    "an emoji": "\N{MICROSCOPE}.svs".encode(),
    "a leading dash": b"-rf.svs",
    "bytes that are not UTF-8": b"caf\xe9.svs",
    "dots": b"a..b.svs",
    "percent signs": b"100%41.svs",
    "commas and tabs": b"a,b\tc.svs",
}


def told(name):
    """A name as tables tell it."""
    return os.fsdecode(name).encode("utf-8", "backslashreplace").decode()


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_a_slide_of_any_name_is_done(tmp_path, name):
    cohort = Cohort(tmp_path)
    cohort.add(name)
    rows = cohort.run()
    assert list(rows) == [told(name)]
    (row,) = rows.values()
    assert (row["status"], row["patches"], cohort.verdict) == ("ok", "12", "")
    assert row["slide"].replace("-", "").replace(".", "").replace("_", "").isalnum()
    assert row["slide"].isascii()
    made = {file.relative_to(cohort.results).parts[0] for file in cohort.results.rglob("*")}
    assert made == {
        *("slides", "patches", "dropped", "metadata", "outcomes", "stores", "validation"),
        *("slides.csv", "metadata.csv", "metadata.parquet", "stores.csv", "unreadable.csv", "validation.csv"),
        *("slide_records.json", "tables.seal.json"),
    }
    assert sorted(path.name for path in cohort.folder.iterdir()) == ["annotations", "results", "slides"]


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_a_bad_slide_of_any_name_is_told_by_it(tmp_path, name):
    cohort = Cohort(tmp_path)
    cohort.add(name, b"no slide")
    (row,) = cohort.run().values()
    assert row["status"] == "failed"
    assert row["message"].startswith(told(name))
    assert row["slide"] in cohort.verdict


@pytest.mark.long
def test_slides_of_one_stem_are_slides_of_their_own(tmp_path):
    cohort = Cohort(tmp_path)
    for name in ("x.svs", "x.tif", "X.SVS", "a/x.svs", "b/x.svs"):
        cohort.add(name)
    rows = cohort.run()
    assert {row["status"] for row in rows.values()} == {"ok"}
    assert len({row["slide"].casefold() for row in rows.values()}) == 5
    assert len(list((cohort.results / "stores/lmdb").iterdir())) == 5


def test_one_name_in_both_unicode_forms_is_two_slides(tmp_path):
    cohort = Cohort(tmp_path)
    for form in ("NFC", "NFD"):
        cohort.add(unicodedata.normalize(form, "Präparat.svs"))
    if len(list(cohort.slides.iterdir())) == 1:
        pytest.skip("this file system takes both forms for one name")
    rows = cohort.run()
    assert [row["status"] for row in rows.values()] == ["ok", "ok"]
    assert len({row["slide"] for row in rows.values()}) == 2


@pytest.mark.long
def test_no_table_loses_a_row_to_a_name(tmp_path):
    cohort = Cohort(tmp_path)
    for name in NAMES.values():
        cohort.add(name)
    rows = cohort.run()
    assert set(rows) == {told(name) for name in NAMES.values()}
    assert len(cohort.table("metadata")) == 12 * len(NAMES)
    assert {os.fsencode(decode_path(one.path)) for one in cohort.listed} == set(NAMES.values())
