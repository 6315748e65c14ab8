"""Label images: reading them, laying them over a slide, and the labels that they give by each rule."""

import struct
import tracemalloc
import zlib
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from slidemill.annotations import label_image, label_image_file
from slidemill.annotations.frames import Frame
from slidemill.annotations.read import read_annotation
from slidemill.annotations.regions import Annotation
from slidemill.core.specs import LabelSpec
from slidemill.errors import AnnotationError
from slidemill.report.legend import Classes
from slidemill.report.overlay import Outlines, draw_overlay
from slidemill.sampling._label_rules import labeller
from tests.examples import examples
from tests.labels import label_rows

pytestmark = pytest.mark.cases

DRAWN = np.kron(np.random.default_rng(0).integers(0, 4, (30, 40)), np.ones((10, 10), int))[:295, :396].astype(np.uint8)
CANVAS = (3960, 2950)


def png(path, pixels, mode=None):
    picture = Image.frombytes(mode, pixels.shape[::-1], pixels.tobytes()) if mode else Image.fromarray(pixels)
    if mode == "P":
        picture.putpalette([value for index in range(256) for value in (index, 255 - index, 7)])
    picture.save(path, format="png")
    return path


def tiff(path, pixels, byteorder="<", **options):
    with tifffile.TiffWriter(path, byteorder=byteorder) as file:
        file.write(pixels, **{"photometric": "minisblack", **options})
    return path


def read(path, canvas=CANVAS):
    return read_annotation(path, Frame(canvas))


WRITERS = {
    "PNG": lambda path: png(path, DRAWN),
    "PNG, 16 bits": lambda path: png(path, DRAWN.astype(np.uint16)),
    "PNG with a palette": lambda path: png(path, DRAWN, "P"),
    "TIFF": lambda path: tiff(path, DRAWN),
    "TIFF, strips": lambda path: tiff(path, DRAWN, rowsperstrip=10),
    "TIFF, 16 bits, big-endian": lambda path: tiff(path, DRAWN.astype(np.uint16), ">"),
    "TIFF, 32 bits": lambda path: tiff(path, DRAWN.astype(np.uint32)),
    "TIFF, signed": lambda path: tiff(path, DRAWN.astype(np.int16), rowsperstrip=50),
    "TIFF, tiles, deflate": lambda path: tiff(path, DRAWN, tile=(64, 48), compression="deflate"),
    "TIFF, strips, LZW, predictor": lambda path: tiff(path, DRAWN, rowsperstrip=17, compression="lzw", predictor=True),
    "TIFF, 32 bits, tiles, big-endian": lambda path: tiff(path, DRAWN.astype(np.uint32), ">", tile=(16, 160)),
    "TIFF with a palette": lambda path: tiff(
        path, DRAWN, photometric="palette", colormap=np.zeros((3, 256), np.uint16)
    ),
    "TIFF and its pyramid": lambda path: pyramid(path),
}


def pyramid(path):
    with tifffile.TiffWriter(path) as file:
        for level in (DRAWN, DRAWN[::2, ::2]):
            file.write(
                level, photometric="minisblack", tile=(64, 64), compression="deflate", subfiletype=level is DRAWN
            )
    return path


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_an_image_of_integers_is_read_pixel_by_pixel_whatever_its_name(tmp_path, write):
    annotation = read(write(tmp_path / "a.xml"))
    assert annotation.names == ("1", "2", "3")
    assert (annotation.image.sampled((396, 295)) == DRAWN.astype(int) - 1).all()


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_grey_of_few_bits_is_read_as_its_integers(tmp_path, bits):
    pixels = (DRAWN % 2**bits).astype(np.uint8)
    lines = [np.packbits(np.unpackbits(row[:, None], axis=1)[:, -bits:].reshape(-1)).tobytes() for row in pixels]
    data = bare_png(396, 295, bits, 0, b"".join(b"\0" + line for line in lines))
    (tmp_path / "a.png").write_bytes(data)
    assert (read(tmp_path / "a.png").image.sampled((396, 295)) == pixels.astype(int) - 1).all()


