"""PyTorch's DataLoader over the stores: with any number of workers, by fork and by spawn, on several ranks."""

import os
import subprocess
import sys

import numpy as np
import pytest

from slidemill.datasets.batches import symmetries_of
from slidemill.errors import SlidemillError
from slidemill.stores.arrays import turn_view
from tests.conftest import ROOT
from tests.results import SIZE

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch")
from torch.utils.data import DataLoader  # noqa: E402

from slidemill.torch import PatchDataset, PatchStream  # noqa: E402

WORKERS = [
    pytest.param({"num_workers": 0}, id="none"),
    pytest.param({"num_workers": 1, "multiprocessing_context": "fork"}, id="1 forked"),
    pytest.param({"num_workers": 3, "multiprocessing_context": "fork", "persistent_workers": True}, id="3 persistent"),
    pytest.param({"num_workers": 2, "multiprocessing_context": "spawn"}, id="2 spawned", marks=pytest.mark.long),
]


def images(truth):
    return truth.transpose(0, 3, 1, 2)


def sums(loader):
    """By the bytes of an image, which noise makes unique, its label; of an epoch."""
    return {
        image.numpy().tobytes(): int(label)
        for batch, labels in loader
        for image, label in zip(batch, labels, strict=True)
    }


@pytest.mark.parametrize("workers", WORKERS)
def test_items_come_as_they_are_stored(dataset, truth, workers):
    dataset.read([0])  # a store is open when workers are forked
    loader = DataLoader(PatchDataset(dataset), batch_size=4, **workers)
    for _ in range(2):
        batches = list(loader)
        assert [len(labels) for _, labels in batches] == [4, 4, 4, 4, 2]
        pixels, labels = (torch.cat(parts) for parts in zip(*batches, strict=True))
        assert pixels.dtype == torch.uint8
        assert pixels.shape == (len(truth), 3, SIZE, SIZE)
        assert np.array_equal(pixels, images(truth))
        assert labels.tolist() == dataset.labels.tolist()


def test_items_may_be_shuffled_sampled_and_transformed(dataset, truth):
    patches = PatchDataset(dataset, transform=lambda image: image.float() / 255)
    known = {image.tobytes(): label for image, label in zip(images(truth), dataset.labels.tolist(), strict=True)}
    loader = DataLoader(patches, 5, shuffle=True, num_workers=2)
    found = sums(((pixels * 255).round().to(torch.uint8), labels) for pixels, labels in loader)
    assert found == known
    image, label = patches[-1]
    assert image.dtype == torch.float32
    assert label == dataset.labels[-1]
    with pytest.raises(IndexError, match="counted from 0"):
        patches[len(truth)]


@pytest.mark.parametrize("workers", [WORKERS[0], WORKERS[2]])
def test_each_epoch_has_its_own_augmentation_in_workers_that_persist_too(dataset, truth, workers):
    patches = PatchDataset(dataset, augment=True, seed=4)
    loader = DataLoader(patches, batch_size=4, **workers)
    for epoch in (0, 1, 5):
        patches.set_epoch(epoch)
        pixels = torch.cat([batch for batch, _ in loader]).numpy()
        turns = symmetries_of(len(truth), 4, epoch)
        wanted = np.stack([turn_view(one, int(turn)) for one, turn in zip(truth, turns, strict=True)])
        assert np.array_equal(pixels, images(wanted))


@pytest.mark.parametrize("workers", WORKERS)
def test_a_stream_is_the_datasets_batches_whatever_the_workers(dataset, workers):
    stream = PatchStream(dataset, 4, seed=7, augment=True)
    loader = DataLoader(stream, batch_size=None, **workers)
    assert len(loader) == len(stream) == 5
    for epoch in (0, 3):
        stream.set_epoch(epoch)
        wanted = list(dataset.batches(4, seed=7, epoch=epoch, augment=True))
        for (pixels, labels), batch in zip(loader, wanted, strict=True):
            assert np.array_equal(pixels, images(batch.pixels))
            assert labels.tolist() == batch.labels.tolist()


def crop_pair(image):
    """A transform whose results are no tensors."""
    return {"image": image[:, 2:10, 1:9].float() / 255, "mean": float(image.float().mean())}


