"""The cohort as one sequence: what it holds, what is selected, and how many stores it holds open."""

import pickle
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from slidemill import open_dataset, read_metadata
from slidemill.core.columns import SLIDE_COLUMNS
from slidemill.core.csv_tables import read_table, write_table
from slidemill.core.encodings import encode_patch
from slidemill.core.files import remove
from slidemill.core.parquet import read_parquet, write_parquet
from slidemill.core.pyramid import Pyramid
from slidemill.core.results_layout import SUFFIXES, store_path
from slidemill.core.specs import GridSpec, StoreSpec
from slidemill.datasets.export import export
from slidemill.errors import SlidemillError, StoreError
from slidemill.slides.grid import Grid
from slidemill.stages.store import new_manifest
from slidemill.stores import store_pool
from slidemill.stores.registry import STORES
from slidemill.stores.writer import write_store
from tests.datasets.conftest import PATIENTS, SLIDES
from tests.results import ENCODING, LABELS, PATCHES, SIZE, unseal, write_a_store, write_metadata, write_tables


@pytest.mark.parametrize("backend", SUFFIXES)
def test_each_patch_is_its_stores_under_its_own_name_and_label(results, truth, backend):
    with open_dataset(results, backend) as dataset:
        assert len(dataset) == len(truth) == 3 * len(PATCHES)
        assert dataset.backend == backend
        for place, patch in enumerate(dataset):
            assert np.array_equal(patch.pixels, truth[place])
            own = PATCHES[place % len(PATCHES)]
            assert (patch.slide, patch.patch_id) == (SLIDES[place // len(PATCHES)], own.patch_id)
            assert (patch.x0, patch.y0, patch.width0, patch.height0) == (own.x0, own.y0, own.width0, own.height0)
            assert (patch.label, patch.label_name) == LABELS[place % 3]
        assert np.array_equal(dataset.read(range(len(dataset))), truth)


def test_the_first_backend_of_the_results_is_read(dataset):
    assert dataset.backend == "lmdb"
    assert list(dataset.slides) == list(SLIDES)
    assert dict(dataset.classes) == {0: "Normal", 1: "Tumour"}
    assert set(dataset.fingerprints) == set(SLIDES)


def test_they_say_in_a_line_what_they_are(results, dataset):
    assert repr(dataset) == f"Dataset(18 patches of 3 slides, lmdb, {results})"
    assert repr(dataset[1]).startswith(
        "Patch(label=1, label_name='Tumour', slide='b-slide', patch_id='r00000_c00001', x0=16"
    )


def test_places_count_from_the_end_too_and_slices_are_datasets(dataset, truth):
    assert np.array_equal(dataset[-1].pixels, truth[-1])
    for place in (len(truth), -len(truth) - 1):
        with pytest.raises(IndexError, match="counted from 0"):
            dataset[place]
    part = dataset[4:15:3]
    assert np.array_equal(part.read(range(len(part))), truth[4:15:3])


def test_the_frame_is_the_csvs_with_a_type_for_each_column(results, dataset):
    table = read_metadata(results)
    assert list(dataset.table.columns) == list(table.columns)
    assert list(dataset.table.index) == list(range(len(table)))
    for name in table.columns:
        assert dataset.table[name].tolist() == pytest.approx(table[name].tolist(), nan_ok=True), name
    assert dataset.table["x0"].dtype == "int32"
    assert isinstance(dataset.table["patient"].dtype, pd.CategoricalDtype)


@pytest.mark.parametrize("text", ["NA", "", "a,b", 'a "quoted" one', "two\nlines", "ä€😀", "1e5", "true", " x "])
def test_texts_of_a_sheet_come_back_as_they_were(tmp_path, text):
    from slidemill.core.columns import METADATA_COLUMNS
    from slidemill.core.csv_tables import write_table

    numbers = dict.fromkeys(("column", "row", "x0", "y0", "width0", "height0", "level", "label"), -3)
    row = {**numbers, "patch_id": "r00000_c00000", "slide": "s", "label_name": text, "text": text, "mpp": 0.25}
    write_table(tmp_path / "m.csv", (*METADATA_COLUMNS, "text"), [row, row])
    write_parquet(tmp_path / "m.parquet", tmp_path / "m.csv")
    frame = read_parquet(tmp_path / "m.parquet")
    assert frame["text"].tolist() == frame["label_name"].tolist() == [text, text]
    assert frame["x0"].tolist() == [-3, -3]
    assert frame["mpp"].tolist() == [0.25, 0.25]
    assert frame["blur"].isna().all()


def test_a_cohort_without_patches_is_empty_and_not_an_error(tmp_path, results):
    folder = tmp_path / "results"
    shutil.copytree(results, folder)
    table = folder / "metadata.csv"
    table.write_text(table.read_text().splitlines()[0] + "\n")
    unseal(folder)
    write_parquet(folder / "metadata.parquet", table)
    with open_dataset(folder) as dataset:
        assert len(dataset) == 0
        assert list(dataset) == list(dataset.batches(4)) == []
        assert len(dataset.select(query="label == 0")) == 0


def named_results(results, folder, paths):
    """A copy of the results whose slides have these paths."""
    shutil.copytree(results, folder)
    rows = list(read_table(folder / "slides.csv"))
    write_table(
        folder / "slides.csv", SLIDE_COLUMNS, [{**row, "path": path} for row, path in zip(rows, paths, strict=True)]
    )
    return unseal(folder)


def test_slides_are_selected_by_stem_file_name_and_path(results, tmp_path):
    folder = named_results(results, tmp_path / "results", ["sub/CMU-1.svs", "Fall 3 Präparat.svs", "CMU-2.v2.ndpi"])
    with open_dataset(folder) as ds:
        for place, names in enumerate(
            [("CMU-1", "CMU-1.svs", "sub/CMU-1.svs"), ("Fall 3 Präparat",), ("CMU-2.v2", "CMU-2.v2.ndpi")]
        ):
            for name in (*names, ds.slides[place]):
                assert list(ds.select(slides=name).slides) == [ds.slides[place]]
                assert ds.store(name) is ds.store(ds.slides[place])
        assert len(ds.select(slides=["CMU-1", ds.slides[1]]).slides) == 2
        # A name has the same meaning in a selection of a selection.
        assert len(ds.select(slides="CMU-1").select(slides="CMU-1").slides) == 1
        with pytest.raises(SlidemillError, match=r"CMU-1: the dataset has no patch of this slide"):
            ds.select(slides="CMU-2.v2").select(slides="CMU-1")


def test_names_of_several_slides_or_of_none_are_refused(results, tmp_path):
    folder = named_results(results, tmp_path / "results", ["a/CMU-1.svs", "b/CMU-1.svs", "CMU-3.svs"])
    with open_dataset(folder) as ds:
        both = ", ".join(sorted(ds.slides[:2]))
        with pytest.raises(SlidemillError, match=rf"CMU-1: 2 slides have this name; give an id: {both}"):
            ds.select(slides="CMU-1")
        with pytest.raises(SlidemillError, match="2 slides have this name"):
            ds.select(slides=ds.slides[0]).select(slides="CMU-1.svs")
        assert list(ds.select(slides="a/CMU-1.svs").slides) == [ds.slides[0]]
        with pytest.raises(SlidemillError, match=r"cmu 3: the dataset has no such slide \(did you mean CMU-3.*\?\)"):
            ds.select(slides=["cmu 3"])


def test_selections(dataset, truth):
    own = dataset.select(slides="a-slide")
    assert list(own.slides) == ["a-slide"]
    assert np.array_equal(own.read(range(len(own))), truth[6:12])
    assert dataset.select(slides=["c-slide", "b-slide"]).table["slide"].unique().tolist() == ["b-slide", "c-slide"]
    for labels in (1, "Tumour", [1], ["Tumour", 1]):
        assert set(dataset.select(labels=labels).table["label"]) == {1}
    assert set(dataset.select(labels=["Other", 0]).table["label"]) == {-1, 0}
    near = dataset.select(query="x0 >= 16 and patient == 'P1'")
    kept = dataset.table.query("x0 >= 16 and patient == 'P1'").index.to_numpy()
    assert np.array_equal(near.read(range(len(near))), truth[kept])
    both = near.select(labels=0)
    assert len(both) == len(dataset.table.query("x0 >= 16 and patient == 'P1' and label == 0"))
    assert dict(both.classes) == dict(dataset.classes)


def test_patches_are_taken_in_the_order_asked_for(dataset, truth):
    wanted = [17, 0, 5, 5, 9]
    assert np.array_equal(dataset.take(wanted).read(range(5)), truth[wanted])
    mask = np.arange(len(truth)) % 4 == 1
    assert np.array_equal(dataset.take(mask).read(range(mask.sum())), truth[mask])


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"slides": ["a-slid"]}, "a-slid: the dataset has no such slide"),
        ({"labels": ["tumour"]}, "'tumour' is not a label of these results, which have 0 Normal, 1 Tumour"),
        ({"labels": [7]}, "7 is not a label"),
        ({"query": "colour == 3"}, "colour"),
        ({"query": "x0 +"}, "cannot be evaluated"),
        ({"query": "x0 + 1"}, "is not true or false for each patch"),
    ],
)
def test_what_cannot_be_selected_is_said(dataset, arguments, told):
    with pytest.raises(SlidemillError, match=told):
        dataset.select(**arguments)


