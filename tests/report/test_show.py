"""Pictures of a dataset: patches put back together are the slide's own pixels, and what is wrong is seen."""

import io
import math
from dataclasses import replace

import numpy as np
import openslide
import pytest
from PIL import Image

from slidemill import open_dataset, show
from slidemill.core.results_layout import store_path
from slidemill.core.specs import GridSpec
from slidemill.datasets.dataset import Dataset
from slidemill.errors import SlidemillError
from slidemill.report import stitching
from slidemill.report._palette import label_colour
from slidemill.report.patch_pictures import COLUMNS, MOST_PATCHES, draw_sample
from slidemill.slides.openslide_reader import thumbnail
from slidemill.slides.slide_info import slide_info
from slidemill.testing import write_svs
from tests.cohorts import NAMES, write_cohort
from tests.conftest import painted

pytestmark = pytest.mark.cases

SPEC = GridSpec(64, level=0)
GREEN = (0, 128, 0)
BOUNDS = (130, 71, 700, 555)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory, slide_file):
    results = tmp_path_factory.mktemp("shown")
    with open_dataset(write_cohort(results, {"one": slide_file, "two": slide_file}, SPEC)) as ds:
        yield ds


@pytest.fixture(scope="module")
def even_slide_file(tmp_path_factory):
    """A slide whose levels are a fourth and a sixteenth: between the pixels of others OpenSlide interpolates."""
    path = tmp_path_factory.mktemp("even") / "even.svs"
    write_svs(path, painted(1040, 784))
    return path


def level_pixels(file, level=0):
    """All pixels of a level, by OpenSlide."""
    with openslide.OpenSlide(file) as slide:
        return np.asarray(slide.read_region((0, 0), level, slide.level_dimensions[level]).convert("RGB"))


def means(pixels, length):
    """The mean of every `length` rows, as often as they fit; between rows their sum grows evenly."""
    sums = np.concatenate([np.zeros_like(pixels[:1], float), np.cumsum(pixels, axis=0, dtype=float)])
    edges = length * np.arange(math.floor(len(pixels) / length + 1e-9) + 1)
    before = np.minimum(edges.astype(int), len(pixels) - 1)
    at = sums[before] + (edges - before)[:, None, None] * pixels[before]
    return np.diff(at, axis=0) / length


def rgb(colour):
    return tuple(bytes.fromhex(colour.removeprefix("#")))


@pytest.mark.parametrize(
    ("spec", "level", "bounds"),
    [
        (GridSpec(64, level=0), 0, None),
        (GridSpec(64, 8, level=0), 0, None),
        (GridSpec(64, 8, level=0, edges="pad"), 0, None),
        (GridSpec(50, level=1, edges="pad"), 1, None),
        (GridSpec(50, 7, level=1, edges="pad"), 1, None),
        (GridSpec(50, 20, level=1, edges="pad"), 1, None),
        (GridSpec(64, 3, deepzoom_level=11), 0, None),
        (GridSpec(64, 5, level=0, edges="pad"), 0, BOUNDS),
        (GridSpec(64, 5, level=0, edges="pad", limit_bounds=False), 0, BOUNDS),
    ],
    ids=str,
)
def test_at_their_own_resolution_the_patches_give_the_slides_pixels(tmp_path, even_slide_file, spec, level, bounds):
    def without_some(patch):
        return (patch.row, patch.column) not in {(1, 1), (2, 0)}

    def bounded(info):
        return replace(info, bounds=bounds)

    results = write_cohort(tmp_path, {"one": even_slide_file}, spec, info=bounded, kept=without_some)
    with open_dataset(results) as ds:
        found = stitching.stitch_slide(ds, "one", downsample=ds.table["downsample"][0], background="green")
    expected = level_pixels(even_slide_file, level)
    height, width = expected.shape[:2]
    there = found.share[:height, :width] == 1
    np.testing.assert_array_equal(found.pixels[:height, :width][there], expected[there])
    assert (found.pixels[found.share == 0] == GREEN).all()
    if level == 0:  # A square of level 0 is one of the picture then.
        covered = np.zeros((height, width), bool)
        x, y, across, down = bounds if bounds and spec.limit_bounds else (0, 0, width, height)
        for row in ds.table.to_dict("records"):
            left, top = max(row["x0"], x), max(row["y0"], y)
            right, bottom = row["x0"] + row["width0"], row["y0"] + row["height0"]
            covered[top : min(bottom, y + down), left : min(right, x + across)] = True
        np.testing.assert_array_equal(found.share == 1, covered)
    assert there.mean() > 0.3


