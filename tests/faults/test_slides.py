"""Slides that are no slides, or broken ones: each ends as a row that says why, and harms no other."""

import os
import struct
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from slidemill.core.text import name_slide
from slidemill.errors import ConfigError, SlidemillError
from slidemill.stores.lmdb import LmdbWriter
from slidemill.tiles.dicom_elements import series_of
from tests.dicoms import Layout, write_series
from tests.faults.conftest import damaged, good_bytes, picture

pytestmark = pytest.mark.cases

UNKNOWN = "OpenSlide knows no format that this file has"
WHOLE_SLIDE = b"1.2.840.10008.5.1.4.1.1.77.1.6"
EXPLICIT, IMPLICIT = b"1.2.840.10008.1.2.1", b"1.2.840.10008.1.2"


def only(cohort, name):
    """The row of a bad slide after a run; the good one beside it must be ok, and the verdict name the bad one alone."""
    rows = cohort.run()
    assert len(rows) == 2
    assert rows["good.svs"]["status"] == "ok"
    assert cohort.stored(rows["good.svs"]["slide"]).popitem()[1]
    row = rows[name]
    if row["status"] == "failed":
        assert cohort.verdict.startswith("1 slide failed")
        assert f"{name_slide(row['slide'], row['path'])}  {row['stage']}  {row['message']}" in cohort.verdict
        assert {patch["slide"] for patch in cohort.table("metadata")} == {rows["good.svs"]["slide"]}
    return row


@pytest.mark.parametrize("content", [b"", b"this is no slide\n", bytes(5000)], ids=["no bytes", "text", "zeros"])
def test_a_file_that_is_no_slide_fails(cohort, content):
    cohort.add("bad.svs", content)
    row = only(cohort, "bad.svs")
    assert (row["status"], row["stage"]) == ("failed", "discover_slides")
    assert UNKNOWN in row["message"]


@pytest.mark.parametrize("kept", [8, 100, 1000, -28000, -14000, -2000, -1])
def test_a_truncated_slide_fails_wherever_it_is_cut(cohort, kept):
    cohort.add("bad.svs", good_bytes()[:kept])
    row = only(cohort, "bad.svs")
    assert (row["status"], row["stage"]) == ("failed", "discover_slides")
    assert "whole" in row["message"]


@pytest.mark.long
def test_a_broken_tile_fails_its_slide_and_its_patch_is_in_no_store(cohort):
    cohort.config["stores"] = {"lmdb": {"encoding": "zstd"}, "hdf5": {"encoding": "raw"}, "disk": {}}
    damaged(cohort.slides / "bad.svs", lambda number, data: data[:-200] + bytes(200) if number == 5 else data)
    row = only(cohort, "bad.svs")
    assert (row["status"], row["stage"], row["patches"], row["unreadable"]) == ("failed", "store_patches", "11", "1")
    (patch,) = cohort.table("unreadable")
    assert (patch["slide"], patch["patch_id"], patch["x0"], patch["y0"]) == (
        row["slide"],
        "r00001_c00001",
        "128",
        "128",
    )
    assert patch["reason"] in row["message"]
    for ids in cohort.stored(row["slide"]).values():
        assert len(ids) == 11
        assert "r00001_c00001" not in ids


@pytest.mark.long
def test_unreadable_patches_may_be_skipped(cohort):
    cohort.config["unreadable_patches"] = "skip"
    damaged(cohort.slides / "bad.svs", lambda number, data: data[:-200] + bytes(200) if number == 5 else data)
    row = only(cohort, "bad.svs")
    assert (row["status"], row["patches"], row["unreadable"]) == ("ok", "11", "1")
    assert cohort.verdict == ""
    assert len(cohort.table("metadata")) == 12 + 11
    assert [patch["patch_id"] for patch in cohort.table("unreadable")] == ["r00001_c00001"]


def montage(cohort, name):
    """The row of a slide after a run, and its montage."""
    row = cohort.run()[name]
    cohort.draw(next(one for one in cohort.listed if one.path == name))
    return row, np.asarray(Image.open(cohort.place("figures/montage", row["slide"], "jpg")))


@pytest.mark.long
@pytest.mark.parametrize("bad", [{5}, {0, 11}, set()])
def test_montage_without_stores_shows_what_can_be_read(cohort, bad):
    """It is that of a store, which leaves out the same patches."""
    cohort.config["unreadable_patches"] = "skip"
    damaged(cohort.slides / "bad.svs", lambda number, data: data[:-200] + bytes(200) if number in bad else data)
    _, stored = montage(cohort, "bad.svs")
    cohort.config["stores"] = {}
    row, drawn = montage(cohort, "bad.svs")
    assert np.array_equal(drawn, stored)
    assert (row["status"], row["patches"]) == ("ok", "12")
    assert cohort.verdict == ""
    assert cohort.table("validation") == cohort.table("stores") == []


