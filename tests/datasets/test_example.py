"""The examples that train: a network on the demo's labels, and an attention MIL head on diagnoses."""

import csv
import re

import pandas as pd
import pytest
import yaml

from slidemill import open_dataset
from slidemill.core.parquet import write_parquet
from slidemill.core.results_layout import feature_file
from slidemill.core.specs import FeatureSpec, GridSpec
from slidemill.features.feature_file import FeatureManifest, PatchPlaces, write_features
from slidemill.features.models import Place, open_encoder
from tests.cohorts import write_cohort
from tests.conftest import ROOT

pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch")


@pytest.mark.long
def test_a_small_network_learns_the_demos_labels(demo_results, capsys):
    """At least 98 % of the patches of a slide that it has not seen, with a line for each epoch."""
    import train_demo

    assert train_demo.main(demo_results) >= 0.98
    said = capsys.readouterr().out
    assert re.findall(r"^epoch +(\d+) of 25: loss \d\.\d{3}, ", said, re.MULTILINE) == [str(n + 1) for n in range(25)]


@pytest.mark.long
def test_mil_head_finds_diagnoses_of_held_out_patients(tmp_path, capsys):
    """The slides, the features and the training of `make train-mil`, on results without a run."""
    import make_mil_slides
    import train_mil

    make_mil_slides.main(tmp_path)
    with (tmp_path / "sheet.csv").open(newline="") as file:
        sheet = {row["slide"]: row for row in csv.DictReader(file)}
    slides = {slide: tmp_path / row["path"] for slide, row in sheet.items()}
    results = write_cohort(tmp_path / "results", slides, GridSpec(128, level=0))
    table = pd.read_csv(results / "metadata.csv", dtype=str, keep_default_na=False)
    for column in ("patient", "diagnosis"):
        table[column] = table["slide"].map({slide: row[column] for slide, row in sheet.items()})
    table.to_csv(results / "metadata.csv", index=False)
    write_parquet(results / "metadata.parquet", results / "metadata.csv")
    with open_dataset(results) as dataset:
        dataset.split(3, stratify="diagnosis").save(results / "splits.csv")
    _embed(results)
    assert train_mil.main(results) == 1
    said = capsys.readouterr().out
    assert "benign or carcinoma" in said
    assert "4 of 4 slides of held-out patients are right" in said


def _embed(results):
    """Write the features of each slide by the model of `config/mil.yaml`."""
    ((name, model),) = yaml.safe_load((ROOT / "config/mil.yaml").read_text(encoding="utf-8"))["features"].items()
    encoder = open_encoder(name, FeatureSpec(**model), Place("cpu", 1, 128))
    with open_dataset(results) as dataset:
        for slide in dataset.slides:
            own, fingerprint = dataset.select(slides=slide), dataset.fingerprints[slide]
            manifest = FeatureManifest(
                name=name, slide=slide, fingerprint=fingerprint, model=model["model"], patch_size=128
            )
            table = own.table
            places = PatchPlaces(list(table["patch_id"]), table[["x0", "y0"]].to_numpy(), {"name": slide})
            batches = (encoder.encode(encoder.prepare(pixels)) for pixels, _, _ in own.batches(32, shuffle=False))
            write_features(results / feature_file(name, slide), manifest, places, batches=batches)
