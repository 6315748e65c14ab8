"""Measure embedding against reading alone, and against a loop written by hand in torch.

    python -m benchmarks.embed_patches --patches 512 --rounds 5

Prints patches per second of each way, in interleaved rounds: the median of each, and the ratios of the two bars.
``mean``: a model that returns the mean of pixels, against `Dataset.batches`-like reading of the same store in the same
batches; ``sparse`` is a mean over one pixel of 256, since torch takes 0.9 ms for the mean of a patch.
``resnet18``: against ``torch.utils.data.DataLoader`` over the store with two workers.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from slidemill.core.ordered_threads import Step, run_in_order
from slidemill.core.pyramid import SlideInfo
from slidemill.core.specs import FeatureSpec, GridSpec, StoreSpec
from slidemill.features.models import Place, open_encoder
from slidemill.slides.grid import Grid
from slidemill.stages.store import new_manifest
from slidemill.stores.base import Store
from slidemill.stores.registry import STORES, open_store
from slidemill.stores.writer import write_store
from slidemill.testing import Tissue, paint

SIZE = 256
BATCH = 64
THREADS = 2


def mean() -> tuple[Callable[[Any], Any], None]:
    """Return a model whose forward pass is a mean over pixels."""
    import torch

    return lambda batch: batch.mean(dim=(2, 3), dtype=torch.float32), None


def sparse() -> tuple[Callable[[Any], Any], None]:
    """Return a model whose forward pass takes next to no time: a mean over every 16th pixel of every 16th row."""
    import torch

    return lambda batch: batch[:, :, ::16, ::16].to(torch.float32).mean(dim=(2, 3)), None


def write(folder: Path, count: int) -> Path:
    """Write a store of `count` patches of tissue, and return its path."""
    from slidemill.core.encodings import encode_patch

    columns = 16
    info = SlideInfo("aperio", ((SIZE * columns, SIZE * -(-count // columns)),), (1.0,), None, 0.5, 0.5, 20.0, "ffffff")
    grid = GridSpec(SIZE, level=0)
    patches = list(Grid(info.pyramid, grid).patches())[:count]
    picture = paint(2048, 2048, Tissue("Normal", (0, 0, 2048, 2048), 9.0, 6), areas=[], seed=1)
    manifest = new_manifest(STORES["lmdb"], StoreSpec("zstd"), "slide", fingerprint="f" * 32, grid=grid)

    def stored() -> Iterator[Any]:
        for number, patch in enumerate(patches):
            left, top = (number * 97) % (2048 - SIZE), (number * 193) % (2048 - SIZE)
            pixels = np.ascontiguousarray(picture[top : top + SIZE, left : left + SIZE])
            yield patch, encode_patch(manifest.codec, 90, pixels)

    path = folder / "slide.lmdb"
    write_store(STORES["lmdb"], path, manifest, patches=patches, stored=stored())
    return path


def read(store: Store, finish: Callable[[Any], Any]) -> Iterator[Any]:
    """Yield what `finish` returns for each batch, read ahead as `slidemill.stages.embed` does."""
    ids = list(store.ids)
    count = -(-len(ids) // BATCH)

    def step(number: int) -> list[tuple[int, Any]]:
        return [(number, finish(store.read_many(ids[number * BATCH : (number + 1) * BATCH])))]

    steps = (Step(number, partial(step, number)) for number in range(count))
    return run_in_order(steps, count, THREADS + 1, ahead=2 * THREADS)


class Patches:
    """A data set of torch over a store, as written by hand."""

    def __init__(self, path: Path) -> None:
        self.store = open_store(path)
        self.ids = list(self.store.ids)

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, place: int) -> Any:
        from torchvision.transforms import v2

        image = v2.functional.to_image(self.store.read(self.ids[place]))
        image = v2.functional.resize(image, [224, 224], antialias=True)
        return v2.functional.normalize(image.float() / 255, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])


def by_hand(path: Path, module: Any) -> None:
    """Embed all patches with a loop written by hand."""
    import torch

    loader = torch.utils.data.DataLoader(Patches(path), batch_size=BATCH, num_workers=2)
    with torch.inference_mode():
        np.concatenate([module(batch).numpy() for batch in loader])


def measure(ways: dict[str, Callable[[], Any]], count: int, rounds: int) -> dict[str, float]:
    """Return the median patches per second of each way, over interleaved rounds."""
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds + 1):
        for name, run in ways.items():
            begun = time.perf_counter()
            run()
            rates[name].append(count / (time.perf_counter() - begun))
    medians = {name: statistics.median(own[1:]) for name, own in rates.items()}  # the first round warms up
    for name, rate in medians.items():
        print(f"{name:>12}  {rate:,.0f} patches/s", flush=True)
    return medians


def main() -> None:
    """Print the rates and both ratios."""
    import torch
    from torchvision import models

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patches", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder), options.patches)
        torch.manual_seed(0)
        module = models.resnet18()
        torch.save(module.state_dict(), Path(folder, "w.pth"))
        module.fc = torch.nn.Identity()
        place = Place("cpu", THREADS, SIZE)
        nothing = open_encoder("mean", FeatureSpec("benchmarks.embed_patches:mean"), place)
        sparser = open_encoder("sparse", FeatureSpec("benchmarks.embed_patches:sparse"), place)
        resnet = open_encoder("r", FeatureSpec("torchvision:resnet18", str(Path(folder, "w.pth"))), place)
        with open_store(path) as store:

            def embed(encoder: Any) -> None:
                np.concatenate([encoder.encode(one) for one in read(store, encoder.prepare)])

            ways: dict[str, Callable[[], Any]] = {
                "batches": lambda: deque(read(store, lambda pixels: pixels), maxlen=0),
                "mean": lambda: embed(nothing),
                "sparse": lambda: embed(sparser),
            }
            rates = measure(ways, options.patches, options.rounds)
            slow: dict[str, Callable[[], Any]] = {
                "DataLoader": lambda: by_hand(path, module.eval()),
                "resnet18": lambda: embed(resnet),
            }
            rates |= measure(slow, options.patches, max(options.rounds // 2, 1))
    print(f"mean / batches: {rates['mean'] / rates['batches']:.2f} (bar 0.85)")
    print(
        f"sparse / batches: {rates['sparse'] / rates['batches']:.2f} (bar 0.85, where torch's own mean costs nothing)"
    )
    print(f"resnet18 / DataLoader: {rates['resnet18'] / rates['DataLoader']:.2f} (bar 1.0)")


if __name__ == "__main__":
    main()
