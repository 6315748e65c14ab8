"""Slides sampled at the coordinates of files, through all stages: stores, tables, datasets."""

import numpy as np
import openslide
import pytest

from slidemill import open_dataset, open_store
from slidemill.cli.commands import main
from slidemill.core.outcomes import read_outcome
from slidemill.core.results_layout import SPACE, store_path
from slidemill.core.specs import GridSpec
from slidemill.errors import SlideError, SlidemillError
from slidemill.report.stitching import stitch_slide
from slidemill.sampling.patch_selection import Choice, GivenPlaces, write_selection
from slidemill.slides.grid import Grid
from slidemill.slides.slide_info import slide_info
from slidemill.stages.space import SpaceJob, check_space
from slidemill.testing import write_svs
from tests.conftest import painted
from tests.coordinates.files import clam, table, trident
from tests.faults.conftest import Cohort

pytestmark = pytest.mark.cases

BACKENDS = {
    "lmdb": {"encoding": "zstd"},
    "hdf5": {"encoding": "raw"},
    "disk": {"encoding": "png"},
    "tar": {"encoding": "png"},
}
WIDTH, HEIGHT = 530, 401
WHOLE = 544, 400
"""A size whose levels are whole, and whose last tiles are not."""


@pytest.fixture
def given(tmp_path):
    """A cohort with one slide, and a folder of coordinates."""
    cohort = Cohort(tmp_path)
    write_svs(cohort.slides / "a.svs", painted(WIDTH, HEIGHT), downsamples=(1, 2, 4))
    folder = tmp_path / "coordinates"
    folder.mkdir()
    cohort.config |= {"sampling": {"coordinates": str(folder)}, "stores": BACKENDS, "validation": {"sample": 8}}
    return cohort


def sampling(cohort, **keys):
    cohort.config["sampling"] = {"coordinates": cohort.config["sampling"]["coordinates"], **keys}


def run(cohort):
    (row,) = cohort.run().values()
    return row


def read_region(cohort, place, level, side):
    with openslide.OpenSlide(cohort.slides / "a.svs") as slide:
        return np.asarray(slide.read_region(place, level, (side, side)))[..., :3]


def stored(cohort):
    """The pixels of all patches by id, which all stores and the slide itself agree on."""
    found = []
    slide = cohort.listed[0].slide
    for backend in cohort.checked.stores:
        with open_store(cohort.results / store_path(backend, slide)) as store:
            found.append({patch_id: store.read(patch_id).tobytes() for patch_id in store.ids})
    with open_dataset(cohort.results, backend="slides") as ds:
        pixels = ds.read(range(len(ds)))
        found.append({row: own.tobytes() for row, own in zip(ds.table["patch_id"], pixels, strict=True)})
        assert sorted(ds.stored.order(True, 1, 0)) == list(range(len(ds)))
    assert all(one == found[0] for one in found)
    return found[0]


def scattered(count, side, seed=3, size=(WIDTH, HEIGHT)):
    places = np.random.default_rng(seed).integers(0, (size[0] - side, size[1] - side), (count, 2))
    return np.random.default_rng(seed).permutation(np.unique(places, axis=0))


@pytest.mark.long
@pytest.mark.parametrize("level", [0, 1])
def test_scattered_patches_are_openslides_pixels(given, tmp_path, level):
    """Between the pixels of a level, too, where OpenSlide interpolates."""
    places = scattered(40, 64 * 2**level)
    clam(tmp_path / "coordinates" / "a.h5", places, 64, level, name="a")
    row = run(given)
    assert (row["status"], row["message"], given.verdict) == ("ok", "", "")
    pixels = stored(given)
    table = given.table("metadata")
    assert [(int(own["y0"]), int(own["x0"])) for own in table] == sorted((y, x) for x, y in places.tolist())
    for own in table:
        place = int(own["x0"]), int(own["y0"])
        assert pixels[own["patch_id"]] == read_region(given, place, level, 64).tobytes()
    assert all(found["status"] == "ok" for found in given.table("validation"))


@pytest.mark.long
def test_order_of_a_file_does_not_matter(given, tmp_path):
    places, results = scattered(20, 128), []
    for own in (places, places[::-1]):
        trident(tmp_path / "coordinates" / "a_patches.h5", own, 64, 128, name="a")
        assert run(given)["status"] == "ok"
        results.append((stored(given), given.table("metadata")))
    assert results[0] == results[1]


