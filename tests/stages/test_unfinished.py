"""Tables and report of runs that did not finish, without Snakemake."""

from pathlib import Path

import pytest

from slidemill.core.columns import BENCHMARK_COLUMNS
from slidemill.core.csv_tables import read_table, write_table
from slidemill.core.results_layout import BENCHMARK_PLOT, BENCHMARK_TABLE, embed_stage, feature_file, outcome_file
from slidemill.core.specs import FeatureSpec, GridSpec
from slidemill.report.html_report import PLOT
from slidemill.report.plots import plot_benchmark
from slidemill.report.versions import Run
from slidemill.stages.embed import EmbedJob, embed_patches
from slidemill.stages.unfinished import Work, report_unfinished
from tests.faults.conftest import Cohort


def test_unfinished_run_without_stores_waits_for_no_validation(tmp_path, monkeypatch):
    """A slide that is labelled is done; another waits for its labels."""
    cohort = Cohort(tmp_path)
    cohort.config["stores"] = {}
    cohort.add("done.svs")
    cohort.add("waiting.svs")
    slides = {path: row["slide"] for path, row in cohort.run().items()}
    monkeypatch.chdir(cohort.results)
    waiting = slides["waiting.svs"]
    unmade = {f"outcomes/write_metadata/{waiting}.json", f"metadata/{waiting}.csv", "report.html"}
    planned = {one.slide: one for one in cohort.listed}
    run = Run({"labels": {"map": {"Normal": 0}}, "stores": {}}, {"slidemill": "0"}, "", "today")
    folder = report_unfinished(unmade, Work(planned, [], False, {"Normal": 0}, run))
    table = {row["path"]: (row["status"], row["stage"]) for row in read_table(folder / "slides.csv")}
    assert table == {"done.svs": ("ok", ""), "waiting.svs": ("unfinished", "write_metadata")}
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "This run did not finish" in page
    assert "so there is nothing to validate" in page


@pytest.mark.parametrize("damaged", [False, True])
def test_unfinished_run_shows_the_plot_that_it_has(tmp_path, monkeypatch, damaged):
    """A plot that is damaged is left out: it is not worth the tables."""
    cohort = Cohort(tmp_path)
    cohort.add("done.svs")
    cohort.run()
    monkeypatch.chdir(cohort.results)
    row = {"source": "lmdb", "encoding": "raw", "measure": "bytes", "unit": "bytes", "median": "9"}
    write_table(Path(BENCHMARK_TABLE), BENCHMARK_COLUMNS, [row])
    plot_benchmark(list(read_table(Path(BENCHMARK_TABLE))), Path(BENCHMARK_PLOT))
    if damaged:
        Path(BENCHMARK_PLOT).write_text("<svg", encoding="utf-8")
    planned = {one.slide: one for one in cohort.listed}
    run = Run({"labels": {"map": {"Normal": 0}}}, {"slidemill": "0"}, "", "today")
    folder = report_unfinished({"report.html"}, Work(planned, ["lmdb"], False, {"Normal": 0}, run))
    assert (PLOT in (folder / "report.html").read_text(encoding="utf-8")) != damaged


def test_unfinished_run_waits_for_each_model(tmp_path, monkeypatch):
    """A slide that a model has embedded is done; another waits for its features, and the table has those that are."""
    pytest.importorskip("torch")
    cohort = Cohort(tmp_path)
    cohort.config |= {"stores": {}, "sampling": {"patch_size": 64, "level": 0}}
    cohort.add("done.svs")
    cohort.add("waiting.svs")
    slides = {path: row["slide"] for path, row in cohort.run().items()}
    monkeypatch.chdir(cohort.results)
    done, waiting = slides["done.svs"], slides["waiting.svs"]
    embed_patches(
        EmbedJob(
            root=cohort.checked.root,
            patches=Path(f"patches/{done}.csv"),
            found=Path(f"outcomes/sample_patches/{done}.json"),
            name="mean",
            spec=FeatureSpec("tests.features.tiny:mean"),
            grid=GridSpec(64, level=0),
            features=Path(feature_file("mean", done)),
            outcome=Path(outcome_file(embed_stage("mean"), done)),
            device="cpu",
        )
    )
    unmade = {feature_file("mean", waiting), outcome_file(embed_stage("mean"), waiting), "features.csv", "report.html"}
    planned = {one.slide: one for one in cohort.listed}
    run = Run({"labels": {"map": {"Normal": 0}}, "stores": {}}, {"slidemill": "0"}, "", "today")
    folder = report_unfinished(unmade, Work(planned, [], False, {"Normal": 0}, run, {}, ["mean"]))
    table = {row["path"]: (row["status"], row["stage"]) for row in read_table(folder / "slides.csv")}
    assert table == {"done.svs": ("ok", ""), "waiting.svs": ("unfinished", "embed_patches")}
    assert [(row["slide"], row["name"]) for row in read_table(folder / "features.csv")] == [(done, "mean")]
