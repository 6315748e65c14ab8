"""Compare orders of shuffled epochs: tiles that are decoded, what batches mix, and what a model learns.

    python -m benchmarks.shuffle_quality [--seeds 8]

No slide is read. Patches are in random tissue, and their labels are a smooth random map, plus an offset per slide.
The orders are a uniform permutation, the blocks of `slidemill.datasets.shuffle`, and squares of 4 x 4 patches of which
16 are mixed at a time, as earlier versions did. A tile is decoded again when the cache has dropped it. The variance is
that of a label's share in so many consecutive batches of 64, times that of independent draws.
"""

from __future__ import annotations

import argparse
import statistics
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from slidemill.datasets.shuffle import SLIDES, order
from slidemill.stores.tile_cuts import CACHE_BYTES

TILE, PATCH, BATCH = 240, 256, 64
SPANS = (1, 4, 16)
"""Consecutive batches whose share of a label is compared."""
MOST = 16_000
"""Patches whose tiles are counted."""

COHORTS = (
    (1, (78, 93), 1.0, 10),
    (1, (35, 30), 0.5, 5),
    (40, (70, 60), 0.5, 3),
    (40, (70, 60), 0.5, 10),
    (100, (25, 20), 0.3, 5),
)
"""Slides, rows and columns of each, share of tissue, and the patches over which labels are smooth."""

Places = npt.NDArray[np.intp]
Floats = npt.NDArray[np.float64]


class Cohort(NamedTuple):
    """Patches of slides: the slide, column and row of each, its label, and what a model sees of it."""

    slides: Places
    columns: Places
    rows: Places
    labels: npt.NDArray[np.int64]
    features: Floats


def smooth(shape: tuple[int, int], scale: float, generator: np.random.Generator) -> Floats:
    """Return a random map, ``(rows, columns)``, of mean 0 and deviation 1, smooth over `scale` patches."""
    down, across = (np.fft.fftfreq(length) for length in shape)
    damping = np.exp(-2 * (np.pi * scale) ** 2 * (down[:, None] ** 2 + across**2))
    found: Floats = np.fft.ifft2(np.fft.fft2(generator.standard_normal(shape)) * damping).real
    found -= found.mean()
    found /= found.std()
    return found


def cohort(slides: int, shape: tuple[int, int], tissue: float, scale: float) -> Cohort:
    """Return patches in tissue, with labels that are smooth over `scale` patches."""
    generator = np.random.default_rng(0)
    own: list[tuple[Places, Places, Places, Floats]] = []
    for number in range(slides):
        mask = smooth(shape, max(shape) / 5, generator)
        rows, columns = np.nonzero(mask >= np.quantile(mask, 1 - tissue))
        value = smooth(shape, min(scale, max(shape) / 4), generator)[rows, columns] + generator.standard_normal() / 2
        own.append((np.full(len(rows), number), columns, rows, value))
    places, columns, rows, values = (np.concatenate(part) for part in zip(*own, strict=True))
    labels = (values > np.median(values)).astype(np.int64)
    # Features of a slide share its colours; labels show weakly, so that no model learns them at once.
    colours = generator.standard_normal((slides, 16))[places]
    noise = generator.standard_normal((len(places), 16)) * 3
    features = colours + noise + np.outer(labels - 0.5, generator.standard_normal(16))
    return Cohort(places, columns, rows, labels, features)


