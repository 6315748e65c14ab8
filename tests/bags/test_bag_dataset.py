"""PyTorch's DataLoader over bags: items, ragged batches, and workers by fork and by spawn."""

import numpy as np
import pytest

from slidemill.errors import SlidemillError
from tests.bags.conftest import DIM

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch")
from torch.utils.data import DataLoader  # noqa: E402

from slidemill.torch import BagDataset, collate_bags  # noqa: E402

WORKERS = [
    pytest.param({}, id="none"),
    pytest.param({"num_workers": 2, "multiprocessing_context": "fork"}, id="forked"),
    pytest.param({"num_workers": 1, "multiprocessing_context": "spawn"}, id="spawned", marks=pytest.mark.long),
]


@pytest.fixture
def ragged(dataset):
    """Patches of each slide: 6, 2, 5 and 1."""
    return dataset.take(np.delete(np.arange(24), [*range(8, 12), 14, *range(19, 24)]))


@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize("level", ["slide", "patient"])
def test_batches_are_the_bags_padded(ragged, level, workers):
    bags = ragged.bags("uni", "diagnosis", level)
    loader = DataLoader(BagDataset(bags), batch_size=3, collate_fn=collate_bags, **workers)
    seen = 0
    for batch in loader:
        longest = max(len(bags[seen + place].features) for place in range(len(batch.ids)))
        assert batch.features.shape == (len(batch.ids), longest, DIM)
        assert (batch.features.dtype, batch.mask.dtype, batch.coords.dtype) == (torch.float16, torch.bool, torch.int64)
        for features, mask, coords, target, name in zip(*batch, strict=True):
            bag = bags[seen]
            assert name == bag.id
            assert mask.tolist() == [place < len(bag.features) for place in range(longest)]
            assert np.array_equal(features[mask], bag.features)
            assert np.array_equal(coords[mask], bag.coords)
            assert not features[~mask].any()
            assert target == bags.targets.labels[seen]
            seen += 1
    assert seen == len(bags)


def test_items_are_single_bags(ragged):
    bags = ragged.bags("uni", "diagnosis")
    features, coords, target, name = BagDataset(bags)[1]
    assert (tuple(features.shape), tuple(coords.shape), target.item(), name) == ((2, DIM), (2, 2), 1, "a")
    (whole,) = DataLoader(BagDataset(bags[:1]), batch_size=None)
    assert np.array_equal(whole[0], bags[0].features)


def test_targets_are_classes_numbers_or_none(dataset):
    assert BagDataset(dataset.bags("uni")).targets.tolist() == [-1] * 4
    assert BagDataset(dataset.bags("uni", "diagnosis")).targets.dtype == torch.int64
    ages = BagDataset(dataset.bags("uni", "age"), numbers=True).targets
    assert ages.dtype == torch.float32
    assert ages.nan_to_num(-1).tolist() == [61, -1, 7.5, -1]
    with pytest.raises(SlidemillError, match="diagnosis: not a number"):
        BagDataset(dataset.bags("uni", "diagnosis"), numbers=True)
    with pytest.raises(SlidemillError, match=r"the bags have no target: ds\.bags"):
        BagDataset(dataset.bags("uni"), numbers=True)