@pytest.fixture
def unstored(results, tmp_path):
    """The same results of a run that wrote no stores."""
    folder = tmp_path / "unstored"
    shutil.copytree(results, folder, ignore=shutil.ignore_patterns("stores", "store_patches", "validat*"))
    write_tables(folder, dict.fromkeys(SLIDES, "ok"), backends=())
    write_metadata(folder, SLIDES, columns=PATIENTS)
    return folder


def test_dataset_without_stores_has_its_table(unstored, dataset):
    with open_dataset(unstored) as bare:
        assert bare.table.equals(dataset.table)
        assert (len(bare), bare.slides, bare.classes) == (len(dataset), dataset.slides, dataset.classes)
        assert bare.select(slides="a-slide", query="x0 > 0").table["slide"].unique() == ["a-slide"]
        assert [len(part) for part in bare.sets(3).fold(0)] == [len(part) for part in dataset.sets(3).fold(0)]
        assert repr(bare) == f"Dataset({len(bare)} patches of 3 slides, no stores, {unstored})"
        assert bare.backend == ""


@pytest.mark.parametrize(
    "read",
    [
        lambda ds: ds[0],
        lambda ds: ds.read([1]),
        lambda ds: ds.store("a-slide"),
        lambda ds: next(iter(ds)),
        lambda ds: next(ds.batches(4)),
        lambda ds: next(ds.batches(4, workers=1)),
        lambda ds: export(ds, ds.results / "all.h5"),
        lambda ds: open_dataset(ds.results, "lmdb"),
    ],
)
def test_pixels_without_stores_are_refused(unstored, read):
    with open_dataset(unstored) as bare, pytest.raises(SlidemillError) as refused:
        read(bare)
    assert str(refused.value) == (
        f"{unstored}: the run wrote no stores (stores: {{}}), so the results have no pixels: read the "
        "slides with backend 'slides', or name a backend, such as stores: {lmdb: {encoding: zstd}}, and run again"
    )


