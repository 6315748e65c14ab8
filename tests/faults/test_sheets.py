"""Sheets of slides: what is wrong with a sheet is told before any job, what is wrong with its slides is a row."""

import pytest

from slidemill.errors import ConfigError


@pytest.fixture
def listed(cohort):
    """Runs over a sheet of the given text, in the folder of slides."""

    def run(text, name="sheet.csv"):
        sheet = cohort.slides / name
        sheet.write_bytes(text if isinstance(text, bytes) else text.encode())
        cohort.config |= {"slides": str(sheet), "annotations": None}
        return cohort.run()

    run.cohort = cohort
    return run


REFUSED = {
    "an id twice": ("slide,path\na,good.svs\na,good.svs\n", "the id is used twice"),
    "an id twice but for case": ("slide,path\na,good.svs\nA,good.svs\n", "case does not count"),
    "semicolons": ("slide;path\na;good.svs\n", "part columns by commas"),
    "no path": ("slide,file\na,good.svs\n", "the column 'path' is missing"),
    "no row": ("slide,path\n", "lists no slide"),
    "no bytes": ("", "the column 'slide' is missing"),
    "UTF-16": ("slide,path\na,good.svs\n".encode("utf-16"), "save the sheet as UTF-8"),
    "an open quote": ('slide,path\na,"good.svs\n', "fix the line's quotes"),
    "a row too short": ("slide,path,patient\na,good.svs\n", "more or fewer fields"),
    "an id that climbs out": ("slide,path\n../a,good.svs\n", "an id has up to 100 of"),
    "a NUL in a path": ("slide,path\na,good\0.svs\n", "holds a NUL character"),
}


@pytest.mark.parametrize(("text", "words"), REFUSED.values(), ids=REFUSED)
def test_a_wrong_sheet_is_refused_before_any_job(listed, text, words):
    with pytest.raises(ConfigError) as caught:
        listed(text)
    assert words in str(caught.value)
    assert "sheet.csv" in str(caught.value)
    assert list(listed.cohort.results.iterdir()) == []


def test_a_byte_order_mark_is_no_part_of_a_sheet(listed):
    assert [row["status"] for row in listed(b"\xef\xbb\xbfslide,path\na,good.svs\n").values()] == ["ok"]


MISSING = {
    "a file that is not there": ("gone.svs", "does not exist in"),
    "a name too long for any file": ("x" * 300 + ".svs", "File name too long"),
    "a folder": (".", "is not a file"),
}


@pytest.mark.cases
@pytest.mark.parametrize(("path", "words"), MISSING.values(), ids=MISSING)
def test_a_missing_slide_of_a_sheet_fails_alone(listed, path, words):
    rows = {row["slide"]: row for row in listed(f"slide,path\na,good.svs\nb,{path}\n").values()}
    assert rows["a"]["status"] == "ok"
    assert (rows["b"]["status"], rows["b"]["stage"]) == ("failed", "discover_slides")
    assert words in rows["b"]["message"]
    assert "1 slide failed" in listed.cohort.verdict


@pytest.mark.cases
@pytest.mark.parametrize("annotation", ["gone.xml", "x" * 300 + ".xml", "."])
def test_a_missing_annotation_of_a_sheet_fails_its_slide_alone(listed, annotation):
    listed.cohort.add("other.svs")
    text = f"slide,path,annotation\na,good.svs,\nb,other.svs,{annotation}\n"
    rows = {row["slide"]: row for row in listed(text).values()}
    assert rows["a"]["status"] == "ok"
    assert (rows["b"]["status"], rows["b"]["stage"]) == ("failed", "write_metadata")


def test_a_sheet_that_may_not_be_read_is_told_before_any_job(tmp_path, bound):
    code = (
        "from tests.faults.conftest import Cohort\n"
        f"cohort = Cohort({str(tmp_path)!r})\n"
        "sheet = cohort.add('sheet.csv', b'slide,path\\n'); sheet.chmod(0)\n"
        "cohort.config |= {'slides': str(sheet), 'annotations': None}\n"
        "cohort.plan()"
    )
    done = bound(code)
    assert done.returncode != 0
    assert "ConfigError: " in done.stderr
    assert "the sheet cannot be read (Permission denied): see its permissions" in done.stderr
