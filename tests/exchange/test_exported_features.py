"""`slidemill export --layout` with features, as TRIDENT, CLAM and slideflow have them: each row is its patch's."""

import json
import shutil
from dataclasses import replace

import h5py
import numpy as np
import pytest

from slidemill import open_dataset
from slidemill.cli.commands import main
from slidemill.core.columns import FEATURE_COLUMNS
from slidemill.core.csv_tables import write_table
from slidemill.core.outcomes import read_outcome
from slidemill.core.results_layout import FEATURES_TABLE, feature_file, outcome_file
from slidemill.core.specs import GridSpec
from slidemill.features.feature_file import FeatureManifest, PatchPlaces, open_features, write_features
from slidemill.slides.patch_table import patches_of
from tests.exchange.test_layouts import export, files, run

GRID = "20x_50px_0px_overlap"


def rows_of(table, dim=3, dtype=np.float32):
    """The features of patches: each row is unlike all others of the slide."""
    return np.stack([table["x0"], table["y0"], *[np.arange(len(table))] * (dim - 2)], axis=1).astype(dtype)


def embed(results, name, dim=3, dtype=np.float32, fingerprint=None):
    """Write the features of all slides with patches, as a run does."""
    with open_dataset(results) as dataset:
        for slide in dataset.slides:
            outcome = read_outcome(results / outcome_file("sample_patches", slide))
            spec = outcome.kept.sampling
            table = dataset.select(slides=slide).table
            places = PatchPlaces.of(
                slide, patches_of(table.to_dict("records"), outcome.info, spec), None, grid=GridSpec()
            )
            manifest = FeatureManifest(
                name=name, slide=slide, fingerprint=fingerprint or dataset.fingerprints[slide], model="mine"
            )
            path = results / feature_file(name, slide)
            write_features(path, manifest, places, batches=[rows_of(table, dim, dtype)])


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Results with two slides, a blank one, and features of one model; nothing may write to them."""
    cohort = run(tmp_path_factory.mktemp("made"), {"patch_size": 50, "level": 0})
    embed(cohort.results, "mine", dtype=np.float16)
    return cohort.results


@pytest.fixture
def own(made, tmp_path):
    return shutil.copytree(made, tmp_path / "own")


def tables(results, query=None):
    with open_dataset(results) as dataset:
        chosen = dataset.select(query=query)
        return {dataset.paths[slide].removesuffix(".svs"): chosen.select(slides=slide).table for slide in chosen.slides}


def test_trident_features_are_as_trident_writes_them(made, tmp_path):
    assert export(made, tmp_path / "out", "trident", "--query", "column != 3") == 0
    own = tables(made, "column != 3")
    for name in "abc":
        with (
            h5py.File(tmp_path / "out" / GRID / f"features_mine/{name}.h5") as file,
            h5py.File(tmp_path / "out" / GRID / f"patches/{name}_patches.h5") as other,
        ):
            assert set(file) == {"features", "coords"}
            features, coords = file["features"], file["coords"]
            assert (features.chunks, features.maxshape) == ((1, 3), (None, 3))
            assert dict(features.attrs) == {"name": name, "savetodir": "", "encoder": "mine"}
            assert (coords.chunks, coords.maxshape, coords.dtype) == ((1, 2), (None, 2), np.int64)
            assert dict(coords.attrs) == dict(other["coords"].attrs)
            np.testing.assert_array_equal(coords[:], other["coords"][:])
            if name == "c":
                assert (features.shape, features.dtype) == ((0, 3), np.float32)
            else:
                assert features.dtype == np.float16
                np.testing.assert_array_equal(features[:, :2], own[name][["x0", "y0"]])


@pytest.mark.parametrize("layout", ["clam", "clam-pt"])
def test_clam_features_are_as_clam_writes_them(made, tmp_path, layout):
    torch = pytest.importorskip("torch") if layout == "clam-pt" else None
    assert export(made, tmp_path / "out", layout) == 0
    folder, suffix = ("pt_files", "pt") if torch else ("patches", "h5")
    assert files(tmp_path / "out") == sorted(
        f"{kind}/{name}.{end}" for kind, end in (("h5_files", "h5"), (folder, suffix)) for name in "ab"
    )
    for name, table in tables(made).items():
        wanted = rows_of(table, dtype=np.float16).astype(np.float32)
        with h5py.File(tmp_path / f"out/h5_files/{name}.h5") as file:
            assert set(file) == {"features", "coords"}
            features, coords = file["features"], file["coords"]
            assert (features.dtype, features.chunks, features.maxshape) == (np.float32, (32, 3), (None, 3))
            assert (coords.dtype, coords.chunks, coords.maxshape) == (np.int32, (32, 2), (None, 2))
            assert not features.attrs and not coords.attrs
            np.testing.assert_array_equal(features[:], wanted)
            np.testing.assert_array_equal(coords[:], table[["x0", "y0"]])
        if torch:
            tensor = torch.load(tmp_path / f"out/pt_files/{name}.pt", weights_only=True)
            assert (tensor.dtype, tuple(tensor.shape)) == (torch.float32, wanted.shape)
            np.testing.assert_array_equal(tensor.numpy(), wanted)


@pytest.mark.parametrize("query", [None, "column != 3"])
def test_slideflow_bags_are_as_slideflow_writes_them(own, tmp_path, query):
    torch = pytest.importorskip("torch")
    pytest.importorskip("google_crc32c")
    embed(own, "other", dim=4)
    assert export(own, tmp_path / "out", "slideflow", *(["--query", query] if query else [])) == 0
    folder = tmp_path / "out/50px_25um"
    bags = [f"bags_mine/{name}" for name in "ab"] + [f"bags_other/{name}" for name in "ab"]
    assert files(folder) == sorted(
        ["a.tfrecords", "a.index.npz", "b.tfrecords", "b.index.npz"]
        + [f"bags_{model}/bags_config.json" for model in ("mine", "other")]
        + [f"{bag}{end}" for bag in bags for end in (".pt", ".index.npz")]
    )
    for model, dim in (("mine", 3), ("other", 4)):
        for name, table in tables(own, query).items():
            tensor = torch.load(folder / f"bags_{model}/{name}.pt", weights_only=True)
            assert (tensor.dtype, tuple(tensor.shape)) == (torch.float32, (len(table), dim))
            np.testing.assert_array_equal(tensor[:, :2].numpy(), table[["x0", "y0"]])
            with (
                np.load(folder / f"bags_{model}/{name}.index.npz") as index,
                np.load(folder / f"{name}.index.npz") as of,
            ):
                assert index.files == ["arr_0"]
                np.testing.assert_array_equal(index["arr_0"], table[["x0", "y0"]] + 25)
                np.testing.assert_array_equal(index["arr_0"], of["locations"])
        assert json.loads((folder / f"bags_{model}/bags_config.json").read_text()) == {
            "extractor": {"class": f"slidemill.{model}", "kwargs": {"model": "mine", "weights": ""}},
            "normalizer": None,
            "num_features": dim,
            "tile_px": 50,
            "tile_um": 25,
        }


def test_slideflow_bags_without_stores_need_no_pixels(tmp_path, monkeypatch):
    pytest.importorskip("torch")
    results = run(tmp_path, {"patch_size": 50, "level": 0}, stores={}).results
    embed(results, "mine")
    monkeypatch.setattr("slidemill.exchange.layouts.find_spec", {"torch": ...}.get)
    assert export(results, tmp_path / "out", "slideflow", "--features", "mine") == 0
    bags = "50px_25um/bags_mine"
    assert files(tmp_path / "out") == sorted(
        [f"{bags}/bags_config.json", *(f"{bags}/{name}{end}" for name in "ab" for end in (".pt", ".index.npz"))]
    )


def test_slideflow_bags_need_torch(made, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("slidemill.exchange.layouts.find_spec", {"google_crc32c": ...}.get)
    assert export(made, tmp_path / "out", "slideflow") == 1
    assert "--layout slideflow needs torch, which is not installed" in capsys.readouterr().err


def test_clam_has_one_of_several_features(own, tmp_path, capsys):
    embed(own, "other", dim=4)
    assert export(own, tmp_path / "out", "clam") == 1
    assert "has several features (mine, other), and CLAM one; choose by --features" in capsys.readouterr().err
    assert export(own, tmp_path / "out", "clam", "--features", "other") == 0
    with h5py.File(tmp_path / "out/h5_files/a.h5") as file:
        assert file["features"].shape[1] == 4
    assert export(own, tmp_path / "both", "trident") == 0
    found = {path.name for path in (tmp_path / "both" / GRID).iterdir()}
    assert found == {"patches", "features_mine", "features_other"}


def damage(path):
    with h5py.File(path) as file:
        start = file["features"].id.get_offset()
    data = bytearray(path.read_bytes())
    data[start + 1] ^= 1
    path.write_bytes(data)


@pytest.mark.cases
@pytest.mark.parametrize("layout", ["trident", "clam", "clam-pt", "slideflow"])
def test_features_that_do_not_fit_are_refused(own, tmp_path, capsys, layout):
    """A missing file, another slide's, a missing patch, a damaged row: nothing is left."""
    if layout in ("clam-pt", "slideflow"):
        pytest.importorskip("torch")
    if layout == "slideflow":
        pytest.importorskip("google_crc32c")
    with open_dataset(own) as dataset:
        last = own / feature_file("mine", dataset.slides[-1])
    whole = last.read_bytes()
    assert export(own, tmp_path / "out", layout, "--features", "mime") == 1
    assert "has no features 'mime' (did you mean mine?); choose from mine" in capsys.readouterr().err
    last.unlink()
    assert export(own, tmp_path / "out", layout) == 1
    assert f"{last}: the file of features does not exist" in capsys.readouterr().err
    embed(own, "mine", fingerprint="0" * 32)
    assert export(own, tmp_path / "out", layout) == 1
    assert "features of another slide or model" in capsys.readouterr().err
    embed(own, "mine")
    last.write_bytes(whole)
    damage(last)
    assert export(own, tmp_path / "out", layout) == 1
    assert "its rows are not what was written" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["own"]