@pytest.mark.parametrize("workers", WORKERS)
def test_stream_transform_equals_that_of_items(dataset, workers):
    """A law: the batch of a stream is what a DataLoader makes of the transformed items in the stream's order."""
    loader = DataLoader(PatchStream(dataset, 4, seed=7, augment=True, transform=crop_pair), batch_size=None, **workers)
    items = PatchDataset(dataset, crop_pair, augment=True, seed=7)
    order = dataset.stored.order("blocks", 7, 0).tolist()
    expected = DataLoader(items, batch_sampler=[order[start : start + 4] for start in range(0, len(order), 4)])
    count = 0
    for (batch, labels), (own, own_labels) in zip(loader, expected, strict=True):
        assert batch["image"].shape[1:] == (3, 8, 8)
        assert torch.equal(batch["image"], own["image"])
        assert torch.equal(batch["mean"], own["mean"])
        assert torch.equal(labels, own_labels)
        count += len(labels)
    assert count == len(dataset)


@pytest.mark.cases
@pytest.mark.parametrize("ranks", [1, 2, 3, 5])
@pytest.mark.parametrize("workers", [0, 2])
def test_ranks_share_the_batches_and_get_as_many(dataset, ranks, workers):
    streams = [PatchStream(dataset, 2, rank=rank, world_size=ranks) for rank in range(ranks)]
    shares = [sums(DataLoader(stream, batch_size=None, num_workers=workers)) for stream in streams]
    assert len({len(stream) for stream in streams}) == 1
    together = {image for share in shares for image in share}
    assert len(together) == sum(map(len, shares)) == 9 // ranks * ranks * 2
    everything = [PatchStream(dataset, 2, shuffle=False, rank=rank, world_size=ranks) for rank in range(ranks)]
    assert sum(len(sums(DataLoader(stream, batch_size=None))) for stream in everything) == len(dataset)


@pytest.mark.filterwarnings("ignore:.*pin_memory.*no accelerator")
def test_pinned_memory_is_asked_for_without_harm(dataset, truth):
    loader = DataLoader(PatchDataset(dataset), 6, num_workers=1, pin_memory=True)
    assert np.array_equal(torch.cat([batch for batch, _ in loader]), images(truth))


def test_ranks_that_nobody_has_counted_are_not_taken_for_one(dataset, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(SlidemillError, match="call init_process_group first"):
        PatchStream(dataset, 2)
    PatchStream(dataset, 2, rank=1, world_size=2)
    with pytest.raises(SlidemillError, match="give both, or neither"):
        PatchStream(dataset, 2, world_size=2)


def test_wrong_arguments_are_told_at_once(dataset):
    with pytest.raises(SlidemillError, match="shuffle is 'nope'"):
        PatchStream(dataset, 2, shuffle="nope")
    for kind in (PatchDataset, lambda *_, **wrong: PatchStream(dataset, 2, **wrong)):
        with pytest.raises(SlidemillError, match="seed is -1"):
            kind(dataset, augment=True, seed=-1)


@pytest.mark.parametrize(("rank", "ranks"), [(2, 2), (-1, 2), (0, 0)])
def test_a_rank_that_does_not_exist_is_said(dataset, rank, ranks):
    with pytest.raises(SlidemillError, match="ranks count from 0"):
        PatchStream(dataset, 2, rank=rank, world_size=ranks)


RANK = """
import sys, torch.distributed
from slidemill import open_dataset
from slidemill.torch import PatchStream
torch.distributed.init_process_group("gloo", init_method=f"file://{sys.argv[1]}", rank=int(sys.argv[2]), world_size=2)
with open_dataset(sys.argv[3]) as dataset:
    for pixels, _ in PatchStream(dataset, 3):
        print(*pixels.flatten(1).sum(1).tolist())
torch.distributed.barrier()
torch.distributed.destroy_process_group()
"""


@pytest.mark.long
def test_real_ranks_find_their_own_place(results, dataset, truth, tmp_path):
    command = [sys.executable, "-c", RANK, str(tmp_path / "meeting")]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "scripts")}
    ranks = [
        subprocess.Popen([*command, str(rank), str(results)], stdout=subprocess.PIPE, text=True, env=environment)
        for rank in range(2)
    ]
    shares = [set(map(int, rank.communicate()[0].split())) for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0]
    assert [len(share) for share in shares] == [9, 9]
    assert set.union(*shares) == set(truth.reshape(len(truth), -1).sum(1).tolist())
