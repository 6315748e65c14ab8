"""Exported folders in the readers of other programs, each in an environment that `make peers` makes.

What each program of the package index reads of slidemill's files, by its version of November 2026:

- slideflow 3.0.2: TFRecords and bags; read here. Not all that it requires can be built, so that only the imports of
  its readers are installed.
- lazyslide 0.13 with wsidata 0.12: GeoJSON of patches, as annotations; read here. Their tiles and features are in a
  SpatialData store of their own, which nothing exports.
- geopandas: GeoJSON of patches and outlines; read here as TRIDENT does, which the index lacks, as it lacks CLAM and
  QuPath. Their layouts are compared dataset by dataset in `test_layouts.py` and `test_exported_features.py`.
- webdataset: tar stores and exported tar files; it is among the test's requirements, see `stores/test_tar.py` and
  `datasets/test_export.py`.
- zarr: Zarr stores; among the test's requirements, see `stores/test_zarr.py`.
- hs2p 6.1 and slide2vec 7.1, which reads tilings of hs2p: only their own coordinates, ``<id>.coordinates.npz`` with
  ``<id>.coordinates.meta.json``; no layout of slidemill has them, so there is nothing to read.
"""

import io
import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import ROOT
from tests.exchange.test_exported_features import embed, rows_of
from tests.exchange.test_layouts import export, run, tables

pytestmark = pytest.mark.long
PEERS = Path(os.environ.get("SLIDEMILL_PEERS", ROOT / ".venv-peers"))

SLIDEFLOW = """
import json, sys
from slideflow.tfrecord.reader import TFRecord
found = TFRecord(sys.argv[1], create_index=False)
rows = [[one["slide"], int(one["loc_x"]), int(one["loc_y"]), one["image_raw"].hex()] for one in found]
print(json.dumps([rows, [[int(x), int(y)] for x, y in found.locations]]))
"""

BAGS = """
import json, sys
from slideflow.mil.data import BagDataset
from slideflow.mil.features import MILFeatures
from slideflow.util import is_tile_size_compatible, load_json
reader = MILFeatures.__new__(MILFeatures)
bags = sorted(MILFeatures._find_bags(reader, sys.argv[1], None, ["a", "b"]).tolist())
places = MILFeatures._get_bag_locations(reader, bags)
config = load_json(sys.argv[1] + "/bags_config.json")
assert is_tile_size_compatible(config["tile_px"], config["tile_um"], 50, 35)
values = [[bag.tolist(), length, str(bag.dtype)] for bag, length in (BagDataset(bags)[n] for n in range(len(bags)))]
print(json.dumps([values, {name: own.tolist() for name, own in places.items()}]))
"""

GEOPANDAS = """
import json, sys, geopandas
found = geopandas.read_file(sys.argv[1])
values = found.drop(columns="geometry").to_dict("list")
print(json.dumps([list(found.columns), found.geometry.bounds.values.tolist(), values]))
"""


LAZYSLIDE = """
import json, sys, lazyslide, wsidata
wsi = wsidata.open_wsi(sys.argv[2], store=None)
lazyslide.io.load_annotations(wsi, sys.argv[1], in_bounds=True)
found = wsi.shapes["annotations"]
names = [found[column].tolist() for column in ("name", "classification_name")]
print(json.dumps([found.geometry.bounds.values.tolist(), *names]))
"""


def peer(name, code, *paths):
    """Run code with paths in the environment of a peer, and return the JSON that it prints last."""
    python = PEERS / name / "bin" / "python"
    if not python.exists():
        pytest.skip(f"{name} is not installed in {PEERS}: make peers")
    done = subprocess.run([str(python), "-W", "ignore", "-c", code, *map(str, paths)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return run(tmp_path_factory.mktemp("made"), {"patch_size": 50, "mpp": 0.7}).results


def test_slideflow_reads_its_records(made, tmp_path):
    pytest.importorskip("google_crc32c")
    assert export(made, tmp_path / "out", "slideflow") == 0
    for name, (table, pixels) in tables(made).items():
        rows, locations = peer("slideflow", SLIDEFLOW, tmp_path / f"out/50px_35um/{name}.tfrecords")
        centres = (table[["x0", "y0"]] + 35).to_numpy().tolist()
        assert locations == centres
        assert [row[:3] for row in rows] == [[name, x, y] for x, y in centres]
        for row, wanted in zip(rows, pixels, strict=True):
            with Image.open(io.BytesIO(bytes.fromhex(row[3]))) as image:
                np.testing.assert_array_equal(np.asarray(image), wanted)


def test_slideflow_reads_bags(made, tmp_path):
    """Its data set of bags loads the tensors, and it finds where their patches are."""
    pytest.importorskip("google_crc32c")
    pytest.importorskip("torch")
    own = shutil.copytree(made, tmp_path / "own")
    embed(own, "mine", dim=5)
    assert export(own, tmp_path / "out", "slideflow") == 0
    values, places = peer("slideflow", BAGS, tmp_path / "out/50px_35um/bags_mine")
    for (rows, length, dtype), (name, (table, _)) in zip(values, tables(own).items(), strict=True):
        assert (length, dtype) == (len(table), "torch.float32")
        assert rows == rows_of(table, 5).tolist()
        assert places[name] == (table[["x0", "y0"]] + 35).to_numpy().tolist()


def test_geopandas_reads_patches_as_lazyslide_does(made, tmp_path):
    assert export(made, tmp_path / "out", "geojson", "--columns", "tissue_fraction") == 0
    for name, (table, _) in tables(made).items():
        columns, bounds, values = peer("geopandas", GEOPANDAS, tmp_path / f"out/{name}.geojson")
        assert {"objectType", "name", "classification", "measurements"} < set(columns)
        corners = table[["x0", "y0"]].to_numpy()
        assert bounds == np.hstack([corners, corners + 70]).astype(float).tolist()
        assert values["name"] == table["patch_id"].tolist()


def test_lazyslide_reads_patches_as_annotations(made, tmp_path):
    assert export(made, tmp_path / "out", "geojson") == 0
    for name, (table, _) in tables(made).items():
        slide = made.parent / f"slides/{name}.svs"
        bounds, names, labels = peer("lazyslide", LAZYSLIDE, tmp_path / f"out/{name}.geojson", slide)
        corners = table[["x0", "y0"]].to_numpy()
        assert bounds == np.hstack([corners, corners + 70]).astype(float).tolist()
        assert (names, labels) == (table["patch_id"].tolist(), table["label_name"].tolist())


def test_geopandas_reads_outlines_as_trident_does(made, tmp_path):
    assert export(made, tmp_path / "out", "trident") == 0
    for name, size in (("a", (1040, 784)), ("b", (520, 640))):
        _, bounds, values = peer("geopandas", GEOPANDAS, tmp_path / f"out/contours_geojson/{name}.geojson")
        assert values["tissue_id"] == list(range(len(bounds))) != []
        assert np.max(bounds, axis=0)[2:].tolist() <= list(size)