def test_montage_without_stores_of_a_failed_slide_is_empty(cohort):
    cohort.config["stores"] = {}
    cohort.add("bad.svs", b"no slide")
    row, drawn = montage(cohort, "bad.svs")
    assert row["status"] == "failed"
    assert drawn.min() < 100 < drawn.mean()


@pytest.mark.long
def test_a_slide_none_of_whose_patches_can_be_read_fails_though_they_may_be_skipped(cohort):
    cohort.config["unreadable_patches"] = "skip"
    damaged(cohort.slides / "bad.svs", lambda _, data: data[:-200] + bytes(200))
    row = only(cohort, "bad.svs")
    assert (row["status"], row["patches"], row["unreadable"]) == ("failed", "0", "12")


@pytest.mark.parametrize("place", [9000, 20000])
def test_flipped_bytes_that_the_decoder_notices_are_a_broken_tile(cohort, place):
    whole = good_bytes()
    cohort.add("bad.svs", whole[:place] + bytes(byte ^ 255 for byte in whole[place : place + 8]) + whole[place + 8 :])
    row = only(cohort, "bad.svs")
    assert (row["status"], row["stage"], row["unreadable"]) == ("failed", "store_patches", "1")


def test_flipped_bytes_that_no_decoder_can_notice_are_stored_as_openslide_reads_them(cohort):
    cohort.config["validation"] = {"sample": 12}
    damaged(
        cohort.slides / "bad.svs",
        lambda number, data: data[:200] + bytes([data[200] ^ 255]) + data[201:] if number == 5 else data,
    )
    row = only(cohort, "bad.svs")
    assert (row["status"], row["patches"]) == ("ok", "12")


def test_a_tile_of_length_zero_is_blank_glass_as_openslide_reads_it(cohort):
    cohort.config["validation"] = {"sample": 12}
    damaged(cohort.slides / "bad.svs", lambda number, data: b"" if number == 5 else data)
    row = only(cohort, "bad.svs")
    assert (row["status"], row["patches"], row["reader"]) == ("ok", "12", "openslide")
    assert "1 of its 12 tiles are missing" in row["reader_reason"]


def test_a_slide_that_may_not_be_read_fails(tmp_path, bound):
    code = (
        "from tests.faults.conftest import Cohort\n"
        f"cohort = Cohort({str(tmp_path)!r})\n"
        "cohort.add('good.svs'); cohort.add('bad.svs').chmod(0)\n"
        "rows = cohort.run()\n"
        "print([(row['status'], row['message']) for row in rows.values()])"
    )
    done = bound(code)
    assert done.returncode == 0, done.stderr
    assert "('failed', 'bad.svs: Permission denied: check that the file is there and may be read')" in done.stdout
    assert "('ok', '')" in done.stdout


LINKS = {"nowhere": "does not exist in", "bad.svs": "Too many levels of symbolic links"}


@pytest.mark.parametrize(("target", "words"), LINKS.items(), ids=["dangling", "a loop"])
def test_a_link_that_leads_nowhere_fails(cohort, target, words):
    (cohort.slides / "bad.svs").symlink_to(target)
    row = only(cohort, "bad.svs")
    assert (row["status"], row["stage"]) == ("failed", "discover_slides")
    assert words in row["message"]


def test_a_pipe_fails_and_nobody_waits_for_it(cohort):
    os.mkfifo(cohort.slides / "bad.svs")
    row = only(cohort, "bad.svs")
    assert (row["status"], row["stage"]) == ("failed", "discover_slides")
    assert "is not a file" in row["message"]


def test_a_folder_named_as_a_slide_is_searched_as_any_folder(cohort):
    (cohort.slides / "empty.svs").mkdir()
    cohort.add("folder.svs/inner.svs")
    assert {path: row["status"] for path, row in cohort.run().items()} == {
        "good.svs": "ok",
        "folder.svs/inner.svs": "ok",
    }


def test_a_folder_that_may_not_be_searched_is_named_before_any_job(tmp_path, bound):
    code = (
        "from tests.faults.conftest import Cohort\n"
        f"cohort = Cohort({str(tmp_path)!r})\n"
        "cohort.add('good.svs'); cohort.add('locked/lost.svs').parent.chmod(0)\n"
        "cohort.plan()"
    )
    done = bound(code)
    assert done.returncode != 0
    assert f"ConfigError: slides: the folder {tmp_path}/slides/locked cannot be searched (Permission denied)" in (
        done.stderr
    )
    (tmp_path / "slides" / "locked").chmod(0o700)


@pytest.mark.long
def test_a_mirax_file_without_its_folder_fails(cohort):
    cohort.add("bad.mrxs", b"")
    row = only(cohort, "bad.mrxs")
    assert (row["status"], row["stage"]) == ("failed", "discover_slides")
    assert row["message"] == "bad.mrxs: its folder bad is missing: put it next to the file"


