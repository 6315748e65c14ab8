"""Results of four slides of three patients with targets and features, and without pixels."""

from dataclasses import replace

import numpy as np
import pytest

from slidemill import open_dataset
from slidemill.core.columns import FEATURE_COLUMNS
from slidemill.core.csv_tables import write_table
from slidemill.core.results_layout import FEATURES_TABLE, feature_file
from slidemill.features.feature_file import FeatureManifest, PatchPlaces, open_features, write_features
from tests.results import FINGERPRINT, GRID, INFO, PATCHES, SIZE, write_metadata, write_slide, write_tables

SHEET = {
    "d": {"patient": "P1", "diagnosis": "ductal", "age": "61", "slide_label": "1"},
    "a": {"patient": "P2", "diagnosis": " lobular", "age": "", "slide_label": "10"},
    "c": {"patient": "P1", "diagnosis": "ductal ", "age": "7.5", "slide_label": "2"},
    "b": {"patient": "P3", "diagnosis": "NA", "age": "n/a", "slide_label": "1"},
}
DIM = 5
MANIFEST = FeatureManifest(name="uni", slide="", fingerprint=FINGERPRINT, model="a test", patch_size=SIZE)


def write_own(results, slide, values, patches=PATCHES, **changes):
    """Write a slide's features as a run does."""
    manifest = replace(MANIFEST, slide=slide, **changes)
    places = PatchPlaces.of(slide, patches, INFO, grid=GRID)
    return write_features(results / feature_file("uni", slide), manifest, places, batches=[values])


def write_cohort(folder):
    """Write the results, and return the features of each slide."""
    for slide in SHEET:
        write_slide(folder, slide, (), encodings={})
    write_tables(folder, dict.fromkeys(SHEET, "ok"), backends=())
    write_metadata(folder, list(SHEET), columns=SHEET)
    random = np.random.default_rng(3)
    features = {slide: random.normal(size=(len(PATCHES), DIM)).astype(np.float16) for slide in SHEET}
    for slide, values in features.items():
        write_own(folder, slide, values)
    return features


def write_features_table(results):
    """Write the table of the features as a run does."""
    manifests = {slide: open_features(results / feature_file("uni", slide)).manifest for slide in SHEET}
    rows = [{"slide": slide, "name": "uni", "content": own.content} for slide, own in manifests.items()]
    write_table(results / FEATURES_TABLE, FEATURE_COLUMNS, rows)


@pytest.fixture(scope="session")
def cohort(tmp_path_factory):
    """The folder of results, to which nothing may write, and the features of each slide."""
    folder = tmp_path_factory.mktemp("with-targets")
    return folder, write_cohort(folder)


@pytest.fixture(scope="session")
def truth(cohort):
    """The features of all patches, in the table's order."""
    return np.concatenate([cohort[1][slide] for slide in SHEET])


@pytest.fixture
def dataset(cohort):
    with open_dataset(cohort[0]) as opened:
        yield opened


@pytest.fixture
def own(tmp_path):
    """Results that a test may damage."""
    write_cohort(tmp_path)
    with open_dataset(tmp_path) as opened:
        yield opened
