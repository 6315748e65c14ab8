"""`slidemill import-pywsi`: databases as py-wsi writes them, and pickles that somebody made to do harm."""

import os
import pickle
import shutil
import struct
import sys
import tracemalloc
from pathlib import Path
from types import ModuleType

import lmdb
import numpy as np
import pytest

from slidemill import open_dataset, read_metadata
from slidemill.cli.commands import main
from slidemill.exchange.pywsi import parse_item
from slidemill.slides.discovery import slide_id

SIZE = 16


class Item:
    """Has the attributes of py-wsi's class, and its name while it is pickled."""

    __module__ = "py_wsi.item"

    def __init__(self, pixels, coords, label):
        self.channels, self.size, self.data = 3, len(pixels), pixels.tobytes()
        self.label, self.coords = label, coords


@pytest.fixture(autouse=True)
def module(monkeypatch):
    """A module for the pickles to name, gone when they are read."""
    for name in ("py_wsi", "py_wsi.item"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    sys.modules["py_wsi.item"].Item = Item


def pickled(pixels, column, row, label=0, protocol=4, array=True):
    coords = np.array([column, row]) if array else [column, row]
    return pickle.dumps(Item(pixels, coords, label), protocol)


def database(folder, values):
    """Write a database of keys and values, as a folder."""
    with lmdb.open(os.fspath(folder), map_size=1 << 26) as env, env.begin(write=True) as transaction:
        for key, value in values.items():
            transaction.put(key.encode(), value)
    return folder


@pytest.fixture
def pixels(noise):
    """Of slides `a-1` and `b c`, of twelve columns, which LMDB has in another order than raster."""
    pictures = iter(noise(48, SIZE))
    return {
        (slide, column, row): next(pictures) for slide in ("a-1", "b c") for column in range(12) for row in range(2)
    }


@pytest.fixture
def old(tmp_path, pixels):
    values = {
        f"{slide}-{column}-{row}": pickled(own, column, row, label=(column % 3) - 1)
        for (slide, column, row), own in pixels.items()
    }
    return database(tmp_path / "old", values)


def imported(old, new, *arguments):
    sys.modules.pop("py_wsi.item", None)
    sys.modules.pop("py_wsi", None)
    return main(["import-pywsi", str(old), str(new), *arguments])


def test_patches_places_and_labels_are_those_of_the_database(old, pixels, tmp_path, capsys):
    new = tmp_path / "new"
    assert imported(old, new, "--downsample", "4", "--labels", "Normal=0", "Tumour=1") == 0
    assert "48 patches" in capsys.readouterr().out
    ids = {slide_id(Path(f"{slide}.svs")): slide for slide in ("a-1", "b c")}
    with open_dataset(new) as dataset:
        assert (len(dataset), set(dataset.slides)) == (48, set(ids))
        for patch in dataset:
            column, row = int(patch.patch_id[8:]), int(patch.patch_id[1:6])
            np.testing.assert_array_equal(patch.pixels, pixels[ids[patch.slide], column, row])
            assert (patch.x0, patch.y0, patch.width0) == (column * SIZE * 4, row * SIZE * 4, SIZE * 4)
            assert patch.label == column % 3 - 1
            assert patch.label_name == {-1: "-1", 0: "Normal", 1: "Tumour"}[patch.label]
    table = read_metadata(new)
    assert list(table["patch_id"][:24]) == sorted(table["patch_id"][:24])
    assert set(table["downsample"]) == {4.0}
    assert set(table["level"]) == {-1}  # py-wsi does not record which native level was read
    assert main(["verify", str(new)]) == 0


def test_with_an_overlap_patches_begin_before_their_tile(tmp_path, noise):
    values = {f"a-{column}-1": pickled(noise(1, SIZE)[0], column, 1) for column in (1, 2)}
    old = database(tmp_path / "old", values)
    assert imported(old, tmp_path / "new", "--downsample", "2", "--overlap", "3") == 0
    table = read_metadata(tmp_path / "new")
    assert table["x0"].tolist() == [(10 * 1 - 3) * 2, (10 * 2 - 3) * 2]
    assert table["y0"].tolist() == [14, 14]
    assert set(table["width0"]) == {32}


def test_the_file_may_be_named_and_is_not_written_to(old, tmp_path):
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in old.iterdir()}
    assert imported(old / "data.mdb", tmp_path / "new", "--downsample", "1") == 0
    assert set(read_metadata(tmp_path / "new")["level"]) == {0}
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in old.iterdir()} == before