@pytest.mark.parametrize("overlap", [0, 8])
@pytest.mark.parametrize("downsample", [1.5, 2.7, 4, 9.1, 64, 200])
def test_a_coarser_picture_is_the_mean_of_what_each_pixel_covers(tmp_path, slide_file, downsample, overlap):
    results = write_cohort(tmp_path, {"one": slide_file}, GridSpec(64, overlap, level=0, edges="pad"))
    with open_dataset(results) as ds:
        found = stitching.stitch_slide(ds, "one", downsample=downsample)
    whole = level_pixels(slide_file)
    expected = means(means(whole, downsample).swapaxes(0, 1), downsample).swapaxes(0, 1)
    height, width = expected.shape[:2]
    assert found.pixels.shape[:2] == (math.ceil(777 / downsample), math.ceil(1030 / downsample))
    assert (found.share[:height, :width] > 0.999).all()
    assert np.abs(found.pixels[:height, :width] - expected).max() < 0.51


@pytest.mark.parametrize("downsample", [2, 3.7, 100])
def test_the_background_counts_where_patches_cover_a_pixel_in_part(dataset, downsample):
    some = dataset.select(labels=["Benign"])
    whole = stitching.stitch_slide(some, "one", downsample=1, background="green")
    found = stitching.stitch_slide(some, "one", downsample=downsample, background="green")
    for own, fine in ((found.pixels, whole.pixels), (found.share[..., None], whole.share[..., None])):
        expected = means(means(fine, downsample).swapaxes(0, 1), downsample).swapaxes(0, 1)
        height, width = expected.shape[:2]
        assert np.abs(own[:height, :width] - expected).max() < (0.51 if own.dtype == np.uint8 else 1e-5)
    assert 0.3 < found.share.mean() < 0.6


@pytest.mark.parametrize(
    "spec",
    [
        GridSpec(64, deepzoom_level=10),
        GridSpec(48, 6, deepzoom_level=8, edges="pad"),
        GridSpec(64, level=1, edges="pad"),
        GridSpec(64, mpp=1.3, edges="pad"),
        GridSpec(64, 4, mpp=1.3),
    ],
    ids=str,
)
def test_shrunk_patches_lie_where_the_thumbnail_has_them(tmp_path, slide_file, spec):
    """Nowhere else are picture and thumbnail as alike, not even a pixel aside."""
    with open_dataset(write_cohort(tmp_path, {"one": slide_file}, spec)) as ds:
        found = show.compare(ds, "one", slide_file.parent, longest=round(1030 / ds.table["downsample"][0]))
    inner = np.s_[2:-2, 2:-2]
    patches = found.stitched.pixels.astype(float)[inner]
    seen = ~np.isnan(found.difference[inner])
    off = {
        (down, across): np.abs(np.roll(found.thumbnail, (down, across), (0, 1))[inner] - patches)[seen].mean()
        for down in (-1, 0, 1)
        for across in (-1, 0, 1)
    }
    assert min(off, key=off.get) == (0, 0), off
    assert seen.mean() > 0.5


@pytest.mark.long
def test_the_real_slide_is_put_back_together(tmp_path, real_slide_file):
    with open_dataset(write_cohort(tmp_path, {"one": real_slide_file}, GridSpec(240, 20, level=0))) as ds:
        found = stitching.stitch_slide(ds, "one", downsample=1)
        mean = show.compare(ds, "one", real_slide_file.parent, longest=5000).mean
    expected = level_pixels(real_slide_file)
    there = found.share == 1
    np.testing.assert_array_equal(found.pixels[there], expected[there])
    assert there.mean() > 0.8
    assert mean == 0


