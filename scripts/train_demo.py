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
    torch.set_num_threads(1)  # layers are so small that threads wait for each other
    model = network(max(patches.classes) + 1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    slower = torch.optim.lr_scheduler.LinearLR(optimizer, 1, 0, EPOCHS)
    stream = PatchStream(patches, SIZE, augment=True, seed=seed)
    for epoch in range(EPOCHS):
        stream.set_epoch(epoch)
        begun, total = time.perf_counter(), 0.0
        for pixels, labels in DataLoader(stream, batch_size=None):
            scores = model(pixels.float() / 255)
            loss = nn.functional.cross_entropy(scores, labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += float(loss.detach()) * len(labels)
        slower.step()
        rate = len(patches) / (time.perf_counter() - begun)
        said = f"loss {total / len(patches):.3f}, {rate:,.0f} patches per second"
        print(f"epoch {epoch + 1:2} of {EPOCHS}: {said}", flush=True)
    return model


def accuracy(model: nn.Module, patches: Dataset) -> float:
    """Return the share of patches whose label the network predicts correctly."""
    model.eval()
    right = 0
    with torch.no_grad():
        for pixels, labels in DataLoader(PatchDataset(patches), batch_size=SIZE):
            right += int((model(pixels.float() / 255).argmax(1) == labels).sum())
    return right / len(patches)


def main(results: Path) -> float:
    """Train from the first store, and return the accuracy on the held-out slide."""
    with open_dataset(results, where="label >= 0") as patches:
        *others, held_out = sorted(patches.slides)
        if not others:
            sys.exit(f"{results}: has only one slide: to hold one out, at least two are needed")
        print(f"training on {', '.join(others)}, from stores in {patches.backend}", flush=True)
        model = train(patches.select(slides=others), seed=1)
        found = accuracy(model, patches.select(slides=[held_out]))
    print(f"{found:.1%} of the patches of {held_out}, which was held out, are right")
    return found


if __name__ == "__main__":
    main(Path(*sys.argv[1:]))
