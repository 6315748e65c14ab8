"""Masks of tissue of slides that are broken, pale, grey, dark or written on: the reason is said."""

from functools import cache

import numpy as np
import pytest
from PIL import Image, ImageDraw

from slidemill.report._strokes import SPACING
from slidemill.testing import BLANK, STROMA, Tissue, paint, write_svs
from tests.tiffs import break_tile

pytestmark = pytest.mark.cases

PATCH = 128
OTSU = {"method": "otsu", "min_fraction": 0.5}


@pytest.fixture
def tissue(cohort):
    """The cohort, which looks for tissue, without the good slide."""
    (cohort.slides / "good.svs").unlink()
    cohort.config["tissue"] = dict(OTSU)
    return cohort


@cache
def painted(width=1024, height=768, stroma=STROMA):
    picture = paint(width, height, Tissue("Normal", (100, 80, 700, 600), 2.0, 6, stroma), areas=[], seed=4)
    picture.flags.writeable = False
    return picture


def add(cohort, pixels, downsamples=(1, 4, 16)):
    write_svs(cohort.slides / "one.svs", pixels, downsamples, tile=128)
    return cohort.slides / "one.svs"


def only(cohort):
    return cohort.run()["one.svs"]


def ids(cohort, row):
    return {patch["patch_id"] for patch in cohort.table(f"patches/{row['slide']}")}


@pytest.mark.long
@pytest.mark.parametrize(("broken", "used"), [((2,), "level 1"), ((2, 1), "level 0")])
def test_broken_mask_level_is_replaced_by_another(tissue, broken, used):
    path = add(tissue, painted())
    whole = only(tissue)
    wanted = ids(tissue, whole)
    for level in broken:
        break_tile(path, level, 0)
    row = only(tissue)
    assert (row["status"], row["unreadable"]) == ("ok", "0")
    assert f"the slide's level {broken[0]} cannot be read whole" in row["notes"]
    assert f"{used} was taken in its place" in row["notes"]
    assert ids(tissue, row) == wanted
    assert 0 < len(wanted) < int(row["grid_patches"])


