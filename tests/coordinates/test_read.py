"""Files of coordinates, good and bad."""

import h5py
import numpy as np
import pytest

from slidemill.coordinates._read import Square, read_coordinates
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
