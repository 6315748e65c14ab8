"""`slidemill export`: patches with labels and coordinates in one file, for stock readers or as they are stored."""

import io
import json
import re
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
from tests.conftest import ROOT
from tests.datasets.conftest import SLIDES
from tests.results import FINGERPRINT, PATCHES, SIZE, unseal, write_a_store, write_slide, write_tables

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
    command = ["export", str(results), str(tmp_path / "all.h5"), "--backend", backend, "--encoding", "stored"]
    assert main(command) == 0
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
        assert sample["json"]["label"] == sample["cls"] == row["label"]
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


ENCODED = [
    *((backend, encoding) for backend in ("lmdb", "hdf5") for encoding in ("raw", "zstd", "png", "jpeg", "source")),
    *((backend, encoding) for backend in ("disk", "tar") for encoding in ("raw", "png", "jpeg", "source")),
]
"""Every backend with every encoding that it can have."""


@pytest.fixture(scope="module", params=ENCODED, ids="-".join)
def encoded(request, tmp_path_factory, noise_of):
    """Results of one slide with one store, its backend and encoding, and its table and pixels."""
    backend, encoding = request.param
    folder = tmp_path_factory.mktemp("encoded")
    write_slide(folder, "a-slide", noise_of["a-slide"], {backend: encoding})
    write_tables(folder, {"a-slide": "ok"}, (backend,))
    with open_dataset(folder) as dataset:
        yield folder, encoding, dataset.table, dataset.read(range(len(dataset)))


@pytest.mark.cases
def test_tar_opens_in_webdataset(encoded, tmp_path):
    """Stock decoders give the pixels of the store, the row and the label, whatever the encoding of the store."""
    folder, encoding, table, pixels = encoded
    assert main(["export", str(folder), str(tmp_path / "all.tar")]) == 0
    stream = webdataset.WebDataset(str(tmp_path / "all.tar"), shardshuffle=False).decode("rgb8")
    samples = list(stream.to_tuple("__key__", "jpg" if encoding in ("jpeg", "source") else "png", "cls", "json"))
    assert [key for key, *_ in samples] == list("a-slide/" + table["patch_id"])
    np.testing.assert_array_equal([image for _, image, *_ in samples], pixels)
    assert [label for *_, label, _ in samples] == table["label"].tolist()
    assert [row["x0"] for *_, row in samples] == table["x0"].tolist()


@pytest.mark.cases
def test_hdf5_opens_in_h5py(encoded, tmp_path):
    folder, encoding, table, pixels = encoded
    assert main(["export", str(folder), str(tmp_path / "all.h5")]) == 0
    with h5py.File(tmp_path / "all.h5") as file:
        assert file["patches"].dtype == np.uint8
        np.testing.assert_array_equal(file["patches"][:], pixels)
        same_table(columns_of(file), table)
        # Which pixels have been through a lossy encoding stays known.
        slide = json.loads(file["provenance"].asstr()[()])["slides"]["a-slide"]
        assert slide["encoding"].replace("npy", "raw") == encoding
        assert slide["quality"] == (90 if encoding == "jpeg" else None)


def webdataset_blocks():
    """The blocks of the docs that read by webdataset: from stores, and from an exported file."""
    pages = [*(ROOT / "docs").rglob("*.md"), *(ROOT / "config").glob("*.md")]
    found = [block for page in pages for block in re.findall(r"^```python\n(.*?)^```$", page.read_text(), re.M | re.S)]
    stores = [block for block in found if "WebDataset(shards" in block]
    exported = [block for block in found if 'WebDataset("patches.tar"' in block]
    return stores[0], exported[0]


def recorded(block, variables):
    """Run a block of the docs that loops, and return the variables of each turn."""
    found = []
    lines = block.rstrip().splitlines()
    indent = " " * (len(lines[-1]) - len(lines[-1].lstrip()))
    exec("\n".join([*lines, f"{indent}found.append(({', '.join(variables)}))"]), {"found": found})
    return found


