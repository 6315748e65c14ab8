"""The benchmark of a run: the stores that were written, and the candidates on a sample."""

import pytest

from slidemill.core.columns import SLIDE_COLUMNS, STORE_COLUMNS
from slidemill.core.csv_tables import read_cohort_table, read_table, write_table
from slidemill.core.results_layout import store_path
from slidemill.core.specs import BenchmarkSpec, StoreSpec
from slidemill.errors import SlidemillError
from slidemill.report._advice import claim, recommendation, unmeasured
from slidemill.stages.benchmark import (
    BenchmarkJob,
    EstimateJob,
    Measuring,
    benchmark_stores,
    estimate_stores,
    time_limit,
)
from tests.measuring.conftest import GRID, sampled

ZSTD = {"lmdb": StoreSpec("zstd")}


@pytest.fixture
def made(tmp_path, monkeypatch):
    found = sampled(tmp_path)
    monkeypatch.chdir(found.results)
    return found


def measuring(made, stores, patches=8):
    spec = BenchmarkSpec(patches, 1, 60)
    return Measuring(root=made.slides, stores=stores, grid=GRID, spec=spec, seed=0, checked=4, cores=2)


@pytest.mark.parametrize(("storing", "allowed"), [(0, 5), (49, 5), (100, 10), (1000, 100), (10_000, 120)])
def test_a_benchmark_takes_a_tenth_of_storing_and_five_seconds_in_any_case(storing, allowed):
    assert time_limit(BenchmarkSpec(1, 1, 120), storing) == allowed
    assert time_limit(BenchmarkSpec(1, 1, 2), storing) == 2


def run_benchmark(made):
    """Write LMDBs of all slides, measure them, and return the rows of both tables."""
    rows = []
    for slide in made.ids:
        path = made.results / store_path("lmdb", slide)
        path.parent.mkdir(parents=True, exist_ok=True)
        made.store("lmdb", ZSTD["lmdb"], slide, path)
        size = {"bytes": path.stat().st_size, "files": 1, "seconds": 1, "peak_mb": 100}
        rows.append({"slide": slide, "backend": "lmdb", "encoding": "zstd", **size})
    status = dict.fromkeys(made.ids, "ok") | {made.ids[-1]: "empty"}
    write_table(made.results / "slides.csv", SLIDE_COLUMNS, [{"slide": own, "status": status[own]} for own in made.ids])
    write_table(made.results / "stores.csv", STORE_COLUMNS, rows)
    names = ("slides.csv", "stores.csv", "benchmark.csv", "plot.png", "candidates.csv")
    benchmark_stores(BenchmarkJob(measuring(made, ZSTD), *(made.results / name for name in names)))
    assert (made.results / "plot.png").stat().st_size
    assert not list(made.results.glob(".*"))
    return (list(read_table(made.results / name)) for name in ("benchmark.csv", "candidates.csv"))


@pytest.mark.long
def test_one_store_is_compared_with_candidates(made, monkeypatch):
    monkeypatch.setattr("slidemill.stages.benchmark.LEAST_SECONDS", 60.0)  # enough on a busy machine
    measured, tried = run_benchmark(made)
    assert {row["source"] for row in measured} == {"lmdb", "slide", "slide tiles"}
    # 16 of pixels, the slides' tiles in LMDB and HDF5, and the slides themselves.
    assert len(tried) == 19
    assert [(row["encoding"], row["space"], row["write"]) for row in tried if row["backend"] == "slides"] == [
        ("tiles", "0", "")
    ]
    assert [row["backend"] for row in tried if row["configured"]] == ["lmdb"]
    assert all(row["random"] for row in tried if row["encoding"] == "raw")
    assert "on a sample of 8 patches" in claim(measured, tried)
    assert unmeasured(measured) == ""


@pytest.mark.long
def test_without_time_the_tables_say_what_is_missing(made, monkeypatch):
    """The store is read once in random order, and the first candidate is written, both on few patches."""
    monkeypatch.setattr("slidemill.stages.benchmark.LEAST_SECONDS", 0.0)
    monkeypatch.setattr("slidemill.stages.benchmark.MOST_OF_STORING", 0.0)
    measured, tried = run_benchmark(made)
    rates = [row for row in measured if row["unit"] == "patches/s"]
    assert {(row["source"], row["measure"]) for row in rates if row["median"]} == {("lmdb", "random")}
    assert {row["note"] for row in rates if not row["median"]} == {"not measured: no time was left"}
    assert "these ways of reading: sequential; random (slide tiles, slide);" in unmeasured(measured)
    assert "train from lmdb (zstd)" in recommendation(measured)
    assert [row["backend"] for row in tried if row["patch_bytes"]] == ["lmdb"]
    assert {row["note"] for row in tried[1:]} == {"not measured: no time was left"}


@pytest.mark.long
def test_an_estimate_is_sealed_and_needs_no_stores(made):
    table = made.results / "estimate.csv"
    estimate_stores(EstimateJob(measuring(made, {}), made.outcomes, table, made.results / "estimate.seal.json"))
    rows = list(read_cohort_table(table))
    assert {(row["patches"], row["slides"]) for row in rows} == {("264", "3")}
    assert [row["recommended"] for row in rows].count("yes") == 1
    table.write_text(table.read_text().replace("264", "265"))
    with pytest.raises(SlidemillError, match="is not what was written"):
        list(read_cohort_table(table))


def test_an_estimate_without_patches_has_rows_that_say_so(made):
    own = [path for path in made.outcomes if path.stem == made.ids[-1]]
    table = made.results / "estimate.csv"
    estimate_stores(EstimateJob(measuring(made, {}), own, table, made.results / "estimate.seal.json"))
    assert {(row["patches"], row["sample"]) for row in read_cohort_table(table)} == {("0", "0")}
