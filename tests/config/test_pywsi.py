"""config/pywsi.yaml against OpenSlide's DeepZoomGenerator, which py-wsi uses, and a label by each tile's corner."""

import lmdb
import numpy as np
import openslide
import pytest
import yaml
from openslide.deepzoom import DeepZoomGenerator

from slidemill.testing import write_svs
from tests.conftest import AREAS, ROOT, painted
from tests.faults.conftest import Cohort


def label_at(x, y):
    """The label of a point by the ellipses of `AREAS`, of which the last is on top."""
    for number, area in reversed(list(enumerate(AREAS, start=1))):
        left, top, right, bottom = area.box
        if ((2 * x - left - right) / (right - left)) ** 2 + ((2 * y - top - bottom) / (bottom - top)) ** 2 < 1:
            return number
    return 0


@pytest.mark.parametrize("below", [1, 2])
def test_patches_are_those_of_deepzoom_with_labels_of_their_corners(tmp_path, below):
    """Every full tile is stored unchanged, glass too, and no other."""
    cohort = Cohort(tmp_path)
    path = cohort.slides / "one.svs"
    write_svs(path, painted())
    cohort.annotate("one")
    config = yaml.safe_load((ROOT / "config" / "pywsi.yaml").read_text(encoding="utf-8"))
    folders = {name: str(getattr(cohort, name)) for name in ("slides", "annotations", "results")}
    with openslide.OpenSlide(path) as slide:
        oracle = DeepZoomGenerator(slide, 64, config["sampling"]["overlap"], config["sampling"]["limit_bounds"])
        level = oracle.level_count - below
        columns, rows = oracle.level_tiles[level]
        places = [(column, row) for row in range(rows) for column in range(columns)]
        tiles = {place: np.asarray(oracle.get_tile(level, place)) for place in places}
    expected = {place: tile for place, tile in tiles.items() if tile.shape == (64, 64, 3)}
    config["sampling"] |= {"patch_size": 64, "deepzoom_level": level}
    config["labels"]["map"] |= {area.name: number for number, area in enumerate(AREAS, start=1)}
    cohort.config = config | folders
    assert [row["status"] for row in cohort.run().values()] == ["ok"]
    table = cohort.table("metadata")
    assert {(int(row["column"]), int(row["row"])) for row in table} == set(expected)
    (stored,) = cohort.results.glob("stores/lmdb/*.lmdb")
    size = 64 * 2 ** (below - 1)
    with lmdb.open(str(stored), subdir=False, readonly=True, lock=False) as environment, environment.begin() as patches:
        for row in table:
            place = int(row["column"]), int(row["row"])
            pixels = np.frombuffer(patches.get(row["patch_id"].encode()), np.uint8).reshape(64, 64, 3)
            np.testing.assert_array_equal(pixels, expected[place])
            assert int(row["label"]) == label_at(place[0] * size, place[1] * size)
    assert cohort.table("dropped/" + table[0]["slide"]) == []
