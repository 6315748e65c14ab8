"""Tissue in any published stain is kept as that of an H&E slide of the same shape; pens are not."""

import io
from functools import cache

import cv2
import numpy as np
import pytest
from PIL import Image, ImageDraw

from slidemill.sampling._ink import find_ink, pen_colours
from slidemill.sampling._stain import find_tissue
from slidemill.sampling._tissue_notes import tissue_remarks
from slidemill.sampling.tissue_mask import Mask
from slidemill.testing import Tissue, paint
from tests.stains import MIXTURES, STAINS, transmitted

pytestmark = pytest.mark.cases

SIZE, SHRUNK = (1500, 1250), 8
MPP = 8.0
DENSITIES = (0.2, 0.4, 0.6, 0.8, 1.0)
PIECES = [(150, 125, 1050, 900), (1075, 825, 1400, 1175)]
PENS = {"blue": (30, 60, 190), "green": (20, 140, 60), "red": (200, 20, 40)}


@cache
def hematoxylin_and_eosin():
    first, second = (Tissue("Normal", box, 8.0, 4.5) for box in PIECES)
    return paint(*SIZE, first, areas=[second], seed=1)


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


@pytest.mark.long
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


@pytest.mark.long
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
    keeping, excluding = (find_tissue(picture, "otsu", MPP, pens=pens) for pens in ("keep", "exclude"))
    assert keeping.pixels.sum() > expected("otsu") + 0.5 * ink.sum()
    assert not keeping.ink.pixels.any()
    assert not keeping.ink.doubtful.any()
    assert excluding.pixels.sum() < 0.1 * expected("otsu")


def strand(pen):
    """A band of skin."""
    pen.line([(15, 150), (60, 120), (120, 110), (205, 130)], fill=255, width=14, joint="curve")


def ring(pen):
    """The wall of a vessel."""
    pen.ellipse((60, 40, 160, 140), outline=255, width=11)


def cores(pen):
    """Biopsies of a needle."""
    for top in (40, 80, 120):
        pen.line([(20, top), (110, top - 4), (200, top)], fill=255, width=10)


