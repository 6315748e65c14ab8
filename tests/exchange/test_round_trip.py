"""A grid's patches to the coordinates of TRIDENT and CLAM and back: the same patches, pixel for pixel."""

import numpy as np
import pytest

from tests.exchange.test_layouts import export, run, tables
from tests.faults.conftest import Cohort

pytestmark = pytest.mark.cases

SAMPLING = {
    "level 0 with overlap": {"patch_size": 60, "overlap": 7, "level": 0},
    "a coarser level": {"patch_size": 32, "level": 1},
    "mpp": {"patch_size": 50, "mpp": 0.7},
    "magnification": {"patch_size": 48, "overlap": 5, "magnification": 10},
    "a DeepZoom level": {"patch_size": 40, "overlap": 3, "deepzoom_level": 9},
    "padded edges": {"patch_size": 60, "overlap": 7, "level": 0, "edges": "pad"},
    "padded edges, shrunk": {"patch_size": 50, "mpp": 0.7, "edges": "pad"},
}


def sample_again(cohort, folder, sampling):
    """By slide, the patches and pixels of a run at the coordinates in a folder."""
    again = Cohort(folder)
    again.config = {
        **cohort.config,
        "results": str(folder / "again"),
        "sampling": {**sampling, "coordinates": str(folder / "coordinates")},
        "tissue": {"method": "none"},
    }
    again.results = folder / "again"
    rows = again.run()
    assert {row["status"] for row in rows.values()} == {"ok"}, rows
    return tables(again.results)


@pytest.mark.long
@pytest.mark.parametrize("layout", ["trident", "clam"])
@pytest.mark.parametrize("name", SAMPLING)
def test_patches_come_back(tmp_path, layout, name):
    # Patches at the edges have little tissue.
    tissue = {"tissue": {"method": "none"}} if "edges" in SAMPLING[name] else {}
    cohort = run(tmp_path, SAMPLING[name], blank=False, size=(528, 400), **tissue)
    assert export(cohort.results, tmp_path / "coordinates", layout) == 0
    first, second = tables(cohort.results), sample_again(cohort, tmp_path, SAMPLING[name])
    assert first.keys() == second.keys() == {"a", "b"}
    for slide, (table, pixels) in first.items():
        found, others = second[slide]
        columns = ["patch_id", "x0", "y0", "width0", "height0", "level"]
        assert found[columns].equals(table[columns])
        np.testing.assert_array_equal(others, pixels)
    reaches = [(table["x0"] + table["width0"]).max() for table, _ in first.values()]
    assert any(reach > width for reach, width in zip(reaches, (528, 520), strict=True)) == ("edges" in SAMPLING[name])


@pytest.mark.parametrize(
    ("layout", "name"),
    [
        *(("trident", name) for name in ("level 0 with overlap", "a coarser level", "mpp", "magnification")),
        *(("clam", name) for name in ("level 0 with overlap", "a coarser level")),
    ],
)
def test_squares_come_back_from_the_files_alone(tmp_path, layout, name):
    """Size and resolution are those of the attributes; ids need not be the grid's, which nothing states.

    Of shrunk patches, CLAM's files have the pixels of the level, before shrinking.
    """
    cohort = run(tmp_path, SAMPLING[name], blank=False, size=(528, 400))
    assert export(cohort.results, tmp_path / "coordinates", layout) == 0
    first, second = tables(cohort.results), sample_again(cohort, tmp_path, {})
    for slide, (table, pixels) in first.items():
        found, others = second[slide]
        columns = ["x0", "y0", "width0", "height0", "level"]
        assert found[columns].equals(table[columns])
        np.testing.assert_array_equal(others, pixels)
