"""The benchmark reads what it says, and its words follow from its figures."""

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slidemill.core.columns import BENCHMARK_COLUMNS, ESTIMATE_COLUMNS
from slidemill.core.specs import BenchmarkSpec
from slidemill.errors import SlidemillError
from slidemill.measuring.readers import Timed, open_readers
from slidemill.measuring.reading import LEAST, READINGS, benchmark
from slidemill.measuring.sources import Source, StoreSource, choose_blocks, choose_scattered
from slidemill.measuring.timing import Deadline
from slidemill.report._advice import advice, claim, recommendation, unmeasured
from slidemill.report.plots import benchmark_figure, plot_benchmark, read_plot
from tests.examples import examples

IDS = {"a": [f"a{n:03}" for n in range(100)], "b": ["b0", "b1"], "c": [f"c{n:03}" for n in range(50)]}


class Counting(Source):
    """Notes what is read; its files are none."""

    def __init__(self):
        super().__init__()
        self.seen = []
        self.closed = 0

    encoding = "none"

    def files(self, keys):
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
    rows = benchmark({"store": source}, CHOSEN, BenchmarkSpec(40, 2, 60.0), workers=2, seed=1, deadline=Deadline())
    # Cold, then warm; batches are read by other processes.
    blocks, scattered = ([key for key in source.seen if key in set(CHOSEN[way])] for way in ("sequential", "random"))
    assert set(source.seen) == set(CHOSEN["sequential"]) | set(CHOSEN["random"])
    assert len(source.seen) == 2 * 40 * (2 + 2)
    assert len(blocks) >= 2 * 40 * 2
    assert len(scattered) >= 2 * 40 * 2
    assert source.closed
    assert {row["note"] for row in rows if row["cache"] == "warm"} == {""}
    assert [(row["measure"], row["workers"], row["cache"]) for row in rows] == [
        (measure, workers, cache)
        for cache in ("cold", "warm")
        for measure, workers in (("sequential", 0), ("random", 0), ("batches", 1), ("batches", 2))
    ]
    assert all(row["repeats"] == 2 and float(row["low"]) <= float(row["median"]) <= float(row["high"]) for row in rows)


def test_cold_files_are_those_of_the_patches(tmp_path):
    """A folder with a file per patch may hold millions."""
    folder = tmp_path / "one"
    (folder / "within").mkdir(parents=True)
    for name in ("r00001_c00002.png", "r00001_c00003.png", "manifest.json", "within/c.0.1"):
        (folder / name).touch()
    source = StoreSource({"one": folder, "two": tmp_path / "two.lmdb"}, "png")
    found = [
        str(file.relative_to(tmp_path)) for file in source.files([("one", "r00001_c00003"), ("two", "r00001_c00002")])
    ]
    assert sorted(found) == ["one/manifest.json", "one/r00001_c00003.png", "one/within/c.0.1", "two.lmdb"]


def test_without_time_each_store_is_read_once_and_the_rest_is_said():
    """One series in random order, so that stores are compared; nothing of the slides, whose encoding is empty."""
    slides = Counting()
    slides.encoding = ""
    sources = {"slide": slides, "one": Counting(), "two": Counting()}
    rows = benchmark(sources, CHOSEN, BenchmarkSpec(40, 3, 9), workers=2, seed=1, deadline=Deadline.after(0))
    done = [row for row in rows if row["repeats"]]
    assert {(row["source"], row["measure"], row["repeats"]) for row in done} == {
        ("one", "random", 1),
        ("two", "random", 1),
    }
    assert all("1 of 3 repeats: no time was left for more" in row["note"] for row in done)
    assert not slides.seen
    assert {(row["note"], row.get("median")) for row in rows if row not in done} == {
        ("not measured: no time was left", None)
    }
    # Every series has its rows, whether it was measured or not.
    assert (
        len({(row["source"], row["measure"], row["workers"], row["cache"]) for row in rows}) == 3 * 4 * 2 == len(rows)
    )


def test_workers_are_no_more_than_batches():
    rows = benchmark({"store": Counting()}, CHOSEN, BenchmarkSpec(40, 1, 9), workers=64, seed=1, deadline=Deadline())
    assert sorted({row["workers"] for row in rows}) == [0, 1, 2]


