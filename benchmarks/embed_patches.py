"""Measure embedding against reading alone, and against a loop written by hand in torch.

    python -m benchmarks.embed_patches --patches 1024 --rounds 7

Prints, for each way, the median of patches per second and the least CPU time per patch over interleaved rounds, then
the ratios of the bars. All ways read one LMDB store of zstd patches. Embedding is the code of the rule embed_patches.

| way | what it is |
|---|---|
| ``batches`` | `Dataset.batches` with as many workers as embedding has threads |
| ``mean`` | a mean over all pixels by OpenCV, the fastest that there is; against ``batches``, it is the bar |
| ``torch mean`` | the same mean by torch, whose forward pass takes longer than reading |
| ``nothing`` | a model that returns zeros |
| ``DataLoader`` | a loop written by hand over the store with two workers, and resnet18 |
| ``resnet18`` | embedding with the same model; against ``DataLoader``, it is the bar |
| ``two models`` | resnet18 and ``mean``, each with its reading; ``reading`` is what sharing would save |

The loop by hand runs in this process, whose OpenMP threads sleep while they wait, as embedding sets it.
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

from benchmarks.training import GRID, SIZE, write_tables_alone
from slidemill import open_dataset
from slidemill.core.csv_tables import read_table
from slidemill.core.encodings import encode_patch
from slidemill.core.pyramid import Pyramid
from slidemill.core.results_layout import METADATA_TABLE, store_path
from slidemill.core.specs import FeatureSpec, StoreSpec
from slidemill.features.batching import embed_by_id
from slidemill.features.models import Encoder, Place, open_encoder
from slidemill.slides.grid import Grid
from slidemill.stages.store import new_manifest
from slidemill.stores.base import Store
from slidemill.stores.registry import STORES, open_store
from slidemill.stores.writer import write_store
from slidemill.testing import Tissue, paint

BATCH = 64
THREADS = 2
HERE = "benchmarks.embed_patches"
Measured = dict[str, tuple[float, float]]


def mean() -> tuple[Callable[[Any], Any], None]:
    """Return a model whose forward pass is a mean over pixels, by OpenCV."""
    import cv2
    import torch

    def forward(batch: Any) -> Any:
        pixels = batch.permute(0, 2, 3, 1).numpy()
        return torch.tensor([cv2.sumElems(one)[:3] for one in pixels], dtype=torch.float32) / pixels[0, ..., 0].size

    return forward, None


def torch_mean() -> tuple[Callable[[Any], Any], None]:
    """Return a model whose forward pass is a mean over pixels, by torch."""
    import torch

    return lambda batch: batch.mean(dim=(2, 3), dtype=torch.float32), None


def nothing() -> tuple[Callable[[Any], Any], None]:
    """Return a model that returns zeros."""
    import torch

    return lambda batch: torch.zeros(len(batch), 3), None


def write(folder: Path, count: int) -> Path:
    """Write results of one slide with `count` patches of tissue; return the path of its store."""
    write_tables_alone(folder, 1, count)
    slide = next(iter(read_table(folder / METADATA_TABLE)))["slide"]
    side = round(count**0.5)
    grid = Grid(Pyramid(((side * SIZE, -(-count // side) * SIZE),), (1.0,)), GRID)
    patches = list(grid.patches())[:count]
    picture = paint(2048, 2048, Tissue("Normal", (0, 0, 2048, 2048), 9.0, 6), areas=[], seed=1)
    manifest = new_manifest(STORES["lmdb"], StoreSpec("zstd"), slide, fingerprint="0" * 32, grid=GRID)

    def stored() -> Iterator[Any]:
        for number, patch in enumerate(patches):
            left, top = (number * 97) % (2048 - SIZE), (number * 193) % (2048 - SIZE)
            pixels = np.ascontiguousarray(picture[top : top + SIZE, left : left + SIZE])
            yield patch, encode_patch(manifest.codec, 90, pixels)

    path = folder / store_path("lmdb", slide)
    write_store(STORES["lmdb"], path, manifest, patches=patches, stored=stored())
    return path


class Patches:
    """A data set of torch over a store, as written by hand."""

    def __init__(self, path: Path, count: int) -> None:
        self.store = open_store(path)
        self.ids = list(self.store.ids)[:count]

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, place: int) -> Any:
        from torchvision.transforms import v2

        image = v2.functional.to_image(self.store.read(self.ids[place]))
        image = v2.functional.resize(image, [224, 224], antialias=True)
        return v2.functional.normalize(image.float() / 255, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])


def by_hand(path: Path, module: Any, count: int) -> None:
    """Embed patches with a loop written by hand."""
    import torch

    loader = torch.utils.data.DataLoader(Patches(path, count), batch_size=BATCH, num_workers=2)
    with torch.inference_mode():
        np.concatenate([module(batch).numpy() for batch in loader])


def measure(ways: dict[str, Callable[[], Any]], count: int, rounds: int) -> Measured:
    """Return the median patches per second and the least CPU seconds of each way, over interleaved rounds."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(rounds + 1):
        for name, run in ways.items():
            wall, cpu = time.perf_counter(), time.process_time()
            run()
            found[name].append((count / (time.perf_counter() - wall), (time.process_time() - cpu) / count))
    measured = {}
    for name, own in found.items():
        rates, costs = zip(*own[1:], strict=True)  # the first round warms up
        rate, cost = measured[name] = statistics.median(rates), min(costs)
        print(f"{name:>12}  {rate:8,.0f} patches/s  {1000 * cost:7.3f} ms of CPU a patch", flush=True)
    return measured


