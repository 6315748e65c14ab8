"""The report's summary of features: principal components, their plot, and its colours by label."""

import os
import signal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_hex

from slidemill.core.columns import FEATURE_COLUMNS, METADATA_COLUMNS
from slidemill.core.csv_tables import write_table
from slidemill.core.results_layout import FEATURES_TABLE, METADATA_TABLE, feature_file
from slidemill.errors import StoreError
from slidemill.features.feature_file import FeatureManifest, PatchPlaces, write_features
from slidemill.report import feature_summary
from slidemill.report._palette import UNMAPPED_COLOUR, label_colour
from slidemill.report.feature_summary import principal_components, projection_figure, summarize_features
from tests.examples import examples
from tests.results import GRID, INFO, PATCHES

LABELS = {"Normal": 0, "Tumour": 1}


def random_rows(seed, count, dim):
    random = np.random.default_rng(seed)
    return random.normal(size=(count, dim)) * random.uniform(0.1, 9, dim) + random.normal(size=dim)


@examples(100)
@given(st.integers(0, 2**32), st.integers(3, 40), st.integers(1, 12))
def test_principal_components_equal_eigenvectors_of_covariance(seed, count, dim):
    """An independent way: eigenvectors of the covariance matrix, whose largest weight is made positive."""
    rows = random_rows(seed, count, dim)
    found = principal_components(rows)
    assert found.shape == (count, 2)
    centred = rows - rows.mean(axis=0)
    values, vectors = np.linalg.eigh(centred.T @ centred)
    for place in range(min(2, dim)):
        own = vectors[:, -1 - place]
        own = own * np.sign(own[np.abs(own).argmax()])
        expected = centred @ own
        assert np.allclose(found[:, place], expected, atol=1e-6 * max(values[-1], 1))
    if dim == 1:
        assert not found[:, 1].any()


@examples(50)
@given(st.integers(0, 2**32), st.integers(3, 30), st.integers(2, 9))
def test_principal_components_equal_svd_up_to_sign(seed, count, dim):
    """They are U times S of NumPy's singular value decomposition, of decreasing variance, without correlation."""
    rows = random_rows(seed, count, dim)
    found = principal_components(rows)
    left, lengths, _ = np.linalg.svd(rows - rows.mean(axis=0), full_matrices=False)
    expected = (left * lengths)[:, :2]
    assert np.allclose(np.abs(found), np.abs(expected), atol=1e-8 * lengths[0])
    assert found[:, 0].var() >= found[:, 1].var() - 1e-9
    assert abs(found[:, 0] @ found[:, 1]) < 1e-7 * lengths[0] ** 2


def test_mirrored_features_give_the_same_sign():
    """The sign of a component follows from its weights, not from the order of rows."""
    rows = random_rows(1, 20, 5)
    order = np.random.default_rng(2).permutation(20)
    assert np.allclose(principal_components(rows)[order], principal_components(rows[order]))


def test_plot_colours_points_by_label():
    points = np.arange(10.0).reshape(5, 2)
    labels = ["Tumour", "Normal", "Elsewhere", "Tumour", "Normal"]
    (panel,) = projection_figure(points, labels, LABELS).axes
    shown = {one.get_label(): (to_hex(one.get_facecolor()[0]).upper(), one.get_offsets()) for one in panel.collections}
    assert list(shown) == ["Normal", "Tumour", "Elsewhere"]
    colours = {"Normal": label_colour(0), "Tumour": label_colour(1), "Elsewhere": UNMAPPED_COLOUR}
    for name, (colour, offsets) in shown.items():
        assert colour == colours[name].upper()
        assert np.array_equal(offsets, points[[place for place, own in enumerate(labels) if own == name]])


def write_results(results, slides):
    """Write files and tables of features; a slide without rows has failed."""
    rows, patches = [], []
    for slide, values in slides.items():
        own = PATCHES[: len(values)]
        manifest = FeatureManifest(name="uni", slide=slide, fingerprint="f", model="timm:x")
        places = PatchPlaces.of(slide, own, INFO if len(values) else None, grid=GRID)
        write_features(
            results / feature_file("uni", slide), manifest, places, batches=[np.float32(values)] if len(values) else []
        )
        facts = {"slide": slide, "name": "uni", "model": "timm:x", "rows": len(values), "seconds": 0.5}
        rows.append(facts | {"dim": 3 if len(values) else 0, "device": "cpu", "transform": "none"})
        patches += [
            {"slide": slide, "patch_id": patch.patch_id, "label_name": ("Normal", "Tumour")[place % 2]}
            for place, patch in enumerate(own)
        ]
    write_table(results / FEATURES_TABLE, FEATURE_COLUMNS, rows)
    write_table(results / METADATA_TABLE, METADATA_COLUMNS, patches)
    return results / FEATURES_TABLE, results / METADATA_TABLE


def test_summary_counts_slides_rows_and_speed(tmp_path):
    """A slide without rows counts as none, and its time does not either."""
    values = random_rows(0, 6, 3)
    (found,) = summarize_features(*write_results(tmp_path, {"a": values, "b": values[:2], "c": values[:0]}), LABELS)
    assert (found.name, found.model, found.slides, found.rows, found.dim) == ("uni", "timm:x", 2, 8, 3)
    assert found.rate == 8 / (0.5 + 0.5)
    assert "first principal component" in found.plot
    assert "Tumour" in found.plot


@pytest.mark.parametrize("most", [2, 3, 5])
def test_plotted_patches_are_spread_over_slides(tmp_path, monkeypatch, most):
    """Every so many patches of all slides in turn, so that small slides are not left out."""
    monkeypatch.setattr(feature_summary, "PLOTTED", most)
    values = np.arange(18.0).reshape(6, 3)
    write_results(tmp_path, {"a": values, "b": values[:1], "c": values[:5]})
    rows = [{"slide": slide, "rows": str(count)} for slide, count in (("a", 6), ("b", 1), ("c", 5))]
    places, found = feature_summary._sample_rows(tmp_path, "uni", rows)
    every = [(slide, place) for slide, count in (("a", 6), ("b", 1), ("c", 5)) for place in range(count)]
    expected = every[:: -(-12 // most)]
    assert places == [(slide, PATCHES[place].patch_id) for slide, place in expected]
    assert np.array_equal(found, values[[place for _, place in expected]])


def test_fewer_than_three_patches_have_no_plot(tmp_path):
    (found,) = summarize_features(*write_results(tmp_path, {"a": np.ones((2, 3))}), LABELS)
    assert (found.rows, found.plot) == (2, "")


def test_file_that_ends_its_reader_is_an_error(tmp_path, monkeypatch):
    """Files are read in a child process: what HDF5 does there ends no report."""
    tables = write_results(tmp_path, {"a": np.ones((4, 3))})
    monkeypatch.setattr(feature_summary, "open_features", lambda _: os.kill(os.getpid(), signal.SIGSEGV))
    with pytest.raises(StoreError, match=r"features/uni: a damaged file has ended .*signal 11\): slidemill verify"):
        summarize_features(*tables, LABELS)