def bare_png(width, height, bits, kind, data):
    """A PNG that says of itself what it is told to."""

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def test_a_tile_that_the_file_leaves_out_is_outside(tmp_path):
    pixels = np.zeros((256, 256), np.uint8)
    pixels[:64, 64:128] = 7
    tiff(tmp_path / "a.tif", pixels, tile=(64, 64), compression="deflate")
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+b") as file:
        counts = list(file.pages.first.databytecounts)
        counts[5] = 0
        file.pages.first.tags["TileByteCounts"].overwrite(counts)
    annotation = read(tmp_path / "a.tif", (256, 256))
    assert annotation.names == ("7",)
    assert annotation.image.bounds == ((64, 0, 128, 64),)


def rgb(path):
    return png(path, np.zeros((295, 396, 3), np.uint8))


def oriented(path, kind):
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(DRAWN).save(path, kind, exif=exif)
    return path


def thumbnail_first(path):
    with tifffile.TiffWriter(path) as file:
        for level in (DRAWN[::2, ::2], DRAWN):
            file.write(level, photometric="minisblack")
    return path


def animated(path):
    first, second = Image.fromarray(DRAWN * 0), Image.fromarray(DRAWN)
    first.save(path, "png", save_all=True, append_images=[second])
    return path


WRONG = {
    "colours": (rgb, "are RGB, which are colours"),
    "colours, TIFF": (
        lambda path: tiff(path, np.zeros((295, 396, 3), np.uint8), photometric="rgb"),
        "3 values a pixel",
    ),
    "grey and alpha": (lambda path: png(path, np.zeros((295, 396, 2), np.uint8), None), "are LA, which are colours"),
    "fractions": (lambda path: tiff(path, DRAWN.astype(np.float32)), "its pixels are float32"),
    "64 bits": (lambda path: tiff(path, DRAWN.astype(np.uint64)), "its pixels are uint64"),
    "negative integers": (lambda path: tiff(path, DRAWN.astype(np.int16) - 1), "it contains the integer -1"),
    "JPEG in a TIFF": (lambda path: tiff(path, DRAWN, compression="jpeg", tile=(64, 64)), "keeps no integers"),
    "two images": (lambda path: tiff(path, np.stack([DRAWN, DRAWN]), metadata=None), "several images of one size"),
    "a thumbnail first": (thumbnail_first, "its first image is smaller than its second"),
    "an animation": (animated, "it is animated"),
    "another aspect": (lambda path: png(path, DRAWN[:, :200]), "of another aspect"),
    "turned": (lambda path: png(path, np.ascontiguousarray(DRAWN.T)), "of another aspect"),
    "PNG with an orientation": (lambda path: oriented(path, "png"), "its tag Orientation is 6"),
    "TIFF with an orientation": (
        lambda path: tiff(path, DRAWN, extratags=[(274, "H", 1, 6, True)]),
        "its tag Orientation is 6",
    ),
    "finer than the slide": (lambda path: png(path, np.zeros((2951, 3961), np.uint8)), "may not be finer"),
}


@pytest.mark.parametrize(("write", "words"), WRONG.values(), ids=WRONG)
def test_what_is_no_label_image_of_the_slide_is_refused_in_words(tmp_path, write, words):
    with pytest.raises(AnnotationError, match=rf"^a\.png: .*{words}"):
        read(write(tmp_path / "a.png"))


@pytest.mark.parametrize("size", [(99, 74), (98, 73), (99, 73), (98, 74), (1, 1), (3960, 2950)])
def test_sides_may_be_rounded_up_or_down(tmp_path, size):
    """3957 x 2946 at a fortieth are 98.9 x 73.7."""
    canvas = (3957, 2946) if size != (3960, 2950) else size
    assert read(png(tmp_path / "a.png", np.ones(size[::-1], np.uint8)), canvas).names == ("1",)


