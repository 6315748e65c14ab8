"""What chooses among a grid's patches, through a whole run: every patch is in one table, and all stores agree."""

import csv
import json

import pytest
from PIL import Image

from slidemill import open_store
from slidemill.core.results_layout import SUFFIXES
from slidemill.testing import Tissue, paint, write_svs
from tests.coordinates.files import clam, trident

pytestmark = pytest.mark.long


def rows(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_masks_of_ones_own_take_the_place_of_the_method(project):
    """An image for one slide, GeoJSON for another, the method for a third; a changed mask samples its slide again."""
    masks = project.folder / "masks"
    masks.mkdir()
    for name in ("image", "drawn", "none"):
        project.add(f"{name}.svs", annotated=False)  # 620 x 530
    half = Image.new("L", (62, 53))
    half.paste(7, (0, 0, 31, 53))
    half.save(masks / "image.png")
    ring = [[0, 0], [620, 0], [620, 265], [0, 265], [0, 0]]
    feature = {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]}, "properties": {}}
    (masks / "drawn.geojson").write_text(json.dumps(feature))
    project.config |= {
        "sampling": {"patch_size": 53, "level": 0},
        "tissue": {"method": "none", "min_fraction": 1, "masks": str(masks)},
        "stores": {"lmdb": {"encoding": "zstd"}},
        "icc": "srgb",
    }
    finished = project.snakemake()
    assert finished.code == 0, finished.text
    kept = {
        path.stem.split("-")[0]: {(int(row["column"]), int(row["row"])) for row in rows(path)}
        for path in (project.results / "metadata").iterdir()
    }
    grid = {(column, row) for column in range(11) for row in range(10)}
    assert kept["none"] == grid
    assert kept["image"] == {(column, row) for column, row in grid if (column + 1) * 53 <= 310}
    assert kept["drawn"] == {(column, row) for column, row in grid if row < 5}
    shares = {row["slide"].split("-")[0]: row["tissue_fraction"] for row in rows(project.results / "metadata.csv")}
    assert shares == {"image": "1.0000", "drawn": "1.0000", "none": ""}
    notes = {row["slide"].split("-")[0]: row["notes"] for row in rows(project.results / "slides.csv")}
    assert "its tissue is that of the mask image.png" in notes["image"]
    assert "mask" not in notes["none"]
    assert "Nothing to be done" in project.plan().text
    half.paste(0, (0, 0, 10, 53))
    half.save(masks / "image.png")
    plan = project.plan()
    assert {slide.split("-")[0] for _, slide in plan.jobs if slide} == {"image"}
    assert "discover_slides" not in plan.rules
    half.convert("RGB").save(masks / "image.png")
    finished = project.snakemake()
    assert finished.code != 0
    row = next(row for row in rows(project.results / "slides.csv") if row["slide"].startswith("image-"))
    assert (row["status"], row["stage"]) == ("failed", "sample_patches")
    assert row["message"].startswith("the mask of tissue image.png")
    # Its empty store is as it was to be.
    assert {row["status"] for row in rows(project.results / "validation.csv")} == {"ok"}


