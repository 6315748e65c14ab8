"""The estimate of bytes against the stores that are then written."""

import math
import shutil

import pytest

from slidemill.config._store_model import FileStore, Store, ZarrStore
from slidemill.core.results_layout import SUFFIXES
from slidemill.core.specs import GridSpec, StoreSpec
from slidemill.measuring.bench import Bench, standard_error
from slidemill.measuring.candidates import Candidate, list_candidates
from slidemill.measuring.projection import Circumstances, estimate_rows
from slidemill.measuring.sample import SampleSpec, read_sample
from slidemill.measuring.sample_stores import measure_candidates
from slidemill.measuring.timing import Deadline
from slidemill.testing import write_svs
from tests.conftest import painted
from tests.measuring.conftest import GRID, sampled

pytestmark = pytest.mark.cases

NOW = Circumstances(cores=2, threads=1, job_start=1.0, checked=0, free=10**12)


def weighed(cohort, folder, backend, encoding, count=10_000):
    """Write a candidate on a sample, and return what was measured."""
    sample = read_sample(cohort, SampleSpec(count, 1))
    candidates = [
        one for one in list_candidates({}, copies=SUFFIXES) if (one.backend, one.spec.encoding) == (backend, encoding)
    ]
    bench = Bench(folder / "measured", 1, 2, cohort.grid.patch_size)
    (found,) = measure_candidates(sample, candidates, bench, is_read=False, is_partial=True)
    assert not (folder / "measured").exists()
    return found


def estimated(cohort, folder, candidates, **limits):
    """Measure candidates on a sample, and return their rows."""
    sample = read_sample(cohort, SampleSpec(64, 1))
    bench = Bench(folder / "measured", 1, 2, cohort.grid.patch_size, **limits)
    return estimate_rows(cohort, sample, measure_candidates(sample, candidates, bench), NOW)


def written(sampled_slides, tmp_path, backend, spec, grid=GRID):
    """The bytes of the stores of all slides."""
    total = 0
    for slide in sampled_slides.ids:
        path = tmp_path / f"{slide}{SUFFIXES[backend]}"
        sampled_slides.store(backend, spec, slide, path, grid)
        files = list(path.iterdir()) if path.is_dir() else [path]
        total += sum(file.stat().st_size for file in files)
    return total


def test_candidates_are_what_the_configuration_allows():
    found = {(one.backend, one.spec.encoding) for one in list_candidates({}, copies=SUFFIXES)}
    models = {"lmdb": Store, "hdf5": Store, "disk": FileStore, "tar": FileStore, "zarr": ZarrStore}
    allowed = {
        (backend, encoding)
        for backend, model in models.items()
        for encoding in model.model_fields["encoding"].annotation.__args__
    }
    assert found == allowed
    assert {backend for backend, _ in allowed} == set(SUFFIXES)


def test_configured_candidates_come_first_and_once():
    own = {"disk": StoreSpec("jpeg", 75), "lmdb": StoreSpec("zstd")}
    found = list_candidates(own, copies=())
    assert [(one.backend, one.spec) for one in found[:2]] == list(own.items())
    assert [one.is_configured for one in found] == [True, True, *[False] * (len(found) - 2)]
    assert len({(one.backend, one.spec.encoding) for one in found}) == len(found)
    assert "source" not in {one.spec.encoding for one in found}


@pytest.mark.parametrize("backend", SUFFIXES)
def test_bytes_of_raw_stores_are_exact(small_cohort, tmp_path, backend):
    """Within one page per slide, whichever patches are sampled."""
    one = weighed(small_cohort.cohort(), tmp_path, backend, "raw", count=40)
    found = written(small_cohort, tmp_path, backend, StoreSpec("raw"))
    assert one.bytes_of(3, 264) == pytest.approx(found, abs=4096 * len(small_cohort.ids))
    assert one.margin == 0


@pytest.mark.parametrize("encoding", ["zstd", "png", "jpeg"])
def test_bytes_of_encoded_stores_are_estimated_from_a_sample(small_cohort, tmp_path, encoding):
    one = weighed(small_cohort.cohort(), tmp_path, "lmdb", encoding, count=128)
    found = written(small_cohort, tmp_path, "lmdb", one.candidate.spec)
    assert one.bytes_of(3, 264) == pytest.approx(found, rel=0.1)
    assert 0 < one.margin < 0.2


def test_bytes_of_copied_tiles_are_estimated_where_grid_and_tiles_agree(tmp_path):
    grid = GridSpec(128, level=0)
    made = sampled(tmp_path, grid, pictures=((1030, 777, 2),), tile=128)
    one = weighed(made.cohort(grid), tmp_path, "tar", "source")
    found = written(made, tmp_path, "tar", StoreSpec("source"), grid)
    assert one.bytes_of(1, 48) == pytest.approx(found, rel=0.01)


def test_copied_tiles_are_no_candidate_elsewhere(small_cohort, tmp_path):
    (row,) = estimated(small_cohort.cohort(), tmp_path, [Candidate("tar", StoreSpec("source"), True)])
    assert row["sample"] == 0
    assert row["note"].startswith("not possible: encoding source needs patches that are the slide's tiles in this ")


GRIDS = {
    "smaller": GridSpec(64, level=0),
    "larger, overlapping": GridSpec(300, 60, level=0),
    "tile size, padded": GridSpec(240, level=0, edges="pad"),
}


