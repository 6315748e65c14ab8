"""`slidemill export --layout`: patches in the layouts of other programs, exactly or refused."""

import json
import shutil
from dataclasses import replace
from itertools import islice, product
from types import SimpleNamespace

import h5py
import numpy as np
import openslide
import pandas
import pytest
import shapely
from PIL import Image

from slidemill import open_dataset
from slidemill.cli.commands import main
from slidemill.core.pyramid import SlideInfo
from slidemill.core.specs import GridSpec
from slidemill.errors import SlideError, SlidemillError
from slidemill.exchange import _clam as clam
from slidemill.exchange import _trident as trident
from slidemill.exchange._outlines import outlines
from slidemill.exchange.exported_slide import ExportedSlide
from slidemill.sampling.tissue_mask import Mask
from slidemill.slides.patch_table import patch_rows
from slidemill.testing import write_svs
from tests.conftest import painted
from tests.faults.conftest import Cohort
from tests.formats import FORMATS

BLANK = np.full((400, 400, 3), 243, np.uint8)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Results of two slides with tissue and a blank one, by two columns of labels; nothing may write to them."""
    return run(tmp_path_factory.mktemp("made"), {"patch_size": 100, "overlap": 10, "level": 0})


def run(folder, sampling, *, blank=True, size=(1040, 784), **config):
    """A finished run of two slides, of which the first has this size, and a blank one."""
    slides = folder / "slides"
    slides.mkdir()
    write_svs(slides / "a.svs", painted(*size, seed=1))
    write_svs(slides / "b.svs", painted(520, 640, seed=2), downsamples=(1, 2, 4))
    if blank:
        write_svs(slides / "c.svs", BLANK)
    cohort = Cohort(folder)
    cohort.config |= {
        "sampling": sampling,
        "tissue": {"method": "otsu", "min_fraction": 0.2},
        "stores": {"lmdb": {"encoding": "raw"}},
        **config,
    }
    rows = cohort.run()
    assert [row["status"] for row in rows.values()] == ["ok", "ok", *(["empty"] if blank else [])], rows
    return cohort


def export(results, out, layout, *arguments):
    return main(["export", str(results), str(out), "--layout", layout, *arguments])


def files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def tables(results):
    """By the stem of the slide's file, the rows of its patches and their pixels."""
    with open_dataset(results) as dataset:
        found = {}
        for slide in dataset.slides:
            own = dataset.select(slides=slide)
            found[dataset.paths[slide].removesuffix(".svs")] = own.table, own.read(range(len(own)))
        return found


def test_trident_coordinates_are_as_trident_writes_them(made, tmp_path):
    assert export(made.results, tmp_path / "out", "trident") == 0
    grid = "20x_100px_20px_overlap/patches"
    assert files(tmp_path / "out") == [
        *(f"{grid}/{name}_patches.h5" for name in "abc"),
        *(f"contours_geojson/{name}.geojson" for name in "abc"),
    ]
    sizes = {"a": (1040, 784), "b": (520, 640), "c": (400, 400)}
    own = tables(made.results)
    for name, (width, height) in sizes.items():
        with h5py.File(tmp_path / "out" / grid / f"{name}_patches.h5") as file:
            assert list(file) == ["coords"]
            coords = file["coords"]
            assert coords.dtype == np.int64
            assert (coords.chunks, coords.maxshape) == ((1, 2), (None, 2))
            assert dict(coords.attrs) == {
                "patch_size": 100,
                "patch_size_level0": 100,
                "level0_magnification": 20,
                "target_magnification": 20,
                "overlap": 20,
                "name": name,
                "savetodir": "",
                "level0_width": width,
                "level0_height": height,
            }
            if name == "c":
                assert coords.shape == (0, 2)
            else:
                np.testing.assert_array_equal(coords[:], own[name][0][["x0", "y0"]])