@pytest.mark.long
@pytest.mark.parametrize(
    "keys",
    [
        {"patch_size": 64, "level": 0},
        {"patch_size": 64, "level": 1, "overlap": 4},
        {"patch_size": 64, "mpp": 0.93},
        {"patch_size": 64, "magnification": 10},
    ],
    ids=str,
)
def test_round_trip_of_a_grid_gives_the_same_stores(given, tmp_path, keys):
    """From our own grid to each of the three formats and back: patches, ids, pixels."""
    folder = tmp_path / "coordinates"
    given.config["sampling"] = keys
    run(given)
    expected, rows = stored(given), given.table("metadata")
    places = [[row["x0"], row["y0"]] for row in rows]
    places = np.random.default_rng(0).permutation(np.array(places, np.int64))
    with openslide.OpenSlide(given.slides / "a.svs") as slide:
        info = slide_info(slide)
    grid = Grid(info.pyramid, given.checked.sampling)
    writers = {"a.csv": lambda path: table(path, places)}
    writers["a_patches.h5"] = lambda path: trident(
        path, places, 64, grid.extent0, name="a", level0_width=WIDTH, level0_height=HEIGHT
    )
    if grid.shrink == 1:
        writers["a.h5"] = lambda path: clam(path, places, 64, grid.level, level_dim=info.dimensions[grid.level])
    for name, write in writers.items():
        write(folder / name)
        given.config["sampling"] = {**keys, "coordinates": str(folder)}
        assert run(given)["status"] == "ok"
        assert (stored(given), given.table("metadata")) == (expected, rows)
        (folder / name).unlink()


@pytest.mark.long
def test_tissue_and_labels_count_as_always(given, tmp_path):
    write_svs(given.slides / "a.svs", painted(1030, 777), downsamples=(1, 2, 4))
    given.annotate("a")
    places = scattered(60, 64, size=(1030, 777))
    table(tmp_path / "coordinates" / "a.csv", places)
    sampling(given, patch_size=64, level=0)
    given.config |= {"tissue": {"method": "otsu", "min_fraction": 0.9}}
    given.config["labels"] = {"map": {"Normal": 0, "Benign": 1, "Carcinoma invasive": 2}}
    row = run(given)
    assert row["grid_patches"] == "60"
    assert 0 < int(row["patches"]) < 60
    assert {own["label_name"] for own in given.table("metadata")} == {"Normal", "Benign", "Carcinoma invasive"}
    for one in given.listed:
        given.draw(one)


@pytest.mark.long
def test_slides_with_wrong_files_fail_by_themselves(given, tmp_path):
    folder = tmp_path / "coordinates"
    for name in "bcde":
        write_svs(given.slides / f"{name}.svs", painted(WIDTH, HEIGHT), downsamples=(1, 2, 4))
    trident(folder / "a_patches.h5", [[1, 2]], 64, 64)
    trident(folder / "b_patches.h5", [[1, 2]], 64, 64, name="a")
    trident(folder / "c_patches.h5", [[1, 2], [2000, 1]], 64, 64)
    (folder / "d.csv").write_text("x,y\n1,2.5\n")
    rows = given.run()
    assert {path: row["status"] for path, row in rows.items()} == {
        "a.svs": "ok",
        **dict.fromkeys(["b.svs", "c.svs", "d.svs", "e.svs"], "failed"),
    }
    assert rows["b.svs"]["message"].startswith("the file of coordinates b_patches.h5: is of the slide 'a'")
    assert "beyond the slide, 2000, 1" in rows["c.svs"]["message"]
    assert "line 2 has '2.5'" in rows["d.svs"]["message"]
    assert "sampling.coordinates) has its coordinates: add e_patches.h5, e.h5 or e.csv" in rows["e.svs"]["message"]
    assert any("1 of 5 slides has no file, and fails" in warning for warning in given.remarks.warnings)


def two_sizes(given, folder, sizes=(64, 96)):
    """A second slide, and files with patches of these sizes for both."""
    write_svs(given.slides / "b.svs", painted(WIDTH, HEIGHT), downsamples=(1, 2, 4))
    for name, side in zip("ab", sizes, strict=True):
        clam(folder / f"{name}.h5", scattered(20, 96), side, name=name)


