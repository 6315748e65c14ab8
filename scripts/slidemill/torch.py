"""Patches for PyTorch's DataLoader; this module alone needs torch (``pip install slidemill[torch]``)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
import torch.distributed
from torch.utils.data import Dataset, IterableDataset, get_worker_info

from slidemill.core.encodings import Pixels
from slidemill.datasets.batches import Batching, batch_count, ordered, symmetries_of
from slidemill.datasets.dataset import Dataset as Patches
from slidemill.datasets.shuffle import Shuffle
from slidemill.datasets.stored_patches import Places
from slidemill.errors import SlidemillError

Transform = Callable[[torch.Tensor], Any]


class _Turns:
    """The symmetries by which patches are turned, by seed and epoch; where nothing is augmented there are none."""

    def __init__(self, count: int, seed: int, wanted: bool) -> None:
        self._count, self._seed, self._wanted = count, Batching(1, seed=seed).seed, wanted
        # In memory that is shared, so that workers which persist see another epoch too.
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
    """A dataset's patches by their places, for a DataLoader that shuffles and batches by itself.

    An item is a tensor ``uint8 (3, height, width)``, RGB, or what `transform` makes of it, and the label. It is carried
    to workers by fork and by spawn; these get the places of the patches, and not the table.

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
        """Have the augmentation be another epoch's, in workers that persist too."""
        self._turns.epoch.fill_(epoch)

    def __len__(self) -> int:
        return len(self._stored)

    def __getitem__(self, place: int) -> tuple[Any, int]:
        if not -len(self) <= place < len(self):
            raise IndexError(f"patch {place} does not exist: there are {len(self)}, counted from 0")
        return self.__getitems__([place % len(self)])[0]

    def __getitems__(self, places: Sequence[int]) -> list[tuple[Any, int]]:
        """Return several items: a DataLoader asks for all of a batch at once."""
        own = np.asarray(places, np.intp)
        images = _tensor(self._stored.read(own, symmetries=self._turns.of(own)))
        labels = self._labels[own].tolist()
        if self._transform is None:
            return list(zip(images, labels, strict=True))
        return [(self._transform(image), label) for image, label in zip(images, labels, strict=True)]


class PatchStream(IterableDataset):  # type: ignore[misc]
    """Batches in a shuffled order that is kind to disks, shared out among ranks and workers.

    Use it as ``DataLoader(stream, batch_size=None, num_workers=...)``: what comes are whole batches, ``uint8 (size, 3,
    height, width)``, in memory as channels_last, and ``int64 (size,)``, the same ones in the same order whatever the
    number of workers.

    Parameters
    ----------
    patches
        Of `slidemill.open_dataset`.
    size, shuffle, seed, augment, drop_last
        As `slidemill.datasets.dataset.Dataset.batches` takes them.
    rank, world_size
        The place of this process among those that train together, and how many these are; None asks torch.distributed,
        and is 0 of 1 where that is not at work. Shuffled, each rank gets as many batches, so that none waits for ever:
        those left over are left out, other ones in each epoch. In the table's order none is left out.

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
    ) -> None:
        self._stored, self._labels = patches.stored, patches.labels
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
        """Have order and augmentation be another epoch's, in workers that persist too."""
        self._turns.epoch.fill_(epoch)

    def __len__(self) -> int:
        return len(self._own())

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        worker = get_worker_info()
        first, step = (worker.id, worker.num_workers) if worker else (0, 1)
        places = ordered(self._stored, self._batching, int(self._turns.epoch))
        for number in self._own()[first::step]:
            own = places[number * self._batching.size : (number + 1) * self._batching.size]
            pixels = self._stored.read(own, symmetries=self._turns.of(own))
            yield _tensor(pixels), torch.from_numpy(self._labels[own])

    def _own(self) -> range:
        """Return the numbers of this rank's batches."""
        count = batch_count(len(self._stored), self._batching)
        if self._batching.shuffle:
            count -= count % self._ranks
        return range(self._rank, count, self._ranks)


def _tensor(pixels: Pixels) -> torch.Tensor:
    """Return patches as ``uint8 (patches, 3, height, width)``; nothing is copied."""
    return torch.from_numpy(pixels).permute(0, 3, 1, 2)