def test_two_imports_are_the_same(old, tmp_path):
    for name in ("one", "two"):
        assert imported(old, tmp_path / name, "--downsample", "1") == 0
    one, two = (
        {str(path.relative_to(tmp_path / name)): path.read_bytes() for path in (tmp_path / name).rglob("*.*")
         if path.is_file()}
        for name in ("one", "two")
    )  # fmt: skip
    assert one == two


@pytest.mark.parametrize("protocol", [3, 4, 5])
@pytest.mark.parametrize("array", [True, False])
@pytest.mark.parametrize("label", [0, 2, -1, np.int64(2), np.int32(-1), 70_000])
def test_however_a_patch_was_pickled_it_is_read(noise, protocol, array, label):
    (pixels,) = noise(1, SIZE)
    data = pickled(pixels, 300, 70_000, label, protocol, array)
    item = parse_item(data, 300, 70_000)
    np.testing.assert_array_equal(item.pixels, pixels)
    assert (item.label, type(item.label)) == (int(label), int)


def test_pickles_of_older_numpy_and_of_the_first_version_are_read(noise):
    (pixels,) = noise(1, SIZE)
    data = pickled(pixels, 1, 2, protocol=3)
    older = data.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")
    older = older.replace(b"cpy_wsi.item\n", b"citem\n")
    assert older != data
    np.testing.assert_array_equal(parse_item(older, 1, 2).pixels, pixels)


