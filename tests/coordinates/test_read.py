"""Files of coordinates, good and bad."""

import os
import signal

import h5py
import numpy as np
import pytest

from slidemill.coordinates import _hdf5
from slidemill.coordinates._content import Square
from slidemill.coordinates._read import read_coordinates
from slidemill.errors import SlideError
from tests.coordinates.files import clam, table, trident, write_hdf5

PLACES = [[7, 3], [0, 0], [512, 40]]


def test_formats_give_the_same_places(tmp_path):
    trident(tmp_path / "t.h5", PLACES, 256, 512, name="a", level0_width=900, level0_height=700)
    clam(tmp_path / "c.h5", np.array(PLACES, np.int32), 256, 1, level_dim=(225, 175), name=b"a")
    table(tmp_path / "c.csv", PLACES)
    read = [read_coordinates(tmp_path / name) for name in ("t.h5", "c.h5", "c.csv")]
    assert [own.places.tolist() for own in read] == [PLACES] * 3
    assert [own.square for own in read] == [Square(256, side0=512), Square(256, level=1), None]
    assert [own.name for own in read] == ["a", "a", None]
    assert [own.sizes for own in read] == [{0: (900, 700)}, {1: (225, 175)}, None]


def test_magnifications_give_the_square(tmp_path):
    """As TRIDENT computes it: rounded down."""
    write_hdf5(tmp_path / "a.h5", PLACES, patch_size=255, level0_magnification=40, target_magnification=20.0)
    assert read_coordinates(tmp_path / "a.h5").square == Square(255, side0=510)
    write_hdf5(tmp_path / "a.h5", PLACES, patch_size=255, level0_magnification=41, target_magnification=20)
    assert read_coordinates(tmp_path / "a.h5").square == Square(255, side0=522)


def test_attributes_may_be_the_files(tmp_path):
    write_hdf5(tmp_path / "a.h5", PLACES)
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file.attrs["patch_size"], file.attrs["patch_level"] = 64, 0
    assert read_coordinates(tmp_path / "a.h5").square == Square(64, level=0)


def test_no_place_is_no_fault(tmp_path):
    trident(tmp_path / "a.h5", np.empty((0, 2), np.int64), 256, 512)
    (tmp_path / "a.csv").write_text("x,y\n", encoding="utf-8")
    assert [read_coordinates(tmp_path / f"a.{end}").places.shape for end in ("h5", "csv")] == [(0, 2)] * 2