def drifts(found):
    """How far down and right the thumbnail lies from the patches, in the last quarter of both, to whole pixels."""
    height, width = found.difference.shape
    patches, seen = found.stitched.pixels.astype(float), found.thumbnail.astype(float)
    inner = np.s_[height * 3 // 4 : height * 9 // 10, width * 3 // 4 : width * 9 // 10]
    off = {
        (down, across): np.abs(np.roll(seen, (down, across), (0, 1))[inner] - patches[inner]).mean()
        for down in (-1, 0, 1)
        for across in (-1, 0, 1)
    }
    return min(off, key=off.get)


@pytest.mark.long
def test_the_real_slide_and_its_patches_have_one_grid_at_any_size(tmp_path, real_slide_file):
    with open_dataset(write_cohort(tmp_path, {"one": real_slide_file}, GridSpec(240, 20, level=0))) as ds:
        found = {longest: show.compare(ds, "one", real_slide_file.parent, longest) for longest in (1000, 1483, 1484)}
    # 2967 pixels in 1483 are 1484 by a bit of rounding.
    assert [one.stitched.pixels.shape[0] for one in found.values()] == [1000, 1483, 1484]
    assert [drifts(one) for one in found.values()] == [(0, 0)] * 3
    assert max(one.mean for one in found.values()) < 5


@pytest.mark.long
def test_thumbnail_and_patches_have_one_grid_at_any_size(tmp_path, slide_file):
    with open_dataset(write_cohort(tmp_path, {"one": slide_file}, GridSpec(64, level=0, edges="pad"))) as ds:
        for longest in (*range(97, 1030, 233), 1029):
            found = show.compare(ds, "one", slide_file.parent, longest)
            assert found.thumbnail.shape == found.stitched.pixels.shape == (round(777 * longest / 1030), longest, 3)
            with openslide.OpenSlide(slide_file) as slide:
                np.testing.assert_array_equal(found.thumbnail, thumbnail(slide, slide_info(slide), longest))
            # The last row and column of the picture are covered as all others are.
            assert not np.isnan(found.difference).any()


@pytest.mark.long
def test_a_picture_has_no_pixel_more_than_was_asked_for(dataset):
    assert [max(show.stitch(dataset, "one", longest=one).size) for one in range(20, 900, 17)] == [*range(20, 900, 17)]


def test_a_pixel_a_patch_is_the_mean_of_each_patch(dataset):
    found = stitching.stitch_slide(dataset, "one", downsample=64)
    table = dataset.table[dataset.table["slide"] == "one"]
    means = dataset.read(table.index.to_numpy()).mean((1, 2))
    there = found.pixels[table["row"].to_numpy(), table["column"].to_numpy()]
    assert np.abs(there - means).max() <= 0.51


@pytest.mark.long
def test_patches_meet_without_a_seam(tmp_path, slide_file):
    """A grey slide stays grey wherever a patch ends within a pixel of the picture."""

    def grey(pixels):
        return [np.full_like(one, 101) for one in pixels]

    results = write_cohort(tmp_path, {"one": slide_file}, GridSpec(60, 7, level=0, edges="pad"), alter=grey)
    with open_dataset(results) as ds:
        for downsample in (1, 1.01, 3.3, 47):
            found = stitching.stitch_slide(ds, "one", downsample=downsample, background="black")
            assert set(np.unique(found.pixels[found.share > 0.999])) == {101}


def test_a_picture_is_as_long_as_asked_for_and_no_finer_than_the_patches(dataset):
    assert show.stitch(dataset, "one", longest=100).size == (100, 76)
    assert show.stitch(dataset, "one", longest=5000).size == (1030, 777)
    assert show.stitch(dataset, "one").size == (1000, 755)


def test_order_and_repetition_change_no_picture(dataset):
    own = dataset.select(slides=["one"])
    places = np.random.default_rng(3).integers(0, len(own), 2 * len(own))
    once = own.take(np.unique(places))
    for downsample in (1, 2.5):
        np.testing.assert_array_equal(
            show.stitch(own.take(places), "one", downsample), show.stitch(once, "one", downsample)
        )


def test_a_block_of_patches_is_in_memory_at_a_time(dataset, monkeypatch):
    counts = []
    read = Dataset.read
    monkeypatch.setattr(Dataset, "read", lambda self, places: (counts.append(len(places)), read(self, places))[1])
    monkeypatch.setattr(stitching, "BLOCK_BYTES", 5 * 64 * 64 * 3)
    in_blocks = np.asarray(show.stitch(dataset, "one", 3))
    assert max(counts) == 5
    assert sum(counts) == (dataset.table["slide"] == "one").sum()
    monkeypatch.undo()
    np.testing.assert_array_equal(in_blocks, show.stitch(dataset, "one", 3))


def test_what_is_right_differs_from_the_thumbnail_by_nothing(dataset, slide_file):
    assert show.compare(dataset, "one", slide_file.parent, longest=1030).mean == 0
    assert show.compare(dataset, "one", slide_file.parent, longest=300).mean < 2


def next_rows(pixels):
    """Each patch has the pixels of the one below it; 16 patches are a row of the grid."""
    return pixels[16:] + pixels[:16]


def down_a_pixel(pixels):
    return [np.roll(one, 1, axis=0) for one in pixels]


@pytest.mark.long
@pytest.mark.parametrize("alter", [next_rows, down_a_pixel])
def test_patches_that_are_shifted_by_a_row_differ_from_the_thumbnail(dataset, tmp_path, slide_file, alter):
    right = show.compare(dataset, "one", slide_file.parent)
    with open_dataset(write_cohort(tmp_path, {"one": slide_file}, SPEC, alter=alter)) as ds:
        wrong = show.compare(ds, "one", slide_file.parent)
    assert wrong.mean > 2 * right.mean
    assert wrong.mean > right.mean + 0.5


def test_a_patch_of_elsewhere_is_seen_where_it_lies(dataset, tmp_path, slide_file):
    def black(pixels):
        return [np.zeros_like(one) if place == 40 else one for place, one in enumerate(pixels)]

    with open_dataset(write_cohort(tmp_path, {"one": slide_file}, SPEC, alter=black)) as ds:
        found = show.compare(ds, "one", slide_file.parent, longest=1030)
        row = ds.table.iloc[40]
    left, top = int(row["x0"]), int(row["y0"])
    assert (found.difference[top : top + 64, left : left + 64] > 30).all()
    assert np.nansum(found.difference) == found.difference[top : top + 64, left : left + 64].sum()


@pytest.mark.long
def test_the_figure_has_the_slide_its_patches_and_the_difference(dataset, slide_file):
    from matplotlib import pyplot

    figure = show.stitched_beside_thumbnail(dataset, "one", slide_file.parent)
    mean = show.compare(dataset, "one", slide_file.parent).mean
    titles = [axes.get_title() for axes in figure.axes]
    assert titles[:3] == ["the slide", "its patches", f"difference, {mean:.2f} in the mean"]
    alone = show.stitched_beside_thumbnail(dataset, "one")
    assert [axes.get_title() for axes in alone.axes] == ["patches"]
    assert pyplot.get_fignums() == []
    shown = Image.open(io.BytesIO(figure._repr_png_()))
    assert shown.size == (13 * 80, 4.4 * 80)
    assert len(shown.getcolors(1 << 24)) > 100


def test_the_selection_is_what_is_drawn(dataset):
    chosen = dataset.select(labels=["Carcinoma"])
    picture = np.array(show.overlay(chosen, "one", longest=1030))[:777]
    inside = [np.s_[64:128, 64:128], np.s_[128:192, 128:192]]
    for place in inside:
        assert (picture[place] != 255).any()
        picture[place] = 255
    assert (picture == 255).all()
    # Three classes, of which one has no patch of the selection, in as many columns.
    assert len(np.asarray(show.overlay(chosen, "one", longest=1030))) == 777 + 8 + 28


def test_squares_have_the_colours_of_their_labels(dataset):
    picture = np.asarray(show.overlay(dataset.select(labels=["Carcinoma"]), "one", longest=1030), int)
    assert tuple(picture[64, 100]) == rgb(label_colour(2))


def test_a_montage_is_what_the_report_shows(dataset):
    own = dataset.select(slides=["one"])
    path = dataset.results / store_path("lmdb", "one")
    one = dataset.results / "one.csv"
    lines = (dataset.results / "metadata.csv").read_text(encoding="utf-8").splitlines()
    one.write_text("\n".join([lines[0], *(line for line in lines[1:] if ",one," in line)]), encoding="utf-8")
    np.testing.assert_array_equal(show.montage(own, seed=3), draw_sample(path, one, 3))


def frames(picture, count, columns, size):
    """The colour of the frame of each patch."""
    pixels = np.asarray(picture)
    return [tuple(pixels[place // columns * (size + 20), place % columns * size].tolist()) for place in range(count)]


def test_a_montage_has_as_many_of_each_label_as_there_is_room_for(dataset):
    picture = show.montage(dataset, seed=1)
    assert picture.size == (COLUMNS * 144, MOST_PATCHES // COLUMNS * 164)
    found = frames(picture, MOST_PATCHES, COLUMNS, 144)
    assert [found.count(rgb(label_colour(label))) for label in range(3)] == [10, 10, 4]
    np.testing.assert_array_equal(picture, show.montage(dataset, seed=1))
    assert not np.array_equal(picture, show.montage(dataset, seed=2))


def test_a_montage_of_an_array_has_its_patches_and_labels(noise):
    pixels = noise(5, 26)
    picture = show.montage(pixels, labels=[2, 0, 1, 0, -1], columns=2, size=32)
    assert picture.size == (64, 3 * 52)
    order = [4, 1, 3, 2, 0]  # by label
    expected = [rgb(label_colour(label)) for label in (-1, 0, 0, 1, 2)]
    assert frames(picture, 5, 2, 32) == expected
    for place, patch in enumerate(order):
        left, top = place % 2 * 32 + 3, place // 2 * 52 + 3
        np.testing.assert_array_equal(np.asarray(picture)[top : top + 26, left : left + 26], pixels[patch])
    named = show.montage(pixels, labels=[NAMES[n] for n in (2, 0, 1, 0, 2)], columns=2, size=32)
    assert len(set(frames(named, 5, 2, 32))) == 3
    assert show.montage(pixels, columns=9, size=32).size == (5 * 32, 52)
    assert show.montage(pixels, most=2, size=32).size == (2 * 32, 52)


def wrongly(dataset, slide_file, tmp_path, noise):
    other = tmp_path / slide_file.name
    other.write_bytes(slide_file.read_bytes()[:-1])
    none = dataset.take([])
    return {
        "three: the dataset has no such slide; its slides are one, two": lambda: show.stitch(dataset, "three"),
        "one: the dataset is empty": lambda: show.overlay(none, "one"),
        "no patch to draw": lambda: show.montage(none),
        "downsample is 0.5": lambda: show.stitch(dataset, "one", 0.5),
        "downsample is nan": lambda: show.stitch(dataset, "one", float("nan")),
        "downsample is inf": lambda: show.stitch(dataset, "one", float("inf")),
        "longest is 0": lambda: show.stitch(dataset, "one", longest=0),
        "longest is -1": lambda: show.compare(dataset, "one", slide_file.parent, longest=-1),
        "background is 'mauvish'": lambda: show.stitch(dataset, "one", background="mauvish"),
        "is not the slide that these patches are of": lambda: show.compare(dataset, "one", tmp_path),
        "does not exist in": lambda: show.compare(dataset, "one", tmp_path / "none"),
        "labels are given with a dataset": lambda: show.montage(dataset, labels=[1]),
        "there are 1 labels for 3 patches": lambda: show.montage(noise(3, 8), labels=[1]),
        r"the patches are float64 \(3, 8, 8, 3\)": lambda: show.montage(noise(3, 8) / 255),
        "columns is 0": lambda: show.montage(dataset, columns=0),
    }


def test_results_without_the_facts_of_their_slides_are_told(tmp_path, slide_file):
    results = write_cohort(tmp_path, {"one": slide_file}, SPEC)
    (results / "slides" / "one.json").unlink()
    with open_dataset(results) as ds, pytest.raises(SlidemillError, match=r"one\.json: .* copy the folder slides"):
        show.stitch(ds, "one")


def test_what_cannot_be_drawn_is_told_in_one_message(dataset, slide_file, tmp_path, noise):
    for message, call in wrongly(dataset, slide_file, tmp_path, noise).items():
        with pytest.raises(SlidemillError, match=message):
            call()
