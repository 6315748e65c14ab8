"""Overlays: tissue stays visible under the outlines of classes."""

import numpy as np
import pytest
from PIL import Image
from shapely.geometry import box

from slidemill.annotations.regions import Annotation, Region
from slidemill.report import legend
from slidemill.report._palette import PALETTE, label_colour
from slidemill.report.legend import Classes, add_legend
from slidemill.report.overlay import Outlines, draw_overlay
from slidemill.sampling.tissue_mask import Mask
from tests.colours import rgb

GREY = (128, 128, 128)
CLASSES = Classes({"Normal": 0, "Tumour": 3}, "Normal")


def row(x0, y0, side, label=3, name="Tumour", **more):
    place = {"x0": x0, "y0": y0, "width0": side, "height0": side}
    return {key: str(value) for key, value in (place | {"label": label, "label_name": name} | more).items()}


def drawn(rows, size=(200, 100), width0=None, **more):
    """The overlay of a grey slide without its legend, ``uint8 (height, width, 3)``."""
    picture = draw_overlay(Image.new("RGB", size, GREY), width0 or size[0], rows, **{"classes": CLASSES, **more})
    return np.asarray(picture)[: size[1], : size[0]]


def is_colour(pixels, label):
    return (pixels == rgb(label_colour(label))).all(-1)


@pytest.mark.parametrize(("side", "width"), [(16, 2), (24, 2), (36, 3), (48, 4), (90, 4)])
def test_patches_have_a_frame_within(side, width):
    pixels = drawn([row(10, 5, side)])
    frame = np.zeros((100, 200), bool)
    frame[5 : 5 + side, 10 : 10 + side] = True
    frame[5 + width : 5 + side - width, 10 + width : 10 + side - width] = False
    np.testing.assert_array_equal(is_colour(pixels, 3), frame)
    assert (pixels[~frame] == GREY).all()


@pytest.mark.parametrize(("side", "block"), [(2, 30), (4, 32), (2.5, 30), (15, 30)])
def test_small_patches_of_a_class_share_the_frame_of_a_block(side, block):
    """Tissue shows within a block, however small its patches are."""
    rows = [
        row(side * across, side * down, side) for across in range(round(60 / side)) for down in range(round(60 / side))
    ]
    pixels = drawn(rows)
    end = round(side * round(60 / side))
    lines = np.zeros((100, 200), bool)
    lines[:, [one for edge in (0, block) for one in (edge - 2, edge - 1, edge, edge + 1) if one >= 0]] = True
    lines |= np.pad(lines.T, ((0, 0), (0, 100)))[:100, :200]
    lines[end - 2 :] = lines[:, end - 2 :] = True
    lines[end:] = lines[:, end:] = False
    np.testing.assert_array_equal(is_colour(pixels, 3), lines)
    assert (pixels[~lines] == GREY).all()
    assert lines[:end, :end].mean() < 0.4


def test_small_patches_of_two_classes_have_a_border_between_them():
    rows = [
        row(4 * across, 4 * down, 4, *((0, "A") if across < 6 else (1, "B")))
        for across in range(12)
        for down in range(9)
    ]
    pixels = drawn(rows, classes=Classes({"A": 0, "B": 1}))
    assert is_colour(pixels[10, 22:24], 0).all()
    assert is_colour(pixels[10, 24:26], 1).all()
    assert (pixels[10, 2:22] == GREY).all()
    # The edge of the picture closes an area.
    assert is_colour(pixels[10, :2], 0).all()


@pytest.mark.parametrize("side", [4, 40])
def test_outside_has_a_thin_line(side):
    rows = [row(side * across, 0, side, 0, "Normal") for across in range(3)]
    pixels = drawn(rows)
    assert is_colour(pixels[0, : 3 * side], 0).all()
    assert is_colour(pixels[:side, 0], 0).all()
    assert (pixels[1 : side - 1, 1 : side - 1] == GREY).all()


def test_places_follow_the_scale_and_every_patch_is_seen():
    pixels = drawn([row(1000, 500, 400), row(30, 30, 4)], width0=2000)
    assert is_colour(pixels[52, 100:140], 3).all()
    assert is_colour(pixels[3, 3], 3)


def test_dropped_patches_are_hatched_only():
    """Each reason has its direction, and lines go on over patches of any size."""
    hatches = {}
    for reason in ("tissue", "label", "blur"):
        pixels = drawn(
            [], dropped=[row(4 * across, 4 * down, 4, reason=reason) for across in range(20) for down in range(20)]
        )
        hatched = (pixels != GREY).any(-1)
        assert not hatched[80:].any()
        assert not hatched[:, 80:].any()
        # Only darker.
        assert (pixels[hatched] < 128).all()
        assert 0.1 < hatched[:80, :80].mean() < 0.3
        hatches[reason] = hatched
    np.testing.assert_array_equal(hatches["blur"], hatches["tissue"] | hatches["label"])
    assert (hatches["tissue"] != hatches["label"]).any()


