"""One real run over good slides and bad ones together: all good work is done and kept, the rest accounted for."""

import re
import shutil

import pytest

from slidemill import open_store, read_metadata
from slidemill.core.csv_tables import read_table
from slidemill.testing import write_annotation, write_svs
from tests.conftest import AREAS, painted
from tests.faults.conftest import damaged, good_bytes, placed
from tests.faults.test_names import told
from tests.faults.test_slides import dicom
from tests.workflow.conftest import Project
from tests.workflow.shared import copy_of, made_once

pytestmark = pytest.mark.long

WEIRD = 'it\'s "two" ;$(x) {braces}\n\N{MICROSCOPE}.svs'
LATIN = b"caf\xe9.svs"
GOOD = {"good.svs", "sub/good.svs", WEIRD, told(LATIN)}
FAILED = {
    "text.svs": ("discover_slides", "OpenSlide knows no format"),
    "cut.svs": ("discover_slides", "check whether it is whole"),
    "gone.svs": ("discover_slides", "does not exist in"),
    "series/one.dcm": ("discover_slides", "its folder holds 2 series"),
    "empty.ndpi": ("discover_slides", "OpenSlide knows no format"),
    "marked.svs": ("write_metadata", "marked.xml: line 1"),
    "broken-xml.svs": ("write_metadata", "broken-xml.xml: line 3"),
    "tile.svs": ("store_patches", "1 of 12 patches cannot be read"),
}


def rows(project, name="slides"):
    return list(read_table(project.results / f"{name}.csv"))


def good_and_bad(folder):
    """A finished run over all of them."""
    project = Project(folder)
    for name in ("good.svs", WEIRD, LATIN, "marked.svs", "broken-xml.svs"):
        placed(project.slides, name)
    (project.slides / "sub").mkdir()
    write_svs(project.slides / "sub/good.svs", painted(512, 384, seed=4), downsamples=(1,), tile=128)
    placed(project.slides, "text.svs", b"this is no slide")
    placed(project.slides, "empty.ndpi", b"")
    placed(project.slides, "cut.svs", good_bytes()[:-2000])
    placed(project.slides, "._good.svs", b"")
    placed(project.slides, "series/one.dcm", dicom(b"1.2.3"))
    placed(project.slides, "series/two.dcm", dicom(b"1.2.4"))
    damaged(project.slides / "tile.svs", lambda number, data: data[:-200] + bytes(200) if number == 5 else data)
    (project.slides / "gone.svs").symlink_to("nowhere")
    (project.slides / "folder.svs").mkdir()
    write_svs(project.slides / "tiny.svs", painted(100, 90), downsamples=(1,), tile=64)
    (project.annotations / "sub").mkdir()
    write_annotation(project.annotations / "sub/good.xml", AREAS)
    (project.annotations / "marked.xml").write_text("<Annotations>")
    (project.annotations / "broken-xml.xml").write_text("<Annotations>\n<Annotation>\n</Annotations>")
    project.config |= {"sampling": {"patch_size": 128, "level": 0}, "stores": {"hdf5": {"encoding": "zstd"}}}
    project.finished = project.snakemake()
    return project


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    """That run; nobody changes it."""
    return made_once(tmp_path_factory, "good-and-bad", good_and_bad)


@pytest.fixture(scope="module")
def table(zoo):
    return {row["path"]: row for row in rows(zoo)}


def test_every_slide_has_one_row_and_one_state(table, zoo):
    assert len(rows(zoo)) == len(table)
    assert set(table) == GOOD | set(FAILED) | {"tiny.svs"}
    assert {path for path, row in table.items() if row["status"] == "ok"} == GOOD
    assert {path for path, row in table.items() if row["status"] == "empty"} == {"tiny.svs"}
    assert {path for path, row in table.items() if row["status"] == "failed"} == set(FAILED)


@pytest.mark.parametrize("path", FAILED)
def test_a_failed_slide_says_in_which_stage_and_why(table, path):
    stage, words = FAILED[path]
    assert table[path]["stage"] == stage
    assert words in table[path]["message"]


def test_the_run_fails_at_its_very_end_with_a_table_of_what_failed(zoo, table):
    assert zoo.finished.code != 0
    text = zoo.finished.text
    assert "8 slides failed; everything else is done and kept in" in text
    assert re.fullmatch(r"  report    .*/results/report\.html", text.splitlines()[-1])
    assert "run.smk" not in text
    (joined,) = (line for line in text.splitlines() if "1 more slide failed with the same reason" in line)
    for path in FAILED:
        row = table[path]
        line = f"slidemill: failed: {path} ({row['slide']}): {row['stage']}: {row['message']}"
        assert text.count(f"{line}\n") == (not joined.endswith(f": {path}"))
    for words in ("text.svs", "empty.ndpi", "broken-xml.xml: line 3"):
        assert words in zoo.finished.text
    assert "Traceback" not in zoo.finished.text