def test_trident_outlines_are_those_of_the_mask(made, tmp_path):
    """Drawn over the slide, they cover the pixels of the mask, and no others."""
    assert export(made.results, tmp_path / "out", "trident") == 0
    value = json.loads((tmp_path / "out/contours_geojson/a.geojson").read_text())
    assert [one["properties"] for one in value["features"]] == [{"tissue_id": n} for n in range(len(value["features"]))]
    (slide,) = [row["slide"] for row in made.table("slides") if row["path"] == "a.svs"]
    with Image.open(made.results / f"tissue/{slide}.png") as image:
        pixels = np.asarray(image.convert("1"))
    covered = shapely.union_all([shapely.geometry.shape(one["geometry"]) for one in value["features"]])
    rows, columns = np.indices(pixels.shape) + 0.5
    scale = 1040 / pixels.shape[1], 784 / pixels.shape[0]
    inside = shapely.contains_xy(covered, columns * scale[0], rows * scale[1])
    np.testing.assert_array_equal(inside, pixels)
    assert json.loads((tmp_path / "out/contours_geojson/c.geojson").read_text())["features"] == []


def test_outlines_cover_any_mask():
    """Random masks with holes and corners that touch: the area is that of the pixels, and each centre is right."""
    generator = np.random.default_rng(0)
    for _ in range(20):
        height, width = generator.integers(1, 20, 2)
        pixels = (generator.random((height, width)) < 0.5).astype(np.uint8)
        found = outlines(Mask(pixels, (int(width) * 7, int(height) * 3)))
        assert sum(area.area for area in found) == pytest.approx(int(pixels.sum()) * 21)
        rows, columns = np.indices(pixels.shape) + 0.5
        inside = shapely.contains_xy(shapely.MultiPolygon(found), columns * 7, rows * 3)
        np.testing.assert_array_equal(inside, pixels == 1)


def trident_pixels(path, source):
    """What TRIDENT reads for each row: whole pixels of a level, resized to the patch."""
    with h5py.File(path) as file, openslide.OpenSlide(source) as slide:
        given = dict(file["coords"].attrs)
        downsample = (10 / given["target_magnification"]) / (10 / given["level0_magnification"])
        side = round(given["patch_size"] * downsample)
        assert side == given["patch_size"] * given["level0_magnification"] // given["target_magnification"]
        assert side == given["patch_size_level0"]
        levels = slide.level_downsamples
        near = [level for level, own in enumerate(levels) if abs(own - downsample) <= 0.1]
        level = near[0] if near else max(level for level, own in enumerate(levels) if own <= downsample)
        size = round(side / int(levels[level]))
        for x, y in file["coords"]:
            yield np.asarray(slide.read_region((x, y), level, (size, size)).convert("RGB"))


def clam_pixels(path, source):
    """What CLAM reads for each row."""
    with h5py.File(path) as file, openslide.OpenSlide(source) as slide:
        level, size = (int(file["coords"].attrs[name]) for name in ("patch_level", "patch_size"))
        for x, y in file["coords"]:
            yield np.asarray(slide.read_region((x, y), level, (size, size)).convert("RGB"))


@pytest.mark.long
@pytest.mark.cases
@pytest.mark.parametrize("sampling", [{"level": 0}, {"level": 1}, {"magnification": 20}, {"mpp": 0.5, "overlap": 6}])
def test_native_patches_are_read_pixel_for_pixel(tmp_path, sampling):
    """TRIDENT and CLAM read the pixels that the stores hold."""
    cohort = run(tmp_path, {"patch_size": 64, **sampling}, blank=False)
    assert export(cohort.results, tmp_path / "t", "trident") == 0
    assert export(cohort.results, tmp_path / "c", "clam") == 0
    for name, (_, pixels) in tables(cohort.results).items():
        source = tmp_path / "slides" / f"{name}.svs"
        (path,) = (tmp_path / "t").glob(f"*/patches/{name}_patches.h5")
        np.testing.assert_array_equal(list(trident_pixels(path, source)), pixels)
        np.testing.assert_array_equal(list(clam_pixels(tmp_path / "c" / f"patches/{name}.h5", source)), pixels)


