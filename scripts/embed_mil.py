"""Embed the patches of results by a small model without weights: python scripts/embed_mil.py RESULTS."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from slidemill import open_dataset
from slidemill.core.results_layout import feature_file
from slidemill.datasets.dataset import Dataset
from slidemill.features.feature_file import FeatureManifest, PatchPlaces, write_features

NAME = "colours"


class ColourEncoder(nn.Module):  # type: ignore[misc]
    """Means and deviations of colours and of fixed random filters: (B, 3, height, width) to (B, 54)."""

    def __init__(self) -> None:
        super().__init__()
        filters = torch.randn(24, 3, 7, 7, generator=torch.Generator().manual_seed(0))
        self.register_buffer("filters", filters - filters.mean((2, 3), keepdim=True))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return features of images from 0 to 1."""
        edges = nn.functional.conv2d(images, self.filters, stride=3).abs() / 10
        maps = (images, edges)
        return torch.cat([one.flatten(2).mean(2) for one in maps] + [one.flatten(2).std(2) for one in maps], 1)


def encode(slide: Dataset) -> Any:
    """Return the features of a slide's patches in their order, ``float16 (n, 54)``."""
    model = ColourEncoder().eval()
    with torch.inference_mode():
        batches = (torch.from_numpy(pixels).permute(0, 3, 1, 2) for pixels, _, _ in slide.batches(32, shuffle=False))
        return torch.cat([model(pixels.float() / 255) for pixels in batches]).half().numpy()


def main(results: Path) -> None:
    """Write the features of each slide, where a run keeps them."""
    with open_dataset(results) as ds:
        for name in ds.slides:
            slide = ds.select(slides=name)
            corners = slide.table[["x0", "y0"]].to_numpy(np.int64)
            side = slide[0].pixels.shape[1]
            places = PatchPlaces(list(slide.table["patch_id"]), corners, {"name": name})
            manifest = FeatureManifest(
                name=NAME, slide=name, fingerprint=ds.fingerprints[name], model="ColourEncoder", patch_size=side
            )
            write_features(results / feature_file(NAME, name), manifest, places, batches=[encode(slide)])
            print(f"{name}: {len(slide)} patches embedded", flush=True)


if __name__ == "__main__":
    main(Path(*sys.argv[1:]))
