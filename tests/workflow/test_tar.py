"""Runs that store in tar files, and as Zarr arrays."""

import csv

import numpy as np
import pytest
import webdataset

from slidemill import open_store, read_metadata
from slidemill.cli.commands import main
from slidemill.core.files import remove

pytestmark = pytest.mark.long


def test_tar_files_are_stored_validated_measured_verified_and_pruned(project, capsys):
    project.add("one.svs")
    project.add("two.svs", seed=2)
    project.config["stores"] = {"lmdb": {}, "tar": {}}
    finished = project.snakemake()
    assert finished.code == 0, finished.text
    table = read_metadata(project.results)
    slides = table["slide"].unique()
    shards = [project.results / "stores" / "tar" / f"{slide}.tar" for slide in slides]
    stream = list(webdataset.WebDataset([str(path) for path in shards], shardshuffle=False).decode("rgb8"))
    assert [sample["__key__"] for sample in stream] == list(table["slide"] + "/" + table["patch_id"])
    stores = {slide: open_store(project.results / "stores" / "lmdb" / f"{slide}.lmdb") for slide in slides}
    for sample in stream[::7]:
        slide, _, patch_id = sample["__key__"].partition("/")
        np.testing.assert_array_equal(sample["png"], stores[slide].read(patch_id))
    with (project.results / "validation.csv").open() as file:
        found = list(csv.DictReader(file))
    assert {row["status"] for row in found} == {"ok"}
    assert {row["check"] for row in found if row["backend"] == "tar"} >= {"opens", "ids", "index", "digests"}
    assert {row["check"] for row in found if row["backend"] == "all"} == {"stores agree"}
    with (project.results / "benchmark.csv").open() as file:
        assert {row["source"] for row in csv.DictReader(file)} == {"lmdb", "tar", "slide", "slide tiles"}
    assert main(["verify", str(project.results)]) == 0
    assert "4 stores of 2 slides are intact" in capsys.readouterr().out
    assert "Nothing to be done" in project.plan().text
    (project.slides / "two.svs").unlink()
    (project.annotations / "two.xml").unlink()
    finished = project.snakemake()
    assert finished.code == 0, finished.text
    assert main(["prune", str(project.results), "--delete"]) == 0
    assert [path.exists() for path in shards] == [True, False]


def test_zarr_arrays_are_stored_validated_verified_and_pruned(project, capsys):
    project.add("one.svs")
    project.add("two.svs", seed=2)
    project.config["stores"] = {"lmdb": {}, "zarr": {}}
    finished = project.snakemake()
    assert finished.code == 0, finished.text
    slides = read_metadata(project.results)["slide"].unique()
    arrays = [project.results / "stores" / "zarr" / f"{slide}.zarr" for slide in slides]
    for slide, path in zip(slides, arrays, strict=True):
        with (
            open_store(path) as store,
            open_store(project.results / "stores" / "lmdb" / f"{slide}.lmdb") as other,
        ):
            np.testing.assert_array_equal(store.read_many(store.ids), other.read_many(other.ids))
    with (project.results / "validation.csv").open() as file:
        found = list(csv.DictReader(file))
    assert {row["status"] for row in found} == {"ok"}
    assert {row["check"] for row in found if row["backend"] == "zarr"} >= {"opens", "ids", "index", "digests"}
    with (project.results / "benchmark.csv").open() as file:
        assert {row["source"] for row in csv.DictReader(file)} == {"lmdb", "zarr", "slide", "slide tiles"}
    assert main(["verify", str(project.results)]) == 0
    assert "4 stores of 2 slides are intact" in capsys.readouterr().out
    assert "Nothing to be done" in project.plan().text
    (arrays[0] / "c.0.0.0.0").unlink()
    assert main(["verify", str(project.results)]) == 1
    assert f"{arrays[0]}: ids: r0" in capsys.readouterr().out
    remove(arrays[0])
    (project.slides / "two.svs").unlink()
    (project.annotations / "two.xml").unlink()
    finished = project.snakemake()
    assert finished.code == 0, finished.text
    assert main(["prune", str(project.results), "--delete"]) == 0
    assert [path.exists() for path in arrays] == [True, False]
    assert main(["verify", str(project.results)]) == 0
