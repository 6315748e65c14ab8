"""Runs without stores: tables, pictures, folds and a report, and stores that are added later."""

import re

import numpy as np
import pytest
from PIL import Image

from slidemill import open_dataset
from slidemill.cli.commands import main
from slidemill.core.csv_tables import read_table
from slidemill.errors import StoreError

pytestmark = pytest.mark.long


def rows(project, name):
    return list(read_table(project.results / f"{name}.csv"))


def montages(project):
    return {path.stem: np.asarray(Image.open(path)) for path in (project.results / "figures/montage").iterdir()}


def test_run_without_stores_and_stores_added_later(project, capsys):
    """Pixels are read for pictures only; a store that is added reruns what shows or lists stores."""
    project.add("one.svs")
    project.add("two.svs", seed=2)
    project.config |= {"stores": {}, "tissue": {"method": "otsu"}, "splits": {"folds": 2}}
    finished = project.snakemake()
    assert finished.code == 0, finished.text
    slide_rules = {"discover_slides", "sample_patches", "write_metadata", "draw_slide"}
    assert finished.rules == slide_rules | {"gather_results", "split_slides", "render_report", "gate", "all"}
    assert not (project.results / "stores").exists()
    assert not (project.results / "benchmark.csv").exists()
    assert [row["status"] for row in rows(project, "slides")] == ["ok", "ok"]
    assert rows(project, "stores") == rows(project, "validation") == []
    page = (project.results / "report.html").read_text(encoding="utf-8")
    words = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page.partition("</style>")[2]))
    assert "This run writes no stores (stores: {}), so there is nothing to validate." in words
    assert "so there is nothing to benchmark." in words
    assert "passed" not in words
    assert "tissue filter is off" not in words
    with open_dataset(project.results) as dataset:
        assert len(dataset) == sum(int(row["patches"]) for row in rows(project, "slides"))
        train, test = dataset.split(2, by="slide").fold(0)
        assert len(train) + len(test) == len(dataset)
        with pytest.raises(StoreError, match=r"wrote no stores \(stores: \{\}\), so the results have no pixels"):
            dataset[0]
    assert main(["verify", str(project.results)]) == 0
    assert "the tables of 2 slides are intact; the run wrote no stores" in capsys.readouterr().out
    assert "Nothing to be done" in project.plan().text
    for target in ("stores", "validated"):
        asked = project.plan(target)
        assert asked.text.count(f"slidemill: warning: the target {target} writes and checks no store") == 1
    drawn = montages(project)
    project.config["stores"] = {"lmdb": {}}
    added = project.snakemake()
    assert added.code == 0, added.text
    again = {"store_patches_lmdb", "validate_stores", "draw_slide"}
    cohort = {"check_space", "gather_results", "split_slides", "benchmark_stores", "render_report", "gate", "all"}
    assert added.rules - cohort == again
    # A lossless store holds the slide's pixels.
    assert {slide: (pixels == drawn[slide]).all() for slide, pixels in montages(project).items()} == dict.fromkeys(
        drawn, True
    )
    assert {row["status"] for row in rows(project, "validation")} == {"ok"}
    assert main(["verify", str(project.results)]) == 0
    assert "2 stores of 2 slides are intact" in capsys.readouterr().out
    project.config["stores"] = {}
    removed = project.snakemake()
    assert removed.code == 0, removed.text
    assert removed.rules & again == {"draw_slide"}
    assert main(["verify", str(project.results)]) == 0
    assert "the run wrote no stores" in capsys.readouterr().out
    assert main(["prune", str(project.results), "--delete"]) == 0
    assert not list((project.results / "stores").rglob("*.lmdb"))
    assert "Nothing to be done" in project.plan().text