def test_patches_without_tissue_are_dropped_from_all_stores_alike(project):
    pixels = paint(2400, 1800, Tissue("Normal", (200, 200, 1400, 1500), 2.0, 9), areas=[], seed=1)
    project.slides.mkdir(exist_ok=True)
    write_svs(project.slides / "one.svs", pixels)
    project.config |= {
        "sampling": {"patch_size": 128, "level": 0},
        "tissue": {"method": "otsu", "min_fraction": 0.5},
        "stores": {"lmdb": {"encoding": "zstd"}, "hdf5": {"encoding": "zstd"}, "disk": {}},
    }
    finished = project.snakemake()
    assert finished.code == 0, finished.text
    slide = rows(project.results / "slides.csv")[0]
    name = slide["slide"]
    kept, dropped = (rows(project.results / kind / f"{name}.csv") for kind in ("patches", "dropped"))
    grid = {f"r{row:05d}_c{column:05d}" for row in range(1800 // 128) for column in range(2400 // 128)}
    assert sorted(row["patch_id"] for row in [*kept, *dropped]) == sorted(grid)
    assert {row["reason"] for row in dropped} == {"tissue"}
    assert all(float(row["tissue_fraction"]) >= 0.5 for row in kept)
    assert all(float(row["tissue_fraction"]) < 0.5 for row in dropped)
    assert (slide["grid_patches"], slide["patches"]) == (str(len(grid)), str(len(kept)))
    assert slide["dropped"] == f"tissue {len(dropped)}"
    # An ellipse of 1200 x 1300 pixels, within the patches that it may half cover.
    assert abs(len(kept) - 3.1416 / 4 * 1200 * 1300 / 128**2) < 8
    ids = [row["patch_id"] for row in rows(project.results / "metadata.csv")]
    assert ids == [row["patch_id"] for row in kept]
    for store in ("lmdb", "hdf5", "disk"):
        suffix = SUFFIXES[store]
        with open_store(project.results / "stores" / store / f"{name}{suffix}") as opened:
            assert list(opened.ids) == ids
    with Image.open(project.results / "tissue" / f"{name}.png") as mask:
        assert mask.mode == "1"
        assert mask.size == (150, 112)
    assert f"tissue {len(dropped)}" in (project.results / "report.html").read_text(encoding="utf-8")
    assert "Nothing to be done" in project.plan().text


def test_bad_patches_are_dropped_from_all_stores_alike(project):
    pixels = paint(1300, 1000, Tissue("Normal", (100, 100, 1200, 900), 2.0, 9), areas=[], seed=1)
    pixels[640:1000, 640:1300] = 12  # what no scanner sees: black
    pixels[300:420, 100:1100] = (30, 60, 170)  # a blue pen
    project.slides.mkdir(exist_ok=True)
    write_svs(project.slides / "one.svs", pixels)
    project.config |= {
        "sampling": {"patch_size": 128, "level": 0},
        "quality": {"max_white_fraction": 0.5, "max_black_fraction": 0.25},
        "stores": {"lmdb": {"encoding": "zstd"}, "hdf5": {"encoding": "zstd"}, "disk": {}},
    }
    finished = project.snakemake()
    assert finished.code == 0, finished.text
    slide = rows(project.results / "slides.csv")[0]
    name = slide["slide"]
    kept, dropped = (rows(project.results / kind / f"{name}.csv") for kind in ("patches", "dropped"))
    grid = {f"r{row:05d}_c{column:05d}" for row in range(1000 // 128) for column in range(1300 // 128)}
    assert sorted(row["patch_id"] for row in [*kept, *dropped]) == sorted(grid)
    assert {row["reason"] for row in dropped} == {"white_fraction", "black_fraction"}
    for row in [*kept, *dropped]:
        white, black = float(row["white_fraction"]), float(row["black_fraction"])
        reason = "white_fraction" if white > 0.5 else "black_fraction" if black > 0.25 else None
        assert row.get("reason") == reason
        assert float(row["blur"]) >= 0
    metadata = rows(project.results / "metadata.csv")
    assert [[row[key] for key in kept[0]] for row in metadata] == [list(row.values()) for row in kept]
    for store in ("lmdb", "hdf5", "disk"):
        with open_store(project.results / "stores" / store / f"{name}{SUFFIXES[store]}") as opened:
            assert list(opened.ids) == [row["patch_id"] for row in kept]
    assert {row["status"] for row in rows(project.results / "validation.csv")} == {"ok"}
    assert "pen: " in slide["notes"]
    report = (project.results / "report.html").read_text(encoding="utf-8")
    assert 'id="quality"' in report
    assert slide["notes"].split("; ")[-1] in report
    assert "Nothing to be done" in project.plan().text
    # The pixels are read to sample: so another reader samples anew; and without measures, none does.
    project.config["reader"] = "openslide"
    assert ("sample_patches", name) in project.plan().jobs


def test_coordinates_of_files_take_the_place_of_the_grid(project):
    """TRIDENT's file and CLAM's say how large patches are; a changed one samples its slide again, or fails it."""
    folder = project.folder / "coordinates"
    folder.mkdir()
    for name in ("a", "b"):
        project.add(f"{name}.svs", annotated=False)  # 620 x 530
    trident(folder / "a_patches.h5", [[300, 200], [7, 3]], 53, 53, name="a", level0_width=620, level0_height=530)
    clam(folder / "b.h5", [[53, 106], [0, 0]], 53)
    project.config |= {
        "sampling": {"coordinates": str(folder)},
        "tissue": {"method": "none"},
        "stores": {"lmdb": {"encoding": "zstd"}, "disk": {"encoding": "png"}},
    }
    finished = project.snakemake()
    assert finished.code == 0, finished.text
    found = {(row["slide"].split("-")[0], row["patch_id"]) for row in rows(project.results / "metadata.csv")}
    assert found == {
        *[("a", "r00003_c00007"), ("a", "r00200_c00300")],
        *[("b", "r00000_c00000"), ("b", "r00002_c00001")],  # on the grid
    }
    assert {row["status"] for row in rows(project.results / "validation.csv")} == {"ok"}
    assert "Nothing to be done" in project.plan().text
    clam(folder / "b.h5", [[53, 106], [900, 0]], 53)
    plan = project.plan()
    assert {slide.split("-")[0] for _, slide in plan.jobs if slide} == {"b"}
    assert "discover_slides" not in plan.rules
    finished = project.snakemake()
    assert finished.code
    messages = {row["slide"].split("-")[0]: row["message"] for row in rows(project.results / "slides.csv")}
    assert messages["a"] == ""
    assert "the file of coordinates b.h5: has 1 place beyond the slide, 900, 0" in messages["b"]
