"""Train a demo network, one slide held out: python scripts/train_demo.py RESULTS."""

import sys
import time
from pathlib import Path

try:
    import torch
except ImportError:
    sys.exit("train_demo.py needs PyTorch: pip install torch")
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


def trained(patches: Dataset, seed: int) -> tuple[nn.Module, float]:
    """Return a network trained for `EPOCHS` epochs, and its images per second."""
    torch.manual_seed(seed)
    model = network(max(patches.classes) + 1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    slower = torch.optim.lr_scheduler.LinearLR(optimizer, 1, 0, EPOCHS)
    stream = PatchStream(patches, SIZE, augment=True, seed=seed)
    begun, seen = time.perf_counter(), 0
    for epoch in range(EPOCHS):
        stream.set_epoch(epoch)
        for pixels, labels in DataLoader(stream, batch_size=None):
            loss = nn.functional.cross_entropy(model(pixels.float() / 255), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            seen += len(labels)
        slower.step()
    return model, seen / (time.perf_counter() - begun)


def accuracy(model: nn.Module, patches: Dataset) -> float:
    """Return the share of patches whose label the network predicts correctly."""
    model.eval()
    right = 0
    with torch.no_grad():
        for pixels, labels in DataLoader(PatchDataset(patches), batch_size=SIZE):
            right += int((model(pixels.float() / 255).argmax(1) == labels).sum())
    return right / len(patches)


def main(results: Path) -> list[float]:
    """Train per backend, and return each one's accuracy on the held-out slide."""
    found: list[float] = []
    for backend in filter(lambda name: (results / "stores" / name).exists(), SUFFIXES):
        with open_dataset(results, backend, where="label >= 0") as patches:
            begun = time.perf_counter()
            read = sum(len(batch.ids) for batch in patches.batches(SIZE)) / (time.perf_counter() - begun)
            *others, held_out = sorted(patches.slides)
            if not others:
                sys.exit(f"{results}: has only one slide: to hold one out, at least two are needed")
            model, rate = trained(patches.select(slides=others), seed=1)
            found.append(accuracy(model, patches.select(slides=[held_out])))
            rates = f"{read:6.0f} images/s read, {rate:6.0f} in training"
            print(f"{backend:5} {rates}; {found[-1]:.1%} of {held_out} right")
    return found or sys.exit(f"{results}: has no stores: name a folder of results")


if __name__ == "__main__":
    main(Path(*sys.argv[1:]))
