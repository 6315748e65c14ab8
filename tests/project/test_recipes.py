"""The recipes of README and the how-to guides, run as they are printed."""

import importlib.util
import json
import os
import re
import sys
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import yaml

from slidemill import open_dataset
from slidemill.annotations.frames import Frame
from slidemill.annotations.read import read_annotation
from slidemill.cli.commands import main
from slidemill.config.configuration import read_config
from slidemill.core.specs import GridSpec, Naming
from slidemill.sampling._custom_mask import read_mask
from slidemill.slides.slide_info import open_slide, slide_info
from slidemill.testing import Scan, Tissue, paint, write_annotation, write_svs
from tests.bags import conftest as bagged
from tests.cohorts import write_cohort
from tests.conftest import ROOT, painted
from tests.results import unseal
from tests.workflow import warm

GUIDES = sorted((ROOT / "docs" / "how-to").glob("*.md"))
HAS_TORCH = importlib.util.find_spec("torch") is not None
TUMOUR = Tissue("Tumour", (150, 150, 700, 600), 20.0, 8)


def blocks(document, language="python"):
    """Return a document's code blocks of a language."""
    text = (ROOT / document).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def run(document, names=None):
    """Run a document's Python, block after block, without those that need a missing PyTorch; return what it left."""
    names = names if names is not None else {}
    for number, block in enumerate(blocks(document)):
        if HAS_TORCH or not re.search(r"^(?:import|from) (?:torch|slidemill\.torch)\b", block, re.MULTILINE):
            exec(compile(block, f"{document}, block {number}", "exec"), names)
    return names