@pytest.mark.long
def test_a_photograph_that_ends_in_tif_fails(cohort):
    tifffile.imwrite(cohort.slides / "strips.tif", picture(), photometric="rgb")
    row = only(cohort, "strips.tif")
    assert (row["status"], row["stage"]) == ("failed", "discover_slides")
    assert UNKNOWN in row["message"]


@pytest.mark.long
def test_a_tiled_tif_is_a_slide_whatever_it_shows(cohort):
    tifffile.imwrite(cohort.slides / "tiles.tif", picture(), photometric="rgb", tile=(128, 128))
    row = only(cohort, "tiles.tif")
    assert (row["status"], row["vendor"], row["patches"]) == ("ok", "generic-tiff", "12")


@pytest.mark.long
def test_a_jpeg_named_tif_fails(cohort):
    Image.fromarray(picture()).save(cohort.slides / "jpeg.tif", "jpeg")
    row = only(cohort, "jpeg.tif")
    assert row["status"] == "failed"
    assert UNKNOWN in row["message"]


def test_resource_forks_and_other_hidden_files_are_passed_over(cohort):
    cohort.add("._x.svs", b"")
    assert set(cohort.run()) == {"good.svs"}


def element(group, number, representation, value, syntax=EXPLICIT, undefined=False):
    """One DICOM element; `syntax` is how the file's elements are written."""
    value += b"\0" * (len(value) % 2)
    size = 0xFFFF_FFFF if undefined else len(value)
    tag = struct.pack("<HH", group, number)
    if syntax == IMPLICIT:
        return tag + struct.pack("<I", size) + value
    if representation == b"SQ":
        return tag + b"SQ\0\0" + struct.pack("<I", size) + value
    return tag + representation + struct.pack("<H", size) + value


def dicom(series, kind=WHOLE_SLIDE, syntax=EXPLICIT, undefined=False):
    """The beginning of a DICOM file, with a sequence that names another series before its own."""
    other = element(0x0020, 0x000E, b"UI", b"9.9.9", syntax)
    item = struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFF_FFFF if undefined else len(other)) + other
    if undefined:
        item += struct.pack("<HHI", 0xFFFE, 0xE00D, 0) + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    return (
        bytes(128)
        + b"DICM"
        + element(0x0002, 0x0010, b"UI", syntax)
        + element(0x0008, 0x0016, b"UI", kind, syntax)
        + element(0x0008, 0x1115, b"SQ", item, syntax, undefined)
        + element(0x0020, 0x000E, b"UI", series, syntax)
        + element(0x0020, 0x0010, b"SH", b"study", syntax)
    )


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT], ids=["explicit", "implicit"])
@pytest.mark.parametrize("undefined", [False, True], ids=["of known length", "of unknown length"])
def test_the_series_of_a_dicom_file_is_its_own_and_not_one_that_it_mentions(tmp_path, syntax, undefined):
    path = tmp_path / "a.dcm"
    path.write_bytes(dicom(b"1.2.3", syntax=syntax, undefined=undefined))
    assert series_of(path) == b"1.2.3"
    for cut in range(len(path.read_bytes())):
        path.write_bytes(dicom(b"1.2.3", syntax=syntax, undefined=undefined)[:cut])
        assert series_of(path) in (None, *(b"1.2.3"[:end] for end in range(6)))


@pytest.mark.long
def test_a_folder_with_two_dicom_series_fails(cohort):
    for name, series in {"one": b"1.2.3", "two": b"1.2.3", "three": b"1.2.4"}.items():
        cohort.add(f"case/{name}.dcm", dicom(series))
    row = only(cohort, "case/one.dcm")
    assert (row["status"], row["stage"]) == ("failed", "discover_slides")
    assert row["message"] == "one.dcm: its folder holds 2 series: put each in a separate folder"


@pytest.mark.parametrize(
    "other",
    [dicom(b"1.2.3"), dicom(b"1.2.4", kind=b"1.2.840.10008.5.1.4.1.1.91.1"), b"no dicom"],
    ids=["its own series", "no slide", "no DICOM"],
)
def test_other_dicom_files_of_a_folder_are_no_second_series(cohort, other):
    cohort.add("case/one.dcm", dicom(b"1.2.3"))
    cohort.add("case/two.dcm", other)
    row = only(cohort, "case/one.dcm")
    assert "series" not in row["message"], "what is wrong is that it ends here, which OpenSlide tells"


