"""Stores and results that an earlier version wrote, as `write_earlier` did once, are read by this one."""

from pathlib import Path

import numpy as np
import pytest

from slidemill import open_dataset, open_store, read_metadata
from slidemill.core.encodings import ENCODINGS
from slidemill.stages.validate import psnr
from slidemill.stages.verify import verify
from tests.results import FINGERPRINT, LABELS, PATCHES
from tests.stores.write_earlier import SLIDES, gradients

EARLIER = Path(__file__).parent / "earlier"
BACKENDS = ("lmdb", "hdf5", "disk", "tar")
"""The backends of the results; Zarr came later."""
STORES = sorted((EARLIER / "stores").iterdir())


def test_earlier_stores_have_every_backend_and_encoding():
    names = {path.name.partition(".")[0] for path in STORES}
    expected = {f"{backend}-{encoding}" for backend in BACKENDS for encoding in ENCODINGS.keys() - {"npy"}}
    assert names == expected | {"zarr-raw", "zarr-zstd"}


@pytest.mark.parametrize("path", STORES, ids=lambda path: path.name)
def test_earlier_store_gives_its_pixels(path):
    with open_store(path) as store:
        assert store.stored_ids() == [patch.patch_id for patch in PATCHES]
        assert store.manifest.fingerprint == FINGERPRINT
        pixels = store.read_many(store.ids)
    if path.name.partition(".")[0].endswith(("-jpeg", "-source")):
        assert min(map(psnr, pixels, gradients())) > 30
    else:
        np.testing.assert_array_equal(pixels, gradients())


@pytest.mark.parametrize("backend", BACKENDS)
def test_earlier_results_open_as_a_dataset(backend):
    with open_dataset(EARLIER / "cohort", backend=backend) as dataset:
        pixels = np.concatenate([images for images, *_ in dataset.batches(4, shuffle=False)])
    np.testing.assert_array_equal(pixels, np.concatenate([gradients(), gradients(first=100)]))
    metadata = read_metadata(EARLIER / "cohort")
    assert list(metadata["slide"].unique()) == list(SLIDES)
    assert set(metadata["label_name"]) == {name for _, name in LABELS}


def test_earlier_results_are_whole():
    checked = verify(EARLIER / "cohort", 1)
    assert (checked.slides, checked.stores) == (len(SLIDES), len(SLIDES) * len(BACKENDS))
    assert not checked.faults
