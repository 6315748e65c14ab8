"""Masks of tissue that somebody has made: exact shares of patches, and a picture that fits."""

import json

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageDraw

from slidemill.core.pyramid import SlideInfo
from slidemill.errors import AnnotationError, ConfigError
from slidemill.sampling._custom_mask import read_mask
from slidemill.slides.discovery import find_slides

SIZE = (400, 300)
INFO = SlideInfo("x", (SIZE,), (1.0,), None, 0.5, 0.5, 20.0, "FFFFFF")
RINGS = [
    [[[20, 30], [220, 30], [220, 250], [20, 250], [20, 30]], [[60, 60], [60, 100], [110, 100], [110, 60], [60, 60]]],
    [[[150, 100], [390, 120], [300, 290], [150, 100]]],  # overlaps the first
]


def geojson(path):
    features = [
        {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": rings}, "properties": {}} for rings in RINGS
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


def raster(scale):
    """The same at `scale` times full resolution."""
    picture = Image.new("1", (SIZE[0] * scale, SIZE[1] * scale))
    for outer, *holes in RINGS:
        own = Image.new("1", picture.size)
        for ring, fill in [(outer, 1), *((hole, 0) for hole in holes)]:
            ImageDraw.Draw(own).polygon([(x * scale, y * scale) for x, y in ring], fill=fill)
        picture.paste(1, mask=own)
    return np.asarray(picture)


def patches(count, seed):
    generator = np.random.default_rng(seed)
    lowest, highest = (-30, -30, 5, 5), (380, 280, 90, 90)
    return [
        {"x0": x, "y0": y, "width0": width, "height0": height}
        for x, y, width, height in generator.integers(lowest, highest, (count, 4)).tolist()
    ]


def mask_parts(*arguments, **options):
    area = read_mask(*arguments, **options)
    return area.fractions, area.mask, area.notes, area.warnings


def test_regions_of_any_name_are_tissue_and_shares_are_exact(tmp_path):
    fractions, _, _, _ = mask_parts(geojson(tmp_path / "mask.geojson"), INFO, SIZE)
    scale, rows = 8, patches(60, 0)
    full = np.pad(raster(scale), 200 * scale)
    expected = [
        full[(200 + row["y0"]) * scale :, (200 + row["x0"]) * scale :][
            : row["height0"] * scale, : row["width0"] * scale
        ].mean()
        for row in rows
    ]
    assert fractions(rows) == pytest.approx(expected, abs=0.02)
    assert fractions([{"x0": 30, "y0": 110, "width0": 50, "height0": 50}])[0] == 1


def test_the_picture_is_the_regions(tmp_path):
    _, picture, notes, _ = mask_parts(geojson(tmp_path / "mask.geojson"), INFO, SIZE)
    assert notes == ("its tissue is that of the mask mask.geojson",)
    expected = raster(1)
    assert picture.pixels.shape == expected.shape
    assert (picture.pixels.astype(bool) ^ expected).mean() < 0.01
    _, small, _, _ = mask_parts(tmp_path / "mask.geojson", INFO, (100, 75))
    blocks = expected.reshape(75, 4, 100, 4)
    assert not (small.pixels < blocks.all(axis=(1, 3))).any()
    touched = cv2.dilate(blocks.any(axis=(1, 3)).astype(np.uint8), np.ones((3, 3), np.uint8))
    assert not (small.pixels > touched).any()


def test_an_image_is_tissue_where_it_is_not_0(tmp_path):
    values = np.zeros((30, 40), np.uint8)
    values[10:20, 5:15] = 255
    values[20:25, 5:15] = 255
    Image.fromarray(values).save(tmp_path / "mask.png")
    fractions, picture, _, _ = mask_parts(tmp_path / "mask.png", INFO, (40, 30))
    assert (picture.pixels == (values > 0)).all()
    rows = [{"x0": 50, "y0": 100, "width0": 100, "height0": 150}, {"x0": 0, "y0": 100, "width0": 100, "height0": 100}]
    assert fractions(rows) == pytest.approx([1, 0.5])


GRANDQC = np.kron([[0, 1, 1, 7], [1, 2, 6, 7], [7, 1, 3, 7]], np.ones((10, 10), np.uint8)).astype(np.uint8)
"""0 is padding, 1 clean tissue, 2 to 6 artefacts, 7 background."""


def saved(tmp_path, values, size=SIZE, **options):
    """Save a mask of these values; `size` is that of the slide."""
    Image.fromarray(values).save(tmp_path / "mask.png", **options)
    return tmp_path / "mask.png", SlideInfo("x", (size,), (1.0,), None, 0.5, 0.5, 20.0, "FFFFFF"), (40, 30)


def test_mask_of_several_values_is_refused_with_them(tmp_path):
    with pytest.raises(AnnotationError) as caught:
        mask_parts(*saved(tmp_path, GRANDQC))
    told = str(caught.value)
    assert told.startswith("the mask of tissue mask.png: holds 5 values besides 0 (1, 2, 3, 6, 7)")
    assert "tissue.mask_values: [1]" in told


def test_smoothed_mask_is_refused(tmp_path):
    values = np.asarray(Image.fromarray(GRANDQC * 30).resize((80, 60), Image.Resampling.BILINEAR))
    with pytest.raises(AnnotationError, match=r"values besides 0 \(.* and 28 more\).* without smoothing"):
        mask_parts(*saved(tmp_path, values))


@pytest.mark.parametrize("values", [[1], [1, 3], [3, 2, 1, 99]])
def test_mask_values_say_what_is_tissue(tmp_path, values):
    fractions, picture, notes, warnings = mask_parts(*saved(tmp_path, GRANDQC), values=values)
    expected = np.isin(GRANDQC, values)
    assert (picture.pixels == expected).all()
    full = np.kron(expected, np.ones((10, 10)))
    inside = [row for row in patches(60, 1) if row["x0"] >= 0 and row["y0"] >= 0]
    shares = [
        full[row["y0"] : row["y0"] + row["height0"], row["x0"] : row["x0"] + row["width0"]].sum()
        / (row["height0"] * row["width0"])
        for row in inside
    ]
    assert fractions(inside) == pytest.approx(shares)
    assert any("tissue is where it is 1" in note for note in notes)
    assert warnings == ()


def test_mask_without_any_of_its_values_is_a_warning(tmp_path):
    fractions, picture, _, warnings = mask_parts(*saved(tmp_path, GRANDQC), values=[4, 5])
    assert not picture.pixels.any()
    assert not fractions(patches(5, 0)).any()
    assert "mask.png: has none of tissue.mask_values [4, 5], but 1, 2, 3, 6, 7" in warnings


@pytest.mark.parametrize(("value", "words"), [(0, "holds no tissue"), (1, "all of the slide is tissue"), (7, "all of")])
def test_mask_of_one_value_is_a_warning(tmp_path, value, words):
    _, _, notes, (warning,) = mask_parts(*saved(tmp_path, np.full((30, 40), value, np.uint8)))
    assert words in warning
    assert ("mask.png: tissue is where it is 7" in notes) == (value == 7)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA"])
def test_mask_of_colours_or_transparency_is_refused(tmp_path, mode):
    picture = Image.fromarray((GRANDQC == 1).astype(np.uint8) * 255).convert(mode)
    picture.save(tmp_path / "mask.png")
    with pytest.raises(AnnotationError, match="which are colours"):
        mask_parts(tmp_path / "mask.png", INFO, (40, 30))


def test_palette_mask_is_its_indices(tmp_path):
    picture = Image.fromarray((GRANDQC == 1).astype(np.uint8), "P")
    picture.putpalette([255, 255, 255, 200, 0, 0])
    picture.save(tmp_path / "mask.png")
    _, found, _, warnings = mask_parts(tmp_path / "mask.png", INFO, (40, 30))
    assert (found.pixels == (GRANDQC == 1)).all()
    assert warnings == ()


@pytest.mark.parametrize("ending", ["png", "tif"])
@pytest.mark.parametrize(("colours", "doubtful"), [((255, 0), True), ((0, 255), False)])
def test_palette_of_white_for_0_is_a_warning(tmp_path, ending, colours, doubtful):
    """Programs that save black and white with a palette often give white the number 0."""
    values, path = (GRANDQC == 1).astype(np.uint8), tmp_path / f"mask.{ending}"
    if ending == "png":
        picture = Image.fromarray(values, "P")
        picture.putpalette([shade for shade in colours for _ in range(3)])
        picture.save(path)
    else:
        table = np.zeros((3, 256), np.uint16)
        table[:, :2] = np.array(colours) * 257
        tifffile.imwrite(path, values, photometric="palette", colormap=table)
    assert [("its palette shows 0 as white" in one) for one in mask_parts(path, INFO, (40, 30))[3]] == [True] * doubtful


@pytest.mark.parametrize("top", [1, 255])
def test_mask_that_looks_turned_round_is_a_warning(tmp_path, top):
    values = np.zeros((30, 40), np.uint8)
    values[8:22, 10:30] = top
    assert mask_parts(*saved(tmp_path, values))[3] == ()
    (warning,) = mask_parts(*saved(tmp_path, top - values))[3]
    assert "100% of the slide's edge and 77% of the slide are tissue by it" in warning


@pytest.mark.parametrize("name", ["Background", "Ignore*", "Artefact", "artifact", "Glass", "Fold"])
def test_regions_called_no_tissue_are_a_warning(tmp_path, name):
    path = tmp_path / "mask.geojson"
    for own, warned in ((name, True), ("Tissue", False), ("Pancreas", False)):
        kind = {"type": "Polygon", "coordinates": [RINGS[1][0]]}
        feature = {"type": "Feature", "geometry": kind, "properties": {"classification": {"name": own}}}
        path.write_text(json.dumps(feature))
        warnings = mask_parts(path, INFO, SIZE)[3]
        assert any(f"regions called {own} count as tissue" in one for one in warnings) == warned


def test_regions_in_a_smaller_picture_are_a_warning(tmp_path):
    path = tmp_path / "mask.geojson"
    for factor, warned in ((1, False), (4, True), (16, True)):
        rings = [[[x / factor, y / factor] for x, y in RINGS[1][0]]]
        kind = {"type": "Polygon", "coordinates": rings}
        path.write_text(json.dumps({"type": "Feature", "geometry": kind, "properties": {}}))
        _, _, notes, warnings = mask_parts(path, INFO, SIZE)
        assert any("top left corner" in one for one in warnings) == warned
        assert any("next to nothing" in one for one in notes) == (factor == 16)


def test_mask_whose_0_is_white_is_refused(tmp_path):
    """Its integers are the other way round to what every viewer shows."""
    tifffile.imwrite(tmp_path / "mask.tif", (GRANDQC == 1).astype(np.uint8) * 255, photometric="miniswhite")
    with pytest.raises(AnnotationError, match="0 is white"):
        mask_parts(tmp_path / "mask.tif", INFO, (40, 30))


def test_mask_of_another_aspect_is_refused(tmp_path):
    with pytest.raises(AnnotationError, match="of another aspect"):
        mask_parts(*saved(tmp_path, (GRANDQC == 1).astype(np.uint8), (400, 400)))


def test_regions_of_several_names_are_a_warning(tmp_path):
    path = tmp_path / "mask.geojson"
    for names, warned in ((("Tissue", "Artefact"), True), (("Tissue 1", "tissue-2"), False)):
        features = [
            {
                "type": "Feature",
                "geometry": {"type": "Polygon", "coordinates": rings},
                "properties": {"classification": {"name": name}},
            }
            for rings, name in zip(RINGS, names, strict=True)
        ]
        path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
        warnings = mask_parts(path, INFO, SIZE)[3]
        assert any("2 kinds of names (Artefact, Tissue)" in warning for warning in warnings) == warned


def test_a_broken_mask_is_told(tmp_path):
    (tmp_path / "mask.png").write_bytes(b"no image")
    with pytest.raises(AnnotationError, match=r"^the mask of tissue mask\.png: line 1"):
        mask_parts(tmp_path / "mask.png", INFO, SIZE)
    with pytest.raises(AnnotationError, match=r"^the mask of tissue gone\.png: does not exist in .*: restore it"):
        mask_parts(tmp_path / "gone.png", INFO, SIZE)


def test_notes_tell_of_repairs_and_of_a_mask_that_holds_nothing(tmp_path):
    bow_tie = [[0, 0], [100, 100], [100, 0], [0, 100], [0, 0]]
    for name, rings in (("crossed.json", [bow_tie]), ("none.json", [])):
        kind = {"type": "Polygon", "coordinates": rings} if rings else {"type": "Point", "coordinates": [1, 1]}
        feature = {"type": "Feature", "geometry": kind, "properties": {}}
        (tmp_path / name).write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    assert any("was repaired" in note for note in mask_parts(tmp_path / "crossed.json", INFO, SIZE)[2])
    fractions, picture, notes, warnings = mask_parts(tmp_path / "none.json", INFO, SIZE)
    assert "none.json: holds no tissue" in notes
    assert any("none.json: holds no tissue" in warning for warning in warnings)
    assert not picture.pixels.any()
    assert not fractions(patches(5, 0)).any()


def test_masks_are_found_as_annotations_are(tmp_path):
    slides, masks = tmp_path / "slides", tmp_path / "masks"
    for folder in (slides, masks):
        (folder / "deep").mkdir(parents=True)
    for name in ("a.svs", "deep/b.svs", "c.svs"):
        (slides / name).touch()
    for name in ("A.png", "deep/b.geojson"):
        (masks / name).touch()
    assert [one.tissue_mask for one in find_slides(slides, masks=masks)] == ["A.png", None, "deep/b.geojson"]
    (masks / "a.geojson").touch()
    (masks / "a.tif").touch()
    with pytest.raises(ConfigError, match=r"tissue\.masks: a\.svs has"):
        find_slides(slides, masks=masks)
    with pytest.raises(ConfigError, match=r"tissue\.masks: .*gone is not a folder: name the folder of the masks"):
        find_slides(slides, masks=tmp_path / "gone")


@pytest.mark.parametrize(("origin", "shift"), [(None, 1), ("bounds", 1), ("canvas", 0)])
def test_regions_of_a_mask_start_where_the_origin_says(tmp_path, origin, shift):
    """The slide is cropped to bounds that begin at (100, 50)."""
    cropped = SlideInfo("x", (SIZE,), (1.0,), (100, 50, 300, 250), 0.5, 0.5, 20.0, "FFFFFF")
    mask = geojson(tmp_path / "mask.geojson")
    fractions, _, notes, _ = mask_parts(mask, cropped, SIZE, origin=origin)
    rows = patches(40, 2)
    moved = [row | {"x0": row["x0"] + 100 * shift, "y0": row["y0"] + 50 * shift} for row in rows]
    assert fractions(moved) == pytest.approx(mask_parts(mask, INFO, SIZE)[0](rows))
    assert ("bounds, 100, 50" in notes[1]) and (origin or "as QuPath's do") in notes[1]


def test_contours_of_trident_start_at_the_canvas(tmp_path):
    """They name a coordinate system, and have a number each in place of a class."""
    cropped = SlideInfo("x", (SIZE,), (1.0,), (100, 50, 300, 250), 0.5, 0.5, 20.0, "FFFFFF")
    ring = [[20, 20], [220, 20], [220, 120], [20, 120], [20, 20]]
    features = [
        {"type": "Feature", "properties": {"tissue_id": 0}, "geometry": {"type": "Polygon", "coordinates": [ring]}}
    ]
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::3857"}}
    value = {"type": "FeatureCollection", "name": "a", "crs": crs, "features": features}
    (tmp_path / "a.geojson").write_text(json.dumps(value))
    row = {"x0": 20, "y0": 20, "width0": 100, "height0": 100}
    fractions, _, notes, warnings = mask_parts(tmp_path / "a.geojson", cropped, SIZE)
    assert fractions([row]).tolist() == [1]
    assert not [text for text in (*notes, *warnings) if "bounds" in text or "coordinate system" in text]
    moved = mask_parts(tmp_path / "a.geojson", cropped, SIZE, origin="bounds")[0]
    assert moved([{**row, "x0": 120, "y0": 70}]).tolist() == [1]


@pytest.mark.parametrize("origin", [None, "canvas", "bounds"])
def test_an_image_lies_over_what_the_origin_says(tmp_path, origin):
    cropped = SlideInfo("x", (SIZE,), (1.0,), (100, 50, 200, 150), 0.5, 0.5, 20.0, "FFFFFF")
    Image.new("L", (4, 3), 1).save(tmp_path / "mask.png")
    fractions, picture, notes, _ = mask_parts(tmp_path / "mask.png", cropped, (40, 30), origin=origin)
    row = {"x0": 50, "y0": 50, "width0": 100, "height0": 100}
    assert fractions([row]).tolist() == [0.5 if origin == "bounds" else 1]
    assert picture.pixels.sum() == (20 * 15 if origin == "bounds" else 40 * 30)
    assert "bounds, 100, 50, of 200 x 150 pixels" in notes[1]


def test_mask_coarser_than_patches_is_a_warning(tmp_path):
    values = np.zeros((3, 4), np.uint8)
    values[0, 0] = 1
    assert mask_parts(*saved(tmp_path, values), side=100)[3] == ()
    (warning,) = mask_parts(*saved(tmp_path, values), side=99)[3]
    assert "covers 100 x 100 level-0 pixels, and a patch 99 x 99" in warning
    assert mask_parts(*saved(tmp_path, values))[3] == ()


def test_mask_regions_need_no_names(tmp_path):
    """What a mask's regions are called decides nothing: no property is missed."""
    assert mask_parts(geojson(tmp_path / "mask.geojson"), INFO, SIZE)[3] == ()
    text = (tmp_path / "mask.geojson").read_text().replace('"properties": {}', '"properties": {"label": "x"}')
    (tmp_path / "mask.geojson").write_text(text)
    assert mask_parts(tmp_path / "mask.geojson", INFO, SIZE)[3] == ()


@pytest.mark.parametrize(("origin", "size"), [("canvas", (20, 20)), ("bounds", (40, 30))])
def test_image_of_the_other_origin_is_named_so(tmp_path, origin, size):
    cropped = SlideInfo("x", (SIZE,), (1.0,), (100, 50, 200, 200), 0.5, 0.5, 20.0, "FFFFFF")
    Image.new("L", size, 1).save(tmp_path / "mask.png")
    with pytest.raises(AnnotationError, match=r"of another aspect.*; it fits the .*with the other origin"):
        mask_parts(tmp_path / "mask.png", cropped, (40, 30), origin=origin)
