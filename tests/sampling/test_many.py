"""A slide of very many patches: stages that go through its table hold a few rows of it, not all.

Each works in a process of its own, whose peak of memory is known; `benchmarks/million_patches.py` measures a million.
"""

import os
import subprocess
import sys

import pytest

from slidemill.core.columns import METADATA_COLUMNS
from slidemill.core.csv_tables import read_table, write_table
from slidemill.core.pyramid import SlideInfo
from slidemill.core.specs import GridSpec
from slidemill.report.patch_pictures import MOST_PATCHES, sample_rows
from slidemill.slides.grid import Grid
from tests.conftest import ROOT

SIDE = 400
PATCHES = SIDE * SIDE
ALLOWED_MB = 64
"""What a stage may take more than before; its rows as dictionaries are some 140."""

BEFORE = f"""
import sys
from collections import Counter
from pathlib import Path
from PIL import Image
from slidemill.core.columns import METADATA_COLUMNS, PATCH_COLUMNS
from slidemill.report.legend import Classes
from slidemill.report.overlay import draw_overlay
from slidemill.report.patch_pictures import sample_rows
from slidemill.core.specs import GridSpec
from slidemill.slides.grid import Grid
from slidemill.sampling.labelled_table import Labelling, count_names, label_blocks
from slidemill.annotations.regions import Annotation
from slidemill.slides.patch_table import patch_rows, patches_of
from slidemill.core.pyramid import SlideInfo
from slidemill.core.specs import LabelSpec
from slidemill.core.csv_tables import read_table, write_table

def peak_mb():
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024

class Every:
    def __contains__(self, _):
        return True

info = SlideInfo("aperio", (({SIDE} * 256, {SIDE} * 256),), (1.0,), None, 0.5, 0.5, 20, "ffffff")
grid = GridSpec(256, 0, level=0)
patches, labelled = Path("patches.csv"), Path("labelled.csv")
spec = LabelSpec({{"Normal": 0}}, "centre", "Normal")
draw_overlay(Image.new("RGB", (1000, 1000)), 1000, [], classes=Classes({{}}))
before = peak_mb()
"""
STAGES = {
    "sampling": "write_table(patches, PATCH_COLUMNS, patch_rows('s', info, grid))",
    "labels": "write_table(Path('other.csv'), METADATA_COLUMNS, "
    "count_names(label_blocks(read_table(patches), Labelling(Annotation(()), spec)), Counter()))",
    "gathering": "write_table(Path('all.csv'), METADATA_COLUMNS, read_table(labelled))",
    "the picture": f"draw_overlay(Image.new('RGB', (1000, 1000)), {SIDE} * 256, read_table(labelled), "
    "classes=Classes({}))",
    "the sample": "sample_rows(labelled, Every(), 1)",
}


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """Both tables of a slide of many patches."""
    folder = tmp_path_factory.mktemp("many")
    for name, added in (("patches.csv", {}), ("labelled.csv", {"label": 0, "label_name": "Normal"})):
        columns = METADATA_COLUMNS if added else [name for name in METADATA_COLUMNS if not name.startswith("label")]
        places = ((row, column) for row in range(SIDE) for column in range(SIDE))
        rows = (
            {
                "patch_id": f"r{row:05d}_c{column:05d}",
                "slide": "s",
                "column": column,
                "row": row,
                "x0": column * 256,
                "y0": row * 256,
                "width0": 256,
                "height0": 256,
                "level": 0,
                **added,
            }
            for row, column in places
        )
        write_table(folder / name, columns, rows)
    return folder


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="the peak of memory is read from /proc")
@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_holds_a_few_rows_of_many(tables, stage):
    code = f"{BEFORE}\n{STAGES[stage]}\nprint(peak_mb() - before)"
    environment = os.environ | {"PYTHONPATH": str(ROOT / "scripts")}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tables, env=environment, capture_output=True, text=True, check=True)
    assert float(done.stdout) < ALLOWED_MB, stage


def test_patches_share_what_they_have_in_common():
    """Storing holds a list of them all."""
    info = SlideInfo("x", ((1024, 1024),), (1.0,), None, None, None, None, "ffffff")
    first, second, *_ = Grid(info.pyramid, GridSpec(16, 0, level=0)).patches()
    assert first.size is second.size
    assert first.read_size is second.read_size


def labelled_table(path, labels):
    rows = ({"patch_id": f"r{n:05d}_c00000", "label": n % 3, "label_name": name} for n, name in enumerate(labels))
    write_table(path, METADATA_COLUMNS, rows)
    return [row["patch_id"] for row in read_table(path)]


def test_the_sample_is_spread_over_labels_and_of_what_is_stored_alone(tmp_path):
    path = tmp_path / "table.csv"
    ids = labelled_table(path, ["Normal"] * 900 + ["Benign"] * 90 + ["Rare"] * 3)
    stored = frozenset(ids[:-1])
    chosen = sample_rows(path, stored, 7)
    assert len(chosen) == len({row["patch_id"] for row in chosen}) == MOST_PATCHES
    assert {row["patch_id"] for row in chosen} <= stored
    counts = {name: sum(row["label_name"] == name for row in chosen) for name in ("Normal", "Benign", "Rare")}
    assert counts == {"Rare": 2, "Benign": 11, "Normal": 11}
    assert [int(row["label"]) for row in chosen] == sorted(int(row["label"]) for row in chosen)
    assert chosen == sample_rows(path, stored, 7) != sample_rows(path, stored, 8)


def test_fewer_patches_than_there_is_room_for_are_all_in_the_sample(tmp_path):
    path = tmp_path / "table.csv"
    ids = labelled_table(path, ["Normal"] * 3)
    assert {row["patch_id"] for row in sample_rows(path, frozenset(ids), 1)} == set(ids)
    assert sample_rows(path, frozenset(), 1) == []
