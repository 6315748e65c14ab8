"""The one HDF5 file over the stores of all slides."""

import json
import os
import re
import shutil

import h5py
import numpy as np
import pytest

from slidemill import open_dataset
from slidemill.cli.commands import main
from slidemill.core.encodings import ENCODINGS, decode_patch
from slidemill.core.results_layout import JOINED, store_path
from slidemill.datasets.joined_hdf5 import join_stores
from slidemill.errors import SlidemillError, StoreError
from slidemill.stores.registry import open_store
from tests.conftest import ROOT
from tests.results import PATCHES, SIZE, unseal, write_a_store, write_metadata, write_tables

pytestmark = pytest.mark.cases


@pytest.fixture
def own(results, tmp_path):
    """A copy of the results, with the file."""
    folder = shutil.copytree(results, tmp_path / "own")
    join_stores(folder, folder / JOINED)
    return folder


def test_row_by_row_it_is_the_table_and_the_stores(own, truth):
    with h5py.File(own / JOINED) as file, open_dataset(own) as dataset:
        assert file["patches"].shape == truth.shape
        np.testing.assert_array_equal(file["patches"][:], truth)
        for place in np.random.default_rng(1).permutation(len(truth))[:7]:
            np.testing.assert_array_equal(file["patches"][place], dataset[int(place)].pixels)
        for name in ("patch_id", "slide", "label_name", "patient"):
            assert file[f"table/{name}"].asstr()[:].tolist() == dataset.table[name].tolist()
        for name in ("x0", "y0", "column", "row", "label", "downsample"):
            assert file[f"table/{name}"][:].tolist() == dataset.table[name].tolist()
        assert file.attrs["encoding"] == "raw"
        assert json.loads(file.attrs["labels"]) == {"0": "Normal", "1": "Tumour"}


def test_it_copies_no_pixel(own, truth):
    with h5py.File(own / JOINED) as file:
        assert file["patches"].is_virtual
        assert {source.file_name for source in file["patches"].virtual_sources()} == {
            "a-slide.h5",
            "b-slide.h5",
            "c-slide.h5",
        }