@pytest.mark.long
@pytest.mark.parametrize("backend", ["lmdb", "hdf5"])
@pytest.mark.parametrize("grid", GRIDS)
def test_bytes_of_cut_patches_follow_from_the_slides_tiles(tmp_path, grid, backend):
    """A tenth of the patches is sampled; the tiles that all of them touch are counted."""
    spec = GRIDS[grid]
    made = sampled(tmp_path, spec, pictures=((3100, 2300, 1), (1030, 777, 2), (200, 40, 3)))
    cohort = made.cohort(spec)
    one = weighed(cohort, tmp_path, backend, "source", count=max(cohort.patches // 10, 2))
    found = written(made, tmp_path, backend, StoreSpec("source"), spec)
    assert one.bytes_of(len(cohort.slides) + cohort.others, cohort.patches) == pytest.approx(found, rel=0.1)


@pytest.mark.long
def test_cut_patches_are_written_and_read(small_cohort, tmp_path):
    rows = estimated(
        small_cohort.cohort(), tmp_path, [Candidate(own, StoreSpec("source"), True) for own in ("lmdb", "hdf5")]
    )
    for row in rows:
        assert (row["sample"], row["note"], row["margin"]) == (64, "", "0")
        assert all(float(row[name]) > 0 for name in ("write", "random", "batches", "hours", "seconds"))


def test_cut_patches_are_no_candidate_where_tiles_are_not_read(small_cohort, tmp_path):
    sample = read_sample(small_cohort.cohort(), SampleSpec(64, 1, reader="openslide"))
    (found,) = measure_candidates(
        sample, [Candidate("lmdb", StoreSpec("source"), True)], Bench(tmp_path / "measured", 1, 1, 64), is_read=False
    )
    (row,) = estimate_rows(small_cohort.cohort(), sample, [found], NOW)
    assert (row["sample"], row["note"]) == (0, "not possible: reader does not allow it")


@pytest.mark.long
def test_cohort_of_tiles_and_cut_patches_is_estimated_from_both(tmp_path):
    grid = GridSpec(128, level=0)
    made = sampled(tmp_path, grid, pictures=((2060, 1530, 1), (1030, 777, 2)), tile=(240, 128))
    cohort = made.cohort(grid)
    one = weighed(cohort, tmp_path, "lmdb", "source")
    found = written(made, tmp_path, "lmdb", StoreSpec("source"), grid)
    assert (one.patches, one.margin) == (cohort.patches, pytest.approx(0, abs=0.05))
    assert one.bytes_of(2, cohort.patches) == pytest.approx(found, rel=0.1)


def test_tiles_of_the_slides_that_allow_it_are_weighed(tmp_path):
    """So that the free space is checked for a cohort of which some slides fail."""
    grid = GridSpec(128, level=0)
    made = sampled(tmp_path, grid, pictures=((620, 530, 1), (1030, 777, 2)), tile=128)
    write_svs(made.slides / "s0.svs", painted(620, 530, 1), downsamples=(1,), tile=240)
    sample = read_sample(made.cohort(grid), SampleSpec(100, 1))
    assert sample.no_copies
    assert {slide[:2] for slide in sample.copied_slides} == {"s1"}
    assert len(sample.copies) == len(sample.copied_slides) == 48
    found = weighed(made.cohort(grid), tmp_path, "tar", "source")
    assert found.patches == 48


def test_candidates_without_time_are_named(small_cohort, tmp_path):
    first, *rest = estimated(small_cohort.cohort(), tmp_path, list_candidates({}, copies=()), deadline=Deadline(0))
    assert first["sample"] == 64
    assert {row["note"] for row in rest} == {"not measured: no time was left"}


@pytest.mark.long
def test_a_candidate_is_written_and_read(small_cohort, tmp_path):
    rows = estimated(
        small_cohort.cohort(), tmp_path, [Candidate("lmdb", StoreSpec("raw")), Candidate("disk", StoreSpec("png"))]
    )
    for row in rows:
        assert all(float(row[name]) > 0 for name in ("write", "random", "batches", "hours", "seconds"))
    assert sorted(row["recommended"] for row in rows) == ["", "yes"]


def test_slides_that_cannot_be_read_are_left_out(tmp_path):
    made = sampled(tmp_path)
    shutil.move(made.slides / "s0.svs", made.slides / "gone")
    sample = read_sample(made.cohort(), SampleSpec(100, 1))
    assert {slide[:2] for slide in sample.slides} == {"s1"}
    assert len(sample.pixels) < sample.wanted
    assert sample.no_copies


def test_time_limit_ends_reading_after_a_slide(small_cohort):
    sample = read_sample(small_cohort.cohort(), SampleSpec(100, 1, seconds=0))
    assert len(set(sample.slides)) == 1


def test_neighbours_cost_what_a_whole_slide_costs(small_cohort):
    """The work of a small square counts the tiles that its patches do not share with each other."""
    sample = read_sample(small_cohort.cohort(), SampleSpec(1000, 1))
    assert sample.reading.work > 0
    assert sample.opening.work == 1


def test_standard_error_compares_slides_where_there_are_many():
    alike = [100, 100, 200, 200] * 8
    assert standard_error(alike, ["a"] * 32) == pytest.approx(50 * math.sqrt(32 / 31) / math.sqrt(32))
    by_slide = [f"s{place // 2}" for place in range(32)]
    assert standard_error(alike, by_slide) == pytest.approx(50 * math.sqrt(16 / 15) / 4)
    assert standard_error([5], ["a"]) == 0
