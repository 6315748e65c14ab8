"""The whole pipeline, run as its users run it."""

import csv
import os
import re
import shutil
import subprocess

import h5py
import lmdb
import numpy as np
import openslide
import pytest
import yaml
from openslide.deepzoom import DeepZoomGenerator
from PIL import Image

from slidemill import open_store, read_metadata
from slidemill.config.configuration import read_config
from slidemill.errors import ConfigError
from slidemill.report.html_report import PLOT
from slidemill.runs.planning import list_slides
from slidemill.testing import Scan, write_svs
from tests.conftest import ROOT, painted
from tests.tiffs import STRUCTURES, write
from tests.workflow.conftest import THREE_STORES, Project
from tests.workflow.shared import copy_of, made_once

COHORT = {"check_space", "gather_results", "join_hdf5", "benchmark_stores", "render_report", "gate", "all"}
A_SLIDE = {
    "discover_slides",
    "sample_patches",
    "write_metadata",
    "store_patches_lmdb",
    "store_patches_hdf5",
    "store_patches_disk",
    "validate_stores",
    "draw_slide",
}


STORING = {name for name in A_SLIDE if name.startswith("store_patches")}


def checked_out(folder):
    """The Snakefile of a copy of the workflow, whose files have new times."""
    for part in ("workflow", "scripts", "config"):
        shutil.copytree(ROOT / part, folder / part, copy_function=shutil.copy)
    shutil.copy(ROOT / "environment.yml", folder)
    return folder / "workflow" / "Snakefile"