class Clock:
    """A clock that only work moves."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@dataclass
class Costs:
    """Seconds that a source takes to open, to start a worker, and per patch from a cold and a warm cache."""

    opening: float
    starting: float
    cold: float
    warm: float


class TimedReaders:
    """Readers whose time is that of a clock."""

    def __init__(self, clock, costs, workers):
        self.clock, self.costs, self.workers, self.is_warm = clock, costs, workers, False
        clock.now += costs.opening + workers * costs.starting

    def read(self, keys, seconds):
        each = self.costs.warm if self.is_warm else self.costs.cold
        least = min(len(keys), 32 * self.workers or 1)
        done = min(max(int(seconds / each) * max(self.workers, 1), least), len(keys))
        taken = done * each / max(self.workers, 1)
        self.clock.now += taken
        return Timed(done, taken)

    def reopen(self):
        self.clock.now += self.costs.opening
        self.is_warm = True


def timed(costs, seconds, repeats=3):
    """Benchmark sources of known costs; return the rows, the seconds, and those of the longest series."""
    clock, longest = Clock(), [0.0]
    sources = {name: Counting() for name in costs}
    for name, source in sources.items():
        source.encoding = "" if name.startswith("slide") else "raw"
    names = {id(source): name for name, source in sources.items()}

    @contextmanager
    def readers(source, workers, keys):
        begun = clock.now
        yield TimedReaders(clock, costs[names[id(source)]], workers)
        longest[0] = max(longest[0], clock.now - begun)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("slidemill.measuring.reading.open_readers", readers)
        spec, begun = BenchmarkSpec(40, repeats, seconds), clock.now
        rows = benchmark(sources, MANY, spec, workers=4, seed=1, deadline=Deadline.after(seconds, clock))
    return rows, clock.now - begun, longest[0]


MANY = {"sequential": [("a", str(n)) for n in range(256)], "random": [("a", str(n)) for n in range(256)]}
USUAL = Costs(opening=0.01, starting=0.02, cold=0.001, warm=0.0005)
SLOW = Costs(opening=0.05, starting=0.02, cold=0.02, warm=0.015)


def counted(rows, **values):
    """Return how many series have these values, and the number of their repeats."""
    own = [row for row in rows if row["cache"] == "warm" and all(row[key] == value for key, value in values.items())]
    return sum(bool(row["repeats"]) for row in own), sum(row["repeats"] for row in own)


def test_with_time_every_series_has_all_its_repeats():
    rows, taken, _ = timed({"lmdb": USUAL, "hdf5": USUAL, "slide": SLOW}, 60)
    assert counted(rows) == (12, 36)
    assert taken <= 60
    assert not any("no time" in row["note"] for row in rows)


def test_with_little_time_the_most_important_series_come_first():
    """Random order, then batches by the most workers if these fit, without the slow slides first."""
    costs = {"lmdb": USUAL, "hdf5": USUAL, "slide": SLOW}
    found = {seconds: timed(costs, seconds)[0] for seconds in (0.01, 0.5, 1, 2, 6)}
    by_way = {seconds: [counted(rows, measure=way, workers=n)[0] for way, n in WAYS] for seconds, rows in found.items()}
    assert by_way[0.01] == [2, 0, 0, 0]
    assert by_way[0.5] == [3, 0, 0, 0]
    assert by_way[1] == [3, 0, 3, 0]
    assert by_way[2] == [3, 2, 3, 2]
    assert by_way[6] == [3, 3, 3, 3]
    repeats = [counted(rows)[1] for rows in found.values()]
    assert repeats == sorted(repeats)


WAYS = [("random", 0), ("batches", 4), ("sequential", 0), ("batches", 1)]
SECONDS = st.floats(0.0001, 0.3)


@examples(200)
@given(
    costs=st.dictionaries(
        st.sampled_from(["lmdb", "hdf5", "disk", "tar", "slide", "slide tiles"]),
        st.builds(Costs, opening=SECONDS, starting=SECONDS, cold=SECONDS, warm=SECONDS),
        min_size=1,
    ),
    seconds=st.floats(0, 100),
)
def test_the_deadline_is_kept_but_for_one_series(costs, seconds):
    """Whatever opening, starting and reading cost: one read of each store, and one that took longer than expected."""
    first = sum(
        2 * own.opening + 3 * READINGS * (own.cold + own.warm) for name, own in costs.items() if name[:2] != "sl"
    )
    rows, taken, longest = timed(costs, seconds)
    assert taken <= max(seconds, first + READINGS * LEAST * len(costs)) + longest
    assert all(row["repeats"] for row in rows if row["measure"] == "random" and row["encoding"])


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
    assert "3.3 times as fast as reading the slides" in advice(fast)
    assert "nothing to recommend" in recommendation([])


@pytest.mark.parametrize("rate", [950, 9000])
def test_no_store_is_needed_where_slides_are_as_fast(rate):
    rows = measured({}, {"lmdb": 1000, "slide": 100, "slide tiles": rate}, {"lmdb": 9})
    wanted = f"you need no store: reading the slides by tiles gives {rate:,} patches per second in shuffled batches"
    assert wanted in recommendation(rows)
    assert wanted.replace("you", "You") in advice(rows)


def without(rows, **values):
    """Return rows of which those with these values say that they were not measured."""
    blank = {"median": "", "low": "", "high": "", "repeats": "0", "note": "not measured: no time was left"}
    return [row | (blank if all(row[key] == value for key, value in values.items()) else {}) for row in rows]


SOME = [
    row | {"unit": row["unit"] or "patches/s", "repeats": "3"}
    for row in measured({"lmdb": 900, "hdf5": 300, "slide": 30}, {"lmdb": 400, "hdf5": 800, "slide": 90}, {"lmdb": 9})
]


def test_stores_are_compared_in_random_order_where_batches_are_missing():
    """Of one store or of all; the page says so, and names what is missing."""
    assert "train from hdf5: 800 patches per second in shuffled batches with 2 workers" in recommendation(SOME)
    assert unmeasured(SOME) == ""
    for rows in (without(SOME, measure="batches"), without(SOME, measure="batches", source="hdf5")):
        text = "train from lmdb: 900 patches per second in random order"
        assert f"{text} by one process" in recommendation(rows)
        assert f"T{text[1:]} on this machine, about 30 times as fast as reading" in advice(rows)
    assert unmeasured(without(SOME, measure="batches")) == (
        "There was no time to measure these ways of reading: batches, 2 workers; batches, 1 worker. "
        "Training reads batches, so this comparison of stores is only rough."
    )
    assert unmeasured(without(SOME, measure="batches", source="hdf5", workers="2")) == (
        "There was no time to measure these ways of reading: batches, 2 workers (hdf5). "
        "Training reads batches, so this comparison of stores is only rough."
    )


def test_slides_that_were_not_measured_are_not_compared():
    rows = without(SOME, source="slide", measure="batches")
    assert "train from hdf5" in recommendation(rows)
    assert "reading the slides" not in recommendation(rows)
    assert unmeasured(rows) == (
        "There was no time to measure these ways of reading: batches, 2 workers (slide); batches, 1 worker (slide)."
    )


def test_fewer_repeats_are_said():
    rows = [row | {"repeats": "1", "note": "1 of 3 repeats: no time was left for more"} for row in SOME]
    assert unmeasured(rows) == "There was time to measure some rates only once."


def test_the_plot_has_no_place_for_ways_without_time():
    rows = without(SOME, measure="batches")
    assert [panel.get_title() for panel in benchmark_figure(rows).axes] == ["random", "size"]
    assert [panel.get_title() for panel in benchmark_figure(without(SOME, unit="patches/s")).axes] == ["size"]


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
    plot_benchmark(measured({}, {}, {"lmdb": 10}), tmp_path / "plot.svg")
    assert read_plot(tmp_path / "plot.svg").count("<svg ") == 1


DAMAGES = {
    "cut off": lambda text: text[:-9],
    "empty": lambda text: "",
    "no box": lambda text: text.replace("viewBox", "x"),
    "another root": lambda text: text.replace("<svg ", "<sv "),
    "a hole": lambda text: text[:2000] + text[4000:],
    "zeros": lambda text: text[:2000] + "\0" * 100 + text[2100:],
    "markup after it": lambda text: text + "</div><h1>All slides failed</h1>",
    "an entity": lambda text: text.replace(" PUBLIC", ' [<!ENTITY a "b">] PUBLIC'),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_plot_is_refused(tmp_path, damage):
    path = tmp_path / "plot.svg"
    plot_benchmark(measured({}, {}, {"lmdb": 10}), path)
    path.write_text(damage(path.read_text(encoding="utf-8")), encoding="utf-8")
    with pytest.raises(SlidemillError, match=r"plot\.svg: this plot is damaged: remove it and run again"):
        read_plot(path)


class Unclosable(Counting):
    """A source that cannot be closed."""

    def close(self):
        raise OSError("cannot be closed")


def test_worker_that_cannot_close_its_source_blocks_no_other():
    with (
        pytest.raises(OSError, match="cannot be closed"),
        open_readers(Unclosable(), 2, CHOSEN["random"]) as readers,
    ):
        readers.reopen()
