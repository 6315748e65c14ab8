"""The benchmark reads what it says, and its words follow from its figures."""

from contextlib import ExitStack

import numpy as np
import pytest

from slidemill.core.columns import BENCHMARK_COLUMNS, ESTIMATE_COLUMNS
from slidemill.core.specs import BenchmarkSpec
from slidemill.measuring.reading import benchmark
from slidemill.measuring.sources import Source, choose_blocks, choose_scattered
from slidemill.report._advice import advice, claim, recommendation
from slidemill.report.plots import plot_benchmark

IDS = {"a": [f"a{n:03}" for n in range(100)], "b": ["b0", "b1"], "c": [f"c{n:03}" for n in range(50)]}


class Counting(Source):
    """Notes what is read; its files are none."""

    def __init__(self):
        super().__init__()
        self.seen = []
        self.closed = 0

    encoding = "none"

    def files(self):
        yield from ()

    def _reader(self, slide, stack: ExitStack):
        stack.callback(self._count)
        return lambda patch_id: self.seen.append((slide, patch_id)) or np.zeros((2, 2, 3), np.uint8)

    def _count(self):
        self.closed += 1


@pytest.mark.parametrize("count", [1, 2, 7, 60, 152, 1000])
def test_the_sample_is_runs_of_neighbours_and_no_patch_twice(count):
    keys = choose_blocks(IDS, count, seed=4)
    assert len(keys) == len(set(keys)) == min(count, 152)
    for slide, ids in IDS.items():
        places = [ids.index(patch_id) for own, patch_id in keys if own == slide]
        assert places == list(range(places[0], places[0] + len(places))) if places else True
    assert keys == choose_blocks(IDS, count, seed=4)


CHOSEN = {"sequential": choose_blocks(IDS, 40, seed=1), "random": choose_scattered(IDS, 40, seed=2)}


def test_scattered_patches_are_of_all_slides_and_none_twice():
    keys = choose_scattered(IDS, 152, seed=3)
    assert sorted(keys) == sorted((slide, patch_id) for slide, ids in IDS.items() for patch_id in ids)
    assert keys != sorted(keys)
    assert len(choose_scattered(IDS, 10, seed=3)) == 10


def test_every_way_reads_every_patch_of_its_sample():
    source = Counting()
    rows = benchmark({"store": source}, CHOSEN, BenchmarkSpec(40, 2, 60.0), workers=2, seed=1)
    # Cold, then read before the warm ones, warm; batches are warmed and read by other processes.
    blocks, scattered = ([key for key in source.seen if key in set(CHOSEN[way])] for way in ("sequential", "random"))
    assert set(source.seen) == set(CHOSEN["sequential"]) | set(CHOSEN["random"])
    assert len(source.seen) == 2 * 40 * (3 + 3)
    assert len(blocks) >= 2 * 40 * 3
    assert len(scattered) >= 2 * 40 * 3
    assert source.closed
    assert {row["note"] for row in rows if row["cache"] == "warm"} == {""}
    assert [(row["measure"], row["workers"], row["cache"]) for row in rows] == [
        (measure, workers, cache)
        for cache in ("cold", "warm")
        for measure, workers in (("sequential", 0), ("random", 0), ("batches", 1), ("batches", 2))
    ]
    assert all(row["repeats"] == 2 and float(row["low"]) <= float(row["median"]) <= float(row["high"]) for row in rows)


def test_the_time_limit_ends_reading_early_and_says_so():
    rows = benchmark({"store": Counting()}, CHOSEN, BenchmarkSpec(40, 1, 1e-9), workers=1, seed=1)
    assert all(float(row["median"]) > 0 for row in rows)
    assert any("1 patch read in its share of the time" in row["note"] for row in rows)
    # A whole batch, warm as cold: part of one would take as long to hand out, and look slower.
    notes = {(row["cache"], row["note"]) for row in rows if row["measure"] == "batches"}
    assert notes == {(cache, "32 patches read in its share of the time") for cache in ("cold", "warm")}