def squares(own: Cohort, seed: int, epoch: int) -> Places:
    """Return an order of squares of 4 x 4 patches, of which 16 random ones of up to 32 slides are mixed at a time."""
    generator = np.random.default_rng((seed, epoch))
    slides = int(own.slides.max()) + 1
    group = generator.permutation(slides) * -(-slides // SLIDES) // slides
    sides = np.stack([group[own.slides], own.slides, own.rows // 4, own.columns // 4])
    known, number = np.unique(sides, axis=1, return_inverse=True)
    drawn = np.lexsort((generator.random(known.shape[1]), known[0]))
    rank = np.argsort(drawn)[number.ravel()]
    return np.lexsort((generator.random(len(rank)), rank // 16))


def orders(own: Cohort) -> dict[str, Callable[[int, int], Places]]:
    """Return the orders that are compared, each from a seed and an epoch."""
    return {
        "exact": lambda seed, epoch: order(own.slides, "exact", seed, epoch),
        "squares": lambda seed, epoch: squares(own, seed, epoch),
        "blocks": lambda seed, epoch: order(own.slides, "blocks", seed, epoch, cells=(own.columns, own.rows)),
    }


def decoded_tiles(own: Cohort, places: Places) -> float:
    """Return how many tiles are decoded per patch."""
    kept: OrderedDict[tuple[int, int, int], None] = OrderedDict()
    count = 0
    for place in places[:MOST].tolist():
        first = int(own.columns[place]) * PATCH, int(own.rows[place]) * PATCH
        spans = [range(at // TILE, (at + PATCH - 1) // TILE + 1) for at in first]
        for tile in ((int(own.slides[place]), across, down) for across in spans[0] for down in spans[1]):
            count += tile not in kept
            kept[tile] = None
            kept.move_to_end(tile)
            if len(kept) > CACHE_BYTES // (TILE * TILE * 3):
                kept.popitem(last=False)
    return count / min(len(places), MOST)


def varying(labels: npt.NDArray[np.int64], span: int) -> float:
    """Return the variance of a label's share in so many batches, times that of independent draws."""
    count = len(labels) // (BATCH * span)
    if count < 2:
        return float("nan")
    return float(labels[: count * BATCH * span].reshape(count, -1).mean(1).var() / (0.25 / (BATCH * span)))


def entropy(labels: npt.NDArray[np.int64]) -> float:
    """Return the mean entropy of a batch's labels, in bits."""
    count = len(labels) // BATCH
    share = np.clip(labels[: count * BATCH].reshape(count, -1).mean(1), 1e-9, 1 - 1e-9)
    return float((-share * np.log2(share) - (1 - share) * np.log2(1 - share)).mean())


def accuracy(own: Cohort, places: Places, *, falls: bool) -> float:
    """Return a logistic regression's accuracy on new patches after stochastic descent in the given order.

    `falls` says whether the rate of learning falls to 0 as a cosine, or is constant.
    """
    generator = np.random.default_rng(99)
    weights, bias, count = np.zeros(16), 0.0, len(places) // BATCH
    for step in range(count):
        some = places[step * BATCH : (step + 1) * BATCH]
        rate = 0.025 * (1 + np.cos(np.pi * step / count)) if falls else 0.05
        error = 1 / (1 + np.exp(-(own.features[some] @ weights + bias))) - own.labels[some]
        weights -= rate * (error @ own.features[some]) / BATCH
        bias -= rate * float(error.mean())
    seen = own.features + generator.standard_normal(own.features.shape)
    return float(((seen @ weights + bias > 0) == own.labels).mean())


def main() -> None:
    """Compare, and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=8)
    given = parser.parse_args()
    heads = ["patches", "order", "tiles per patch", *(f"variance of {span}" for span in SPANS), "entropy"]
    heads += ["accuracy, falling rate", "accuracy, constant rate"]
    print(f"| {' | '.join(heads)} |\n|---|---|" + "---:|" * (len(heads) - 2))
    for slides, shape, tissue, scale in COHORTS:
        own = cohort(slides, shape, tissue, scale)
        for name, reading in orders(own).items():
            read = [reading(seed, 0) for seed in range(given.seeds)]
            labels = [own.labels[places] for places in read]
            cells = [
                f"{len(own.slides):,} of {slides} slides, scale {scale}",
                name,
                f"{decoded_tiles(own, read[0]):.2f}",
            ]
            cells += [f"{statistics.mean(varying(one, span) for one in labels):.1f}" for span in SPANS]
            cells.append(f"{statistics.mean(map(entropy, labels)):.3f}")
            for falls in (True, False):
                learnt = [accuracy(own, places, falls=falls) for places in read]
                error = statistics.stdev(learnt) / len(learnt) ** 0.5
                cells.append(f"{statistics.mean(learnt):.4f} ± {error:.4f}")
            print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
