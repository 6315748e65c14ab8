"""`slidemill export`: patches with labels and coordinates in one file, as they are stored."""

import io
import json
import shutil
import tarfile

import h5py
import numpy as np
import pandas
import pytest
import webdataset

from slidemill import open_dataset, read_metadata
from slidemill.cli.commands import main
from slidemill.core.columns import SLIDE_COLUMNS
from slidemill.core.encodings import ENCODINGS, decode_patch
from slidemill.core.results_layout import store_path
from slidemill.errors import MachineError, StoreError
from slidemill.stores.registry import open_store
from tests.datasets.conftest import SLIDES
from tests.results import FINGERPRINT, PATCHES, SIZE, unseal, write_a_store, write_tables

SHAPE = (SIZE, SIZE, 3)


def columns_of(file):
    """The table in an exported file."""
    found = {}
    for name, column in file["table"].items():
        values = column.asstr()[:] if h5py.check_string_dtype(column.dtype) else column[:]
        found[name] = list(values)
    return pandas.DataFrame(found)


def same_table(found, wanted):
    for name in wanted:
        got, own = found[name].tolist(), wanted[name].tolist()
        assert all(one == other or (one != one and other != other) for one, other in zip(got, own, strict=True)), name
    assert set(found) == set(wanted)


@pytest.mark.parametrize("name", ["all.h5", "new/folder/all.hdf5"])
def test_raw_patches_are_one_array_with_a_dataset_for_each_column(results, truth, tmp_path, name):
    out = tmp_path / name
    assert main(["export", str(results), str(out), "--backend", "hdf5"]) == 0
    with h5py.File(out) as file:
        np.testing.assert_array_equal(file["patches"][:], truth)
        same_table(columns_of(file), open_dataset(results).table)
        assert file.attrs["encoding"] == "raw"
        assert json.loads(file.attrs["labels"]) == {"0": "Normal", "1": "Tumour"}
        told = json.loads(file["provenance"].asstr()[()])
        assert {slide: one["fingerprint"] for slide, one in told["slides"].items()} == dict.fromkeys(
            ("b-slide", "a-slide", "c-slide"), FINGERPRINT
        )
        assert told["slides"]["a-slide"]["sampling"]["patch_size"] == SIZE
        assert told["slidemill"]


@pytest.mark.parametrize("backend", ["lmdb", "disk", "tar"])
def test_encoded_patches_keep_their_bytes(results, truth, tmp_path, backend):
    assert main(["export", str(results), str(tmp_path / "all.h5"), "--backend", backend]) == 0
    dataset = open_dataset(results, backend=backend)
    with h5py.File(tmp_path / "all.h5") as file:
        offsets, payload, encoding = file["offsets"][:], file["payload"][:].tobytes(), file.attrs["encoding"]
        assert len(offsets) == len(truth) + 1
        for place, row in enumerate(dataset.table.itertuples()):
            data = payload[offsets[place] : offsets[place + 1]]
            assert data == dataset.store(row.slide).read_bytes(row.patch_id)
            np.testing.assert_array_equal(decode_patch(ENCODINGS[encoding], data, SHAPE), truth[place])


@pytest.mark.parametrize(
    ("arguments", "query"),
    [
        (["--slides", "c-slide", "b-slide"], "slide in ['c-slide', 'b-slide']"),
        (["--labels", "Tumour", "-1"], "label in [1, -1]"),
        (["--labels", "0"], "label == 0"),
        (["--query", "x0 >= 16 and patient == 'P1'"], "x0 >= 16 and patient == 'P1'"),
        (
            ["--slides", "a-slide", "--labels", "Normal", "--query", "row == 1"],
            "slide == 'a-slide' and label == 0 and row == 1",
        ),
    ],
)
def test_a_selection_is_exported_in_the_tables_order(results, truth, tmp_path, arguments, query):
    assert main(["export", str(results), str(tmp_path / "some.h5"), *arguments, "--backend", "hdf5"]) == 0
    wanted = open_dataset(results).table.query(query)
    assert 0 < len(wanted) < len(truth)
    with h5py.File(tmp_path / "some.h5") as file:
        np.testing.assert_array_equal(file["patches"][:], truth[wanted.index])
        assert file["table/patch_id"].asstr()[:].tolist() == wanted["patch_id"].tolist()


def test_a_tar_file_streams_pixels_and_rows(results, truth, tmp_path):
    assert main(["export", str(results), str(tmp_path / "all.tar"), "--backend", "disk"]) == 0
    stream = list(webdataset.WebDataset(str(tmp_path / "all.tar"), shardshuffle=False).decode("rgb8"))
    table = read_metadata(results)
    assert [sample["__key__"] for sample in stream] == list(table["slide"] + "/" + table["patch_id"])
    for sample, pixels, row in zip(stream, truth, table.to_dict("records"), strict=True):
        np.testing.assert_array_equal(sample["png"], pixels)
        assert sample["json"]["label"] == row["label"]
        assert sample["json"].keys() == row.keys()
        assert (sample["json"]["x0"], sample["json"]["patient"], sample["json"]["mpp"]) == (
            row["x0"],
            row["patient"],
            None,
        )
    with tarfile.open(tmp_path / "all.tar") as file:
        told = json.loads(file.extractfile("__provenance__").read())
        assert list(told["slides"]) == ["b-slide", "a-slide", "c-slide"]
        assert told["labels"] == {"0": "Normal", "1": "Tumour"}


def test_raw_patches_become_arrays_in_a_tar_file(results, truth, tmp_path):
    assert main(["export", str(results), str(tmp_path / "all.tar"), "--backend", "hdf5"]) == 0
    with tarfile.open(tmp_path / "all.tar") as file:
        arrays = [np.load(io.BytesIO(file.extractfile(one).read())) for one in file if one.name.endswith(".npy")]
    np.testing.assert_array_equal(arrays, truth)


