"""The labels of a real slide's patches by its annotation: seen in the overlay, decided by eye, and then pinned.

Patches of 256 pixels, 8 x 11 of them. The carcinoma is a narrow shape from row 2 to row 9, most of it in columns 4 and
5; the benign region lies in columns 5 to 7 below it and has a hole; the fold is a flat ellipse in rows 3 and 4.
"""

from collections import Counter

import numpy as np
import pytest
import shapely
from PIL import Image

from slidemill.annotations.frames import Frame
from slidemill.annotations.read import read_annotation
from slidemill.core.specs import GridSpec, LabelSpec
from slidemill.slides.patch_table import patch_rows
from slidemill.slides.slide_info import open_slide, slide_info
from tests.labels import label_rows

pytestmark = pytest.mark.cases

N, B, C, F = "Normal", "Benign", "Carcinoma invasive", "Fold"
MAP = {N: 0, B: 1, "Carcinoma in situ": 2, C: 3}

# Column and row; the name by centre, by the top left corner, and by area.
SEEN = {
    (4, 2): (N, N, N),  # the tip of the carcinoma
    (4, 3): (C, N, C),  # its left half lies left of the outline, its middle just within
    (5, 3): (C, N, C),  # the slanting top edge passes below the corner
    (2, 4): (N, F, N),  # the top of the ellipse holds the corner; most of the patch is glass
    (5, 4): (C, C, C),
    (6, 4): (N, C, N),  # the right edge passes next to the corner
    (5, 6): (N, C, N),  # keratin: the edge cuts off the corner alone
    (5, 7): (B, C, B),  # carcinoma at the left, benign in the middle and over more than half
    (6, 7): (B, B, B),
    (7, 7): (N, B, N),  # the benign region's right edge
    (5, 9): (B, N, N),  # the middle is just within, the hole and the edge leave less than half
    (6, 9): (N, N, N),  # in the hole
    (7, 9): (N, B, N),  # the corner lies right of the hole, in the region's right margin
    (5, 10): (B, N, B),
    (6, 10): (B, B, B),
    (3, 10): (N, N, N),  # a region that is named Normal itself
}
COUNTS = {
    "centre": {N: 72, C: 9, B: 7},
    "top_left": {N: 74, B: 7, C: 6, F: 1},
    "area": {N: 73, C: 9, B: 6},
}


@pytest.fixture(scope="module")
def real(real_slide_file):
    """The patches and the annotation."""
    annotation = real_slide_file.with_suffix(".xml")
    if not annotation.exists():
        pytest.skip(f"the real annotation is not at {annotation}")
    with open_slide(real_slide_file) as slide:
        info = slide_info(slide)
    rows = list(patch_rows("real", info, GridSpec(patch_size=256, level=0)))
    return rows, read_annotation(annotation, Frame(info.size, info.bounds, None, info.mpp)), info.size


def names(rows, annotation, rule):
    told = label_rows(rows, annotation, LabelSpec(MAP, rule, N), {})
    return {(int(row["column"]), int(row["row"])): row["label_name"] for row in told}


@pytest.mark.parametrize(("place", "rule"), list(enumerate(COUNTS)))
def test_labels_are_those_that_the_eye_gives(real, place, rule):
    rows, annotation, _ = real
    found = names(rows, annotation, rule)
    assert {patch: found[patch] for patch in SEEN} == {patch: own[place] for patch, own in SEEN.items()}
    assert Counter(found.values()) == COUNTS[rule]


@pytest.mark.long
@pytest.mark.parametrize("rule", COUNTS)
def test_the_annotation_as_a_label_image_gives_the_same_labels(real, rule, tmp_path):
    """Each pixel of the slide is asked for the first region that holds its middle."""
    rows, annotation, (width, height) = real
    values = {name: number for number, name in enumerate((C, B, F, N), start=1)}
    pixels = np.zeros((height, width), np.uint8)
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    for region in reversed(annotation.regions):
        shapely.prepare(region.shape)
        pixels[shapely.contains_xy(region.shape, x, y)] = values[region.name]
    Image.fromarray(pixels).save(tmp_path / "a.png")
    image = read_annotation(tmp_path / "a.png", Frame((width, height)))
    spec = LabelSpec({str(values[name]): label for name, label in MAP.items() if name in values}, rule, "outside")
    told = label_rows(rows, image, spec, {})
    by_value = {str(number): name for name, number in values.items()} | {"outside": N}
    expected = names(rows, annotation, rule)
    assert {(int(row["column"]), int(row["row"])): by_value[row["label_name"]] for row in told} == expected