@pytest.mark.parametrize(
    ("side", "is_doubtful"), [(1024, False), (1023, True), (1000, True), (820, True), (512, False)]
)
def test_image_of_nearly_the_slides_size_warns(tmp_path, side, is_doubtful):
    """A margin that was cut off stretches the labels over the slide."""
    found = read(png(tmp_path / "a", np.ones((side, side), np.uint8)), (1024, 1024))
    assert [f"{side} x {side} pixels" in one and "margin" in one for one in found.warnings] == [True] * is_doubtful


def test_more_integers_than_labels_can_be_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(label_image_file, "MOST_LABELS", 2)
    with pytest.raises(AnnotationError, match="it contains more than 2 integers"):
        read(png(tmp_path / "a.png", DRAWN))


@pytest.mark.long
def test_a_large_tiff_is_never_in_memory_whole(tmp_path):
    """64 MB of pixels; tiles, strips, and one strip that is not compressed."""
    pixels = np.zeros((8000, 8000), np.uint8)
    pixels[100:7000, 200:6000] = 5
    rows = [{"x0": x, "y0": y, "width0": 250, "height0": 250} for y in range(0, 8000, 250) for x in range(0, 8000, 250)]
    for options in ({"tile": (256, 256), "compression": "deflate"}, {"rowsperstrip": 64, "compression": "lzw"}, {}):
        tiff(tmp_path / "a.tif", pixels, **options)
        tracemalloc.start()
        annotation = read(tmp_path / "a.tif", (8000, 8000))
        names, _ = labeller(annotation, LabelSpec({}, "area", "out"))(rows)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert Counter(names)["5"] == 23 * 28
        assert peak < 40e6, options


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (lambda path: path.write_bytes(bare_png(60_000, 60_000, 8, 0, b"\0" * 99)), "134217728 are decoded at once"),
        (
            lambda path: tiff(path, np.zeros((12_000, 12_000), np.uint8), rowsperstrip=12_000, compression="deflate"),
            "134217728 are decoded at once",
        ),
    ],
    ids=["PNG", "TIFF of one strip"],
)
def test_what_would_take_too_much_memory_is_refused_before_it_is_decoded(tmp_path, write, words):
    write(tmp_path / "a.png")
    tracemalloc.start()
    with pytest.raises(AnnotationError, match=words):
        read(tmp_path / "a.png", (60_000, 60_000))
    assert tracemalloc.get_traced_memory()[1] < 10e6
    tracemalloc.stop()


SIDES = st.tuples(st.integers(1, 9), st.integers(1, 9))
boxes = st.lists(
    st.tuples(st.integers(-8, 60), st.integers(-8, 60), st.integers(1, 40), st.integers(1, 40)), max_size=8
)


@st.composite
def images(draw):
    width, height = draw(SIDES)
    across, down = width * draw(st.integers(1, 7)), height * draw(st.integers(1, 7))
    pixels = draw(st.lists(st.integers(0, 3), min_size=width * height, max_size=width * height))
    return np.array(pixels, np.uint16).reshape(height, width), (across, down)


def laid(pixels, canvas):
    """Return an annotation of pixels that are laid over a canvas, of any aspect, and read row by row."""
    height, width = pixels.shape
    values = [value for value in np.unique(pixels).tolist() if value]

    def bands(first, last):
        for row in range(first, last):
            yield row, pixels[row : row + 1]

    bounds = ((0.0, 0.0, 1.0, 1.0),) * len(values)
    return Annotation((), image=label_image.LabelImage((width, height), canvas, tuple(values), bounds, bands))


