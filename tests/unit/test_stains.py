"""Tissue in any published stain is kept as that of an H&E slide of the same shape; pens are not."""

import io
from functools import cache

import numpy as np
import pytest
from PIL import Image, ImageDraw

from slidemill.ink import find_ink
from slidemill.staining import find_tissue
from slidemill.synthetic import Tissue, paint
from tests.stains import MIXTURES, STAINS, transmitted

SIZE, SHRUNK = (3000, 2500), 16
MPP = 8.0
DENSITIES = (0.2, 0.4, 0.6, 0.8, 1.0)
PIECES = [(300, 250, 2100, 1800), (2150, 1650, 2800, 2350)]
PENS = {"blue": (30, 60, 190), "green": (20, 140, 60), "red": (200, 20, 40)}


@cache
def hematoxylin_and_eosin():
    first, second = (Tissue("Normal", box, 2.0, 9) for box in PIECES)
    return paint(*SIZE, first, [second], seed=1)


def reduced(values):
    return np.asarray(Image.fromarray(values.astype(np.float32)).reduce(SHRUNK))


@cache
def shapes():
    """How dense the tissue is at each pixel of a mask, as it was painted and flat; 1 in the mean."""
    image = Image.new("1", SIZE)
    for piece in PIECES:
        ImageDraw.Draw(image).ellipse(piece, fill=1)
    inside = np.asarray(image)
    density = np.maximum(-np.log10((hematoxylin_and_eosin().min(axis=2) + 1.0) / 243), 0) * inside
    return reduced(density / density[inside].mean()), reduced(inside)


def as_jpeg(picture):
    """A low level of a slide is a JPEG."""
    data = io.BytesIO()
    Image.fromarray(picture).save(data, "jpeg", quality=85, subsampling=0)
    return np.asarray(Image.open(data))


@cache
def expected(method):
    small = Image.fromarray(hematoxylin_and_eosin()).reduce(SHRUNK)
    return int(find_tissue(np.asarray(small), method, MPP).pixels.sum())


def kept(picture, method):
    """How much tissue is kept of that of the H&E slide."""
    return find_tissue(as_jpeg(picture), method, MPP).pixels.sum() / expected(method)


@pytest.mark.parametrize("stain", STAINS)
def test_stain_is_kept_as_he_is(stain):
    """Within 5 %, at optical densities from 0.2 to 1.0, with nuclei and flat."""
    for method in ("otsu", "hsv"):
        for shape in shapes():
            shares = [kept(transmitted({stain: shape * density}), method) for density in DENSITIES]
            assert shares == pytest.approx([1.0] * len(DENSITIES), abs=0.05), method


def layouts(size):
    """Which of six stains each pixel has: in blocks, in stripes, in quarters."""
    rows, columns = np.indices(size)
    blocks = np.random.default_rng(0).integers(0, 6, (size[0] // 6 + 1, size[1] // 6 + 1))
    return [
        np.kron(blocks, np.ones((6, 6), int))[: size[0], : size[1]],
        columns // 7 % 6,
        (columns > size[1] // 2) + 2 * (rows > size[0] // 2),
    ]


@pytest.mark.parametrize("mixture", MIXTURES)
def test_stains_side_by_side_are_kept(mixture):
    """Trichromes and counterstains, of which one has the colour of a pen and another has not."""
    parts = MIXTURES[mixture]
    for shape in shapes():
        for layout in layouts(shape.shape):
            for density in DENSITIES:
                amounts = {stain: shape * density * (layout % len(parts) == own) for own, stain in enumerate(parts)}
                assert kept(transmitted(amounts), "otsu") == pytest.approx(1, abs=0.05), density


def written_on(picture, colour):
    """A picture with two strokes on the glass, a dot, and a stroke over the tissue; and where these are."""
    image, ink = Image.fromarray(picture), Image.new("1", picture.shape[1::-1])
    for canvas, fill in ((image, colour), (ink, 1)):
        pen = ImageDraw.Draw(canvas)
        for stroke in ([(150, 8), (176, 90)], [(8, 125), (110, 148)], [(40, 60), (110, 64)]):
            pen.line(stroke, fill=fill, width=8)
        pen.ellipse((8, 8, 24, 24), fill=fill)
    return as_jpeg(np.asarray(image)), np.asarray(ink)


@pytest.mark.parametrize("pen", PENS)
@pytest.mark.parametrize("stain", ["eosin", "PAS", "DAB", "haematoxylin"])
def test_pen_is_left_out_of_other_stains(pen, stain):
    picture, ink = written_on(transmitted({stain: shapes()[0] * 0.5}), PENS[pen])
    found = find_tissue(picture, "otsu", MPP)
    assert (found.pixels & ink).sum() < 0.01 * ink.sum()
    assert (found.ink.pixels & ink).sum() > 0.99 * ink.sum()
    assert found.pixels.sum() > 0.85 * expected("otsu")


def test_pen_of_the_colour_of_a_stain_is_doubtful():
    """Nothing tells them apart for certain: nothing is dropped, and both are said to be doubtful."""
    stain = shapes()[0] * 0.8
    colour = transmitted({"light green": np.full((1, 1), 0.8)})[0, 0]
    picture, ink = written_on(transmitted({"light green": stain}), tuple(colour.tolist()))
    found = find_tissue(picture, "otsu", MPP)
    assert not found.ink.pixels.any()
    assert (found.ink.doubtful & ink).sum() > 0.9 * ink.sum()
    assert found.ink.doubtful.sum() > 0.9 * (stain > 0.5).sum()


@pytest.mark.parametrize("shape", ["dot", "thin line"])
def test_mark_that_is_no_stroke_is_doubtful(shape):
    """A round piece may be tissue, and a fibre may be thin: they are kept, and said."""
    image = Image.fromarray(transmitted({"eosin": shapes()[0] * 0.5}))
    pen = ImageDraw.Draw(image)
    if shape == "dot":
        pen.ellipse((150, 10, 180, 40), fill=PENS["blue"])
    else:
        pen.line([(8, 125), (110, 148)], fill=PENS["blue"], width=4)
    found = find_tissue(as_jpeg(np.asarray(image)), "otsu", MPP)
    assert not found.ink.pixels.any()
    assert (found.ink.doubtful & found.pixels).sum() > 200


def test_pens_may_be_kept_or_excluded_by_colour():
    picture, ink = written_on(transmitted({"Alcian blue": shapes()[0] * 0.8}), PENS["blue"])
    keeping, excluding = (find_tissue(picture, "otsu", MPP, pens) for pens in ("keep", "exclude"))
    assert keeping.pixels.sum() > expected("otsu") + 0.5 * ink.sum()
    assert not keeping.ink.pixels.any()
    assert not keeping.ink.doubtful.any()
    assert excluding.pixels.sum() < 0.1 * expected("otsu")


def test_black_is_ink_unless_it_reaches_the_edge():
    picture = np.full((100, 100, 3), 243, np.uint8)
    picture[:20] = picture[50:60, 30:80] = 10
    for pens in ("auto", "exclude", "keep"):
        found = find_ink(picture, np.zeros((100, 100), np.uint8), pens)
        assert found.pixels[50:60, 30:80].all()
        assert not found.pixels[:40].any()
        assert found.padding[:20].all()
        assert not found.padding[30:].any()
