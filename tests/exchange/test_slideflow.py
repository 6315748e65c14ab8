"""`slidemill export --layout slideflow`: TFRecords that an independent reader takes apart to the last byte."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

from slidemill.exchange import _slideflow
from tests.exchange.test_layouts import export, files, run, tables

pytest.importorskip("google_crc32c", reason="google-crc32c is not installed: pip install google-crc32c")


def crc32c(data):
    """The checksum of RFC 3720, bit by bit."""
    found = 0xFFFFFFFF
    for byte in data:
        found ^= byte
        for _ in range(8):
            found = found >> 1 ^ (0x82F63B78 if found & 1 else 0)
    return found ^ 0xFFFFFFFF


def test_the_tests_own_checksum_is_right():
    assert crc32c(b"123456789") == 0xE3069283


def masked(data):
    """The masked checksum of TFRecords."""
    found = crc32c(data)
    return ((found >> 15 | found << 17) + 0xA282EAD8) & 0xFFFFFFFF


def payloads(data):
    """The payload of each record and its span, with the checksums of lengths and ends compared."""
    place = 0
    while place < len(data):
        (length,) = struct.unpack_from("<Q", data, place)
        assert struct.unpack_from("<I", data, place + 8)[0] == masked(data[place : place + 8])
        payload = data[place + 12 : place + 12 + length]
        yield payload, struct.unpack_from("<I", data, place + 12 + length)[0], (place, length + 16)
        place += length + 16


def varint(data, place):
    value = shift = 0
    while True:
        byte = data[place]
        value |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return value, place


def fields(data):
    """The number and the content of each field of a message whose fields all have a length."""
    place = 0
    while place < len(data):
        key, place = varint(data, place)
        assert key & 7 == 2
        length, place = varint(data, place)
        yield key >> 3, data[place : place + length]
        place += length
    assert place == len(data)


def example(payload):
    """The features of an Example by name."""
    ((one, content),) = fields(payload)
    assert one == 1
    found = {}
    for number, entry in fields(content):
        assert number == 1
        (_, name), (_, feature) = fields(entry)
        ((kind, values),) = fields(feature)
        ((_, value),) = fields(values)
        if kind == 3:
            value, _end = varint(value, 0)
            value -= 1 << 64 if value >> 63 else 0
        found[name.decode()] = value
    return found


@pytest.mark.cases
@pytest.mark.parametrize("encoding", ["raw", "png", "jpeg"])
def test_records_hold_pixels_places_and_checksums(tmp_path, encoding):
    cohort = run(tmp_path, {"patch_size": 50, "mpp": 0.7}, stores={"disk": {"encoding": encoding}})
    assert export(cohort.results, tmp_path / "out", "slideflow") == 0
    folder = tmp_path / "out/50px_35um"
    assert files(tmp_path / "out") == sorted(
        f"50px_35um/{name}{end}" for name in "ab" for end in (".tfrecords", ".index.npz")
    )
    for name, (table, pixels) in tables(cohort.results).items():
        records = list(payloads((folder / f"{name}.tfrecords").read_bytes()))
        index = np.load(folder / f"{name}.index.npz")
        np.testing.assert_array_equal(index["arr_0"], [span for *_, span in records])
        centres = table[["x0", "y0"]].to_numpy() + 70 // 2
        np.testing.assert_array_equal(index["locations"], centres)
        for (payload, _end, _), wanted, (x, y) in zip(records, pixels, centres.tolist(), strict=True):
            found = example(payload)
            assert list(found) == ["image_raw", "slide", "loc_x", "loc_y"]
            assert (found["slide"], found["loc_x"], found["loc_y"]) == (name.encode(), x, y)
            with Image.open(io.BytesIO(found["image_raw"])) as image:
                assert image.format == ("JPEG" if encoding == "jpeg" else "PNG")
                np.testing.assert_array_equal(np.asarray(image), wanted)
        # Bit by bit, a record takes a while.
        assert masked(records[-1][0]) == records[-1][1]


@pytest.mark.parametrize("value", [0, 1, 127, 128, 300, 2**31, 2**62, -1, -35])
def test_whole_numbers_are_those_of_protocol_buffers(value):
    found, _ = varint(_slideflow._varint(value), 0)
    assert found - (1 << 64 if found >> 63 else 0) == value


def test_missing_library_is_named(tmp_path, monkeypatch, capsys):
    cohort = run(tmp_path, {"patch_size": 50, "level": 0})
    monkeypatch.setattr("slidemill.exchange.layouts.find_spec", lambda name: None)
    assert export(cohort.results, tmp_path / "out", "slideflow") == 1
    assert "--layout slideflow needs google-crc32c, which is not installed: pip install" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_results_without_stores_have_no_pixels(tmp_path, capsys):
    cohort = run(tmp_path, {"patch_size": 50, "level": 0}, stores={})
    assert export(cohort.results, tmp_path / "out", "slideflow") == 1
    assert "stores: {}" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
