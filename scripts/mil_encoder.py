"""A small model without weights, which `make train-mil` embeds patches by: ``model: "mil_encoder:encoder"``."""

import torch
from torch import nn


class ColourEncoder(nn.Module):  # type: ignore[misc]
    """Means and deviations of colours and of fixed random filters: (B, 3, height, width) to (B, 54)."""

    def __init__(self) -> None:
        super().__init__()
        filters = torch.randn(24, 3, 7, 7, generator=torch.Generator().manual_seed(0))
        self.register_buffer("filters", filters - filters.mean((2, 3), keepdim=True))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return features of images in 0 to 255."""
        images = images.float() / 255
        edges = nn.functional.conv2d(images, self.filters, stride=3).abs() / 10
        maps = (images, edges)
        return torch.cat([one.flatten(2).mean(2) for one in maps] + [one.flatten(2).std(2) for one in maps], 1)


def encoder() -> tuple[ColourEncoder, None]:
    """Return the model; it takes patches as they are stored, so it has no transform."""
    return ColourEncoder(), None
