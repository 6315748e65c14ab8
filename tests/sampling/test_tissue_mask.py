"""How much of a patch a mask covers, against a count of its pixels; and what a mask's file keeps."""

import numpy as np
import pytest
from PIL import Image

from slidemill.sampling.tissue_mask import NOTHING, Mask, load_mask, save_mask


def row(x0, y0, width0, height0):
    return {"x0": x0, "y0": y0, "width0": width0, "height0": height0}


@pytest.mark.parametrize("seed", range(20))
def test_fractions_are_those_of_the_mask_laid_over_the_slide_pixel_by_pixel(seed):
    generator = np.random.default_rng(seed)
    height, width, scale_y, scale_x = *generator.integers(1, 20, 2), *generator.integers(1, 9, 2)
    mask = Mask(generator.integers(0, 2, (height, width), np.uint8), (int(width * scale_x), int(height * scale_y)))
    full = np.pad(np.kron(mask.pixels, np.ones((scale_y, scale_x))), 200)  # nothing is wanted beyond the slide
    rows = [
        row(x, y, *generator.integers(1, 99, 2))
        for x, y in zip(generator.integers(-99, 160, 50), generator.integers(-99, 160, 50), strict=True)
    ]
    expected = [
        full[200 + one["y0"] :, 200 + one["x0"] :][: one["height0"], : one["width0"]].sum()
        / (one["height0"] * one["width0"])
        for one in rows
    ]
    assert mask.fractions(rows) == pytest.approx(expected, abs=1e-9)


def test_a_pixel_of_a_mask_that_is_no_whole_number_of_the_slides_counts_in_part():
    mask = Mask(np.array([[1, 0]], np.uint8), (5, 1))
    assert mask.fractions([row(0, 0, 5, 1), row(2, 0, 1, 1), row(3, 0, 2, 1)]) == pytest.approx([0.5, 0.5, 0])


def test_no_rows_have_no_fractions():
    assert Mask(np.ones((2, 2), np.uint8), (4, 4)).fractions([]).shape == (0,)


def test_a_mask_that_was_kept_is_the_same_again(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 2, (31, 47), np.uint8)
    save_mask(Mask(pixels, (470, 310)), tmp_path / "mask.png")
    again = load_mask(tmp_path / "mask.png", (470, 310))
    assert again is not None
    assert (again.pixels == pixels).all()
    assert again.pixels.max() == 1
    assert again.fraction == pixels.mean()


def test_what_stands_for_no_mask_is_none(tmp_path):
    save_mask(NOTHING, tmp_path / "mask.png")
    assert load_mask(tmp_path / "mask.png", (470, 310)) is None


def test_ink_of_a_mask_is_kept_out_of_sight(tmp_path):
    """A PNG of one bit a pixel for all who read it, with the ink in a chunk of its own."""
    generator = np.random.default_rng(1)
    pixels, ink = generator.integers(0, 2, (2, 31, 47), np.uint8)
    save_mask(Mask(pixels, (470, 310), ink), tmp_path / "mask.png")
    again = load_mask(tmp_path / "mask.png", (470, 310))
    assert again is not None
    assert again.ink is not None
    assert (again.pixels == pixels).all()
    assert (again.ink == ink).all()
    assert again.ink_fraction == ink.mean()
    with Image.open(tmp_path / "mask.png") as image:
        assert (image.mode, getattr(image, "n_frames", 1)) == ("1", 1)
        assert (np.asarray(image) == pixels).all()


def test_mask_without_ink_is_the_file_of_old(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 2, (31, 47), np.uint8)
    for name, ink in (("without", None), ("none", np.zeros_like(pixels))):
        save_mask(Mask(pixels, (470, 310), ink), tmp_path / name)
    assert (tmp_path / "without").read_bytes() == (tmp_path / "none").read_bytes()
