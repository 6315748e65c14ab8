"""Make batches of patches for training, in order and read ahead of their use."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from slidemill.core.encodings import Pixels
from slidemill.core.ordered_threads import Step, run_in_order
from slidemill.datasets.shuffle import Shuffle, random_numbers
from slidemill.datasets.stored_patches import Places, StoredPatches
from slidemill.errors import SlidemillError
from slidemill.stores.arrays import SYMMETRIES

AHEAD = 2
"""Batches that each worker may read ahead; this bounds memory."""

AUGMENTING = 3
"""Distinguishes the random numbers of the augmentation from those of the order."""


class Batch(NamedTuple):
    """A batch of patches.

    Parameters
    ----------
    pixels
        ``uint8 (patches, height, width, 3)``, RGB.
    labels
        ``int64 (patches,)``; one-hot ones are ``float32 (patches, classes)``.
    ids
        The patches' names in the cohort, such as ``case-01-bdbd6dbfdc/r00001_c00002``.
    """

    pixels: Pixels
    labels: npt.NDArray[np.int64] | npt.NDArray[np.float32]
    ids: list[str]


@dataclass(frozen=True, slots=True)
class Batching:
    """Settings of batches, as in `slidemill.datasets.dataset.Dataset.batches`."""

    size: int
    shuffle: Shuffle | bool = True
    seed: int = 0
    epoch: int = 0
    augment: bool = False
    drop_last: bool = False
    workers: int = 0
    one_hot: bool = False

    def __post_init__(self) -> None:
        for name, least in (("size", 1), ("workers", 0), ("seed", 0), ("epoch", 0)):
            value = getattr(self, name)
            if not isinstance(value, int | np.integer) or value < least:
                raise SlidemillError(f"{name} is {value!r}: give a whole number, {least} or more")
        if self.shuffle not in (True, False, "blocks", "exact"):
            raise SlidemillError(f"shuffle is {self.shuffle!r}: it is 'blocks', 'exact', True or False")


def batches(stored: StoredPatches, labels: npt.NDArray[np.int64], classes: int, chosen: Batching) -> Iterator[Batch]:
    """Return an iterator over the batches of an epoch.

    Arguments are checked at once, not at the first batch.

    Parameters
    ----------
    stored, labels
        The patches, and the label of each.
    classes
        Number of columns of one-hot labels.
    chosen
        How batches are made.
    """
    places: Places = stored.order(chosen.shuffle, chosen.seed, chosen.epoch)
    if chosen.one_hot:
        places = _with_class(places, labels)
    turns = symmetries_of(len(stored), chosen.seed, chosen.epoch) if chosen.augment else None
    count = batch_count(len(places), chosen)

    def read(number: int) -> Batch:
        own = places[number * chosen.size : (number + 1) * chosen.size]
        pixels = stored.read(own, symmetries=None if turns is None else turns[own])
        own_labels = one_hot(labels[own], classes) if chosen.one_hot else labels[own]
        return Batch(pixels, own_labels, stored.ids(own))

    if not chosen.workers:
        return map(read, range(count))
    return _ahead(read, count, chosen.workers)


def batch_count(patches: int, chosen: Batching) -> int:
    """Return the number of batches."""
    return patches // chosen.size if chosen.drop_last else -(-patches // chosen.size)


def symmetries_of(count: int, seed: int, epoch: int) -> Places:
    """Return a random symmetry of the square per patch, ``uint8 (count,)``."""
    return (random_numbers(count, seed, epoch, AUGMENTING) % SYMMETRIES).astype(np.uint8)


def one_hot(labels: npt.NDArray[np.int64], classes: int) -> npt.NDArray[np.float32]:
    """Return labels as one-hot rows, ``float32 (n, classes)``.

    Raises
    ------
    SlidemillError
        When a label is not a class: NumPy would take -1 for the last.
    """
    wrong = labels[(labels < 0) | (labels >= classes)]
    if wrong.size:
        raise SlidemillError(f"label {wrong[0]} is none of {classes} classes, counted from 0: leave such patches out")
    rows = np.zeros((len(labels), classes), np.float32)
    rows[np.arange(len(labels)), labels] = 1
    return rows


def _with_class(places: Places, labels: npt.NDArray[np.int64]) -> Places:
    """Return the places of patches with a class, and warn if others are left out."""
    kept = places[labels[places] >= 0]
    if left := len(places) - len(kept):
        warnings.warn(
            f"{left} of {len(places)} patches have the label -1, which is not a class, and are left out: "
            "give their names labels in labels.map",
            stacklevel=4,
        )
    return kept


def _ahead(read: Callable[[int], Batch], count: int, workers: int) -> Iterator[Batch]:
    """Yield the batches in order, while threads read the following ones."""

    def step(number: int) -> list[tuple[int, Batch]]:
        return [(number, read(number))]

    steps = (Step(number, partial(step, number)) for number in range(count))
    # The caller's thread is one of them, and takes a step itself instead of waiting.
    return run_in_order(steps, count, workers + 1, ahead=AHEAD * workers)
