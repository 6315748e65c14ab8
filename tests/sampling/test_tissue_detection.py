"""Masks of tissue on slides whose tissue is known."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from slidemill.core.specs import TissueSpec
from slidemill.errors import SlideError
from slidemill.sampling._stain import find_tissue
from slidemill.sampling._tissue_detection import tissue_mask
from slidemill.slides.slide_info import open_slide, slide_info
from slidemill.testing import BLANK, STROMA, Scan, Tissue, paint, write_svs

pytestmark = pytest.mark.cases

SIZE = (3000, 2500)
PIECES = [(300, 250, 2100, 1800), (2150, 1650, 2800, 2350)]
MPP = 1.0


def drawn(boxes, size=SIZE):
    """Where ellipses lie, at full resolution."""
    image = Image.new("1", size)
    for box in boxes:
        ImageDraw.Draw(image).ellipse(box, fill=1)
    return np.asarray(image)


@pytest.fixture(scope="module")
def picture():
    first, second = (Tissue("Normal", box, 8.0, 4.5) for box in PIECES)
    return paint(*SIZE, first, areas=[second], seed=1)


def masked(tmp_path, pixels, spec, **kind):
    """The mask of a slide with these pixels, in its own pixels."""
    write_svs(tmp_path / "slide.svs", pixels, **{"scan": Scan(mpp=MPP), **kind})
    return wanted(tmp_path / "slide.svs", spec).mask


def wanted(path, spec):
    """What of a slide is wanted, with notes and warnings."""
    with open_slide(path) as slide:
        info = slide_info(slide)
    return tissue_mask(path, info, spec)


def at_full_size(mask):
    return np.asarray(Image.fromarray(mask.pixels).resize(mask.size0, Image.Resampling.NEAREST), bool)


def wrong(mask, tissue):
    """Pixels that are wrongly tissue or wrongly none, as a part of the tissue."""
    return (at_full_size(mask) ^ tissue).sum() / tissue.sum()


@pytest.mark.long
@pytest.mark.parametrize("method", ["otsu", "hsv"])
@pytest.mark.parametrize("level", [None, 1, 2])
def test_known_tissue_is_found(tmp_path, picture, method, level):
    mask = masked(tmp_path, picture, TissueSpec(method, 0.1, level))
    tissue = drawn(PIECES)
    assert abs(mask.fraction / tissue.mean() - 1) < 0.02
    assert wrong(mask, tissue) < 0.03


@pytest.mark.long
def test_pale_tissue_on_tinted_glass_is_found(tmp_path):
    """What a fixed threshold would get wrong: glass with more colour than other slides' tissue has."""
    pale = paint(*SIZE, Tissue("Normal", PIECES[0], 8.0, 4.5, (226, 178, 200)), areas=[], seed=2)
    pale[(pale == BLANK).all(axis=2)] = (238, 232, 218)
    mask = masked(tmp_path, pale, TissueSpec("otsu"))
    assert abs(mask.fraction / drawn(PIECES[:1]).mean() - 1) < 0.02


@pytest.mark.long
def test_glass_alone_has_no_tissue_and_tissue_alone_no_glass(tmp_path):
    generator = np.random.default_rng(0)
    noise = generator.integers(-3, 4, (1500, 1500, 3))
    glass = (np.array(BLANK) + noise).astype(np.uint8)
    assert masked(tmp_path, glass, TissueSpec("otsu")).fraction == 0
    everywhere = paint(1500, 1500, Tissue("Normal", (-1500, -1500, 3000, 3000), 3.0, 9), areas=[], seed=3)
    assert masked(tmp_path, everywhere, TissueSpec("otsu")).fraction == 1


@pytest.mark.parametrize("colour", [(30, 60, 190), (20, 140, 60), (200, 20, 40), (25, 25, 30)])
@pytest.mark.parametrize("method", ["otsu", pytest.param("hsv", marks=pytest.mark.long)])
def test_pens_are_no_tissue(tmp_path, picture, colour, method):
    """Strokes on the glass, and one over the tissue."""
    image = Image.fromarray(picture)
    pen = ImageDraw.Draw(image)
    strokes = [[(2300, 150), (2850, 1400)], [(150, 2000), (1750, 2300)], [(600, 1000), (1800, 1050)]]
    ink = Image.new("1", SIZE)
    for stroke in strokes:
        pen.line(stroke, fill=colour, width=60)
        ImageDraw.Draw(ink).line(stroke, fill=1, width=60)
    mask = masked(tmp_path, np.asarray(image), TissueSpec(method))
    assert (at_full_size(mask) & np.asarray(ink)).sum() / np.asarray(ink).sum() < 0.01
    beyond = drawn(PIECES) & ~np.asarray(ink)
    assert abs(at_full_size(mask).sum() / beyond.sum() - 1) < 0.03


def test_black_padding_is_no_tissue_and_does_not_move_the_threshold(tmp_path, picture):
    padded = picture.copy()
    padded[:, :250] = 0
    padded[2400:] = (6, 0, 4)
    tissue = drawn(PIECES)
    mask = masked(tmp_path, padded, TissueSpec("otsu"))
    assert not at_full_size(mask)[:, :225].any()
    assert not at_full_size(mask)[2425:].any()
    assert wrong(mask, tissue) < 0.03


def test_small_specks_and_holes_go_and_larger_ones_stay():
    """At 8 micrometres a pixel: 64 square micrometres each."""
    image = np.full((400, 400, 3), BLANK, np.uint8)
    image[50:350, 50:200] = STROMA
    image[100:110, 100:110] = BLANK  # 6,400
    image[200:230, 100:130] = BLANK  # 57,600
    image[100:106, 300:306] = STROMA  # 2,304
    image[200:215, 300:315] = STROMA  # 14,400
    found = find_tissue(image, "otsu", 8.0).pixels
    assert found[105, 105]
    assert not found[215, 115]
    assert not found[103, 303]
    assert found[207, 307]


def test_dust_of_single_dark_pixels_is_no_ink():
    image = np.full((200, 200, 3), STROMA, np.uint8)
    image[::10, ::10] = 0
    assert find_tissue(image, "otsu", 8.0).pixels.all()


@pytest.mark.parametrize("level", [3, 7])
def test_a_slide_without_the_level_is_told_so(tmp_path, level):
    small = np.full((64, 64, 3), BLANK, np.uint8)
    with pytest.raises(SlideError, match=rf"tissue\.level is {level}, and the slide has levels 0 to 2"):
        masked(tmp_path, small, TissueSpec("otsu", 0.1, level), tile=16)


def test_a_slide_that_does_not_say_its_scale_has_a_mask_too(tmp_path, picture):
    mask = masked(tmp_path, picture, TissueSpec("otsu"), scan=Scan(mpp=None))
    assert abs(mask.fraction / drawn(PIECES).mean() - 1) < 0.02
