"""The measures of a patch, held against slow and obvious ones; and what a configuration may ask of them."""

import numpy as np
import pytest

from slidemill.quality import measured
from tests.conftest import painted

MEASURES = ("blur", "mean_saturation", "white_fraction", "black_fraction")


def obvious(pixels):
    """The measures by their definitions, in numbers without end."""
    green = pixels[..., 1].astype(np.int64)
    ring = np.pad(green, 1, "reflect")
    laplacian = ring[:-2, 1:-1] + ring[2:, 1:-1] + ring[1:-1, :-2] + ring[1:-1, 2:] - 4 * green
    most, least = pixels.max(-1).astype(np.int64), pixels.min(-1).astype(np.int64)
    saturation = np.where(most > 0, np.rint(255 * (most - least) / np.maximum(most, 1)), 0)
    return {
        "blur": laplacian.var(),
        "mean_saturation": saturation.mean() / 255,
        "white_fraction": (least >= 220).mean(),
        "black_fraction": (most <= 40).mean(),
    }


def noise(height, width, low=0, high=256):
    return np.random.default_rng(height * width).integers(low, high, (height, width, 3), np.uint8)


PICTURES = {
    "noise": noise(256, 256),
    "noise, oblong and odd": noise(33, 71),
    "dark noise": noise(64, 64, 0, 60),
    "bright noise": noise(64, 64, 200, 256),
    "tissue": painted()[200:456, 300:556],
    "blank": np.full((32, 32, 3), 243, np.uint8),
    "black": np.zeros((32, 32, 3), np.uint8),
    "white": np.full((32, 32, 3), 255, np.uint8),
    "ink": np.full((32, 32, 3), (30, 60, 160), np.uint8),
    "chequered": np.kron(np.indices((64, 64)).sum(0)[..., None] % 2, np.ones((1, 1, 3))).astype(np.uint8) * 255,
    "large": noise(2048, 2048),
    "every shade": np.random.default_rng(0)
    .permutation(np.indices((256, 256)).reshape(2, -1).T)
    .astype(np.uint8)[:, [0, 1, 1]]
    .reshape(256, 256, 3),
}


@pytest.mark.parametrize("name", PICTURES)
def test_measures_are_those_of_their_definitions(name):
    found, wanted = measured(PICTURES[name]), obvious(PICTURES[name])
    assert {key: getattr(found, key) for key in MEASURES} == pytest.approx(wanted, rel=1e-12, abs=1e-9)