def test_no_job_but_the_last_has_failed(zoo):
    errors = [line for line in zoo.finished.log.splitlines() if line.startswith("Error in rule")]
    assert errors == ["Error in rule gate:"]
    assert (zoo.results / "report.html").exists()
    assert not (zoo.results / "passed").exists() or not list((zoo.results / "passed").iterdir())


def test_good_slides_are_whole_in_tables_and_stores(zoo, table):
    metadata = read_metadata(zoo.results)
    assert set(metadata["slide"]) == {table[path]["slide"] for path in GOOD}
    assert len(set(metadata["slide"])) == len(GOOD), "two slides of a name are two"
    for path in GOOD:
        slide = table[path]["slide"]
        with open_store(zoo.results / f"stores/hdf5/{slide}.h5") as store:
            assert list(store.ids) == list(metadata[metadata["slide"] == slide]["patch_id"])
            assert len(store) == 12
    assert {row["status"] for row in rows(zoo, "validation")} == {"ok"}


def test_an_unreadable_patch_is_listed_with_its_place_and_reason(zoo, table):
    (patch,) = rows(zoo, "unreadable")
    assert patch["slide"] == table["tile.svs"]["slide"]
    assert (patch["patch_id"], patch["x0"], patch["y0"], patch["width0"], patch["height0"]) == (
        *("r00001_c00001", "128", "128", "128", "128"),
    )
    assert patch["reason"]
    with open_store(zoo.results / f"stores/hdf5/{patch['slide']}.h5") as store:
        assert patch["patch_id"] not in store
        assert len(store) == 11


def test_the_report_tells_every_state(zoo, table):
    page = (zoo.results / "report.html").read_text(encoding="utf-8")
    for path, row in table.items():
        assert row["slide"] in page, path
    for _, words in FAILED.values():
        assert words in page
    assert "text.svs" in page


def test_nothing_lies_aside_and_no_name_was_run_as_a_command(zoo):
    assert not list(zoo.results.rglob("*.aside"))
    assert sorted(path.name for path in zoo.folder.iterdir() if path.name != ".snakemake") == [
        *("annotations", "config.yaml", "results", "slides"),
    ]


def test_a_mended_slide_is_done_by_the_next_plain_run_and_the_others_stay_untouched(zoo, table, tmp_path):
    project = copy_of(zoo, tmp_path / "mended")
    again = project.snakemake()
    assert again.code != 0
    assert again.rules == {"gate"}
    kept = {
        path: (path.stat().st_mtime_ns, path.read_bytes())
        for path in (project.results / "stores").rglob("*.h5")
        if not path.name.startswith(("text-", "marked-"))
    }
    placed(project.slides, "text.svs")
    (project.annotations / "marked.xml").unlink()
    project.config["max_failed"] = 6
    finished = project.snakemake("validated")
    assert finished.code == 0, finished.text
    after = {row["path"]: row["status"] for row in rows(project)}
    assert (after["text.svs"], after["marked.svs"]) == ("ok", "ok")
    assert {path: state for path, state in after.items() if path not in ("text.svs", "marked.svs")} == {
        path: row["status"] for path, row in table.items() if path not in ("text.svs", "marked.svs")
    }
    done = {slide for _, slide in finished.jobs if slide}
    assert done == {table["text.svs"]["slide"], table["marked.svs"]["slide"]}
    assert {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in kept} == kept
    for name in ("empty.ndpi", "gone.svs", "cut.svs", "tile.svs", "tiny.svs"):
        (project.slides / name).unlink()
    shutil.rmtree(project.slides / "series")
    (project.annotations / "broken-xml.xml").unlink()
    project.config["max_failed"] = 0
    finished = project.snakemake()
    assert finished.code == 0, finished.text
    assert {row["status"] for row in rows(project)} == {"ok"}


def test_a_job_that_the_machine_fails_is_tried_twice_more_and_by_the_next_run(tmp_path):
    project = Project(tmp_path)
    placed(project.slides, "good.svs")
    scratch = tmp_path / "scratch"
    project.config |= {
        "sampling": {"patch_size": 128, "level": 0},
        "stores": {"lmdb": {"encoding": "zstd"}},
        "scratch": str(scratch),
    }
    failed = project.snakemake("stores")
    assert failed.code != 0
    reason = f"{scratch} is not a folder here: make it, or name another, or null"
    assert failed.log.count(reason) >= 3
    assert failed.log.count("Trying to restart job") == 2
    assert failed.text.count(reason) == 1
    assert failed.text.count("trying again, 3 times at most") == 1
    assert failed.text.count("failed 3 times; the next run tries it again") == 1
    assert "Traceback" not in failed.text
    assert not list((project.results / "stores").rglob("*.lmdb"))
    scratch.mkdir()
    again = project.snakemake("stores")
    assert again.code == 0, again.text
    assert again.rules - {"stores"} == {"store_patches_lmdb"}
    assert len(list((project.results / "stores").rglob("*.lmdb"))) == 1
    assert not list(scratch.iterdir())