@pytest.mark.parametrize("suffix", ["h5", "tar"])
def test_two_exports_are_the_same_bytes(results, tmp_path, suffix):
    for name in ("one", "two"):
        assert main(["export", str(results), str(tmp_path / f"{name}.{suffix}")]) == 0
    assert (tmp_path / f"one.{suffix}").read_bytes() == (tmp_path / f"two.{suffix}").read_bytes()


def test_a_slide_without_patches_is_said_to_be_one(results, tmp_path, capsys):
    own = shutil.copytree(results, tmp_path / "own")
    with (own / "slides.csv").open("a") as table:
        table.write("broken" + "," * (len(SLIDE_COLUMNS) - 1) + "\n")
    unseal(own)
    assert main(["export", str(own), str(tmp_path / "out.h5"), "--slides", "broken"]) == 1
    assert f"'broken', which has no patches: {own / 'slides.csv'} says why" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["all.h5", "all.hdf5", "all.tar"])
def test_an_exported_file_is_called_so_and_no_damaged_store(results, tmp_path, name):
    assert main(["export", str(results), str(tmp_path / name)]) == 0
    with pytest.raises(StoreError, match="is an exported file, and no store: read it") as refused:
        open_store(tmp_path / name)
    assert "remove" not in str(refused.value)


@pytest.mark.parametrize("name", ["all.tar", "all.h5"])
def test_a_file_that_may_not_be_read_is_said_in_words(results, tmp_path, monkeypatch, name):
    (tmp_path / name).write_bytes(b"")

    def refused(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.open", refused)
    monkeypatch.setattr("h5py.File", refused)
    with pytest.raises(MachineError, match=r"Permission denied to user .*change its permissions or owner") as raised:
        open_store(tmp_path / name)
    assert "remove" not in str(raised.value)


def test_it_tells_how_far_it_is_and_what_it_wrote(results, tmp_path, capsys):
    assert main(["export", str(results), str(tmp_path / "all.h5")]) == 0
    said = capsys.readouterr()
    assert "18 of 18 patches exported\n" in said.err
    assert (
        said.out
        == f"{tmp_path / 'all.h5'}: 18 patches of 3 slides, zstd, {(tmp_path / 'all.h5').stat().st_size:,} bytes\n"
    )


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("out.zip", [], "out.zip: is neither .h5 nor .tar"),
        ("out.h5", ["--query", "x0 > 9999"], "no patch is selected"),
        ("out.h5", ["--labels", "Tumor"], "'Tumor' is not a label"),
        ("out.h5", ["--slides", "d-slide"], "no slide is called so (there is "),
        ("out.h5", ["--slides", "42"], "no slide is called so: "),
        ("out.h5", ["--query", "x0 +"], "--query is 'x0 +': "),
        (
            "out.h5",
            ["--query", "tisue_fraction > 0.5"],
            "'tisue_fraction' (there is tissue_fraction, white_fraction",
        ),
        ("out.h5", ["--query", "x0"], "is not true or false for each patch"),
        ("there.h5", [], "is there already"),
    ],
)
def test_what_cannot_be_exported_is_said_and_leaves_nothing(results, tmp_path, capsys, name, arguments, words):
    (tmp_path / "there.h5").write_text("mine")
    assert main(["export", str(results), str(tmp_path / name), *arguments]) == 1
    said = capsys.readouterr().err
    assert words in said
    # There is none on a command line.
    assert "ds." not in said
    assert said.count("slidemill: ") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["there.h5"]
    assert (tmp_path / "there.h5").read_text() == "mine"


@pytest.fixture
def own(results, tmp_path):
    """A copy of the results that may be written to."""
    return shutil.copytree(results, tmp_path / "own")


@pytest.mark.parametrize("suffix", ["h5", "tar"])
def test_stores_of_two_encodings_are_refused(own, tmp_path, capsys, noise, suffix):
    write_a_store("lmdb", own / store_path("lmdb", "c-slide"), "png", noise(len(PATCHES), SIZE), "c-slide")
    write_tables(own, dict.fromkeys(SLIDES, "ok"))
    assert main(["export", str(own), str(tmp_path / f"out.{suffix}")]) == 1
    assert "c-slide.lmdb: is png" in capsys.readouterr().err
    assert not list(tmp_path.glob("*out*"))


@pytest.mark.parametrize("suffix", ["h5", "tar"])
def test_a_damaged_patch_is_not_passed_on(own, tmp_path, capsys, suffix):
    path = own / "stores/disk/a-slide/r00000_c00001.png"
    data = bytearray(path.read_bytes())
    data[60] ^= 1
    path.write_bytes(data)
    assert main(["export", str(own), str(tmp_path / f"out.{suffix}"), "--backend", "disk"]) == 1
    said = capsys.readouterr().err
    assert "a-slide: patch r00000_c00001 is not what was written" in said
    assert not list(tmp_path.glob("*out*"))


def test_a_store_of_another_run_is_not_exported_under_this_ones_labels(own, tmp_path, capsys, noise):
    path = own / store_path("lmdb", "a-slide")
    path.unlink()
    write_a_store("lmdb", path, "zstd", noise(len(PATCHES), SIZE, seed=9), "a-slide")
    assert main(["export", str(own), str(tmp_path / "out.h5"), "--backend", "lmdb"]) == 1
    assert "a-slide.lmdb: does not match stores.csv" in capsys.readouterr().err
    assert not (tmp_path / "out.h5").exists()