def forward_alone(encoder: Encoder, store: Store) -> float:
    """Return the least CPU seconds of a model's forward pass for one patch."""
    prepared, costs = encoder.prepare(store.read_many(list(store.ids)[:BATCH])), []
    for _ in range(9):
        begun = time.process_time()
        encoder.encode(prepared)
        costs.append(time.process_time() - begun)
    return min(costs) / BATCH


def compare(measured: Measured, name: str, base: str, *, forward: float = 0.0, bar: str = "") -> None:
    """Print the ratio of two ways, by time and by CPU time, and the latter without that of the forward pass."""
    (rate, cost), (base_rate, base_cost) = measured[name], measured[base]
    without = f", {base_cost / (cost - forward):.2f} without its {1000 * forward:.3f} ms" if forward else ""
    print(f"{name} / {base}: {rate / base_rate:.2f} by time, {base_cost / cost:.2f} by CPU time{without}{bar}")


def main() -> None:
    """Print the rates and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patches", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--slow", type=int, default=256, help="patches that resnet18 embeds; 0 leaves it out")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path, place = write(Path(folder), options.patches), Place("cpu", THREADS, SIZE)
        cheap = {
            name: open_encoder(name, FeatureSpec(f"{HERE}:{name.replace(' ', '_')}"), place)
            for name in ("mean", "torch mean", "nothing")
        }
        with open_store(path) as store, open_dataset(folder, "lmdb") as dataset:
            ids = list(store.ids)

            def embed(encoder: Encoder, count: int) -> None:
                np.concatenate(list(embed_by_id(encoder, store.read_many, ids[:count], batch=BATCH, threads=THREADS)))

            ways: dict[str, Callable[[], Any]] = {
                "batches": lambda: deque(dataset.batches(BATCH, shuffle=False, workers=THREADS), maxlen=0)
            }
            ways |= {name: partial(embed, encoder, len(ids)) for name, encoder in cheap.items()}
            measured = measure(ways, len(ids), options.rounds)
            for name, encoder in cheap.items():
                bar = " (bar: 0.85 by time)" if name == "mean" else ""
                compare(measured, name, "batches", forward=forward_alone(encoder, store), bar=bar)
            if options.slow:
                rounds = max(options.rounds // 2, 1)
                measure_slow(path, store, cheap["mean"], embed=embed, count=options.slow, rounds=rounds)


def measure_slow(
    path: Path, store: Store, cheap: Encoder, *, embed: Callable[[Encoder, int], None], count: int, rounds: int
) -> None:
    """Print what concerns resnet18: against a loop by hand, and what a second model's own reading costs."""
    import torch
    from torchvision import models

    torch.manual_seed(0)
    module = models.resnet18()
    with tempfile.TemporaryDirectory() as folder:
        torch.save(module.state_dict(), Path(folder, "w.pth"))
        spec = FeatureSpec("torchvision:resnet18", str(Path(folder, "w.pth")))
        resnet = open_encoder("resnet18", spec, Place("cpu", THREADS, SIZE))
    module.fc = torch.nn.Identity()
    module.eval()

    def both() -> None:
        embed(resnet, count)
        embed(cheap, count)

    ways: dict[str, Callable[[], Any]] = {
        "reading": lambda: deque((store.read_many([one]) for one in list(store.ids)[:count]), maxlen=0),
        "DataLoader": lambda: by_hand(path, module, count),
        "resnet18": lambda: embed(resnet, count),
        "two models": both,
    }
    measured = measure(ways, count, rounds)
    compare(measured, "resnet18", "DataLoader", bar=" (bar: 1.0 by time)")
    share = measured["reading"][1] / measured["two models"][1]
    print(f"one reading for both models would save {share:.1%} of their CPU time")


if __name__ == "__main__":
    main()
