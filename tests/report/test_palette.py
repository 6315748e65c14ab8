"""Colours of labels: apart from one another, from stains and from glass, for all readers."""

from itertools import combinations

import numpy as np
import pytest

from slidemill.report._palette import PALETTE, STYLES, UNMAPPED_COLOUR, css_background, is_dashed, label_colour
from tests.colours import VISION, ciede2000, lab, rgb
from tests.stains import transmitted

COLOURS = (*PALETTE, UNMAPPED_COLOUR)
DENSITIES = (0.3, 0.6, 1.0)


def seen_stains():
    """Pale to strong haematoxylin, eosin and DAB, ``uint8 (n, 3)``."""
    return np.concatenate([transmitted({name: np.array([DENSITIES])})[0] for name in ("haematoxylin", "eosin", "DAB")])


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425),
        ((50, 2.5, 0), (73, 25, -18), 27.1492),
        ((22.7233, 20.0904, -46.6940), (23.0331, 14.9730, -42.5619), 2.0373),
        ((90.8027, -2.0831, 1.4410), (91.1528, -1.6435, 0.0447), 1.4441),
    ],
)
def test_distances_equal_published_ones(one, other, expected):
    """Pairs of the supplementary data of Sharma, Wu and Dalal (2005)."""
    assert ciede2000(one, other) == pytest.approx(expected, abs=1e-4)


def test_lab_of_white_red_and_grey():
    np.testing.assert_allclose(lab(rgb("#ffffff")), (100, 0, 0), atol=0.02)
    np.testing.assert_allclose(lab(rgb("#ff0000")), (53.24, 80.09, 67.20), atol=0.05)
    for vision in VISION:
        np.testing.assert_allclose(lab(rgb("#808080"), vision), (53.59, 0, 0), atol=0.05)


@pytest.mark.parametrize(("vision", "least"), [("normal", 23), ("deuteranopia", 10.5), ("protanopia", 10.5)])
def test_palette_classes_are_apart(vision, least):
    distances = {pair: float(ciede2000(*(lab(rgb(one), vision) for one in pair))) for pair in combinations(COLOURS, 2)}
    assert min(distances.values()) >= least, min(distances, key=distances.get)


@pytest.mark.parametrize(("vision", "least"), [("normal", 18), ("deuteranopia", 9), ("protanopia", 9)])
def test_palette_is_apart_from_stains(vision, least):
    stains = lab(seen_stains(), vision)
    distances = {one: float(ciede2000(lab(rgb(one), vision), stains).min()) for one in PALETTE}
    assert min(distances.values()) >= least, distances


@pytest.mark.parametrize("vision", VISION)
def test_palette_is_seen_on_glass(vision):
    for one in COLOURS:
        assert ciede2000(lab(rgb(one), vision), lab(rgb("#f3f2f4"), vision)) >= 15


def test_colours_are_dashed_after_the_last_and_then_repeat():
    styles = [(label_colour(label), is_dashed(label)) for label in range(2 * STYLES)]
    assert len(set(styles[:STYLES])) == STYLES
    assert styles[:STYLES] == styles[STYLES:]
    assert (label_colour(-1), is_dashed(-1)) == (UNMAPPED_COLOUR, False)
    assert css_background(0) == label_colour(0)
    assert css_background(len(PALETTE)).startswith("repeating-linear-gradient")