@pytest.mark.parametrize("table", ["basic", "extended", "none"])
def test_truncated_dicom_slide_fails(cohort, tmp_path, table):
    """Its header is whole; of its frames OpenSlide reads those that are there, if it can say where they are."""
    path = write_series(tmp_path / "series", picture(), Layout(table=table))
    cohort.add("case/one.dcm", path.read_bytes()[:-20_000])
    row = only(cohort, "case/one.dcm")
    assert (row["status"], row["stage"]) == ("failed", "store_patches")
    assert "patches cannot be read" in row["message"]


@pytest.mark.long
def test_results_within_the_slides_are_not_searched(cohort):
    cohort.config |= {"results": str(cohort.slides / "results"), "stores": {"disk": {}}}
    cohort.results = cohort.slides / "results"
    cohort.results.mkdir()
    assert set(cohort.run()) == {"good.svs"}
    cohort.add("results/stores/x.tif")
    assert set(cohort.run()) == {"good.svs"}


def test_slides_within_what_a_run_writes_are_refused_before_any_job(cohort):
    cohort.config["slides"] = str(cohort.results / "slides")
    cohort.add(cohort.results / "slides" / "a.svs")
    with pytest.raises(ConfigError, match="would write among them"):
        cohort.plan()


def test_a_level_that_a_slide_lacks_fails_that_slide(cohort):
    cohort.config["sampling"] = {"patch_size": 128, "level": 1}
    row = cohort.run()["good.svs"]
    assert (row["status"], row["stage"]) == ("failed", "sample_patches")
    assert "native level 1 does not exist; levels count from 0, so this slide has 0 to 0" in row["message"]


def test_a_slide_smaller_than_a_patch_is_empty_and_no_fault(cohort):
    cohort.config["sampling"] = {"patch_size": 1024, "level": 0}
    row = cohort.run()["good.svs"]
    assert (row["status"], row["stage"], row["message"]) == ("empty", "", "")
    assert cohort.verdict == ""


@pytest.mark.long
def test_so_many_slides_may_fail_as_max_failed_says(cohort):
    for name in ("b.svs", "c.svs"):
        cohort.add(name, b"")
    cohort.config["max_failed"] = 2
    assert sorted(row["status"] for row in cohort.run().values()) == ["failed", "failed", "ok"]
    assert cohort.verdict == ""
    cohort.config["max_failed"] = 1
    cohort.run()
    assert cohort.verdict.startswith("2 slides failed, and max_failed allows 1")


@pytest.mark.long
def test_a_mended_slide_is_done_by_the_next_run(cohort):
    cohort.add("bad.svs", good_bytes()[:1000])
    before = cohort.run()["bad.svs"]
    cohort.add("bad.svs")
    after = cohort.run()["bad.svs"]
    assert (before["status"], after["status"], cohort.verdict) == ("failed", "ok", "")
    assert before["slide"] == after["slide"]
    assert before["fingerprint"] != after["fingerprint"]


@pytest.mark.parametrize("stage", ["discover", "store", "validate", "draw"])
@pytest.mark.parametrize("how", ["replaced", "gone", "cut"])
def test_a_slide_that_changes_after_the_plan_fails_the_job_and_blames_no_slide(cohort, stage, how):
    (one,) = cohort.plan()
    path = cohort.slides / "good.svs"
    before = {"discover": [], "store": ["discover", "sample", "label"]}
    before["validate"] = before["draw"] = [*before["store"], "store"]
    for name in before[stage]:
        getattr(cohort, name)(one, *(["lmdb"] if name == "store" else []))
    if how == "gone":
        path.unlink()
    else:
        path.write_bytes(good_bytes() + b"!" if how == "replaced" else good_bytes()[:1000])
    with pytest.raises(SlidemillError, match=r"good\.svs: .*run again|good\.svs: does not exist in"):
        getattr(cohort, stage)(one, *(["lmdb"] if stage == "store" else []))
    made = {"discover": "slides/*", "store": "stores/lmdb/*", "validate": "validation/*", "draw": "figures/*/*"}
    assert list(cohort.results.glob(made[stage])) == []


def test_a_slide_that_is_replaced_while_it_is_read_fails_the_job_before_a_store_is_published(cohort, monkeypatch):
    (one,) = cohort.plan()
    cohort.discover(one)
    cohort.sample(one)
    original = LmdbWriter.add

    def add(writer, patch, data):
        original(writer, patch, data)
        if patch.patch_id == "r00001_c00001":
            other = cohort.add("other.svs", good_bytes() + b"!")
            other.replace(cohort.slides / "good.svs")

    monkeypatch.setattr(LmdbWriter, "add", add)
    published = []
    monkeypatch.setattr(Path, "replace", lambda source, target: published.append(target) or os.replace(source, target))  # noqa: PTH105
    with pytest.raises(SlidemillError, match=r"good\.svs: the slide is not what it was .*other content.*run again"):
        cohort.store(one, "lmdb")
    assert published == [cohort.slides / "good.svs"]
    assert list((cohort.results / "stores/lmdb").iterdir()) == []