def _rates(rate):
    return {"median": str(rate), "low": str(rate * 0.98), "high": str(rate * 1.02)}


def measured(random_rates, batch_rates, sizes):
    blank = dict.fromkeys(BENCHMARK_COLUMNS, "")
    rows = []
    for source, rate in random_rates.items():
        rows.append(blank | {"source": source, "measure": "random", "workers": "0", "cache": "warm", **_rates(rate)})
    for source, rate in batch_rates.items():
        rows.append(blank | {"source": source, "measure": "batches", "workers": "2", "cache": "warm", **_rates(rate)})
        rows.append(blank | {"source": source, "measure": "batches", "workers": "1", "cache": "warm", **_rates(1)})
    for source, size in sizes.items():
        rows.append(blank | {"source": source, "measure": "bytes", "unit": "bytes", "median": str(size)})
    return rows


def test_the_fastest_is_recommended_and_among_equals_the_smallest():
    fast = measured({}, {"lmdb": 1000, "hdf5": 500, "slide": 100, "slide tiles": 300}, {"lmdb": 9, "hdf5": 1})
    assert "train from lmdb: 1,000 patches per second" in recommendation(fast)
    alike = measured({}, {"lmdb": 1000, "hdf5": 950}, {"lmdb": 9, "hdf5": 1})
    assert "train from hdf5: 950 patches" in recommendation(alike)
    assert (
        "lmdb is as fast within the spread of the measurements; hdf5 takes the least space of the two."
        in recommendation(alike)
    )
    assert "as fast within the spread" not in recommendation(fast)
    assert "give 300 by their tiles, and 100 by OpenSlide, so a store is about 3.3 times as fast" in recommendation(
        fast
    )
    assert "3.3 times as fast as straight from the slides" in advice(fast)
    assert "nothing to recommend" in recommendation([])


@pytest.mark.parametrize("rate", [950, 9000])
def test_no_store_is_needed_where_slides_are_as_fast(rate):
    rows = measured({}, {"lmdb": 1000, "slide": 100, "slide tiles": rate}, {"lmdb": 9})
    wanted = f"you need no store: straight from the slides, tiles, come {rate:,} patches per second in shuffled batches"
    assert wanted in recommendation(rows)
    assert wanted.replace("you", "You") in advice(rows)


@pytest.mark.parametrize(
    ("lmdb", "hdf5", "verdict"), [(200, 100, "is true"), (100, 200, "is not true"), (100, 102, "cannot be decided")]
)
def test_the_claim_is_judged_by_the_figures(lmdb, hdf5, verdict):
    assert verdict in claim(measured({"lmdb": lmdb, "hdf5": hdf5, "slide": 9999}, {}, {}))


def test_the_claim_needs_two_stores():
    assert "is known once" in claim(measured({"lmdb": 1}, {}, {}))


def tried(**rates):
    return [
        dict.fromkeys(ESTIMATE_COLUMNS, "") | {"backend": name, "encoding": "raw", "random": str(rate), "sample": "64"}
        for name, rate in rates.items()
    ]


@pytest.mark.parametrize(("hdf5", "verdict"), [(100, "is true"), (400, "is not true"), (205, "cannot be decided")])
def test_the_claim_is_judged_by_candidates_of_a_run_with_one_store(hdf5, verdict):
    text = claim(measured({"lmdb": 9999}, {}, {}), tried(lmdb=200, hdf5=hdf5, disk=50))
    assert f"{verdict}: on a sample of 64 patches, in random order" in text
    assert "200 patches per second from lmdb (raw)" in text


def test_the_claim_prefers_several_stores_to_candidates():
    text = claim(measured({"lmdb": 200, "hdf5": 100}, {}, {}), tried(lmdb=1, hdf5=1000))
    assert "is true" in text
    assert "sample" not in text


def test_a_plot_without_measurements_is_a_plot(tmp_path):
    plot_benchmark(measured({}, {}, {"lmdb": 10}), tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
