"""Serve patches and bags to PyTorch's DataLoader.

This module needs torch (``pip install '.[torch]'`` in slidemill's folder).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.distributed
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset, IterableDataset, default_collate, get_worker_info

from slidemill.bags.bags import Bags
from slidemill.core.encodings import Pixels
from slidemill.datasets.batches import Batching, batch_count, symmetries_of
from slidemill.datasets.dataset import Dataset as Patches
from slidemill.datasets.shuffle import Shuffle
from slidemill.datasets.stored_patches import Places
from slidemill.errors import SlidemillError

Transform = Callable[[torch.Tensor], Any]


class _Turns:
    """The symmetries of augmented patches, by seed and epoch."""

    def __init__(self, count: int, seed: int, wanted: bool) -> None:
        self._count, self._seed, self._wanted = count, Batching(1, seed=seed).seed, wanted
        # In shared memory, so that persistent workers see another epoch too.
        self.epoch = torch.zeros((), dtype=torch.int64).share_memory_()
        self._known: tuple[int, Places] | None = None

    def of(self, places: Places) -> Places | None:
        if not self._wanted:
            return None
        epoch = int(self.epoch)
        if self._known is None or self._known[0] != epoch:
            self._known = epoch, symmetries_of(self._count, self._seed, epoch)
        return self._known[1][places]


class PatchDataset(Dataset):  # type: ignore[misc]
    """A dataset's patches by position, as a map-style PyTorch dataset.

    The DataLoader shuffles and makes batches.

    An item is a tensor ``uint8 (3, height, width)``, RGB, or the result of `transform`, and the label. Workers started
    by fork or by spawn get the places of the patches, not the table.

    Parameters
    ----------
    patches
        Of `slidemill.open_dataset`.
    transform
        Is called with each tensor.
    augment
        Whether each patch is turned by one of the eight symmetries of the square, by seed and epoch: see `set_epoch`.
    seed
        Of the augmentation.
    """

    def __init__(
        self, patches: Patches, transform: Transform | None = None, augment: bool = False, seed: int = 0
    ) -> None:
        self._stored, self._labels, self._transform = patches.stored, patches.labels, transform
        self._turns = _Turns(len(patches), seed, augment)

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the augmentation, also in persistent workers."""
        self._turns.epoch.fill_(epoch)

    def __len__(self) -> int:
        return len(self._stored)

    def __getitem__(self, place: int) -> tuple[Any, int]:
        if not -len(self) <= place < len(self):
            raise IndexError(f"patch {place} does not exist: there are {len(self)}, counted from 0")
        return self.__getitems__([place % len(self)])[0]

    def __getitems__(self, places: Sequence[int]) -> list[tuple[Any, int]]:
        """Return several items, as a DataLoader requests them for a batch."""
        own = np.asarray(places, np.intp)
        images = _tensor(self._stored.read(own, symmetries=self._turns.of(own)))
        labels = self._labels[own].tolist()
        if self._transform is None:
            return list(zip(images, labels, strict=True))
        return [(self._transform(image), label) for image, label in zip(images, labels, strict=True)]


class BagBatch(NamedTuple):
    """Several bags in one tensor, padded to the longest.

    Parameters
    ----------
    features
        ``(bags, longest, dim)``, 0 where `mask` is False.
    mask
        ``bool (bags, longest)``: whether there is a patch.
    coords
        The top left of each patch in level-0 pixels of its slide, ``int64 (bags, longest, 2)``.
    targets
        As `BagDataset` gives them, ``(bags,)``.
    ids
        The ids of the slides or patients.
    """

    features: torch.Tensor
    mask: torch.Tensor
    coords: torch.Tensor
    targets: torch.Tensor
    ids: Sequence[str]


Item = tuple[torch.Tensor, torch.Tensor, torch.Tensor, str]
"""Features, coordinates, target and id of a bag."""


class BagDataset(Dataset):  # type: ignore[misc]
    """Bags by position, as a map-style PyTorch dataset, for ``DataLoader(dataset, collate_fn=collate_bags)``.

    An item is the features, ``(n, dim)`` in the type of the file; the coordinates, ``int64 (n, 2)``; the target; and
    the id. Workers started by fork or by spawn open and close the files themselves.

    Parameters
    ----------
    bags
        Of `slidemill.datasets.dataset.Dataset.bags`.
    numbers
        Whether targets are numbers, ``float32``, NaN if unknown. By default, they are the places of the classes,
        ``int64``, -1 if unknown or if the bags have no target.

    Raises
    ------
    SlidemillError
        When numbers are requested and a target is not a number, or the bags have none.
    """

    def __init__(self, bags: Bags, numbers: bool = False) -> None:
        if numbers and bags.targets is None:
            raise SlidemillError("numbers are requested and the bags have no target: ds.bags(name, target=column)")
        self._bags = bags
        self.targets = torch.full((len(bags),), -1)
        if bags.targets is not None:
            self.targets = (
                torch.from_numpy(bags.targets.numbers).float() if numbers else torch.from_numpy(bags.targets.labels)
            )

    def __len__(self) -> int:
        return len(self._bags)

    def __getitem__(self, number: int) -> Item:
        bag = self._bags[number]
        return torch.from_numpy(bag.features), torch.from_numpy(bag.coords), self.targets[number], bag.id


