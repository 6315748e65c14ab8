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
}


@pytest.mark.parametrize("layout", ["trident", "clam"])
@pytest.mark.parametrize("name", SAMPLING)
def test_patches_come_back(tmp_path, layout, name):
    cohort = run(tmp_path, SAMPLING[name], blank=False, size=(528, 400))
    assert export(cohort.results, tmp_path / "coordinates", layout) == 0
    again = Cohort(tmp_path)
    again.config = {
        **cohort.config,
        "results": str(tmp_path / "again"),
        "sampling": {**SAMPLING[name], "coordinates": str(tmp_path / "coordinates")},
        "tissue": {"method": "none"},
    }
    again.results = tmp_path / "again"
    rows = again.run()
    assert {row["status"] for row in rows.values()} == {"ok"}, rows
    first, second = tables(cohort.results), tables(again.results)
    assert first.keys() == second.keys() == {"a", "b"}
    for slide, (table, pixels) in first.items():
        found, others = second[slide]
        columns = ["patch_id", "x0", "y0", "width0", "height0", "level"]
        assert found[columns].equals(table[columns])
        np.testing.assert_array_equal(others, pixels)