def test_it_is_read_from_anywhere_and_after_the_results_were_moved(own, truth, tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    moved = own.rename(tmp_path / "moved")
    with h5py.File(moved / JOINED) as file:
        np.testing.assert_array_equal(file["patches"][:], truth)
    stores = shutil.copytree(moved / JOINED.parent, tmp_path / "copied")
    shutil.rmtree(moved)
    monkeypatch.chdir(stores)
    with h5py.File(JOINED.name) as file:
        np.testing.assert_array_equal(file["patches"][:], truth)


def test_patches_of_a_store_that_is_missing_are_zeros(own, truth):
    """What HDF5 does: the page on tables says so."""
    (own / store_path("hdf5", "a-slide")).unlink()
    with h5py.File(own / JOINED) as file:
        found = file["patches"][:]
    missing = slice(len(PATCHES), 2 * len(PATCHES))
    assert not found[missing].any()
    np.testing.assert_array_equal(np.delete(found, missing, axis=0), np.delete(truth, missing, axis=0))


def test_encoded_patches_are_one_payload(results, truth, noise_of, tmp_path):
    own = shutil.copytree(results, tmp_path / "own")
    for slide, pixels in noise_of.items():
        write_a_store("hdf5", own / store_path("hdf5", slide), "png", pixels, slide)
    table = (own / "stores.csv").read_text().replace("hdf5,raw", "hdf5,png")
    (own / "stores.csv").write_text(table)
    unseal(own)
    join_stores(own, own / JOINED)
    with h5py.File(own / JOINED) as file:
        offsets, encoding = file["offsets"][:], ENCODINGS[file.attrs["encoding"]]
        assert (encoding.name, len(offsets)) == ("png", len(truth) + 1)
        for place in (0, 5, 6, 11, 17):
            data = file["payload"][offsets[place] : offsets[place + 1]].tobytes()
            np.testing.assert_array_equal(decode_patch(encoding, data, (SIZE, SIZE, 3)), truth[place])


def test_two_files_of_the_same_results_are_the_same_bytes(own):
    before = (own / JOINED).read_bytes()
    join_stores(own, own / JOINED)
    assert (own / JOINED).read_bytes() == before
    with h5py.File(own / JOINED) as file:
        datasets = [file["patches"], *file["table"].values()]
        # The clock's seconds would differ between two runs, and hardly between these two.
        assert not any(one.id.get_create_plist().get_obj_track_times() for one in datasets)


def test_results_without_a_patch_give_an_empty_file(own):
    write_metadata(own, [])
    join_stores(own, own / JOINED)
    with h5py.File(own / JOINED) as file:
        assert len(file["patches"]) == 0
        assert len(file["table/label"]) == len(file["table/slide"]) == 0


@pytest.mark.parametrize("status", ["failed", "empty"])
def test_slides_that_all_failed_or_are_empty_give_an_empty_file(tmp_path, status):
    """A slide's fault fails the gate, and no other job."""
    (tmp_path / "stores" / "hdf5").mkdir(parents=True)
    write_tables(tmp_path, {"one": status, "two": status}, backends=())
    join_stores(tmp_path, tmp_path / JOINED)
    with h5py.File(tmp_path / JOINED) as file:
        assert len(file["patches"]) == len(file["table/slide"]) == 0
        assert json.loads(file.attrs["labels"]) == {}


def test_a_store_that_does_not_fit_the_table_is_said(own):
    text = (own / "stores.csv").read_text()
    (own / "stores.csv").write_text(text.replace("a-slide,hdf5,raw,6", "a-slide,hdf5,raw,5"))
    unseal(own)
    with pytest.raises(SlidemillError, match=r"a-slide.h5: holds 5 patches, and the table 6: run the workflow"):
        join_stores(own, own / JOINED)


def test_the_snippets_of_the_configurations_page_run(own, truth, monkeypatch):
    (own.parent / "results").symlink_to(own)
    monkeypatch.chdir(own.parent)
    page = (ROOT / "config" / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    tar, joined = (next(one for one in blocks if name in one) for name in ("stores/tar", "all.h5"))
    found = {}
    exec(tar, found)
    np.testing.assert_array_equal(found["pixels"], truth[-1])
    assert found["label"] == found["table"]["label"].iloc[-1]
    exec(joined, found)
    np.testing.assert_array_equal(found["pixels"], truth[7])
    assert (found["label"], found["slide"]) == (found["table"]["label"][7], found["table"]["slide"][7])


def test_it_is_called_so_and_no_damaged_store(own):
    with pytest.raises(StoreError, match="is the one file over all slides, and no store: read it with h5py") as refused:
        open_store(own / JOINED)
    assert "remove" not in str(refused.value)


def test_verify_takes_it_for_no_store_and_looks_at_it(own, capsys):
    assert main(["verify", str(own)]) == 0
    said = capsys.readouterr()
    assert "in no table" not in said.err
    assert said.out.endswith(f"slides and {JOINED} are intact\n")


def cut(path):
    path.write_bytes(path.read_bytes()[:3])


def overwritten(path):
    data = bytearray(path.read_bytes())
    data[100 : len(data) : 7] = bytes(len(data[100 : len(data) : 7]))
    path.write_bytes(data)


def changed(name, change):
    def change_it(path):
        with h5py.File(path, "r+") as file:
            change(file, name)

    return change_it


def another_value(file, name):
    file[name][3] += 1


def taken_away(file, name):
    del file[name]


def other_sources(file, name):
    shape, sources = file[name].shape, file[name].virtual_sources()
    layout, place = h5py.VirtualLayout(shape, np.uint8), 0
    for one in reversed(sources):
        (first, *_), (last, *_) = one.vspace.get_select_bounds()
        size = last + 1 - first
        layout[place : place + size] = h5py.VirtualSource(one.file_name, name, (size, *shape[1:]))
        place += size
    del file[name]
    file.create_virtual_dataset(name, layout)


def pixels_of_its_own(file, name):
    shape = file[name].shape
    del file[name]
    file.create_dataset(name, shape, np.uint8)


def fewer_rows(file, name):
    rows = file[name][1:]
    del file[name]
    file[name] = rows


def another_label(file, name):
    file.attrs[name] = json.dumps({"0": "Tumour", "1": "Normal"})


def kept_in_a_pipe(file, name):
    os.mkfifo(f"{file.filename}.pipe")
    shape, kind = file[name].shape, file[name].dtype
    size = file[name].size * kind.itemsize
    del file[name]
    file.create_dataset(name, shape, kind, external=[(f"{file.filename}.pipe", 0, size)])


def linked_elsewhere(file, name):
    os.mkfifo(f"{file.filename}.pipe")
    del file[name]
    file[name] = h5py.ExternalLink(f"{file.filename}.pipe", name)


def terabytes(file, name):
    del file[name]
    file.create_dataset(name, (2**40,), np.int64, chunks=(2**20,))


def larger_blocks(file, name):
    rows = file[name][:]
    del file[name]
    file.create_dataset(name, data=rows, chunks=(1,))


def large_attribute(file, name):
    del file.attrs[name]
    file.attrs.create(name, np.zeros(2**18, np.int64))


def a_pipe(path):
    path.unlink()
    os.mkfifo(path)


@pytest.mark.long
@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (changed("table/label", kept_in_a_pipe), "its table/label does not store its bytes as a new one"),
        (changed("patches", kept_in_a_pipe), "its patches does not store its bytes as a new one"),
        (changed("table", linked_elsewhere), "has no table that is not a link"),
        (changed("patches", linked_elsewhere), "has no patches that is not a link"),
        (changed("table/label", terabytes), "its table/label has not the shape"),
        (changed("table/label", larger_blocks), "its table/label does not store its bytes as a new one"),
        (changed("labels", large_attribute), "its attribute labels claims to be larger"),
        (a_pipe, "is not a file"),
        (cut, "cannot be read"),
        (overwritten, ""),
        (changed("table/label", another_value), "its table/label holds other values"),
        (changed("table/x0", fewer_rows), "its table/x0 has not the shape"),
        (changed("table/slide", taken_away), "has no table/slide that is not a link"),
        (changed("patches", taken_away), "has no patches that is not a link"),
        (changed("patches", other_sources), "its patches does not name the stores in the order of the table"),
        (changed("patches", pixels_of_its_own), "its patches does not name the stores"),
        (changed("labels", another_label), "its attribute labels is"),
    ],
)
def test_verify_names_it_where_it_is_not_what_would_be_written(own, capsys, damage, words):
    before = {path: path.read_bytes() for path in own.rglob("*") if path.is_file() and path != own / JOINED}
    damage(own / JOINED)
    assert main(["verify", str(own)]) == 1
    first, last = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{own / JOINED}: {words}")
    assert last.startswith(f"{JOINED} is not intact: finish the run and verify again; remove what")
    assert {path: path.read_bytes() for path in own.rglob("*") if path.is_file() and path != own / JOINED} == before