@pytest.fixture
def cohort(tmp_path, monkeypatch):
    """Finished results of three slides in `results` of the working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "slides").mkdir()
    slides = {slide: tmp_path / "slides" / f"{slide}.svs" for slide in ("a1", "b1", "c1")}
    for seed, file in enumerate(slides.values()):
        write_svs(file, painted(280, 220, seed))
    results = write_cohort(tmp_path / "results", slides, GridSpec(32, level=0))
    table = pd.read_csv(results / "slides.csv", dtype=str).assign(level_downsamples="1.0;4.0;16.0")
    table.to_csv(results / "slides.csv", index=False)
    return results


@pytest.mark.long
def test_recipe_of_the_readme(tmp_path, monkeypatch):
    """Slides of two scanners, with and without annotation, become one store of 224 pixels at 0.5 µm."""
    for folder in ("slides", "annotations"):
        (tmp_path / folder).mkdir()
    rows = ["slide,path,patient,annotation"]
    for seed, (slide, patient) in enumerate(
        zip("abcdefg", ["anna", "anna", "ben", "cem", "dan", "eva", "flo"], strict=True)
    ):
        scale = 1 + seed % 2
        width, height = 1000 * scale, 800 * scale
        tumour = Tissue("Tumour", tuple(scale * side for side in TUMOUR.box), 20.0, 8)
        pixels = paint(
            width, height, Tissue("Normal", (10, 10, width - 10, height - 10), 3.0, 5), areas=[tumour], seed=seed
        )
        write_svs(tmp_path / f"slides/{slide}.svs", pixels, scan=Scan(0.5 / scale, 20 * scale))
        annotation = ""
        if seed < 5:
            annotation = f"annotations/{slide}.xml"
            write_annotation(tmp_path / annotation, [tumour], 0.5 / scale)
        rows.append(f"{slide},slides/{slide}.svs,{patient},{annotation}")
    (tmp_path / "sheet.csv").write_text("\n".join(rows) + "\n")
    (configuration,) = blocks("README.md", "yaml")
    (tmp_path / "study.yaml").write_text(configuration)
    arguments = ["--cores", "2", "--snakefile", str(ROOT / "workflow/Snakefile"), "--configfile", "study.yaml"]
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    code, out, complaints = warm.snakemake(arguments, tmp_path, environment)
    assert code == 0, out + complaints
    monkeypatch.chdir(tmp_path)
    left = run("README.md")
    ds, train, test = left["ds"], left["train"], left["test"]
    assert [path.name for path in (tmp_path / "results" / "stores").iterdir()] == ["lmdb"]
    assert ds[0].pixels.shape == (224, 224, 3)
    assert ds.table["mpp"].round(6).unique().tolist() == [0.5]
    assert set(ds.table.query("slide == 'a'")["label_name"]) == {"Normal", "Tumour"}
    assert set(ds.table.query("slide == 'f'")["label_name"]) == {"Normal"}
    assert (ds.table["tissue_fraction"] >= 0.5).all()
    assert pd.read_csv("results/splits.csv")["fold"].nunique() == 5
    assert not set(train.table["patient"]) & set(test.table["patient"])
    if HAS_TORCH:
        assert tuple(left["images"].shape[1:]) == (3, 224, 224)
    ds.close()


@pytest.mark.long
def test_python_of_the_readme_runs(cohort):
    with open_dataset(cohort) as ds:
        ds.split(folds=3, by="slide").save("results/splits.csv")
    left = run("README.md")
    assert (len(left["train"].slides), len(left["test"].slides)) == (2, 1)
    left["ds"].close()


def test_readme_recipe_is_the_sheet_and_the_keys_that_it_promises():
    (configuration,) = blocks("README.md", "yaml")
    recipe = yaml.safe_load(configuration)
    assert recipe["sampling"] == {"patch_size": 224, "mpp": 0.5}
    assert recipe["labels"]["rule"] == "area"
    assert recipe["splits"]["by"] == "patient"
    assert len(recipe["stores"]) == 1


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.stem)
def test_configurations_of_a_guide_are_accepted(guide, tmp_path):
    (tmp_path / "slides").mkdir()
    for text in blocks(f"docs/how-to/{guide.name}", "yaml"):
        given = yaml.safe_load(text)
        values = {"results": "results", **given.get("slidemill", given)}
        values["slides"] = "slides"
        for place in ("annotations", "trident/contours_geojson"):
            (tmp_path / place).mkdir(parents=True, exist_ok=True)
        if "annotations" in values:
            values["annotations"] = "annotations"
        if isinstance(values.get("splits"), dict):
            values["splits"] = values["splits"] | {"by": "slide"}
        for model in values.get("features", {}).values():
            if "weights" in model:
                model["weights"] = Path(model["weights"]).name
                (tmp_path / model["weights"]).write_bytes(b"")
        assert read_config(values, tmp_path).results == tmp_path / "results"


def test_feature_files_have_clams_layout(cohort):
    left = run("docs/how-to/coming-from-clam-or-trident.md")
    with open_dataset(cohort) as ds, h5py.File("features/h5_files/a1.h5") as file:
        table = ds.select(slides="a1").table
        assert (file["features"].shape, file["features"].dtype) == ((len(table), 3), np.float32)
        assert (file["coords"].shape, file["coords"].dtype) == ((len(table), 2), np.int32)
        first = ds.select(slides="a1")[5]
        assert np.allclose(file["features"][5], first.pixels.mean(axis=(0, 1)), atol=1e-3)
        assert file["coords"][5].tolist() == [first.x0, first.y0]
    assert main(["export", "results", "clam", "--layout", "clam"]) == 0
    with h5py.File("clam/patches/a1.h5") as file:
        attributes = file["coords"].attrs
        assert (file["coords"].dtype, attributes["patch_level"], attributes["patch_size"]) == (np.int64, 0, 32)
        assert (file["coords"][:] == table[["x0", "y0"]]).all(axis=None)
    assert len(left["joined"]) == len(table)
    assert len(list((cohort.parent / "features" / "h5_files").iterdir())) == 3


def test_outlines_as_trident_writes_them_are_masks(tmp_path, slide_file):
    ring = [[100, 100], [600, 100], [600, 500], [100, 500], [100, 100]]
    feature = {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {"tissue_id": 0},
    }
    path = tmp_path / "small.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    with open_slide(slide_file) as slide:
        info = slide_info(slide)
    area = read_mask(path, info, (103, 78), origin="canvas")
    assert area.mask.fraction == pytest.approx(500 * 400 / (1030 * 777), rel=0.05)
    assert area.warnings == ()


def test_patches_that_go_to_qupath_come_back_as_they_were(cohort):
    """The GeoJSON of the guide, read as an annotation, has each patch with its name at its place."""
    run("docs/how-to/qupath.md")
    with open_dataset(cohort) as ds:
        for slide in ds.slides:
            table = ds.select(slides=slide).table
            size = (280, 220)
            frame = Frame(size, None, None, None)
            annotation = read_annotation(cohort.parent / "qupath" / f"{slide}.geojson", frame, Naming("label"))
            found = [(region.name, *map(int, region.shape.bounds)) for region in annotation.regions]
            right, bottom = table["x0"] + table["width0"], table["y0"] + table["height0"]
            assert found == list(zip(table["label_name"], table["x0"], table["y0"], right, bottom, strict=True))


def test_label_checks_run(cohort, capsys):
    left = run("docs/how-to/label-checks.md", {"results": str(cohort)})
    assert len(left["clear"]) == len(left["train"]) > 0
    printed = capsys.readouterr().out
    assert "0 patches have no label" in printed
    assert {len(left[part]) > 0 for part in ("train", "test")} == {True}


def test_scores_guide_runs(cohort):
    table = pd.read_csv(cohort / "metadata.csv").assign(tissue_fraction=0.5)
    table.to_csv(cohort / "metadata.csv", index=False)
    left = run("docs/how-to/scores-into-qupath.md")
    assert main(["heatmap", "results", "scores.csv", "heatmaps"]) == 0
    assert len(list(Path("heatmaps").iterdir())) == 6
    assert left["picture"].size[0] > 100


def test_mil_guide_runs(tmp_path, capsys):
    features = bagged.write_cohort(tmp_path)
    table = pd.read_csv(unseal(tmp_path) / "slides.csv", dtype=str)
    table.assign(fingerprint=table["slide"] * 32).to_csv(tmp_path / "slides.csv", index=False)
    for slide, values in features.items():
        bagged.write_own(tmp_path, slide, values, fingerprint=slide * 32)
    left = run("docs/how-to/train-mil.md", {"results": str(tmp_path)})
    ds = left["ds"]
    assert len(ds) == 24
    assert len(left["one_slide"]) == (ds.table["slide"] == ds.slides[0]).sum()
    assert left["features"].shape == (6, bagged.DIM)
    assert left["target"] in ("ductal", "lobular")
    assert "'d': 'ductal', 'a': 'lobular', 'c': 'ductal', 'b': None" in capsys.readouterr().out
    if HAS_TORCH:
        assert left["train_head"](left["bags"], 2, epochs=1).weight.shape == (2, bagged.DIM)