def test_what_cannot_be_opened_is_said(results, tmp_path):
    with pytest.raises(SlidemillError, match=r"metadata\.parquet: this table does not exist"):
        open_dataset(tmp_path)
    with pytest.raises(SlidemillError, match="no stores of n5: choose from lmdb, hdf5, disk"):
        open_dataset(results, "n5")
    with pytest.raises(SlidemillError, match=r"metadata\.csv/metadata\.parquet: this table does not exist"):
        open_dataset(results / "metadata.csv")
    with pytest.raises(SlidemillError, match="most_open is 0"):
        open_dataset(results, most_open=0)
    (tmp_path / "metadata.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(SlidemillError, match="cannot be read as a table"):
        open_dataset(tmp_path)


def test_results_of_failed_slides_alone_are_told(results, tmp_path):
    folder = tmp_path / "results"
    shutil.copytree(results, folder)
    write_tables(folder, dict.fromkeys(SLIDES, "failed"))
    stores = folder / "stores.csv"
    stores.write_text(stores.read_text().splitlines()[0] + "\n")
    unseal(folder)
    with pytest.raises(SlidemillError, match=r"no slide has a store: slides\.csv says"):
        open_dataset(folder)


def test_a_store_that_is_gone_is_named_when_it_is_read(results, tmp_path):
    folder = tmp_path / "results"
    shutil.copytree(results, folder)
    (folder / "stores/lmdb/a-slide.lmdb").unlink()
    with open_dataset(folder) as dataset:
        assert dataset[0].pixels.shape == (SIZE, SIZE, 3)
        with pytest.raises(StoreError, match=r"a-slide\.lmdb"):
            dataset[6]


@pytest.mark.parametrize("backend", SUFFIXES)
def test_a_store_of_another_run_or_slide_is_not_read_as_this_ones(results, truth, tmp_path, noise_of, backend):
    folder = tmp_path / "results"
    shutil.copytree(results, folder)
    place = folder / store_path(backend, "a-slide")
    with open_dataset(folder, backend) as opened, open_dataset(folder, backend) as other:
        assert np.array_equal(opened[6].pixels, truth[6])
        remove(place)
        write_a_store(backend, place, ENCODING[backend], 255 - noise_of["a-slide"], "a-slide")
        # One that was open reads on in the store that it knows, or says that this is gone; and takes no other for it.
        try:
            assert np.array_equal(opened[7].pixels, truth[7])
        except StoreError as error:
            assert "a-slide" in str(error)
        with pytest.raises(StoreError, match=r"a-slide.*does not match stores\.csv"):
            other[6]
    remove(place)
    own = folder / store_path(backend, "b-slide")
    shutil.copytree(own, place) if own.is_dir() else shutil.copy(own, place)
    with open_dataset(folder, backend) as dataset, pytest.raises(StoreError, match=r"does not match stores\.csv"):
        dataset[6]


@pytest.mark.parametrize("augment", [False, True])
def test_patches_of_two_sizes_are_not_mixed(results, tmp_path, noise, augment):
    folder = tmp_path / "results"
    shutil.copytree(results, folder)
    remove(folder / "stores/lmdb/a-slide.lmdb")
    small = list(Grid(Pyramid(((24, 16),), (1.0,)), GridSpec(8, level=0)).patches())
    manifest = new_manifest(
        STORES["lmdb"], StoreSpec("raw"), "a-slide", fingerprint="f" * 32, grid=GridSpec(8, level=0)
    )
    stored = ((patch, encode_patch(manifest.codec, None, one)) for patch, one in zip(small, noise(6, 8), strict=True))
    write_store(STORES["lmdb"], folder / "stores/lmdb/a-slide.lmdb", manifest, patches=small, stored=stored)
    stores = folder / "stores.csv"
    stores.write_text(re.sub(r"[0-9a-f]{32}", "", stores.read_text()))
    unseal(folder)
    with open_dataset(folder, "lmdb") as dataset, pytest.raises(StoreError, match="ask for one size"):
        list(dataset.batches(6, augment=augment))


def test_masks_are_masks_and_places_are_whole_numbers(dataset, truth):
    mask = np.arange(len(truth)) % 3 == 0
    assert np.array_equal(dataset.read(mask), truth[mask])
    assert np.array_equal(dataset.read([-1, 0]), truth[[-1, 0]])
    assert len(dataset.read([])) == len(dataset.take([])) == 0
    for wrong, told in (
        ([0.9, 5.7], "places are float64"),
        (mask[:3], "places are bool"),
        ([[1, 2]], r"\(1, 2\): give whole numbers"),
        ([99], "patch 99 does not exist"),
        ([0, -19], "patch -19 does not exist"),
    ):
        for ask in (dataset.read, dataset.take):
            with pytest.raises(SlidemillError, match=told):
                ask(wrong)


def test_tables_that_are_not_a_runs_are_told_in_words(results, tmp_path):
    folder = tmp_path / "results"
    shutil.copytree(results, folder, ignore=shutil.ignore_patterns("stores"))
    unseal(folder)
    whole = (folder / "metadata.parquet").read_bytes()
    table = pq.read_table(folder / "metadata.parquet")
    pq.write_table(pa.table({name: pa.array(table[name].to_pylist()) for name in table.column_names}), folder / "p")
    (folder / "p").replace(folder / "metadata.parquet")
    assert open_dataset(folder).select(slides="a-slide").table["label_name"].dtype == "category"
    nulls = table.set_column(table.column_names.index("label"), "label", pa.nulls(len(table), pa.int64()))
    pq.write_table(nulls, folder / "metadata.parquet")
    with pytest.raises(SlidemillError, match=r"metadata\.parquet: the column label has rows without a value"):
        open_dataset(folder)
    (folder / "metadata.parquet").write_bytes(whole[:200] + bytes(len(whole) - 600) + whole[-400:])
    with pytest.raises(SlidemillError, match=r"metadata\.parquet: cannot be read"):
        open_dataset(folder)
    (folder / "metadata.parquet").write_bytes(whole)
    for name in ("slides.csv", "stores.csv"):
        (folder / name).rename(folder / "away")
        with pytest.raises(SlidemillError, match=f"{name}: cannot be read"):
            open_dataset(folder)
        (folder / "away").rename(folder / name)


def test_no_more_stores_are_held_open_than_may_be(results, truth, monkeypatch):
    opened = []

    def open_store(path):
        opened.append(Path(path).stem)
        return pool_open(path)

    pool_open = store_pool.open_store
    monkeypatch.setattr(store_pool, "open_store", open_store)
    dataset = open_dataset(results, most_open=2)
    assert opened == []
    order = [0, 6, 1, 7, 12, 8, 13, 0]
    assert np.array_equal(dataset.read(order), truth[order])
    # The one that was not read for longest goes: b, when c comes.
    assert opened == ["b-slide", "a-slide", "c-slide", "b-slide"]
    assert len(dataset.stored.pool._open) == 2
    dataset.close()
    assert len(dataset.stored.pool._open) == 0
    assert np.array_equal(dataset[3].pixels, truth[3])


def test_threads_share_it_while_stores_come_and_go(results, truth):
    with open_dataset(results, most_open=1) as dataset, ThreadPoolExecutor(4) as threads:
        orders = [np.random.default_rng(seed).permutation(len(truth)) for seed in range(40)]
        for order, pixels in zip(orders, threads.map(dataset.read, orders), strict=True):
            assert np.array_equal(pixels, truth[order])


def test_it_is_carried_by_pickling(dataset, truth):
    dataset.read([0])
    copy = pickle.loads(pickle.dumps(dataset))
    assert np.array_equal(copy.read([4, 11]), truth[[4, 11]])
    stored = pickle.loads(pickle.dumps(dataset.stored))
    assert np.array_equal(stored.read(np.array([3])), truth[[3]])


def test_pixels_go_where_they_are_wanted(dataset, truth):
    out = np.empty((2, SIZE, SIZE, 3), np.uint8)
    assert dataset.read([3, 8], out) is out
    assert np.array_equal(out, truth[[3, 8]])
    for wrong in (
        np.empty((3, SIZE, SIZE, 3), np.uint8),
        out.astype(np.int16),
        np.empty((4, SIZE, SIZE, 3), np.uint8)[::2],
    ):
        with pytest.raises(StoreError, match="out is"):
            dataset.read([3, 8], wrong)
