"""`slidemill heatmap`: scores of patches as GeoJSON that QuPath imports, and as pictures."""

import json
import re

import numpy as np
import pandas
import pytest
import shapely
from PIL import Image

from slidemill import open_dataset, show
from slidemill.annotations.frames import Frame
from slidemill.annotations.read import read_annotation
from slidemill.cli.commands import main
from slidemill.core.specs import Naming
from slidemill.datasets.dataset import Dataset
from slidemill.errors import SlidemillError
from slidemill.report.heatmap import OPACITY, draw_heatmap, mean_scores, score_range
from slidemill.testing import write_svs
from tests.conftest import painted
from tests.faults.conftest import Cohort
from tests.formats import FORMATS


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Results of two slides; nothing may write to them."""
    folder = tmp_path_factory.mktemp("scored")
    (folder / "slides").mkdir()
    write_svs(folder / "slides/a.svs", painted(1040, 784, seed=1))
    write_svs(folder / "slides/b.svs", painted(520, 640, seed=2))
    cohort = Cohort(folder)
    cohort.config |= {"sampling": {"patch_size": 100, "overlap": 10, "level": 0}, "stores": {"zarr": {}}}
    cohort.run()
    return cohort.results


def scored(results, tmp_path, **columns):
    """A table with a score for each patch, and the dataset's own table."""
    with open_dataset(results) as dataset:
        table = dataset.table
    own = table[["slide", "patch_id"]].astype(str).assign(tumour=np.linspace(0, 1, len(table)), **columns)
    own.sample(frac=1, random_state=0).to_csv(tmp_path / "scores.csv", index=False)
    return own, table


def heatmap(results, tmp_path, *arguments):
    return main(["heatmap", str(results), str(tmp_path / "scores.csv"), str(tmp_path / "out"), *arguments])


@pytest.mark.long
def test_each_slide_has_geojson_and_picture(results, tmp_path, capsys):
    own, table = scored(results, tmp_path)
    assert heatmap(results, tmp_path) == 0
    assert capsys.readouterr() == (f"{tmp_path / 'out'}: tumour of 2 slides, 4 files\n", "")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.geojson", "a.png", "b.geojson", "b.png"]
    for name, slide in zip("ab", table["slide"].unique(), strict=True):
        features = json.loads((tmp_path / f"out/{name}.geojson").read_text())["features"]
        wanted = own[own["slide"] == slide]
        assert [one["properties"]["name"] for one in features] == wanted["patch_id"].tolist()
        found = [one["properties"]["measurements"]["tumour"] for one in features]
        np.testing.assert_allclose(found, wanted["tumour"], atol=1e-12)
        assert {one["properties"]["objectType"] for one in features} == {"detection"}


@pytest.mark.cases
@pytest.mark.parametrize("origin", ["bounds", "canvas"])
def test_own_reader_reads_the_same_squares(tmp_path, origin):
    """The round trip of coordinates, on a slide with bounds."""
    (tmp_path / "slides").mkdir()
    kind = next(one for one in FORMATS if one.bounds)
    kind.write(tmp_path / "slides", painted(1024, 768))
    cohort = Cohort(tmp_path)
    cohort.config |= {"sampling": {"patch_size": 128, "level": 0}, "stores": {}}
    cohort.run()
    _, table = scored(cohort.results, tmp_path)
    assert heatmap(cohort.results, tmp_path, "--origin", origin) == 0
    (file,) = (tmp_path / "out").glob("*.geojson")
    frame = Frame(bounds=kind.bounds, origin=origin)
    regions = read_annotation(file, frame, Naming(unnamed="patch")).regions
    ends = zip(table["x0"] + table["width0"], table["y0"] + table["height0"], strict=True)
    expected = [(x, y, *end) for x, y, end in zip(table["x0"], table["y0"], ends, strict=True)]
    np.testing.assert_array_equal(shapely.bounds([one.shape for one in regions]), expected)
    assert all(one.shape.area == 128 * 128 for one in regions)


@pytest.mark.long
def test_patches_without_score_are_counted(results, tmp_path, capsys):
    own, _ = scored(results, tmp_path)
    first = own["slide"].iloc[0]
    own[own["slide"] == first].iloc[2:].to_csv(tmp_path / "scores.csv", index=False)
    assert heatmap(results, tmp_path) == 0
    said = capsys.readouterr()
    others = int((own["slide"] != first).sum())
    assert f"{others + 2} patches have no score and are not drawn: 2 of {first}, {others} of " in said.err
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.geojson", "a.png"]