def collate_bags(items: Sequence[Item]) -> BagBatch:
    """Join bags of different lengths to one batch, padded with 0."""
    features, coords, targets, ids = zip(*items, strict=True)
    lengths = torch.tensor([len(own) for own in features])
    mask = torch.arange(int(lengths.max())) < lengths[:, None]
    padded = (pad_sequence(list(own), batch_first=True) for own in (features, coords))
    return BagBatch(next(padded), mask, next(padded), torch.stack(targets), list(ids))


class PatchStream(IterableDataset):  # type: ignore[misc]
    """Batches in a shuffled order that suits disks, divided among ranks and workers.

    Use it as ``DataLoader(stream, batch_size=None, num_workers=...)``. Items are batches: ``uint8 (size, 3, height,
    width)``, in memory as channels_last, and labels, ``int64 (size,)``. They are the same, in the same order, with any
    number of workers.

    Parameters
    ----------
    patches
        Of `slidemill.open_dataset`.
    size, shuffle, seed, augment, drop_last
        As of `slidemill.datasets.dataset.Dataset.batches`.
    rank, world_size
        The number of this process among those that train together, and their count; None asks torch.distributed, and
        is 0 of 1 if that is not initialized. Shuffled, all ranks get equally many batches, so that none waits forever:
        each epoch leaves out other remaining batches. In the table's order, none is left out.
    transform
        Is called with each patch, a tensor ``uint8 (3, height, width)``; a batch has its results, as PyTorch's
        ``default_collate`` joins them.

    Raises
    ------
    SlidemillError
        When an argument is not one of these.
    """

    def __init__(
        self,
        patches: Patches,
        size: int,
        shuffle: Shuffle | bool = True,
        seed: int = 0,
        augment: bool = False,
        drop_last: bool = False,
        rank: int | None = None,
        world_size: int | None = None,
        *,
        transform: Transform | None = None,
    ) -> None:
        self._stored, self._labels, self._transform = patches.stored, patches.labels, transform
        self._batching = Batching(size, shuffle, seed, drop_last=drop_last)
        self._turns = _Turns(len(patches), seed, augment)
        if (rank is None) != (world_size is None):
            raise SlidemillError(f"rank is {rank} and world_size {world_size}: give both, or neither")
        working = torch.distributed.is_available() and torch.distributed.is_initialized()
        if rank is None and not working and int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise SlidemillError(
                f"WORLD_SIZE is {os.environ['WORLD_SIZE']} and torch.distributed is not at work: call "
                "init_process_group first, or give rank and world_size"
            )
        self._rank = rank if rank is not None else torch.distributed.get_rank() if working else 0
        self._ranks = world_size if world_size is not None else torch.distributed.get_world_size() if working else 1
        if not 0 <= self._rank < self._ranks:
            raise SlidemillError(f"rank is {self._rank} of {self._ranks}: ranks count from 0 to world_size - 1")

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of order and augmentation, also in persistent workers."""
        self._turns.epoch.fill_(epoch)

    def __len__(self) -> int:
        return len(self._own())

    def __iter__(self) -> Iterator[tuple[Any, torch.Tensor]]:
        worker = get_worker_info()
        first, step = (worker.id, worker.num_workers) if worker else (0, 1)
        batching, epoch = self._batching, int(self._turns.epoch)
        places = self._stored.order(batching.shuffle, batching.seed, epoch)
        for number in self._own()[first::step]:
            own = places[number * self._batching.size : (number + 1) * self._batching.size]
            images = _tensor(self._stored.read(own, symmetries=self._turns.of(own)))
            labels = torch.from_numpy(self._labels[own])
            yield images if self._transform is None else default_collate(list(map(self._transform, images))), labels

    def _own(self) -> range:
        """Return the numbers of this rank's batches."""
        count = batch_count(len(self._stored), self._batching)
        if self._batching.shuffle:
            count -= count % self._ranks
        return range(self._rank, count, self._ranks)


def _tensor(pixels: Pixels) -> torch.Tensor:
    """Return patches as ``uint8 (patches, 3, height, width)``, without a copy."""
    return torch.from_numpy(pixels).permute(0, 3, 1, 2)