@pytest.mark.cases
def test_webdataset_guide_runs(encoded, tmp_path, monkeypatch):
    """The blocks of the docs give pixels and labels, of each encoding."""
    folder, _, table, pixels = encoded
    from_stores, from_export = webdataset_blocks()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").symlink_to(folder)
    assert main(["export", "results", "patches.tar", "--query", "label >= 0"]) == 0
    chosen = np.flatnonzero(table["label"] >= 0)
    rows = recorded(from_export, ["pixels", "label", "slide", "x0", "y0"])
    np.testing.assert_array_equal([row[0] for row in rows], pixels[chosen])
    assert [row[1:] for row in rows] == [
        (row.label, row.slide, row.x0, row.y0) for row in table.iloc[chosen].itertuples()
    ]
    if (folder / "stores" / "tar").exists():
        rows = recorded(from_stores, ["pixels", "label"])
        np.testing.assert_array_equal([row[0] for row in rows], pixels)
        assert [row[1] for row in rows] == table["label"].tolist()


@pytest.mark.cases
@pytest.mark.parametrize("suffix", ["h5", "tar"])
def test_stored_bytes_are_kept(encoded, tmp_path, suffix):
    folder, encoding, table, _ = encoded
    assert main(["export", str(folder), str(tmp_path / f"all.{suffix}"), "--encoding", "stored"]) == 0
    with open_dataset(folder) as dataset:
        store = dataset.store("a-slide")
        stored = [store.read_bytes(patch_id) for patch_id in table["patch_id"]]
        if encoding == "raw":
            stored = [decode_patch(store.manifest.codec, data, SHAPE).tobytes() for data in stored]
    if suffix == "h5":
        with h5py.File(tmp_path / "all.h5") as file:
            payload = file["patches" if encoding == "raw" else "payload"][:].tobytes()
        assert payload == b"".join(stored)
        return
    own = {"raw": ".npy", "zstd": ".zst", "png": ".png", "jpeg": ".jpg", "source": ".jpg"}[encoding]
    with tarfile.open(tmp_path / "all.tar") as file:
        found = [file.extractfile(member).read() for member in file if member.name.endswith(own)]
    assert [np.load(io.BytesIO(data)).tobytes() if encoding == "raw" else data for data in found] == stored


def test_raw_patches_become_arrays_in_a_tar_file(results, truth, tmp_path):
    command = ["export", str(results), str(tmp_path / "all.tar"), "--backend", "hdf5", "--encoding", "stored"]
    assert main(command) == 0
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
    assert "broken: the dataset has no patch of this slide; slides.csv says why" in capsys.readouterr().err


def test_slides_are_named_as_in_select(results, tmp_path, capsys):
    """By path, file name or stem where only one slide has it, as `ds.select` takes them."""
    own = unseal(shutil.copytree(results, tmp_path / "own"))
    paths = {"b-slide": "first/case one.svs", "a-slide": "first/twin.svs", "c-slide": "second/twin.svs"}
    table = pandas.read_csv(own / "slides.csv", dtype=str)
    table.assign(path=table["slide"].map(paths)).to_csv(own / "slides.csv", index=False)
    for number, (name, slide) in enumerate(
        {"case one": "b-slide", "case one.svs": "b-slide", "second/twin.svs": "c-slide"}.items()
    ):
        out = tmp_path / f"{number}.h5"
        assert main(["export", str(own), str(out), "--slides", name]) == 0
        with h5py.File(out) as file:
            assert set(columns_of(file)["slide"]) == {slide}
    assert main(["export", str(own), str(tmp_path / "out.h5"), "--slides", "twin"]) == 1
    assert "twin: 2 slides have this name; give an id: a-slide, c-slide" in capsys.readouterr().err


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
        == f"{tmp_path / 'all.h5'}: 18 patches of 3 slides, raw, {(tmp_path / 'all.h5').stat().st_size:,} bytes\n"
    )


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("out.zip", [], "out.zip: is neither .h5 nor .tar"),
        ("out.h5", ["--query", "x0 > 9999"], "no patch is selected"),
        ("out.h5", ["--labels", "Tumor"], "'Tumor' is not a label"),
        ("out.h5", ["--slides", "d-slide"], "d-slide: the dataset has no such slide (did you mean "),
        ("out.h5", ["--slides", "42"], "42: the dataset has no such slide; its slides are "),
        ("out.h5", ["--query", "x0 +"], "--query is 'x0 +': "),
        (
            "out.h5",
            ["--query", "tisue_fraction > 0.5"],
            "'tisue_fraction' (there is tissue_fraction, white_fraction",
        ),
        ("out.h5", ["--query", "x0"], "is not true or false for each patch"),
        ("there.h5", [], "already exists"),
        ("there.h5/out.h5", [], "there.h5 is not a folder: name another file"),
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