def test_tables_may_have_further_columns(tmp_path):
    (tmp_path / "a.csv").write_text("\ufeffslide,X0,score,y0\na,7.0,0.5,3\n", encoding="utf-8")
    assert read_coordinates(tmp_path / "a.csv").places.tolist() == [[7, 3]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n", "has the columns a, b: expected x and y"),
        ("", "has the columns none: expected x and y"),
        ("x,y\n1,2.5\n", "line 2 has '2.5': expected whole level-0 pixels"),
        ("x,y\n1,2\n3,\n", "line 3 has '': expected whole level-0 pixels"),
        ("x,y\n1,nan\n", "line 2 has 'nan'"),
        ("x,y\n1,1e300\n", "line 2 has '1e300'"),
        ("x,y\n1_0,0\n", "line 2 has '1_0'"),
        ("x,y\n1\n", "line 2 has 1 fields, and the header 2"),
        ("x,y\n\xff", None),
    ],
)
def test_bad_tables_are_refused(tmp_path, text, message):
    (tmp_path / "a.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(SlideError, match=message):
        read_coordinates(tmp_path / "a.csv")


CLAM = {"patch_size": 256, "patch_level": 0}


@pytest.mark.parametrize(
    ("places", "attributes", "message"),
    [
        ([[1.5, 2.0]], {}, "row 0 of coords is 1.5, 2: expected whole level-0 pixels"),
        ([[np.nan, 2.0]], {}, "row 0 of coords is nan, 2"),
        ([[1, 2]], {"patch_size": 0}, "patch_size is 0: expected a whole number, at least 1"),
        ([[1, 2]], {"patch_size": 1e300}, r"patch_size is 1e\+300: expected a whole number"),
        ([[1, 2]], {"patch_size": h5py.Empty("f4")}, "patch_size is "),
        (
            [[1, 2]],
            {"patch_size": 256, "level0_magnification": 1e308, "target_magnification": 1e-9},
            "side by its magnifications is nan",
        ),
        ([[1, 2]], {"patch_size": "256"}, "patch_size is '256'"),
        ([[1, 2]], {"patch_size": 256, "patch_level": 0.5}, "patch_level is 0.5"),
        ([[1, 2]], CLAM | {"level_dim": [np.nan, 5.0]}, "level_dim is nan: expected a whole number, at least 1"),
        ([[1, 2]], CLAM | {"level_dim": [5, np.inf]}, "level_dim is inf"),
        ([[1, 2]], CLAM | {"level_dim": [5.5, 5.0]}, "level_dim is 5.5"),
        ([[1, 2]], CLAM | {"level_dim": np.array([b"a", b"b"])}, "level_dim is b'a'"),
        ([[1, 2]], CLAM | {"level_dim": [[1, 2], [3, 4]]}, r"level_dim is \[1, 2\]"),
        ([[1, 2]], CLAM | {"level_dim": [1, 2, 3]}, r"level_dim is \[1, 2, 3\]: expected width and height"),
        (np.array([[0, 4096]], np.float16), {}, "coords is float16, which rounds pixels beyond 2048, and 4096 is amo"),
        (
            [[1, 2]],
            {"patch_size": 256, "level0_magnification": 40, "target_magnification": 0},
            "target_magnification is 0: expected a number above 0",
        ),
    ],
)
def test_bad_hdf5_is_refused(tmp_path, places, attributes, message):
    write_hdf5(tmp_path / "a.h5", places, **attributes)
    with pytest.raises(SlideError, match=message):
        read_coordinates(tmp_path / "a.h5")


def test_other_files_are_refused(tmp_path):
    (tmp_path / "a.h5").write_bytes(b"nothing")
    with pytest.raises(SlideError, match="cannot be read"):
        read_coordinates(tmp_path / "a.h5")
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["features"] = np.zeros((3, 4))
    with pytest.raises(SlideError, match="has no dataset coords, but features"):
        read_coordinates(tmp_path / "b.h5")
    with h5py.File(tmp_path / "c.h5", "w") as file:
        file["coords"] = np.zeros((3, 5), np.int32)
    with pytest.raises(SlideError, match=r"coords is int32 \(3, 5\): expected integers \(n, 2\)"):
        read_coordinates(tmp_path / "c.h5")
    with pytest.raises(SlideError, match="cannot be read"):
        read_coordinates(tmp_path / "missing.h5")


def test_values_may_be_arrays_of_one(tmp_path):
    """As MATLAB writes them."""
    write_hdf5(
        tmp_path / "a.h5", [[1, 2]], patch_size=np.array([64]), patch_level=np.array([[1]]), name=np.array([b"b"])
    )
    found = read_coordinates(tmp_path / "a.h5")
    assert (found.square, found.name) == (Square(64, level=1), "b")


def test_attributes_that_nothing_asks_for_are_not_read(tmp_path):
    trident(tmp_path / "a.h5", PLACES, 256, 512)
    with h5py.File(tmp_path / "a.h5", "a") as file:
        h5py.h5a.create(file["coords"].id, b"time", h5py.h5t.UNIX_D32LE, h5py.h5s.create(h5py.h5s.SCALAR))
        with pytest.raises(TypeError):
            file["coords"].attrs["time"]
        file.attrs["patch_size"] = "the dataset's own attribute has priority"
    assert read_coordinates(tmp_path / "a.h5").square == Square(256, side0=512)


@pytest.mark.parametrize("kind", ["external link", "soft link", "pipe", "external data", "view"])
def test_data_of_other_files_is_not_read(tmp_path, kind):
    """A link may lead to any file of the machine, or to a pipe, which would block."""
    trident(tmp_path / "other.h5", PLACES, 256, 512)
    os.mkfifo(tmp_path / "pipe")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        if kind == "external data":
            file.create_dataset("coords", (3, 2), np.int64, external=[(str(tmp_path / "other.h5"), 0, 48)])
        elif kind == "view":
            layout = h5py.VirtualLayout((3, 2), np.int64)
            layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "coords", (3, 2))
            file.create_virtual_dataset("coords", layout)
        elif kind == "soft link":
            file["coords"] = h5py.SoftLink("/elsewhere")
        else:
            file["coords"] = h5py.ExternalLink(str(tmp_path / ("pipe" if kind == "pipe" else "other.h5")), "coords")
    with pytest.raises(SlideError, match="coords is a link, or its data is in another file"):
        read_coordinates(tmp_path / "a.h5")


@pytest.mark.parametrize(
    ("rows", "chunk", "message"),
    [
        (2**34, 2**10, "has 17,179,869,184 places, and sampling.max_patches is 50,000,000: allow more"),
        (2**25, 2**10, r"coords takes 536,870,912 bytes, and the file has [\d,]+: it is damaged"),
        (3, 2**26, r"coords takes 1,073,741,824 bytes, and the file has [\d,]+: it is damaged"),
    ],
)
def test_claimed_rows_take_no_memory(tmp_path, rows, chunk, message):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("coords", (rows, 2), "i8", chunks=(chunk, 2), maxshape=(None, 2), compression="gzip")
    with pytest.raises(SlideError, match=message):
        read_coordinates(tmp_path / "a.h5")


def test_more_places_than_allowed_are_counted(tmp_path):
    table(tmp_path / "a.csv", PLACES)
    trident(tmp_path / "a.h5", PLACES, 256, 512)
    for end in ("csv", "h5"):
        assert len(read_coordinates(tmp_path / f"a.{end}", 3).places) == 3
        with pytest.raises(SlideError, match=r"has 3 places, and sampling.max_patches is 2: allow more"):
            read_coordinates(tmp_path / f"a.{end}", 2)


def test_crash_of_the_library_fails_the_slide(tmp_path, monkeypatch):
    trident(tmp_path / "a.h5", PLACES, 256, 512)
    monkeypatch.setattr(_hdf5, "_check_link", lambda _: os.kill(os.getpid(), signal.SIGSEGV))
    with pytest.raises(SlideError, match=r"the process that read it died \(signal 11\): it is damaged"):
        read_coordinates(tmp_path / "a.h5")


@pytest.mark.long
def test_endless_reading_ends(tmp_path, monkeypatch):
    """A damaged list of attributes can lead HDF5 in circles."""
    trident(tmp_path / "a.h5", PLACES, 256, 512)
    monkeypatch.setattr(_hdf5, "LONGEST", 1)
    monkeypatch.setattr(_hdf5, "_check_link", lambda _: any(iter(int, 1)))
    with pytest.raises(SlideError, match=rf"died \(signal {int(signal.SIGXCPU)}\): it is damaged"):
        read_coordinates(tmp_path / "a.h5")