@pytest.mark.long
def test_clam_coordinates_are_as_clam_writes_them(tmp_path):
    cohort = run(tmp_path, {"patch_size": 32, "level": 1})
    assert export(cohort.results, tmp_path / "out", "clam") == 0
    # Of a slide without patches, CLAM writes no file.
    assert files(tmp_path / "out") == ["patches/a.h5", "patches/b.h5"]
    own = tables(cohort.results)
    sizes = {"a": ((1040, 784), (260, 196)), "b": ((520, 640), (260, 320))}
    for name, ((full_width, full_height), (width, height)) in sizes.items():
        with h5py.File(tmp_path / f"out/patches/{name}.h5") as file:
            assert list(file) == ["coords"]
            coords = file["coords"]
            assert coords.dtype == np.int64
            assert (coords.chunks, coords.maxshape) == ((1, 2), (None, 2))
            np.testing.assert_array_equal(coords[:], own[name][0][["x0", "y0"]])
            given = {key: value.tolist() if hasattr(value, "tolist") else value for key, value in coords.attrs.items()}
            assert given == {
                "patch_size": 32,
                "patch_level": 1,
                "downsample": [full_width / width, full_height / height],
                "downsampled_level_dim": [width, height],
                "level_dim": [width, height],
                "name": name,
                "save_path": "",
            }


def exported(info, spec):
    """A slide to export that has no file, with the first patch of its grid."""
    table = pandas.DataFrame(islice(patch_rows("s", info, spec), 1))
    return ExportedSlide("s", "s", info, spec, SimpleNamespace(table=table))