def check_stores(given):
    """Check the free space, as a run does before it writes a store."""
    given.plan()
    for one in given.listed:
        given.discover(one)
        given.sample(one)
    sampled = [given.place("outcomes/sample_patches", one.slide) for one in given.listed]
    check_space(
        SpaceJob(
            root=given.slides,
            sampled=sampled,
            stores=given.checked.stores,
            grid=given.checked.sampling,
            seed=0,
            space=given.results / SPACE,
        )
    )


@pytest.mark.long
def test_patches_of_several_sizes_are_refused_before_storing(given, tmp_path):
    two_sizes(given, tmp_path / "coordinates")
    with pytest.raises(SlidemillError) as caught:
        check_stores(given)
    (a, b) = [one.slide for one in given.listed]
    assert f"the files have patches of 2 sizes (64 pixels: {a}; 96 pixels: {b}), and a run has one" in str(caught.value)
    assert "give sampling.patch_size, with which slides of other sizes fail" in str(caught.value)
    sampling(given, patch_size=96)
    check_stores(given)
    assert [read_outcome(given.place("outcomes/sample_patches", slide)).failed for slide in (a, b)] == [True, False]


@pytest.mark.long
def test_patches_of_one_size_at_several_resolutions_are_stored(given, tmp_path):
    """TRIDENT reads slides of 40x and 20x at other levels, and patches have the same pixels."""
    two_sizes(given, tmp_path / "coordinates", (64, 64))
    clam(tmp_path / "coordinates" / "b.h5", scattered(20, 256), 64, 1, name="b")
    check_stores(given)
    assert {row["status"] for row in given.run().values()} == {"ok"}
    with open_dataset(given.results) as ds:
        assert set(ds.table["width0"]) == {64, 128}
        assert ds.read(range(len(ds))).shape == (len(ds), 64, 64, 3)
        with open_dataset(given.results, backend="slides") as others:
            assert (others.read(range(len(ds))) == ds.read(range(len(ds)))).all()


def test_more_places_than_allowed_are_refused(given, tmp_path):
    table(tmp_path / "coordinates" / "a.csv", scattered(9, 64))
    given.config["sampling"] |= {"patch_size": 64, "level": 0}
    given.plan()
    (one,) = given.listed
    given.discover(one)
    found = read_outcome(given.place("slides", one.slide))
    choice = Choice(
        GridSpec(64, level=0),
        given.checked.tissue,
        max_patches=8,
        given=GivenPlaces(tmp_path / "coordinates" / "a.csv", None, ()),
    )
    with pytest.raises(SlideError, match=r"has 9 places, and sampling.max_patches is 8: allow more"):
        write_selection(given.slides / "a.svs", found, choice, table=tmp_path / "t.csv", dropped=tmp_path / "d.csv")


