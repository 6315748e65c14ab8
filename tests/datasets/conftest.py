"""Results of three slides, two of them one patient's, whose stores hold noise; small, and made once."""

import numpy as np
import pytest

from slidemill import open_dataset
from tests.results import PATCHES, SIZE, write_metadata, write_slide, write_tables

SLIDES = ("b-slide", "a-slide", "c-slide")
PATIENTS = {"b-slide": {"patient": "P1"}, "a-slide": {"patient": "P2"}, "c-slide": {"patient": "P1"}}


@pytest.fixture(scope="session")
def noise_of():
    """By slide, the pixels of its patches."""
    generator = np.random.default_rng(5)
    return {slide: generator.integers(0, 256, (len(PATCHES), SIZE, SIZE, 3), np.uint8) for slide in SLIDES}


@pytest.fixture(scope="session")
def results(tmp_path_factory, noise_of):
    """A folder of results with all backends; nothing may write to it."""
    folder = tmp_path_factory.mktemp("trained-from")
    for slide, pixels in noise_of.items():
        write_slide(folder, slide, pixels)
    write_tables(folder, dict.fromkeys(SLIDES, "ok"))
    write_metadata(folder, SLIDES, columns=PATIENTS)
    return folder


@pytest.fixture
def dataset(results):
    with open_dataset(results) as opened:
        yield opened


@pytest.fixture(scope="session")
def truth(noise_of):
    """All pixels in the table's order."""
    return np.concatenate([noise_of[slide] for slide in SLIDES])