def test_tensors_need_features(own, tmp_path, capsys):
    shutil.rmtree(own / "features")
    assert main(["export", str(own), str(tmp_path / "out"), "--layout", "clam-pt"]) == 1
    assert "has no features for --layout clam-pt" in capsys.readouterr().err
    assert export(own, tmp_path / "out", "clam") == 0
    assert files(tmp_path / "out") == ["patches/a.h5", "patches/b.h5"]


@pytest.mark.parametrize("layout", ["trident", "clam"])
def test_features_of_two_models_are_refused(own, tmp_path, capsys, layout):
    """A run with other weights may have been killed half-way."""
    with open_dataset(own) as dataset:
        path = own / feature_file("mine", dataset.slides[-1])
    found = open_features(path)
    places = PatchPlaces(found.patch_ids, found.coords, found.attributes)
    manifest = replace(found.manifest, weights="0" * 32)
    write_features(path, manifest, places, batches=[np.array(found.features())])
    assert export(own, tmp_path / "out", layout) == 1
    assert f"{path}: features of another model than those of other slides (weights '000" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("layout", ["trident", "clam"])
def test_features_that_the_table_does_not_list_are_not_exported(own, tmp_path, capsys, layout):
    with open_dataset(own) as dataset:
        slide = dataset.slides[-1]
    write_table(own / FEATURES_TABLE, FEATURE_COLUMNS, [{"slide": slide, "name": "mine", "content": "0" * 32}])
    assert export(own, tmp_path / "out", layout) == 1
    assert f"{slide}.h5: does not match features.csv: run the workflow to its end" in capsys.readouterr().err