@pytest.mark.long
def test_slides_may_be_named_by_file(results, tmp_path):
    own, table = scored(results, tmp_path)
    names = dict(zip(table["slide"].unique(), ("a.svs", "b"), strict=True))
    own.assign(slide=own["slide"].map(names)).to_csv(tmp_path / "scores.csv", index=False)
    assert heatmap(results, tmp_path, "--names", "id") == 0
    assert {path.stem for path in (tmp_path / "out").iterdir()} == set(names)


@pytest.mark.long
def test_column_of_metadata_is_drawn(results, tmp_path):
    with open_dataset(results) as dataset:
        dataset.table.to_csv(tmp_path / "scores.csv", index=False)
    assert heatmap(results, tmp_path, "--column", "row") == 0


def _without_ids(own):
    return own.drop(columns="patch_id")


def _without_slides(own):
    return own.drop(columns="slide")


def _unknown_patch(own):
    return own.replace({"patch_id": {own["patch_id"].iloc[0]: "r99999_c00000"}})


def _unknown_slide(own):
    return own.replace({"slide": {own["slide"].iloc[0]: "nobody"}})


def _twice(own):
    return pandas.concat([own, own.iloc[:1]])


def _not_a_number(own):
    return own.assign(tumour=["", "high", *own["tumour"].astype(str)[2:]])


def _infinite(own):
    return own.assign(tumour=np.inf)


def _two_columns(own):
    return own.assign(stroma=0.5)


def _no_scores(own):
    return own.drop(columns="tumour")


def _no_rows(own):
    return own.iloc[:0]


@pytest.mark.parametrize(
    ("change", "arguments", "message"),
    [
        (_without_ids, (), "has no column patch_id, but slide, tumour; add the patches' ids"),
        (_without_slides, (), "has no column slide, and the results have 2 slides; add the slides' ids"),
        (_unknown_patch, (), "the results lack 2 patches: "),
        (_unknown_slide, (), "nobody: the dataset has no such slide"),
        (_twice, (), "more than once: "),
        (_not_a_number, (), "2 values of tumour are not finite numbers: '' of r00001_c00001, 'high' of r00001_c00002"),
        (_infinite, (), "of tumour are not finite numbers: 'inf' of "),
        (_two_columns, (), "has 2 columns of scores; choose one by --column: tumour, stroma"),
        (_no_scores, (), "has 0 columns of scores; add a column of scores"),
        (_no_rows, (), "tumour: no patch has a score"),
        (_two_columns, ("--column", "tumor"), "has no scores 'tumor' (did you mean tumour?)"),
        (_two_columns, ("--column", "slide"), "has no scores 'slide'"),
    ],
)
def test_wrong_scores_are_one_sentence(results, tmp_path, capsys, change, arguments, message):
    own, _ = scored(results, tmp_path)
    change(own).to_csv(tmp_path / "scores.csv", index=False)
    assert heatmap(results, tmp_path, *arguments) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert message in said
    assert not (tmp_path / "out").exists()


def test_existing_folder_and_missing_table_are_refused(results, tmp_path, capsys):
    assert heatmap(results, tmp_path) == 1
    assert "scores.csv: cannot be read (No such file or directory); correct the path" in capsys.readouterr().err
    scored(results, tmp_path)
    (tmp_path / "out").mkdir()
    assert heatmap(results, tmp_path) == 1
    assert "already exists: remove it, or name another folder" in capsys.readouterr().err


@pytest.mark.long
def test_thumbnail_is_made_of_patches_without_the_slide(results, tmp_path, monkeypatch):
    scored(results, tmp_path)
    monkeypatch.setattr("slidemill.exchange.heatmap.read_records", lambda _: None)
    assert heatmap(results, tmp_path) == 0
    with Image.open(tmp_path / "out/a.png") as picture:
        assert picture.width > picture.height > 600


def test_notebook_draws_the_scores_of_a_slide(results):
    with open_dataset(results) as dataset:
        scores = np.linspace(0, 1, len(dataset))
        picture = show.heatmap(dataset, "a", scores)
        assert picture.size[1] == 754  # of 1040 x 784 level-0 pixels, 1000 along the longer side
        with pytest.raises(SlidemillError, match=r"scores have the shape \(3,\): give one for each of the"):
            show.heatmap(dataset, "a", scores[:3])


def test_mean_scores_are_those_of_each_pixel():
    """Against the mean over all patches of a pixel, one by one."""
    draw = np.random.default_rng(0)
    squares = np.column_stack([draw.integers(-20, 110, (50, 2)), draw.integers(1, 40, (50, 2))])
    scores = draw.normal(size=50)
    found = mean_scores((100, 80), 1.0, squares, scores=scores)
    for y, x in np.ndindex(80, 100):
        left, top, width, height = squares.T
        on = (left <= x) & (x < left + width) & (top <= y) & (y < top + height)
        expected = scores[on].mean() if on.any() else np.nan
        assert found[y, x] == pytest.approx(expected, nan_ok=True, abs=1e-9)