def rows(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def two_slides(folder):
    """A finished run over two slides, one of a difficult name."""
    project = Project(folder)
    project.add("one.svs", seed=1)
    project.add("Präparat {2}\n'$(x);.svs", seed=2, annotated=False)
    finished = project.snakemake()
    assert finished.code == 0, finished.text
    return project


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """That run; tests that change it take a copy."""
    return made_once(tmp_path_factory, "two-slides", two_slides)


@pytest.fixture
def copied(done, tmp_path):
    return copy_of(done, tmp_path / "copy")


class TestFinishedRun:
    def test_every_slide_has_its_row(self, done):
        table = rows(done.results / "slides.csv")
        assert [row["status"] for row in table] == ["ok", "ok"]
        assert {row["path"] for row in table} == {"one.svs", "Präparat {2}\n'$(x);.svs"}
        row = next(row for row in table if row["path"] == "one.svs")
        assert (row["vendor"], row["width"], row["height"], row["levels"]) == ("aperio", "620", "530", "3")
        assert (row["mpp_x"], row["objective_power"], row["deepzoom_levels"]) == ("0.5", "20.0", "11")

    def test_the_report_shows_the_benchmarks_plot(self, done):
        page = (done.results / "report.html").read_text(encoding="utf-8")
        assert f'aria-label="{PLOT}"' in page

    def test_metadata_stores_and_oracle_name_the_same_patches(self, done):
        table = read_metadata(done.results)
        with openslide.OpenSlide(done.slides / "one.svs") as slide:
            oracle = DeepZoomGenerator(slide, 64, 0, limit_bounds=True)
            tiles = {
                f"r{row:05d}_c{column:05d}": np.asarray(oracle.get_tile(10, (column, row)))
                for column in range(oracle.level_tiles[10][0])
                for row in range(oracle.level_tiles[10][1])
            }
        expected = {patch_id: tile for patch_id, tile in tiles.items() if tile.shape == (64, 64, 3)}
        own = table[table["slide"].str.startswith("one-")]
        assert list(own["patch_id"]) == sorted(expected)
        slide_id = own["slide"].iloc[0]
        for path in (f"lmdb/{slide_id}.lmdb", f"hdf5/{slide_id}.h5", f"disk/{slide_id}"):
            with open_store(done.results / "stores" / path) as store:
                assert list(store.ids) == sorted(expected)
                for patch_id, tile in expected.items():
                    np.testing.assert_array_equal(store.read(patch_id), tile)

    def test_labels_stand_in_the_table(self, done):
        """A defect of py-wsi: -1, no label, was taken for the last class. It stays -1 to the end here."""
        table = read_metadata(done.results)
        own = table[table["slide"].str.startswith("one-")]
        assert set(zip(own["label"], own["label_name"], strict=True)) == {
            (0, "Normal"),
            (1, "Benign"),
            (-1, "Carcinoma invasive"),
        }
        benign = own[own["label"] == 1]
        assert len(benign)
        centre = (benign["x0"] + 32 - 260) ** 2 / 160**2 + (benign["y0"] + 32 - 260) ** 2 / 140**2
        assert (centre < 1).all()
        assert set(table[~table["slide"].str.startswith("one-")]["label_name"]) == {"Normal"}

    def test_validation_and_benchmark_are_told(self, done):
        assert {row["status"] for row in rows(done.results / "validation.csv")} == {"ok"}
        measured = rows(done.results / "benchmark.csv")
        assert {row["source"] for row in measured} == {"lmdb", "hdf5", "disk", "slide", "slide tiles"}
        # In little time, at least the stores are read; the other rows say why they are empty.
        rates = [row for row in measured if row["unit"] == "patches/s" and row["median"]]
        assert {row["source"] for row in rates} >= {"lmdb", "hdf5", "disk"}
        assert {row["cache"] for row in rates} == {"cold", "warm"}
        assert all(float(row["low"]) <= float(row["median"]) <= float(row["high"]) for row in rates)
        assert all(float(row["median"]) > 0 if row["median"] else row["note"] for row in measured)

    def test_the_report_is_one_page_that_asks_no_network(self, done):
        page = (done.results / "report.html").read_text(encoding="utf-8")
        assert "Präparat {2}" in page
        assert page.count("data:image/jpeg;base64") == 4
        assert not re.findall(r"""(?:src|href)=["'](?!data:|#)""", page)
        assert "Carcinoma invasive" in page

    def test_stores_read_as_the_readme_says(self, done):
        slide_id = next(row["slide"] for row in rows(done.results / "slides.csv") if row["path"] == "one.svs")
        stores = done.results / "stores"
        env = lmdb.open(str(stores / f"lmdb/{slide_id}.lmdb"), subdir=False, readonly=True, lock=False)
        one = np.frombuffer(env.begin().get(b"r00001_c00002"), np.uint8).reshape(64, 64, 3)
        env.close()
        with h5py.File(stores / f"hdf5/{slide_id}.h5") as file:
            two = file["patches"][list(file["ids"][:]).index(b"r00001_c00002")]
        three = np.asarray(Image.open(stores / f"disk/{slide_id}/r00001_c00002.png"))
        np.testing.assert_array_equal(one, two)
        np.testing.assert_array_equal(one, three)

    def test_one_file_over_all_stores_has_the_tables_rows(self, done):
        table = read_metadata(done.results)
        with h5py.File(done.results / "stores/hdf5/all.h5") as file:
            assert file["table/patch_id"].asstr()[:].tolist() == table["patch_id"].tolist()
            assert file["table/label"][:].tolist() == table["label"].tolist()
            for place in range(0, len(table), 37):
                slide, patch_id = table["slide"][place], table["patch_id"][place]
                with open_store(done.results / f"stores/lmdb/{slide}.lmdb") as store:
                    np.testing.assert_array_equal(file["patches"][place], store.read(patch_id))

    def test_nothing_lies_aside_and_logs_are_kept(self, done):
        assert not [path for path in done.results.rglob("*.aside") if ".snakemake" not in path.parts]
        assert len(list((done.results / "logs").rglob("*.log"))) == 2 * len(A_SLIDE) + 6

    def test_a_second_run_does_nothing(self, done):
        assert "Nothing to be done" in done.snakemake(fresh=True).text

    @pytest.mark.long
    def test_nor_from_another_working_directory(self, done, tmp_path):
        assert "Nothing to be done" in done.snakemake(cwd=tmp_path).text

    @pytest.mark.long
    @pytest.mark.parametrize("view", ["--dag", "--lint", "--list", "--dry-run", "--summary"])
    def test_snakemakes_own_views_work_without_a_number_of_cores(self, done, view):
        finished = done.snakemake(view, cores=None)
        assert finished.code == 0, finished.text

    @pytest.mark.long
    def test_snakemakes_report_holds_ours(self, done):
        finished = done.snakemake("--report", "snakemake-report.html", cores=None)
        assert finished.code == 0, finished.text
        page = (done.results / "snakemake-report.html").read_text(encoding="utf-8")
        assert all(name in page for name in ("report.html", "figures/benchmark.svg", "figures/overlay/one-"))


@pytest.mark.long
def test_labels_choose_what_is_sampled_and_only_then_do_annotations_matter_to_it(project, tmp_path_factory):
    project.add("one.svs", seed=1)
    project.add("bare.svs", seed=2, annotated=False)
    project.config |= {"stores": {"lmdb": {}}, "labels": {**project.config["labels"], "only": ["Benign"]}}
    finished = project.snakemake()
    assert finished.code == 0, finished.text
    slides = {row["path"]: row for row in rows(project.results / "slides.csv")}
    assert (slides["one.svs"]["status"], slides["bare.svs"]["status"]) == ("ok", "empty")
    kept = read_metadata(project.results)
    assert set(kept["label_name"]) == {"Benign"}
    assert len(kept) == int(slides["one.svs"]["patches"])
    dropped = rows(project.results / "dropped" / f"{slides['one.svs']['slide']}.csv")
    assert {row["reason"] for row in dropped} == {"label"}
    with open_store(next((project.results / "stores" / "lmdb").glob("one-*"))) as store:
        assert list(store.ids) == list(kept["patch_id"])
    assert "Nothing to be done" in project.plan().text
    again = A_SLIDE - {"discover_slides", "store_patches_hdf5", "store_patches_disk"}
    file = project.annotations / "one.xml"
    before = file.read_text()
    file.write_text(before.replace("Benign", "Normal"))
    changed = project.plan()
    assert changed.rules - COHORT == again
    assert {slide.split("-")[0] for _, slide in changed.jobs if slide} == {"one"}
    file.write_text(before)
    project.config["labels"]["rule"] = "area"
    assert project.plan().rules - COHORT == again
    project.config["labels"]["rule"] = "centre"
    elsewhere = tmp_path_factory.mktemp("edited")
    snakefile = checked_out(elsewhere)
    with (elsewhere / "scripts/slidemill/annotations/read.py").open("a") as edited:
        edited.write("\nCHANGED = True\n")
    assert project.plan(snakefile=snakefile).rules - COHORT == again


CHANGES = [
    ({"labels": {"map": {"Normal": 5}, "unannotated": "outside"}}, {"write_metadata", "draw_slide"}),
    (
        {"labels": {"map": {"Benign": 1, "Normal": 0}, "unannotated": "outside"}},
        {"write_metadata", "draw_slide"},
    ),
    (
        {"labels": {"map": {"Normal": 0, "Benign": 1}, "unannotated": "outside", "rule": "area"}},
        {"write_metadata", "draw_slide"},
    ),
    (
        {"labels": {"map": {"Normal": 0, "Benign": 1}, "unannotated": "outside", "unmapped": "ignore"}},
        set(),
    ),
    (
        {"stores": THREE_STORES | {"lmdb": {"encoding": "png"}}},
        {"store_patches_lmdb", "validate_stores", "draw_slide"},
    ),
    ({"stores": {"hdf5": {}, "lmdb": {"encoding": "raw"}}}, {"validate_stores"}),
    ({"sampling": {"patch_size": 32}}, A_SLIDE - {"discover_slides"}),
    ({"tissue": {"method": "hsv"}}, A_SLIDE - {"discover_slides"}),
    ({"quality": True}, A_SLIDE - {"discover_slides"}),
    ({"sampling": {"patch_size": 64, "deepzoom_level": 10, "limit_bounds": False}}, A_SLIDE),
    ({"reader": "openslide"}, STORING | {"validate_stores", "draw_slide"}),
    ({"icc": "srgb"}, STORING | {"validate_stores", "draw_slide"}),
    ({"unreadable_patches": "skip"}, set()),
    ({"max_failed": 3}, set()),
    ({"validation": {"sample": 5}}, {"validate_stores"}),
    ({"benchmark": {"patches": 7}}, set()),
    ({"scratch": "/tmp"}, None),
]
"""Changes of the configuration, and the rules of a slide that each runs again: None where none of any kind is."""


def check_change(project, change, stages):
    project.config |= change
    plan = project.plan()
    if stages is None:
        assert "Nothing to be done" in plan.text
    else:
        assert plan.rules
        assert plan.rules - COHORT == stages


def test_a_changed_parameter_runs_its_stages_again(copied):
    check_change(copied, *CHANGES[0])


@pytest.mark.long
class TestSecondRuns:
    def test_moved_to_another_place_nothing_is_done_again(self, copied):
        assert "Nothing to be done" in copied.plan().text

    def test_nor_with_the_workflow_checked_out_anew(self, done, tmp_path):
        """A checkout has new times; what counts is the code, of which each rule has a digest."""
        assert "Nothing to be done" in done.plan(snakefile=checked_out(tmp_path)).text

    @pytest.mark.parametrize(
        ("module", "stages"),
        [
            ("scripts/gate.py", set()),
            ("scripts/slidemill/report/patch_pictures.py", {"draw_slide"}),
            ("scripts/slidemill/report/plots.py", set()),
            ("scripts/slidemill/stages/gather.py", set()),
            ("scripts/slidemill/stages/validate.py", {"validate_stores"}),
            ("scripts/slidemill/annotations/read.py", {"write_metadata", "draw_slide"}),
            ("scripts/slidemill/stages/store.py", STORING | {"validate_stores", "draw_slide"}),
            ("scripts/slidemill/stores/hdf5.py", {"store_patches_hdf5", "validate_stores", "draw_slide"}),
            ("scripts/slidemill/slides/patch_table.py", A_SLIDE - {"discover_slides"}),
            ("scripts/slidemill/slides/discovery.py", A_SLIDE),
        ],
    )
    def test_an_edit_runs_the_rules_again_whose_code_it_is(self, done, tmp_path, module, stages):
        """And those that come after them; the cohort's rules stand for themselves."""
        snakefile = checked_out(tmp_path)
        with (tmp_path / module).open("a") as file:
            file.write("\nCHANGED = True\n")
        assert done.plan(snakefile=snakefile).rules - COHORT == stages

    def test_a_new_slide_is_done_alone(self, copied):
        copied.add("new.svs", seed=3)
        plan = copied.plan()
        slides = {slide for _, slide in plan.jobs if slide}
        assert len(slides) == 1
        assert next(iter(slides)).startswith("new-")
        assert plan.rules == A_SLIDE | COHORT
        finished = copied.snakemake()
        assert finished.code == 0, finished.text
        assert len(rows(copied.results / "slides.csv")) == 3

    def test_a_touched_slide_is_not_done_again_and_a_changed_one_is(self, copied):
        os.utime(copied.slides / "one.svs")
        assert "Nothing to be done" in copied.plan().text
        copied.add("one.svs", seed=9)
        plan = copied.plan()
        assert {slide.split("-")[0] for _, slide in plan.jobs if slide} == {"one"}
        assert plan.rules == A_SLIDE | COHORT

    @pytest.mark.parametrize(
        ("change", "stages"),
        CHANGES[1:],
    )
    def test_each_other_parameter_does_so_too(self, copied, change, stages):
        check_change(copied, change, stages)

    def test_it_does_so_from_any_working_directory(self, copied, tmp_path):
        copied.config |= {"labels": {"map": {"Normal": 5}, "unannotated": "outside"}}
        assert "write_metadata" in copied.plan(cwd=tmp_path).rules

    def test_what_is_lost_of_a_finished_run_is_made_again(self, copied):
        """Snakemake by itself asks only for the end of the chain."""
        for made, rule in (
            ("stores/disk/one-*/manifest.json", "store_patches_disk"),
            ("metadata/one-*.csv", "write_metadata"),
            ("validation/one-*.csv", "validate_stores"),
            ("figures/montage/one-*.jpg", "draw_slide"),
            ("metadata.parquet", "gather_results"),
            ("figures/benchmark.svg", "benchmark_stores"),
        ):
            lost = next(copied.results.glob(made))
            lost.rename(copied.folder / "lost")
            rules = copied.plan().rules
            assert rule in rules
            assert "discover_slides" not in rules
            (copied.folder / "lost").rename(lost)

    def test_a_changed_annotation_is_labelled_again(self, copied):
        file = copied.annotations / "one.xml"
        file.write_text(file.read_text().replace("Benign", "Normal"))
        plan = copied.plan()
        assert plan.rules - COHORT == {"write_metadata", "draw_slide"}

    def test_another_reader_stores_again_and_samples_nothing(self, copied):
        before = {path: path.read_bytes() for path in (copied.results / "stores" / "lmdb").iterdir()}
        copied.config |= {"reader": "openslide", "stores": {"lmdb": {"encoding": "raw"}}}
        plan = copied.plan()
        assert plan.rules - COHORT == {"store_patches_lmdb", "validate_stores", "draw_slide"}
        finished = copied.snakemake("validated")
        assert finished.code == 0, finished.text
        assert {row["reader"] for row in rows(copied.results / "slides.csv")} == {"openslide"}
        assert {path: path.read_bytes() for path in before} == before

    def test_another_backend_alone_is_stored(self, copied):
        copied.config["stores"] = {"lmdb": {}}
        assert copied.snakemake().code == 0
        copied.config["stores"] = {"lmdb": {}, "hdf5": {"encoding": "jpeg"}}
        assert copied.plan().rules & STORING == {"store_patches_hdf5"}

    def test_another_quality_stores_again_where_there_is_jpeg(self, copied):
        copied.config["stores"] = {"lmdb": {}, "hdf5": {"encoding": "jpeg", "quality": 90}}
        assert copied.snakemake().code == 0
        copied.config["stores"] = {"lmdb": {}, "hdf5": {"encoding": "jpeg", "quality": 80}}
        assert copied.plan().rules - COHORT == {"store_patches_hdf5", "validate_stores"}

    def test_a_slide_that_is_taken_away_leaves_the_tables_and_its_stores_stay(self, copied):
        (copied.slides / "one.svs").unlink()
        # An annotation that fits no slide is refused, and a folder without any is no folder of annotations.
        (copied.annotations / "one.xml").unlink()
        finished = copied.snakemake()
        assert finished.code == 0, finished.text
        assert finished.rules == COHORT
        for table in ("slides.csv", "metadata.csv", "validation.csv"):
            assert not [row for row in rows(copied.results / table) if row["slide"].startswith("one-")]
        assert len(list((copied.results / "stores").glob("*/one-*"))) == 3

    def test_another_folder_of_slides_does_its_own_alone(self, copied):
        """The same content under the same names is the same; what the other folder has beside it is new."""
        other = copied.folder / "other"
        shutil.copytree(copied.slides, other, copy_function=shutil.copyfile)
        write_svs(other / "new.svs", painted(620, 530, seed=3))
        copied.config["slides"] = str(other)
        assert {slide.split("-")[0] for _, slide in copied.plan().jobs if slide} == {"new"}


@pytest.mark.long
class TestFaults:
    def test_patches_that_cannot_be_read_are_listed_and_in_no_store(self, project):
        structure = next(one for one in STRUCTURES if one.compression == "jpeg" and one.tile == (128, 128))
        for name, bad in {"whole.tif": (), "broken.tif": (4,), "ruined.tif": range(12)}.items():
            write(
                project.slides / name,
                painted(512, 384),
                structure,
                lambda number, data, bad=bad: data[:-40] + bytes(40) if number in bad else data,
            )
        project.config |= {
            "annotations": None,
            "sampling": {"patch_size": 128, "level": 0},
            "stores": {"lmdb": {"encoding": "source"}, "hdf5": {"encoding": "zstd"}},
        }
        failed = project.snakemake("validated")
        assert failed.code != 0
        assert "2 slides failed" in failed.text
        assert "report.html" not in failed.text  # none was asked for
        table = {row["path"]: row for row in rows(project.results / "slides.csv")}
        assert {path: row["status"] for path, row in table.items()} == {
            "whole.tif": "ok",
            "broken.tif": "failed",
            "ruined.tif": "failed",
        }
        assert "1 of 12 patches cannot be read" in table["broken.tif"]["message"]
        slide = table["broken.tif"]["slide"]
        listed = rows(project.results / "unreadable.csv")
        (own,) = [row for row in listed if row["slide"] == slide]
        assert (own["patch_id"], own["x0"], own["y0"]) == ("r00001_c00000", "0", "128")
        assert own["reason"]
        assert len(listed) == 13
        for store in (f"lmdb/{slide}.lmdb", f"hdf5/{slide}.h5"):
            with open_store(project.results / "stores" / store) as patches:
                assert len(patches) == 11
                assert "r00001_c00000" not in patches
        assert set(read_metadata(project.results)["slide"]) == {table["whole.tif"]["slide"]}
        project.config |= {"unreadable_patches": "skip", "max_failed": 1}
        finished = project.snakemake("validated")
        assert finished.code == 0, finished.text
        assert finished.rules == {"gather_results", "gate", "validated"}
        metadata = read_metadata(project.results)
        assert len(metadata) == 23
        assert "r00001_c00000" not in set(metadata[metadata["slide"] == slide]["patch_id"])

    def test_a_run_that_did_not_finish_tells_what_there_is(self, copied):
        before = (copied.results / "slides.csv").read_bytes()
        copied.add("new.svs", seed=3)
        copied.config["scratch"] = str(copied.folder / "not-there")
        unfinished = copied.results / "unfinished"
        finished = copied.snakemake("--retries", "0")
        assert finished.code != 0
        assert str(unfinished / "report.html") in finished.text
        assert "Traceback" not in finished.text
        assert {row["path"]: row["status"] for row in rows(unfinished / "slides.csv")} == {
            "new.svs": "unfinished",
            **{row["path"]: "ok" for row in rows(copied.results / "slides.csv")},
        }
        (new,) = [row for row in rows(unfinished / "slides.csv") if row["path"] == "new.svs"]
        assert new["stage"] == "store_patches"
        assert "scratch is" in new["message"]
        assert set(read_metadata(unfinished)["slide"]) == set(read_metadata(copied.results)["slide"])
        page = (unfinished / "report.html").read_text(encoding="utf-8")
        assert "This run did not finish" in page
        assert "The stores are measured once all of them are made" in page
        assert (copied.results / "slides.csv").read_bytes() == before
        copied.config["scratch"] = None
        assert copied.snakemake().code == 0
        assert not unfinished.exists()
        assert {row["status"] for row in rows(copied.results / "slides.csv")} == {"ok"}

    def test_what_a_killed_run_left_is_done_by_a_plain_run(self, project):
        project.add("one.svs")
        project.config |= {"stores": {"lmdb": {}}}
        run = project.start()
        while not (project.results / "slides").is_dir():
            assert run.poll() is None
        run.kill()
        run.communicate()
        finished = project.snakemake()
        assert finished.code == 0, finished.text
        assert not list(project.results.rglob("*.aside"))
        for made in ("stores/lmdb/*.lmdb", "validation/*.csv", "figures/overlay/*.jpg"):
            next(project.results.glob(made)).unlink()
            assert project.snakemake().code == 0
            assert list(project.results.glob(made))

    def test_a_damaged_store_fails_the_run_after_all_else_is_kept(self, project):
        project.add("one.svs")
        project.config |= {"stores": {"disk": {}}}
        assert project.snakemake("stores").code == 0
        victim = next((project.results / "stores" / "disk").rglob("r00001_c00001.png"))
        image = np.asarray(Image.open(victim)).copy()
        image[0, 0] ^= 255
        Image.fromarray(image).save(victim)
        finished = project.snakemake()
        assert finished.code != 0
        assert "r00001_c00001" in finished.text
        assert (project.results / "report.html").exists()
        assert any(row["status"] == "failed" for row in rows(project.results / "validation.csv"))


@pytest.mark.long
def test_slides_of_several_scanners_give_the_same_physical_patches(project):
    picture = painted(620, 530)
    write_svs(project.slides / "20x.svs", picture, scan=Scan(0.5, 20))
    write_svs(project.slides / "40x.svs", picture.repeat(2, 0).repeat(2, 1), scan=Scan(0.25, 40))
    write_svs(project.slides / "silent.svs", picture, scan=Scan(None, None))
    write_svs(project.slides / "at-odds.svs", picture, scan=Scan(0.5, 40))
    project.config |= {"annotations": None, "stores": {"lmdb": {}}, "sampling": {"patch_size": 64, "mpp": 1.0}}
    finished = project.snakemake("validated")
    assert finished.code != 0
    table = {row["path"]: row for row in rows(project.results / "slides.csv")}
    assert {path: row["status"] for path, row in table.items()} == {
        "20x.svs": "ok",
        "40x.svs": "ok",
        "silent.svs": "failed",
        "at-odds.svs": "ok",
    }
    assert "assume_mpp" in table["silent.svs"]["message"]
    assert table["at-odds.svs"]["notes"]
    metadata = read_metadata(project.results)
    squares = {
        path: [(patch.patch_id, patch.x0 * 0.25 * scale, patch.width0 * 0.25 * scale) for patch in own.itertuples()]
        for path, scale in (("20x.svs", 2), ("40x.svs", 1))
        if len(own := metadata[metadata["slide"] == table[path]["slide"]])
    }
    assert squares["20x.svs"] == squares["40x.svs"]
    assert set(metadata["mpp"]) == {1.0}
    project.config["sampling"]["assume_mpp"] = 0.5
    assert project.plan("validated").rules >= {"discover_slides"}
    mended = project.snakemake("validated")
    assert mended.code == 0, mended.text
    (silent,) = [row for row in rows(project.results / "slides.csv") if row["path"] == "silent.svs"]
    assert (silent["status"], silent["mpp_source"], silent["mpp_x"]) == ("ok", "assumed", "0.5")
    # Another filter samples and stores again, and the default one, by its name, nothing.
    project.config["sampling"]["filter"] = "area"
    assert not project.plan("validated").rules
    project.config["sampling"]["filter"] = "lanczos"
    assert project.plan("validated").rules >= {"sample_patches", "store_patches_lmdb", "validate_stores"}


class TestCopiedTiles:
    @pytest.mark.long
    def test_slides_whose_tiles_fit_are_copied_and_the_others_are_told_what_would(self, project):
        project.add("one.svs")
        write_svs(project.slides / "other.svs", painted(620, 530, 3), tile=128)
        project.config |= {
            "sampling": {"patch_size": 256},
            "stores": {"lmdb": {"encoding": "source"}, "hdf5": {"encoding": "zstd"}, "disk": {"encoding": "source"}},
        }
        finished = project.snakemake()
        assert finished.code != 0
        table = {row["path"]: row for row in rows(project.results / "slides.csv")}
        assert (table["one.svs"]["status"], table["one.svs"]["reader"]) == ("ok", "tiles")
        assert table["one.svs"]["reader_reason"] == "5 parts are as OpenSlide reads them"
        assert table["other.svs"]["status"] == "failed"
        assert "set sampling to {patch_size: 128, level: 0}" in table["other.svs"]["message"]
        assert "Traceback" not in finished.text
        slide_id = table["one.svs"]["slide"]
        with openslide.OpenSlide(project.slides / "one.svs") as slide:
            wanted = np.asarray(slide.read_region((256, 256), 0, (256, 256)).convert("RGB"))
        for path in (f"lmdb/{slide_id}.lmdb", f"hdf5/{slide_id}.h5", f"disk/{slide_id}"):
            with open_store(project.results / "stores" / path) as store:
                np.testing.assert_array_equal(store.read("r00001_c00001"), wanted)


CONFIGURATION_FAULTS = [
    ({"sampling": {"patchsize": 256}}, ["sampling.patchsize", "256", "patch_size"]),
    (
        {"sampling": {"level": 0, "deepzoom_level": 3}},
        ["deepzoom_level is 3", "level is 0", "one of the two"],
    ),
    ({"stores": {"n5": {}}}, ["stores.n5", "lmdb, hdf5, disk"]),
    ({"slides": "/nowhere/at/all"}, ["/nowhere/at/all", "name the folder"]),
    ({"slides": "."}, ["no slide found", ".svs"]),
    ({"results": "with {braces}"}, ["results", "braces"]),
]
"""Changes of the configuration, and words of the message that refuses each."""


@pytest.mark.parametrize(("change", "words"), CONFIGURATION_FAULTS[2:])
def test_a_fault_of_the_configuration_is_said_in_one_message(project, change, words):
    """The Snakefile prints what these functions say."""
    schema = yaml.safe_load((ROOT / "workflow/schemas/slides.schema.yaml").read_text(encoding="utf-8"))
    with pytest.raises(ConfigError) as refused:
        list_slides(read_config(project.config | {"annotations": None} | change, base=project.folder), schema)
    assert all(word in str(refused.value) for word in words), refused.value
    assert not project.results.exists()


@pytest.mark.long
class TestConfiguration:
    @pytest.mark.parametrize(
        ("change", "words"),
        CONFIGURATION_FAULTS[:2],
    )
    def test_a_fault_ends_in_one_message_before_any_job(self, project, change, words):
        project.config |= change
        finished = project.snakemake()
        assert finished.code == 1
        assert all(word in finished.text for word in words), finished.text
        assert "Traceback" not in finished.text
        assert 'File "' not in finished.text
        assert not project.results.exists()

    def test_a_configfile_stands_alone(self, project):
        project.add("one.svs")
        project.config = {key: project.config[key] for key in ("slides", "results")} | {
            "sampling": {"deepzoom_level": 10},
            "stores": {"hdf5": {}},
        }
        plan = project.plan()
        assert {rule for rule in plan.rules if rule.startswith("store_")} == {"store_patches_hdf5"}

    def test_config_arguments_alone_complete_the_default_file(self, project):
        project.add("one.svs")
        plan = project.plan("--config", f"slides={project.slides}", f"results={project.results}", configured=False)
        assert plan.rules == (A_SLIDE | COHORT) - {"store_patches_hdf5", "store_patches_disk", "join_hdf5"}

    def test_targets(self, project):
        project.add("one.svs")
        stores = {rule for rule in A_SLIDE if rule.startswith("store_")}
        assert project.plan("stores").rules == stores | {"discover_slides", "sample_patches", "check_space", "stores"}
        assert project.plan("validated").rules == A_SLIDE - {"draw_slide"} | {
            "check_space",
            "gather_results",
            "gate",
            "validated",
        }

    def test_a_sheet_names_the_slides_and_its_columns_travel(self, project):
        project.add("one.svs")
        project.add("two.svs", seed=2)
        sheet = project.folder / "cohort.tsv"
        sheet.write_text(
            "slide\tpath\tpatient\tannotation\tsite\n"
            "A-1\tslides/one.svs\tP7\tannotations/one.xml\tKöln\n"
            f"A-2\t{project.slides / 'two.svs'}\tP8\t\t\n",
            encoding="utf-8",
        )
        project.config |= {"slides": str(sheet), "annotations": None, "stores": {"lmdb": {}}}
        finished = project.snakemake()
        assert finished.code == 0, finished.text
        table = read_metadata(project.results)
        assert set(zip(table["slide"], table["patient"], table["site"], strict=True)) == {
            ("A-1", "P7", "Köln"),
            ("A-2", "P8", ""),
        }
        assert "Benign" in set(table[table["slide"] == "A-1"]["label_name"])
        assert (project.results / "stores" / "lmdb" / "A-1.lmdb").exists()


@pytest.mark.long
def test_a_run_over_the_real_slide(project, real_slide_file):
    project.config |= {
        "slides": str(real_slide_file.parent),
        "annotations": str(real_slide_file.parent),
        "sampling": {},
    }
    finished = project.snakemake()
    assert finished.code == 0, finished.text
    table = read_metadata(project.results)
    assert len(table) == (2220 // 256) * (2967 // 256)
    assert set(table["label_name"]) == {"Normal", "Carcinoma invasive", "Benign"}
    # "Fold", a flat ellipse, holds no patch's centre; the report names it all the same.
    assert "<b>Fold</b>" in (project.results / "report.html").read_text(encoding="utf-8")


def test_make_says_what_a_machine_lacks(tmp_path):
    """A Python that is missing or too old gets a sentence, not a trace."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "requirements.lock").touch()
    done = subprocess.run(
        ["make", "-C", str(tmp_path), "demo", "PYTHON=python-that-is-not-there"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "slidemill needs Python 3.11 or newer" in done.stdout


def test_painted_slides_are_the_same_every_time():
    np.testing.assert_array_equal(painted(200, 150), painted(200, 150))