def test_edge_of_tissue_is_dashed_black_on_white():
    mask = np.zeros((50, 100), np.uint8)
    mask[10:40, 20:80] = 1
    pixels = drawn([], outlines=Outlines(tissue=Mask(mask, (200, 100))))
    assert (pixels[22:78, 44:156] == GREY).all()
    assert (pixels[:18] == GREY).all()
    edge = pixels[20, 45:155]
    black, white = (edge == 0).all(-1), (edge == 255).all(-1)
    assert (black | white).all()
    assert 0.4 < black.mean() < 0.8
    assert np.flatnonzero(np.diff(black)).size >= 20


def test_ink_is_dotted():
    mask, ink = np.zeros((50, 100), np.uint8), np.zeros((50, 100), np.uint8)
    ink[:, 50:] = 1
    picture = draw_overlay(
        Image.new("RGB", (200, 100), GREY),
        200,
        [],
        classes=CLASSES,
        outlines=Outlines(tissue=Mask(mask, (200, 100), ink)),
    )
    pixels = np.asarray(picture)[:100, :200]
    assert (pixels[:, :100] == GREY).all()
    assert {tuple(one) for one in pixels[:, 100:].reshape(-1, 3).tolist()} == {(0, 0, 0), (255, 255, 255), GREY}


def test_labels_beyond_the_palette_are_dashed():
    label = len(PALETTE) + 1
    pixels = drawn([row(10, 10, 48, label, "Rare")], classes=Classes({"Rare": label}))
    frame = pixels[10:14, 10:58].reshape(-1, 3)
    coloured = is_colour(frame, label)
    assert 0.3 < coloured.mean() < 0.7
    assert (frame[~coloured] == 255).all()


def legend_of(monkeypatch, rows, **more):
    """The texts of a legend."""
    texts = []
    pen = legend.ImageDraw.Draw

    def draw(*arguments):
        made = pen(*arguments)
        write = made.text
        made.text = lambda place, text, **style: (texts.append(text), write(place, text, **style))[1]
        return made

    monkeypatch.setattr(legend.ImageDraw, "Draw", draw)
    drawn(rows, **more)
    return texts


def test_legend_has_every_class_of_the_map_in_its_order(monkeypatch):
    classes = Classes({"Tumour": 3, "Fold": 2, "Normal": 0, "Pen": 2}, "Normal")
    rows = [row(0, 0, 20, -1, "Odd"), *(row(0, 0, 20, 0, "Normal") for _ in range(1200)), row(0, 0, 20, 2, "Pen")]
    dropped = [row(0, 0, 20, reason="tissue")]
    region = Annotation((Region("Tumour", box(1, 1, 9, 9)),))
    mask = np.zeros((50, 100), np.uint8)
    mask[:20] = 1
    outlines = Outlines(region, Mask(mask, (200, 100)))
    assert legend_of(monkeypatch, rows, classes=classes, dropped=dropped, outlines=outlines) == [
        "3  Tumour: 0 patches",
        "2  Fold: 0 patches",
        "0  Normal: 1,200 patches (outside)",
        "2  Pen: 1 patch",
        "-1  Odd: 1 patch, not in labels.map",
        "dropped, tissue: 1 patch",
        "outlines of the annotation",
        "edge of the tissue, 40% of the slide",
    ]


def test_legend_of_many_classes_has_columns_and_says_that_colours_repeat(monkeypatch):
    classes = Classes({f"class {number}": number for number in range(40)})
    texts = legend_of(monkeypatch, [], size=(1000, 10), classes=classes)
    assert len(texts) == 41
    assert texts[-1] == "colours repeat every 14 labels"
    picture = draw_overlay(Image.new("RGB", (1000, 10)), 1000, [], classes=classes)
    assert picture.size == (1000, 10 + 8 + 14 * 28)


def test_long_names_are_shortened_before_the_count(monkeypatch):
    texts = legend_of(monkeypatch, [row(0, 0, 9, 0, "n" * 200)], classes=Classes({"n" * 200: 0}))
    assert len(texts[0]) < 50
    assert texts[0].endswith("…: 1 patch")
    assert add_legend(Image.new("RGB", (9, 9)), Classes({}), legend.Legend({}, {}, False, None)).size == (330, 17)