def septa(pen):
    """Thin septa that branch."""
    for x, y, end in ((10, 20, 90), (60, 150, 30), (120, 20, 160), (150, 90, 60)):
        pen.line([(x, y), (x + 30, (y + end) // 2), (x + 60, end)], fill=255, width=6, joint="curve")


def lace(pen):
    """Fat: thin walls between bubbles."""
    pen.rectangle((20, 20, 200, 160), fill=255)
    for x in range(20, 200, 12):
        for y in range(20, 160, 12):
            pen.ellipse((x + 2, y + 2, x + 10, y + 10), fill=0)


def varied(shape, spread):
    """The density of tissue of a shape, which varies as that of tissue does."""
    picture = Image.new("L", (220, 180))
    shape(ImageDraw.Draw(picture))
    noise = cv2.GaussianBlur(np.random.default_rng(0).normal(size=(180, 220)), (0, 0), 1.2)
    return np.asarray(picture) / 255 * np.clip(1 + spread * noise / noise.std(), 0.3, 2)


LIKE_PENS = [
    stain
    for stain in STAINS
    if any(pen_colours(transmitted({stain: np.full((1, 1), amount)})).any() for amount in DENSITIES)
]


SLOW_SHAPES = (strand, cores, septa, lace)


@pytest.mark.long
@pytest.mark.parametrize("shape", [ring, *(pytest.param(one, marks=pytest.mark.long) for one in SLOW_SHAPES)])
def test_tissue_in_shapes_of_strokes_is_kept(shape):
    """Where a stain has as much colour as pens have at the least, its denser parts alone have a pen's."""
    for spread, glass in ((0.12, (243, 242, 244)), (0.28, (243, 242, 244)), (0.28, (205, 205, 206))):
        density = varied(shape, spread)
        for stain in LIKE_PENS:
            for amount in DENSITIES:
                picture = as_jpeg(transmitted({stain: density * amount}, glass))
                found, all_kept = (
                    find_tissue(picture, "otsu", MPP, pens=pens).pixels.sum() for pens in ("auto", "keep")
                )
                assert found >= 0.95 * all_kept, (stain, amount, spread, glass)


@pytest.mark.long
@pytest.mark.parametrize("shape", [ring, septa])
def test_strands_of_two_stains_are_kept(shape):
    """A piece of one stain ends at one of another, and not on glass as a stroke does."""
    blocks = np.kron(np.random.default_rng(5).integers(0, 2, (15, 19)), np.ones((12, 12), int))[:180, :220]
    for spread in (0.12, 0.28):
        density = varied(shape, spread)
        for parts in (("ponceau fuchsin", "methyl blue"), ("DAB", "methyl green"), ("PAS", "Alcian blue")):
            for amount in (0.4, 0.6, 0.8, 1.0):
                layers = {stain: density * amount * (blocks == own) for own, stain in enumerate(parts)}
                picture = as_jpeg(transmitted(layers))
                found, all_kept = (
                    find_tissue(picture, "otsu", MPP, pens=pens).pixels.sum() for pens in ("auto", "keep")
                )
                assert found >= 0.95 * all_kept, (parts, amount, spread)


@pytest.mark.long
@pytest.mark.parametrize("pen", [(25, 25, 30), (30, 60, 190), (245, 140, 30), (110, 30, 140)])
def test_stained_tissue_next_to_a_pen_is_kept(pen):
    """A pen makes colour on the slide, of which the tissue is less than half."""
    density = varied(lambda draw: draw.ellipse((90, 70, 130, 110), fill=255), 0.28)
    for stain in ("Alcian blue", "aniline blue of azan", "light green", "methylene blue of Giemsa", "HRP green"):
        for amount in (*DENSITIES, 0.5, 0.55, 0.65, 0.7):
            image = Image.fromarray(transmitted({stain: density * amount}))
            ImageDraw.Draw(image).line([(8, 150), (200, 165)], fill=pen, width=9)
            found = find_tissue(as_jpeg(np.asarray(image)), "otsu", MPP)
            tissue = density > 0.5
            assert (found.ink.pixels & tissue).sum() < 0.05 * tissue.sum(), (stain, amount)


OTHER_PENS = {
    "violet": (110, 30, 140),
    "orange": (245, 140, 30),
    "pink": (240, 60, 150),
    "brown": (120, 70, 30),
    "pale blue": (170, 195, 235),
    "pale red": (240, 150, 150),
}


@pytest.mark.parametrize("pen", OTHER_PENS)
def test_pen_of_another_colour_is_doubtful(pen):
    """No hue tells these pens, and pale ones, from stains: they are kept, and said."""
    density = varied(lambda draw: draw.ellipse((40, 40, 180, 140), fill=255), 0.28)
    for mark, said in (((8, 150, 200, 165), 1), ((8, 150, 60, 153), 0), (None, None)):
        image = Image.fromarray(transmitted({"eosin": density * 0.4, "haematoxylin": density * 0.2}))
        if mark:
            ImageDraw.Draw(image).line(mark, fill=OTHER_PENS[pen], width=7)
        picture = as_jpeg(np.asarray(image))
        found = find_tissue(picture, "otsu", MPP)
        told = tissue_remarks(picture, found, Mask(found.pixels, (3520, 2880), found.ink.pixels), bounds=None)
        words = [any("as smooth as ink" in one for one in texts) for texts in told]
        assert words == [said == place for place in (0, 1)]
        kept = find_tissue(picture, "otsu", MPP, pens="keep")
        assert not kept.even.any()


def test_black_is_ink_unless_it_reaches_the_edge():
    picture = np.full((100, 100, 3), 243, np.uint8)
    picture[:20] = picture[50:60, 30:80] = 10
    for pens in ("auto", "exclude", "keep"):
        found = find_ink(picture, np.zeros((100, 100), np.uint8), pens)
        assert found.pixels[50:60, 30:80].all()
        assert not found.pixels[:40].any()
        assert found.padding[:20].all()
        assert not found.padding[30:].any()