@given(images(), boxes, st.sampled_from([0.01, 0.3, 0.5, 1.0]), st.permutations(["1", "2", "3"]), st.integers(0, 3))
@examples(300, derandomize=True)
def test_areas_are_exactly_those_of_pixel_by_pixel(image, places, least, names, known):
    """Each pixel is a box of fractions that is laid over each patch; 3 // 7 of a pixel is no rounding."""
    (pixels, (across, down)), names = image, names[:known]
    height, width = pixels.shape
    rows = [{"x0": x, "y0": y, "width0": wide, "height0": high} for x, y, wide, high in places]
    spec = LabelSpec(dict.fromkeys(names, 0), "area", "out", least)
    reached = set()
    annotation = laid(pixels, (across, down))
    told, fractions = labeller(annotation, spec, reached)(rows)
    winners = set()
    for (x, y, wide, high), name, fraction in zip(places, told, fractions, strict=True):
        found = Counter()
        for row in range(height):
            for column in range(width):
                left, right = Fraction(column * across, width), Fraction((column + 1) * across, width)
                top, bottom = Fraction(row * down, height), Fraction((row + 1) * down, height)
                met_x, met_y = min(right, x + wide) - max(left, x), min(bottom, y + high) - max(top, y)
                if pixels[row, column] and met_x > 0 and met_y > 0:
                    found[str(pixels[row, column])] += met_x * met_y / (wide * high)
        best = max(found.values(), default=Fraction(0))
        if best and best >= Fraction(str(least)):
            tied = [one for one, share in found.items() if share == best]
            expected = min(tied, key=lambda one: (names.index(one) if one in names else len(names), one))
            winners.add(expected)
        else:
            expected, best = "out", 1 - sum(found.values())
        assert name == expected
        assert fraction == pytest.approx(float(best), abs=1e-8)
    assert {annotation.names[place] for place in reached} == winners


@given(images(), boxes, st.sampled_from(["centre", "top_left"]))
@examples(300, derandomize=True)
def test_points_are_labelled_by_the_pixel_that_they_lie_in(image, places, rule):
    pixels, (across, down) = image
    rows = [{"x0": x, "y0": y, "width0": wide, "height0": high} for x, y, wide, high in places]
    names, fractions = labeller(laid(pixels, (across, down)), LabelSpec({}, rule, "out"))(rows)
    expected = []
    for x, y, wide, high in places:
        half = Fraction(1 if rule == "centre" else 0, 2)
        column = (x + half * wide) * pixels.shape[1] // across
        row = (y + half * high) * pixels.shape[0] // down
        within = 0 <= column < pixels.shape[1] and 0 <= row < pixels.shape[0]
        expected.append(str(pixels[row, column]) if within and pixels[row, column] else "out")
    assert (list(names), fractions) == (expected, None)


def test_integers_are_mapped_as_any_name(tmp_path):
    pixels = np.zeros((4, 4), np.uint8)
    pixels[:, 2:] = 9
    pixels[0, 0] = 4
    annotation = read(png(tmp_path / "a.png", pixels), (40, 40))
    rows = [{"x0": x, "y0": 0, "width0": 10, "height0": 10} for x in (0, 10, 20)]
    told = label_rows(rows, annotation, LabelSpec({"9": 3, "none": 0}, "centre", "none"), {})
    assert [(row["label"], row["label_name"]) for row in told] == [(-1, "4"), (0, "none"), (3, "9")]


def test_an_overlay_draws_the_outlines_of_labels(tmp_path):
    pixels = np.zeros((40, 40), np.uint8)
    pixels[10:30, 10:30] = 1
    annotation = read(png(tmp_path / "a.png", pixels), (400, 400))
    picture = np.asarray(
        draw_overlay(Image.new("RGB", (400, 400), "red"), 400, [], classes=Classes({}), outlines=Outlines(annotation))
    )
    for place in ((200, 100), (200, 99), (100, 200), (299, 200), (300, 200)):
        assert (picture[place] == 0).all(), place
    assert picture[200, 200].tolist() == picture[50, 50].tolist() == [255, 0, 0]
