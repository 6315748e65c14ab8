"""The elements of DICOM files are those that pydicom finds, and nothing makes the search endless."""

import os
import random
import struct
from contextlib import contextmanager

import pydicom
import pytest
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from slidemill.tiles import dicom_elements
from slidemill.tiles.dicom_elements import UNDEFINED, DicomError, elements, series_of, value_of
from tests.conftest import painted
from tests.dicoms import LAYOUTS, SERIES, Layout, write_series

pytestmark = pytest.mark.cases


@contextmanager
def opened(path):
    file = os.open(path, os.O_RDONLY)
    try:
        yield file
    finally:
        os.close(file)


def all_elements(path):
    with opened(path) as file:
        return list(elements(file))


@pytest.fixture(scope="module")
def small():
    return painted(300, 200)


def pydicoms(path):
    """Tag and bytes of the top-level elements but pixels, as pydicom reads them raw."""
    dataset = pydicom.dcmread(path)
    found = {int(one): dataset.file_meta.get_item(one).value for one in list(dataset.file_meta.keys())}
    return found | {int(one): dataset.get_item(one).value for one in list(dataset.keys())}


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda one: one.name)
def test_elements_are_those_of_pydicom(tmp_path, small, layout):
    path = write_series(tmp_path, small, layout)
    wanted, found = pydicoms(path), all_elements(path)
    assert [one.tag for one in found] == list(wanted)
    with opened(path) as file:
        for one in found:
            if isinstance(wanted[one.tag], bytes) and one.length <= dicom_elements.LONGEST_VALUE:
                assert value_of(file, one.start, one.length) == wanted[one.tag]
    assert series_of(path) == SERIES.encode()


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian], ids=["explicit", "implicit"])
@pytest.mark.parametrize("undefined", [False, True], ids=["of known length", "of unknown length"])
@pytest.mark.parametrize("window", [dicom_elements.LONGEST_HEADER + 132, 1 << 14])
def test_nested_sequences_are_skipped(tmp_path, small, syntax, undefined, window, monkeypatch):
    """They name a series, and pixels, of their own."""
    monkeypatch.setattr(dicom_elements, "WINDOW", window)

    def edit(dataset):
        dataset.file_meta.TransferSyntaxUID = syntax
        inner, outer = pydicom.Dataset(), pydicom.Dataset()
        inner.SeriesInstanceUID, inner.PixelData = "9.9.9", bytes(200)
        inner["PixelData"].VR = "OW"
        outer.ReferencedImageSequence = pydicom.Sequence([inner, inner])
        outer["ReferencedImageSequence"].is_undefined_length = undefined
        dataset.ReferencedSeriesSequence = pydicom.Sequence([outer, outer, pydicom.Dataset()])
        dataset["ReferencedSeriesSequence"].is_undefined_length = undefined

    path = write_series(tmp_path, small, Layout(syntax=ExplicitVRLittleEndian, edit=edit))
    found = all_elements(path)
    assert [one.tag for one in found] == list(pydicoms(path))
    lengths = {one.tag: one.length for one in found}
    assert (lengths[0x0008_1115] == UNDEFINED) == undefined
    assert series_of(path) == SERIES.encode()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "it is not a DICOM file"),
        (bytes(128) + b"DICM" + bytes(100), "element 00000000 comes after 00000000"),
        (bytes(128) + b"DICM" + b"\2\0\x10\0UI\4\0ab", None),
        (bytes(128) + b"DICM" + b"\2\0\x10\0U", "it ends within an element"),
        (bytes(128) + b"DICM" + b"\xfe\xff\x0d\xe0" + bytes(4), "element fffee00d comes after 00000000"),
        (bytes(128) + b"DICM" + b"\x08\0\x15\x11SQ\0\0\xff\xff\xff\xff" + bytes(2), "it ends within an element"),
    ],
)
def test_what_is_no_dicom_is_named(tmp_path, data, words):
    path = tmp_path / "a.dcm"
    path.write_bytes(data)
    if words is None:
        assert [one.tag for one in all_elements(path)] == [0x0002_0010]
    else:
        with pytest.raises(DicomError, match=words):
            all_elements(path)
    assert series_of(path) is None


def test_search_ends_in_a_sequence_of_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(dicom_elements, "MOST_ELEMENTS", 1000)
    path = tmp_path / "a.dcm"
    path.write_bytes(bytes(128) + b"DICM" + b"\x08\0\x15\x11SQ\0\0\xff\xff\xff\xff" + bytes(16_000))
    with pytest.raises(DicomError, match="more than 1,000 elements"):
        all_elements(path)


@pytest.mark.parametrize("seed", range(20))
def test_random_bytes_end_the_search(tmp_path, seed):
    generator = random.Random(seed)
    head = struct.pack("<HH2sH", 8, generator.randrange(1, 99), b"UI", 2) + b"ab"
    path = tmp_path / "a.dcm"
    path.write_bytes(bytes(128) + b"DICM" + head + generator.randbytes(5000))
    try:
        tags = [one.tag for one in all_elements(path)]
    except DicomError:
        return
    assert tags == sorted(set(tags))
