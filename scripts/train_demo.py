"""Train a demo network, one slide held out: python scripts/train_demo.py RESULTS."""

import sys
import time
from pathlib import Path

try:
    import torch
except ImportError:
    sys.exit("train_demo.py needs PyTorch: pip install torch")
import xxhash
from torch import nn
from torch.utils.data import DataLoader

from slidemill import open_dataset
from slidemill.core.results_layout import SUFFIXES
from slidemill.datasets.dataset import Dataset
from slidemill.torch import PatchDataset, PatchStream

EPOCHS = 25
SIZE = 16


def network(classes: int) -> nn.Module:
    """Return a network for images from 0 to 1, ``float32 (size, 3, height, width)``."""
    layers: list[nn.Module] = [nn.AvgPool2d(4)]
    for inner, outer in ((3, 16), (16, 32), (32, 64)):
        layers += [nn.Conv2d(inner, outer, 3, padding=1), nn.BatchNorm2d(outer), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, classes))


def train(patches: Dataset, seed: int) -> nn.Module:
    """Train a network for `EPOCHS` epochs, and print a line for each."""
    torch.manual_seed(seed)
    # Layers are so small that threads wait for each other most of the time.
    torch.set_num_threads(1)
    model = network(max(patches.classes) + 1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    slower = torch.optim.lr_scheduler.LinearLR(optimizer, 1, 0, EPOCHS)
    stream = PatchStream(patches, SIZE, augment=True, seed=seed)
    for epoch in range(EPOCHS):
        stream.set_epoch(epoch)
        begun, total, right = time.perf_counter(), 0.0, 0
        for pixels, labels in DataLoader(stream, batch_size=None):
            scores = model(pixels.float() / 255)
            loss = nn.functional.cross_entropy(scores, labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += float(loss.detach()) * len(labels)
            right += int((scores.argmax(1) == labels).sum())
        slower.step()
        rate = len(patches) / (time.perf_counter() - begun)
        print(
            f"epoch {epoch + 1:2} of {EPOCHS}: loss {total / len(patches):.3f}, {right / len(patches):4.0%} right, "
            f"{rate:,.0f} patches per second",
            flush=True,
        )
    return model


def accuracy(model: nn.Module, patches: Dataset) -> float:
    """Return the share of patches whose label the network predicts correctly."""
    model.eval()
    right = 0
    with torch.no_grad():
        for pixels, labels in DataLoader(PatchDataset(patches), batch_size=SIZE):
            right += int((model(pixels.float() / 255).argmax(1) == labels).sum())
    return right / len(patches)


def read(patches: Dataset) -> tuple[str, float]:
    """Read all patches in shuffled batches; return a digest of the batches, and patches per second."""
    digest, begun = xxhash.xxh3_128(), time.perf_counter()
    for pixels, labels, _ in patches.batches(SIZE):
        digest.update(pixels.tobytes())
        digest.update(labels.tobytes())
    return digest.hexdigest(), len(patches) / (time.perf_counter() - begun)


def main(results: Path) -> float:
    """Compare what the stores give, train from the first one, and return the accuracy on the held-out slide."""
    backends = [name for name in SUFFIXES if (results / "stores" / name).exists()]
    if not backends:
        sys.exit(f"{results}: has no stores: name a folder of results")
    digests = set()
    for backend in backends:
        with open_dataset(results, backend, where="label >= 0") as patches:
            digest, rate = read(patches)
            digests.add(digest)
            print(f"{backend:5} {len(patches)} patches in shuffled batches, {rate:,.0f} patches per second")
    # Lossy stores have other pixels.
    print(f"The stores give {'the same' if len(digests) == 1 else 'different'} batches; training from {backends[0]}")
    with open_dataset(results, backends[0], where="label >= 0") as patches:
        *others, held_out = sorted(patches.slides)
        if not others:
            sys.exit(f"{results}: has only one slide: to hold one out, at least two are needed")
        model = train(patches.select(slides=others), seed=1)
        found = accuracy(model, patches.select(slides=[held_out]))
    print(f"{found:.1%} of the patches of {held_out}, which was held out, are right")
    return found


if __name__ == "__main__":
    main(Path(*sys.argv[1:]))