@pytest.mark.long
@pytest.mark.parametrize("where", [(2, 2), (7, 5)])
def test_broken_tile_counts_as_tissue_and_is_skipped(tissue, where):
    """On the tissue or on glass: what nobody can see is not dropped as glass, `unreadable_patches` decides."""
    path = add(tissue, painted(), downsamples=(1,))
    wanted = ids(tissue, only(tissue))
    column, row = where
    broken = f"r{row:05d}_c{column:05d}"
    break_tile(path, 0, row * (1024 // PATCH) + column)
    tissue.config["unreadable_patches"] = "skip"
    found = only(tissue)
    assert (found["status"], found["unreadable"]) == ("ok", "1")
    assert [patch["patch_id"] for patch in tissue.table("unreadable")] == [broken]
    assert {patch["patch_id"] for patch in tissue.table("metadata")} == wanted - {broken}
    assert "1 places of its level 0 cannot be read" in found["notes"]
    assert "counts as tissue" in found["notes"]
    tissue.config["unreadable_patches"] = "fail"
    found = only(tissue)
    assert (found["status"], found["stage"]) == ("failed", "store_patches")
    assert "1 of" in found["message"]


@pytest.mark.long
def test_slide_with_a_broken_tile_is_drawn(tissue):
    path = add(tissue, painted(), downsamples=(1,))
    break_tile(path, 0, 18)
    tissue.config["unreadable_patches"] = "skip"
    row = only(tissue)
    tissue.draw(tissue.listed[0])
    with Image.open(tissue.place("figures/overlay", row["slide"], "jpg")) as overlay:
        assert overlay.width == 1000


def grey(pixels):
    return np.repeat(pixels.mean(axis=2, keepdims=True).astype(np.uint8), 3, axis=2)


def dark(pixels):
    seen = (pixels != BLANK).any(axis=2, keepdims=True)
    return np.where(seen, (0, 40, 200), (3, 3, 3)).astype(np.uint8)


def test_grey_slide_without_tissue_is_a_warning(tissue):
    add(tissue, grey(painted()))
    row = only(tissue)
    assert (row["status"], row["patches"]) == ("empty", "0")
    assert "tissue: 0.00% of the slide" in row["notes"]
    assert "a saturation of 14 of 255 (Otsu's own threshold is 0, and is kept within 14 and 40)" in row["notes"]
    for remedy in ("hsv", "none", "a custom mask (tissue.masks)"):
        assert remedy in row["notes"]
    assert "no patch is kept: 48 of 48 have less tissue than tissue.min_fraction (0.5)" in row["warnings"]


def test_remedy_is_the_other_method(tissue):
    for method, other in (("otsu", "hsv (one"), ("hsv", "otsu (a threshold of each")):
        tissue.config["tissue"]["method"] = method
        add(tissue, grey(painted()))
        assert f"try tissue.method {other}" in only(tissue)["notes"]


@pytest.mark.long
def test_pen_of_another_colour_is_a_warning(tissue):
    pixels = paint(2048, 1536, Tissue("Normal", (100, 80, 1900, 1200), 2.0, 6), areas=[], seed=4)
    pixels[1300:1420, 100:1900] = (110, 30, 140)
    add(tissue, pixels)
    row = only(tissue)
    assert float(row["ink_fraction"]) == 0
    assert "of the tissue is in pieces as smooth as ink, and was kept" in row["warnings"]


def test_slide_of_tissue_alone_says_why(tissue):
    add(tissue, paint(1024, 768, Tissue("Normal", (-900, -900, 2000, 1700), 2.0, 6), areas=[], seed=4))
    row = only(tissue)
    assert row["patches"] == row["grid_patches"]
    assert "tissue: 100.0% of the slide, next to all: otsu took" in row["notes"]
    assert "is kept within 14 and 40" in row["notes"]


def test_slide_on_black_is_a_warning(tissue):
    add(tissue, dark(painted()))
    assert "of the slide is black" in only(tissue)["warnings"]


def test_glass_alone_is_a_warning(tissue):
    add(tissue, np.full((768, 1024, 3), BLANK, np.uint8))
    row = only(tissue)
    assert row["status"] == "empty"
    assert "next to nothing" in row["notes"]
    assert row["warnings"]


@pytest.mark.long
def test_thin_strands_of_fat_say_why(tissue):
    image = Image.new("RGB", (4096, 3072), BLANK)
    pen = ImageDraw.Draw(image)
    for x in range(0, 4096, 512):
        pen.line([(x, 0), (x + 300, 3072)], fill=STROMA, width=10)
    add(tissue, np.asarray(image))
    row = only(tissue)
    assert row["status"] == "empty"
    assert "next to nothing" in row["notes"]
    assert row["warnings"]


def test_pale_slide_says_that_its_threshold_was_raised(tissue):
    add(tissue, painted(stroma=(243, 230, 236)))
    assert "Otsu's own threshold" in only(tissue)["notes"]


@pytest.mark.long
@pytest.mark.parametrize("method", ["otsu", "hsv"])
def test_tinted_glass_is_taken_for_white(tissue, method):
    """Glass with more colour than any threshold allows would be tissue throughout."""
    pixels = painted()
    white = only_mask(tissue, pixels, method)
    tinted = only_mask(tissue, (pixels * (np.array([240, 220, 188]) / BLANK)).astype(np.uint8), method)
    assert abs(tinted.mean() / white.mean() - 1) < 0.05


def only_mask(cohort, pixels, method):
    cohort.config["tissue"]["method"] = method
    add(cohort, pixels)
    row = only(cohort)
    assert row["status"] == "ok"
    return np.asarray(Image.open(cohort.place("tissue", row["slide"], "png")))


@pytest.mark.long
def test_ink_is_a_number_and_a_colour(tissue):
    pixels = paint(2048, 1536, Tissue("Normal", (100, 80, 1900, 1200), 2.0, 6), areas=[], seed=4)
    pixels[1300:1420, 100:1900] = (30, 60, 190)
    add(tissue, pixels)
    row = only(tissue)
    # The ink, and the blurred edge around it.
    assert 120 * 1800 < float(row["ink_fraction"]) * 2048 * 1536 < (120 + 8 * 16) * (1800 + 8 * 16)
    assert "of the slide was left out as felt pen" in row["notes"]
    tissue.draw(tissue.listed[0])
    with Image.open(tissue.place("figures/overlay", row["slide"], "jpg")) as overlay:
        drawn = np.asarray(overlay)
    # Black dots of 2 x 2 pixels over the blue of the stroke, and none on the glass above the tissue.
    scale = 2048 / drawn.shape[1]
    stroke = drawn[round(1320 / scale) : round(1400 / scale), round(200 / scale) : round(1800 / scale)]
    # Patches on the stroke are dropped, and hatched with black lines.
    assert 4 / SPACING**2 * 0.8 < (stroke.max(axis=2) < 120).mean() < 4 / SPACING**2 * 2
    assert drawn[: round(60 / scale)].max(axis=2).min() > 90


@pytest.mark.long
def test_colours_of_pens_that_are_kept_are_a_warning(tissue):
    """A trichrome: half of its tissue is of a blue that pens have."""
    pixels = painted(2048, 1536).copy()
    stripes = (np.arange(2048) // 40 % 2 == 0)[None, :] & (pixels != BLANK).any(axis=2)
    pixels[stripes] = (40, 80, 200)
    add(tissue, pixels)
    row = only(tissue)
    assert float(row["ink_fraction"]) == 0
    assert "of the tissue has a colour of both felt pens and stains, and was kept" in row["warnings"]
    tissue.config["tissue"]["pens"] = "keep"
    assert "felt pens" not in only(tissue)["warnings"]


def test_slide_without_a_mask_has_no_ink_fraction(tissue):
    tissue.config["tissue"] = {"method": "none"}
    add(tissue, painted())
    assert only(tissue)["ink_fraction"] == ""