def info(mpp=0.25, downsamples=(1.0, 4.0, 16.0), power=None):
    sizes = tuple((int(60_000 // one), int(50_000 // one)) for one in downsamples)
    return SlideInfo("aperio", sizes, downsamples, None, mpp, mpp, power, "ffffff")


SLIDES = [
    *(info(mpp) for mpp in (0.12, 0.19, 0.2201, 0.25, 0.2528, 0.265, 0.31, 0.4991, 0.5, 0.7, 1.1)),
    info(0.25, (1.0, 2.0, 4.0, 8.0)),
    info(0.25, (1.0, 4.0001, 16.0021)),
    info(None, power=20),
]
SPECS = [
    *(GridSpec(256, mpp=mpp, filter="area") for mpp in (0.5, 0.88, 1.0, 1.7, 2.0, 4.0)),
    *(GridSpec(size, overlap=8, magnification=power) for size in (224, 257) for power in (20, 10, 5, 2.5, 1.25)),
    *(GridSpec(224, level=level) for level in (0, 1, 2)),
]


@pytest.mark.long
@pytest.mark.cases
@pytest.mark.parametrize("layout", [trident, clam])
def test_squares_agree_or_are_refused_with_settings_that_agree(layout):
    """What a peer reads by its own arithmetic is the patch's square to half a pixel, or the message names both."""
    agreed = refused = 0
    for own, spec in product(SLIDES, SPECS):
        try:
            slide = exported(own, spec)
        except SlideError:
            continue  # the slide has no such resolution
        side, downsamples = slide.side, own.downsamples
        level, pixels = (trident_read if layout is trident else clam_read)(slide)
        read = pixels * downsamples[level]
        if abs(read - side) < 0.5:
            layout.check(slide)
            agreed += 1
            continue
        with pytest.raises(SlidemillError) as raised:
            layout.check(slide)
        refused += 1
        said, (row,) = str(raised.value), slide.table.to_dict("records")
        assert f"of {row['patch_id']}: {read:.10g} level-0 pixels from x {row['x0']}, y {row['y0']}" in said
        assert f"the patch: {side}" in said
        for settings in said.partition("settings that agree: ")[2].split(", or "):
            layout.check(exported(own, replace(spec, **parsed(settings))))
    assert min(agreed, refused) > 20


def trident_read(slide):
    """The level that TRIDENT reads and the pixels of it, by what the file says."""
    given, downsamples = trident.coords_attributes(slide), slide.info.downsamples
    downsample = (10 / given["target_magnification"]) / (10 / given["level0_magnification"])
    size = given["patch_size"]
    assert round(size * downsample) == given["patch_size_level0"] == slide.side
    assert size * given["level0_magnification"] // given["target_magnification"] == slide.side
    near = [level for level, found in enumerate(downsamples) if abs(found - downsample) <= 0.1]
    level = near[0] if near else max(level for level, found in enumerate(downsamples) if found <= downsample)
    return level, round(slide.side / int(downsamples[level]))


def clam_read(slide):
    """The level that CLAM reads and the whole pixels of it."""
    return slide.grid.level, round(slide.side / slide.info.downsamples[slide.grid.level])


def parsed(settings):
    """The changes of a grid that a message suggests."""
    words = dict(part.split(": ") for part in settings.replace(" at the same resolution", "").split(", "))
    changes = {"patch_size": int(words["patch_size"])}
    if "mpp" in words:
        changes["mpp"] = float(words["mpp"])
    if "level" in words:
        changes |= {"level": int(words["level"]), "mpp": None, "magnification": None, "filter": "lanczos"}
    return changes


def test_trident_needs_a_magnification(tmp_path):
    with pytest.raises(SlidemillError, match=r"s: TRIDENT needs a magnification.*assume_mpp"):
        trident.check(exported(info(None), GridSpec(224, level=0)))


def test_geojson_has_labels_and_columns(made, tmp_path):
    arguments = ["--columns", "tissue_fraction", "blur", "row", "slide", "label_fraction"]
    assert export(made.results, tmp_path / "out", "geojson", *arguments) == 0
    assert files(tmp_path / "out") == ["a.geojson", "b.geojson"]
    for name, (table, _) in tables(made.results).items():
        value = json.loads((tmp_path / f"out/{name}.geojson").read_text())
        assert value["type"] == "FeatureCollection"
        assert len(value["features"]) == len(table)
        for feature, row in zip(value["features"], table.to_dict("records"), strict=True):
            x, y = row["x0"], row["y0"]
            right, bottom = x + row["width0"], y + row["height0"]
            assert feature == {
                "type": "Feature",
                "geometry": {
                    "type": "Polygon",
                    "coordinates": [[[x, y], [right, y], [right, bottom], [x, bottom], [x, y]]],
                },
                "properties": {
                    "objectType": "detection",
                    "name": row["patch_id"],
                    "classification": {"name": row["label_name"]},
                    "measurements": {
                        key: row[key]
                        for key in ("tissue_fraction", "blur", "row", "label_fraction")
                        if row[key] == row[key]
                    },
                    "metadata": {"slide": row["slide"]},
                },
            }


@pytest.mark.parametrize("origin", ["bounds", "canvas"])
def test_geojson_starts_where_qupath_does(tmp_path, origin):
    """QuPath shows the bounds of a slide, and counts from their corner."""
    slides = tmp_path / "slides"
    slides.mkdir()
    kind = next(one for one in FORMATS if one.bounds)
    kind.write(slides, painted(1024, 768))
    cohort = Cohort(tmp_path)
    cohort.config |= {"sampling": {"patch_size": 128, "level": 0}, "stores": {}}
    cohort.run()
    arguments = [] if origin == "bounds" else ["--origin", "canvas"]
    assert export(cohort.results, tmp_path / "out", "geojson", *arguments) == 0
    (file,) = (tmp_path / "out").iterdir()
    corners = [one["geometry"]["coordinates"][0][0] for one in json.loads(file.read_text())["features"]]
    with open_dataset(cohort.results) as dataset:
        table = dataset.table
    assert any(kind.bounds[:2])
    left, top = kind.bounds[:2] if origin == "bounds" else (0, 0)
    assert corners == [[x - left, y - top] for x, y in table[["x0", "y0"]].to_numpy().tolist()]


def test_selections_and_ids_name_files(made, tmp_path, capsys):
    with open_dataset(made.results) as dataset:
        ids = list(dataset.slides)
    assert export(made.results, tmp_path / "ids", "clam", "--names", "id") == 0
    assert files(tmp_path / "ids") == sorted(f"patches/{slide}.h5" for slide in ids)
    assert export(made.results, tmp_path / "one", "trident", "--slides", "b", "--query", "row < 3") == 0
    with h5py.File(tmp_path / "one/20x_100px_20px_overlap/patches/b_patches.h5") as file:
        table = tables(made.results)["b"][0].query("row < 3")
        np.testing.assert_array_equal(file["coords"][:], table[["x0", "y0"]])
    assert not list((tmp_path / "one").rglob("a*"))
    said = capsys.readouterr()
    assert f"{len(table)} of {len(table)} patches exported\n" in said.err
    assert said.out.endswith(f"{tmp_path / 'one'}: {len(table)} patches of 1 slide, 2 files\n")


def test_slides_of_one_file_name_are_refused(tmp_path, capsys):
    cohort = Cohort(tmp_path)
    for folder in ("x", "y"):
        (tmp_path / "slides" / folder).mkdir(parents=True)
        write_svs(tmp_path / "slides" / folder / "a.svs", painted(300, 300), downsamples=(1,))
    cohort.config |= {"sampling": {"patch_size": 100, "level": 0}, "stores": {}}
    cohort.run()
    assert export(cohort.results, tmp_path / "out", "clam") == 1
    said = capsys.readouterr().err
    assert "a: 2 slides have files of this name" in said
    assert "--names id" in said
    assert export(cohort.results, tmp_path / "out", "clam", "--names", "id") == 0
    assert len(files(tmp_path / "out")) == 2


@pytest.mark.parametrize(
    ("layout", "arguments", "words"),
    [
        ("geojson", ["--columns", "tissue_fracton"], "no column is called 'tissue_fracton'"),
        ("clam", ["--columns", "row"], "--columns: only --layout geojson"),
        ("clam", ["--origin", "canvas"], "--origin: only --layout geojson"),
        ("clam", ["--encoding", "stored"], "--encoding: "),
        ("clam", ["--query", "x0 > 99999"], "no patch is selected"),
        ("clam", ["--slides", "c"], "no patch of this slide"),
    ],
)
def test_wrong_options_leave_nothing(made, tmp_path, capsys, layout, arguments, words):
    assert export(made.results, tmp_path / "out", layout, *arguments) == 1
    assert words in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_options_of_layouts_need_one(made, tmp_path, capsys):
    assert main(["export", str(made.results), str(tmp_path / "out.h5"), "--names", "id"]) == 1
    assert "--names: only --layout trident or clam" in capsys.readouterr().err


def test_folder_that_exists_is_refused(made, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    assert export(made.results, tmp_path / "out", "clam") == 1
    assert "already exists" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [tmp_path / "out"]
    assert not list((tmp_path / "out").iterdir())


def test_refused_squares_leave_nothing(tmp_path, capsys):
    cohort = run(tmp_path, {"patch_size": 50, "mpp": 2.3}, blank=False)
    assert export(cohort.results, tmp_path / "out", "clam") == 1
    said = capsys.readouterr().err
    assert "CLAM would read another square" in said
    assert not (tmp_path / "out").exists()
    assert export(cohort.results, tmp_path / "out", "geojson") == 0


def test_grid_comes_from_stores_without_outcomes(made, tmp_path, capsys):
    """Results of which only tables, stores and slides' facts were copied are exported all the same."""
    copy = shutil.copytree(made.results, tmp_path / "copy", ignore=shutil.ignore_patterns("outcomes", "tissue"))
    assert export(copy, tmp_path / "out", "clam") == 0
    with h5py.File(tmp_path / "out/patches/a.h5") as file:
        np.testing.assert_array_equal(file["coords"][:], tables(made.results)["a"][0][["x0", "y0"]])
    shutil.rmtree(copy / "slides")
    capsys.readouterr()
    assert export(copy, tmp_path / "none", "clam") == 1
    assert "the slide's levels are not known" in capsys.readouterr().err


def test_end_of_export_is_reported_once(made, tmp_path, capsys):
    """Also where a slide without patches comes last."""
    assert export(made.results, tmp_path / "out", "trident") == 0
    assert capsys.readouterr().err.count(" patches exported\n") == 1