@pytest.mark.long
@pytest.mark.parametrize("level", [0, 1])
def test_scattered_patches_are_cut_out_of_tiles(given, tmp_path, level):
    """Encoding source holds each tile once, and patches at any place that has whole pixels of the level."""
    write_svs(given.slides / "a.svs", painted(*WHOLE), downsamples=(1, 2, 4), tile=128)
    places = np.unique(scattered(40, 64 * 2**level) // 2 * 2, axis=0)
    places = np.concatenate([places, [[WHOLE[0] - 32 * 2**level, 0], [WHOLE[0] - 2, WHOLE[1] - 2]]])
    table(tmp_path / "coordinates" / "a.csv", places)
    sampling(given, patch_size=64, level=level, edges="pad")
    given.config["stores"] = {"lmdb": {"encoding": "source"}, "hdf5": {"encoding": "source"}}
    assert run(given)["status"] == "ok"
    with open_store(given.results / store_path("lmdb", given.listed[0].slide)) as store:
        assert store.manifest.tiles["apart"] == 2**level
    cut = stored(given)
    assert all(found["status"] == "ok" for found in given.table("validation"))
    given.config["stores"] = BACKENDS
    assert run(given)["status"] == "ok"
    assert stored(given) == cut


def test_places_between_pixels_are_not_cut_out_of_tiles(given, tmp_path):
    write_svs(given.slides / "a.svs", painted(*WHOLE), downsamples=(1, 2, 4), tile=128)
    table(tmp_path / "coordinates" / "a.csv", [[1, 2]])
    sampling(given, patch_size=64, level=1)
    given.config["stores"] = {"lmdb": {"encoding": "source"}}
    row = run(given)
    assert row["status"] == "failed"
    assert "begins between the level's pixels" in row["message"]
    assert "another encoding than source" in row["message"]


def test_scattered_patches_are_no_files_of_tiles(given, tmp_path):
    write_svs(given.slides / "a.svs", painted(*WHOLE), downsamples=(1, 2, 4), tile=128)
    table(tmp_path / "coordinates" / "a.csv", [[1, 2]])
    sampling(given, patch_size=64, level=0)
    given.config["stores"] = {"disk": {"encoding": "source"}}
    row = run(given)
    assert row["status"] == "failed"
    assert "store them in lmdb or hdf5, which hold tiles for any grid, or choose another encoding" in row["message"]


def test_scattered_patches_are_stitched_in_place(given, tmp_path):
    """Each pixel once, wherever patches overlap."""
    places = scattered(60, 64)
    table(tmp_path / "coordinates" / "a.csv", places)
    sampling(given, patch_size=64, level=0)
    assert run(given)["status"] == "ok"
    covered = np.zeros((HEIGHT, WIDTH), bool)
    for x, y in places:
        covered[y : y + 64, x : x + 64] = True
    with openslide.OpenSlide(given.slides / "a.svs") as slide:
        expected = np.asarray(slide.read_region((0, 0), 0, (WIDTH, HEIGHT)))[..., :3]
    slide = given.listed[0].slide
    with open_dataset(given.results) as ds:
        whole = stitch_slide(ds, slide, downsample=1)
        coarse = stitch_slide(ds, slide, downsample=4)
    assert (whole.share == covered).all()
    assert (whole.pixels[covered] == expected[covered]).all()
    full = covered[: HEIGHT // 4 * 4, : WIDTH // 4 * 4].reshape(HEIGHT // 4, 4, WIDTH // 4, 4).mean((1, 3))
    assert coarse.share[: HEIGHT // 4, : WIDTH // 4] == pytest.approx(full, abs=1e-5)
    mean = expected[: HEIGHT // 4 * 4, : WIDTH // 4 * 4].reshape(HEIGHT // 4, 4, WIDTH // 4, 4, 3).mean((1, 3))
    inside = full == 1
    assert np.abs(coarse.pixels[: HEIGHT // 4, : WIDTH // 4][inside] - mean[inside]).max() <= 0.51


@pytest.mark.long
def test_scattered_patches_are_shuffled_by_neighbourhood(given, tmp_path):
    """Blocks of neighbours are as wide as blocks of a grid's patches, so that tiles are decoded once."""
    places = scattered(60, 64)
    table(tmp_path / "coordinates" / "a.csv", places)
    sampling(given, patch_size=64, level=0)
    run(given)
    with open_dataset(given.results, backend="slides") as ds:
        assert ds.stored.steps.tolist() == [64]
    given.config["sampling"] = {"patch_size": 64, "level": 0}
    run(given)
    with open_dataset(given.results, backend="slides") as ds:
        assert ds.stored.steps is None


@pytest.mark.long
@pytest.mark.parametrize("layout", ["trident", "clam"])
@pytest.mark.parametrize("keys", [{"level": 0}, {"mpp": 1.0}, {"magnification": 10, "overlap": 8}], ids=str)
def test_exported_layouts_come_back(given, tmp_path, layout, keys):
    """Of a slide whose levels are whole, so that TRIDENT reads the same squares."""
    write_svs(given.slides / "a.svs", painted(*WHOLE), downsamples=(1, 2, 4))
    given.config["sampling"] = {"patch_size": 64, **keys}
    run(given)
    expected, rows = stored(given), given.table("metadata")
    assert main(["export", str(given.results), str(tmp_path / "out"), "--layout", layout]) == 0
    (file,) = (tmp_path / "out").glob("**/patches/*.h5")
    given.config["sampling"] = {"patch_size": 64, **keys, "coordinates": str(file.parent)}
    assert run(given)["status"] == "ok"
    assert (stored(given), given.table("metadata")) == (expected, rows)