def test_verify_misses_it_where_the_run_to_the_report_has_made_it(own, capsys):
    (own / JOINED).unlink()
    # As after a run to the stores alone, which makes none.
    assert main(["verify", str(own)]) == 0
    assert "slides are intact\n" in capsys.readouterr().out
    (own / "report.html").write_text("page")
    assert main(["verify", str(own)]) == 1
    assert f"{own / JOINED}: is missing, and the last run has made it\n" in capsys.readouterr().out


def test_one_of_an_earlier_run_is_no_damage(own, capsys):
    """Other labels, and a run to the stores alone."""
    write_metadata(own, ["b-slide", "a-slide", "c-slide"], labels=((1, "Tumour"),))
    os.utime(own / JOINED, (1_000_000_000,) * 2)
    assert main(["verify", str(own)]) == 0
    said = capsys.readouterr()
    assert f"{own / JOINED} is older than the tables: run again to update it" in said.err
    assert said.out.endswith("slides are intact\n")


def test_verify_names_one_of_other_tables_that_no_run_replaces(own, capsys):
    """Snakemake goes by times: one of another run, copied there, stays until it is removed."""
    write_metadata(own, ["b-slide", "a-slide", "c-slide"], labels=((1, "Tumour"),))
    os.utime(own / JOINED)
    assert main(["verify", str(own)]) == 1
    said = capsys.readouterr()
    assert f"{own / JOINED}: was made of other tables than there are; remove it and run again" in said.out
    assert "is older" not in said.err


def test_verify_names_an_old_one_that_is_damaged(own, capsys):
    """A time stamp says nothing of what a file holds."""
    changed("table/label", another_value)(own / JOINED)
    os.utime(own / JOINED, (1_000_000_000,) * 2)
    assert main(["verify", str(own)]) == 1
    said = capsys.readouterr()
    assert f"{own / JOINED}: its table/label holds other values than the tables" in said.out
    assert "remove it and run again" in said.out
    assert "is older" not in said.err


def test_verify_does_not_mind_an_old_one_that_is_whole(own, capsys):
    os.utime(own / JOINED, (1_000_000_000,) * 2)
    assert main(["verify", str(own)]) == 0
    assert "is older" not in capsys.readouterr().err


def test_it_is_not_compared_with_stores_that_are_damaged(own, capsys):
    (own / store_path("hdf5", "b-slide")).write_bytes(b"no store")
    assert main(["verify", str(own)]) == 1
    assert str(JOINED) not in capsys.readouterr().out