@pytest.mark.parametrize(
    ("scores", "expected"),
    [([0.2, 0.4], (0, 1)), ([0, 1], (0, 1)), ([-1, 3], (-1, 3)), ([7, 7], (7, 8)), ([], (0, 1))],
)
def test_range_is_0_to_1_for_probabilities(scores, expected):
    assert score_range(np.array(scores, np.float64)) == expected


def test_only_scored_patches_are_coloured():
    squares = np.array([[0, 0, 50, 50], [100, 50, 50, 50]])
    white = Image.new("RGB", (200, 150), "white")
    drawn = np.asarray(draw_heatmap(white, 200, squares, scores=np.array([1.0, np.nan]), title="p"))
    assert drawn.shape[0] == 150
    assert drawn.shape[1] > 200
    assert (drawn[50:, :200] == 255).all()
    assert (drawn[:50, 50:200] == 255).all()
    yellow = np.array([253, 231, 37])  # the last colour of viridis
    np.testing.assert_allclose(
        drawn[:50, :50], np.broadcast_to(OPACITY * yellow + (1 - OPACITY) * 255, (50, 50, 3)), atol=1
    )


@pytest.mark.parametrize(
    ("scores", "first", "last"),
    [
        ([1e20, 1e20], 0, 0),
        ([-1.7e308, 1.7e308], 0, 1),
        ([1.7e308, 1.7e308], 0, 0),
        ([5e-324, 2], 0, 1),
        ([-5e-324, 5e-324], 0, 0),
    ],
)
@pytest.mark.filterwarnings("error")
def test_largest_and_smallest_scores_have_colours(scores, first, last):
    """A sum or a difference of such scores may be infinite or 0."""
    squares = np.array([[0, 0, 50, 100], [0, 0, 50, 100], [50, 0, 50, 100]])
    thumbnail = Image.new("RGB", (100, 100), "white")

    def drawn(values):
        return np.asarray(draw_heatmap(thumbnail, 100, squares, scores=np.array(values)))[:100, :100]

    assert np.array_equal(drawn([scores[0], *scores]), drawn([first, first, last]))


@pytest.mark.cases
@pytest.mark.parametrize("ending", ["gz", "bz2", "xz", "zip", "zst"])
def test_table_that_is_compressed_by_its_name_only_is_one_sentence(results, tmp_path, capsys, ending):
    scored(results, tmp_path)
    table = (tmp_path / "scores.csv").rename(tmp_path / f"scores.csv.{ending}")
    assert main(["heatmap", str(results), str(table), str(tmp_path / "out")]) == 1
    said = capsys.readouterr().err
    assert f"scores.csv.{ending}: is not a CSV table (" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("score", "message"),
    [
        ("high", "scores are <U4, not numbers (could not convert string to float: "),
        (1j, "scores are complex128, not numbers (Cannot cast array data from dtype('complex128')"),
        (np.inf, "are infinite: give finite numbers, or NaN for rows to leave out"),
    ],
)
def test_notebook_refuses_what_is_no_finite_number(results, score, message):
    with open_dataset(results) as dataset, pytest.raises(SlidemillError, match=re.escape(message)):
        show.heatmap(dataset, "a", [score] * len(dataset))


def test_slide_without_store_and_file_is_named(results, tmp_path, monkeypatch, capsys):
    """The slide itself is what is missing: another backend would not help."""
    scored(results, tmp_path)
    monkeypatch.setattr("slidemill.exchange.heatmap.fingerprint", lambda _: "another")
    monkeypatch.setattr(Dataset, "backend", "")
    assert heatmap(results, tmp_path) == 1
    assert "cannot be drawn: it has no store, and " in (said := capsys.readouterr().err)
    assert "a.svs is missing, or is not the slide that was sampled; restore the slide" in said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("mark", "said"), [(";", "';'"), ("\t", r"'\t'")])
def test_separators_of_spreadsheets_are_named(results, tmp_path, capsys, mark, said):
    own, _ = scored(results, tmp_path)
    own.to_csv(tmp_path / "scores.csv", index=False, sep=mark)
    assert heatmap(results, tmp_path) == 1
    assert f"its columns are separated by {said}; save it with commas" in capsys.readouterr().err


@pytest.mark.long
def test_blanks_after_commas_do_not_count(results, tmp_path):
    scored(results, tmp_path)
    text = (tmp_path / "scores.csv").read_text()
    (tmp_path / "scores.csv").write_text(text.replace(",", ", "))
    assert heatmap(results, tmp_path) == 0