class Calls:
    """Pickled, it calls a function when it is read."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


def hostile(folder, noise):
    """By what they do, pickles that would do harm in plain Python."""
    (pixels,) = noise(1, SIZE)
    touch = f"touch {folder / 'harmed'}"
    good = pickled(pixels, 0, 0, protocol=4)

    def within(**values):
        item = Item(pixels, np.array([0, 0]), 0)
        item.__dict__.update(values)
        return pickle.dumps(item, 4)

    nested = Calls(getattr, Calls(__import__, "os"), "system")
    yield "os.system", pickle.dumps(Calls(os.system, touch))
    yield "in the label", within(label=Calls(os.system, touch))
    yield "in the place", within(coords=[Calls(eval, f"__import__('os').system({touch!r})"), 0])
    yield "nested", within(extra=Calls(map, nested, [touch]))
    yield "by numpy", within(label=Calls(np.frombuffer, b"1234"))
    yield "by numpy's own unpickling", within(coords=Calls(np.array([0]).__reduce__()[0], np.memmap, (1 << 40,), b"b"))
    yield "by text", b"cos\nsystem\n(S'" + touch.encode() + b"'\ntR."
    yield "INST", b"(S'" + touch.encode() + b"'\nios\nsystem\n."
    yield "OBJ", b"(cos\nsystem\nX\x05\x00\x00\x00touchoR."
    yield "dotted", b"\x80\x04\x8c\x0bpy_wsi.item\x8c\x14Item.__init__.__class__\x93."
    yield "EXT", b"\x80\x02\x82\x01."
    yield "PERSID", b"Ptouch\n."
    # Each is a pair of the one before, a hundred times: to hash it, or to print it, takes forever.
    pairs = b"\x80\x04)q\x00" + b"".join(b"h\x00h\x00\x86q\x00" for _ in range(90))
    yield "a name without end", pairs + b"h\x00h\x00\x93."
    yield "a key without end", pairs + b"}h\x00Ns."
    yield "a label without end", pairs + good[2:-1] + b"}\x8c\x05labelh\x00sb."
    yield "no mark", b"\x80\x04NNt."
    yield "an end and nothing", b"\x80\x04."
    yield "nothing there", b"\x80\x04)\x86."
    yield "an array of a terabyte", b"\x80\x05\x96" + struct.pack("<Q", 2**40) + b"abc."
    yield "bytes of a terabyte", b"\x80\x04\x8e" + struct.pack("<Q", 2**40) + b"abc."
    yield "lists without end", b"\x80\x04" + b"]" * 10_000_000 + b"."
    yield "lists in lists", b"\x80\x04" + b"]" * 300 + b"a" * 299 + b"."
    yield "a class's own state", b"\x80\x04\x8c\x0bpy_wsi.item\x8c\x04Item\x93}\x8c\x08__init__Nsb."
    yield "a claim of pixels", within(size=2**60)
    yield "more pixels", within(size=SIZE + 1)
    yield "another place", pickled(pixels, 1, 0)
    yield "pixels of no kind", within(data="text")
    yield "a label of no kind", within(label="Normal")
    yield "cut short", good[: len(good) // 2]
    yield "nothing", b""


def test_what_is_no_patch_is_refused_and_nothing_of_it_is_run(tmp_path, noise):
    for name, data in hostile(tmp_path, noise):
        tracemalloc.start()
        with pytest.raises(ValueError, match=r"\w") as refused:
            parse_item(data, 0, 0)
        assert "\n" not in str(refused.value)
        assert tracemalloc.get_traced_memory()[1] < 100e6, name
        tracemalloc.stop()
        assert not (tmp_path / "harmed").exists(), name


def test_a_memo_of_gigabytes_takes_no_memory(noise):
    (pixels,) = noise(1, SIZE)
    data = pickled(pixels, 0, 0)[:-1] + b"r" + struct.pack("<I", 2**32 - 1) + b"."
    tracemalloc.start()
    np.testing.assert_array_equal(parse_item(data, 0, 0).pixels, pixels)
    assert tracemalloc.get_traced_memory()[1] < 100e6
    tracemalloc.stop()


def test_the_same_pickles_do_harm_in_plain_python(tmp_path, noise):
    """So that the test above can fail."""
    harmful = ("os.system", "in the label", "in the place", "by text", "INST")
    for name, data in hostile(tmp_path, noise):
        if name in harmful:
            pickle.loads(data)
            assert (tmp_path / "harmed").exists(), name
            (tmp_path / "harmed").unlink()


def test_a_good_patch_is_read_after_bad_ones(tmp_path, noise):
    """Nothing that a pickle does to what stands for its classes lasts."""
    for _, data in hostile(tmp_path, noise):
        with pytest.raises(ValueError, match=r"\w"):
            parse_item(data, 0, 0)
    (pixels,) = noise(1, SIZE)
    np.testing.assert_array_equal(parse_item(pickled(pixels, 0, 0), 0, 0).pixels, pixels)


def test_a_database_with_a_bad_value_is_refused_in_words_and_leaves_nothing(old, tmp_path, capsys):
    database(old, {"a-1-3-1": pickle.dumps(Calls(os.system, f"touch {tmp_path / 'harmed'}"))})
    assert imported(old, tmp_path / "new", "--downsample", "1") == 1
    said = capsys.readouterr().err
    assert said.splitlines()[-1].startswith(
        f"slidemill: {old / 'data.mdb'}: the value of a-1-3-1 is not a patch of py-wsi"
    )
    assert "it names posix.system" in said
    assert "never wrote such a value: do not trust this database" in said
    assert "copy" not in said
    assert [path.name for path in tmp_path.iterdir()] == ["old"]


def test_a_value_that_is_cut_short_is_called_damaged_and_not_distrusted(old, tmp_path, capsys, noise):
    database(old, {"a-1-3-1": pickled(noise(1, SIZE)[0], 3, 1)[:-100]})
    assert imported(old, tmp_path / "new", "--downsample", "1") == 1
    said = capsys.readouterr().err
    assert "copy the database again" in said
    assert "trust" not in said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--downsample", "0"], "--downsample is 0"),
        (["--downsample", "3"], "--downsample is 3: each DeepZoom level is half of the next: give 1, 2, 4"),
        (["--downsample", "1", "--overlap", "-1"], "--overlap -1"),
        (["--downsample", "1", "--overlap", "2"], "so there was none: leave it out"),
        (["--downsample", "1", "--labels", "Tumour"], "--labels names 'Tumour': give NAME=NUMBER"),
        (["--downsample", "1", "--labels", "Normal=0", "Normal=1"], "--labels names 'Normal' twice, as 0 and 1"),
    ],
)
def test_what_does_not_fit_is_said(old, tmp_path, capsys, arguments, words):
    assert imported(old, tmp_path / "new", *arguments) == 1
    assert words in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_an_overlap_that_is_not_given_is_missed(tmp_path, noise, capsys):
    old = database(tmp_path / "old", {"a-1-1": pickled(noise(1, SIZE)[0], 1, 1)})
    assert imported(old, tmp_path / "new", "--downsample", "1") == 1
    assert "--overlap is 0" in capsys.readouterr().err
    assert imported(old, tmp_path / "new", "--downsample", "1", "--overlap", "8") == 1
    assert "give less than half of the patches' 16 pixels" in capsys.readouterr().err


@pytest.mark.long
def test_other_databases_are_refused(old, tmp_path, capsys, noise):
    values = {"a-0-0": pickled(noise(1, SIZE)[0], 0, 0), "a-1-0": pickled(noise(1, 32)[0], 1, 0)}
    sizes = database(tmp_path / "sizes", values)

    def refused(path, words, *more):
        assert imported(path, tmp_path / "new", "--downsample", "1", *more) == 1
        assert words in capsys.readouterr().err

    refused(database(tmp_path / "meta", {"a-1": pickle.dumps([3, 4])}), "not the one that ends in _meta")
    refused(database(tmp_path / "other", {"x-01-2": b""}), "is none of py-wsi's patches")
    refused(database(tmp_path / "empty", {}), "has no patches")
    refused(tmp_path / "nowhere", "this LMDB database does not exist")
    (tmp_path / "text").write_bytes(b"text" * 4000)
    refused(tmp_path / "text", "LMDB cannot open it")
    (tmp_path / "short").write_bytes(b"text")
    refused(tmp_path / "short", "4 bytes are not an LMDB database")
    shutil.copy(old / "data.mdb", tmp_path / "cut")
    os.truncate(tmp_path / "cut", 40_000)
    refused(tmp_path / "cut", "is truncated")
    refused(sizes, "a has patches of 16 and of 32 pixels")
    (tmp_path / "new").mkdir()
    refused(old, "already exists")


def test_database_without_open_files_is_not_damaged(old, tmp_path, monkeypatch, capsys):
    def refuse(*_, **__):
        raise lmdb.Error(f"{old}: Too many open files")

    monkeypatch.setattr("slidemill.exchange.pywsi.lmdb.open", refuse)
    imported(old, tmp_path / "new", "--downsample", "1")
    said = capsys.readouterr().err
    assert "Too many open files" in said
    assert "LMDB cannot open it" not in said


def test_too_little_memory_is_not_called_a_broken_pickle(noise, monkeypatch):
    def refuse(_):
        raise MemoryError

    (pixels,) = noise(1, SIZE)
    monkeypatch.setattr("slidemill.exchange.pywsi._Unpickler.load", refuse)
    with pytest.raises(MemoryError):
        parse_item(pickled(pixels, 0, 0), 0, 0)
