"""DICOM slides read frame by frame give OpenSlide's own pixels, or OpenSlide reads them and says why."""

import random
import struct
import tracemalloc
from dataclasses import replace
from pathlib import Path

import imagecodecs
import numpy as np
import openslide
import pydicom
import pytest
import simplejpeg
from pydicom.encaps import generate_frames
from pydicom.uid import JPEG2000, ExplicitVRLittleEndian

from slidemill.core.specs import GridSpec
from slidemill.errors import SlideError
from slidemill.slides.openslide_reader import unreadable_patches
from slidemill.slides.reader_choice import open_reader
from slidemill.tiles import _dicom
from slidemill.tiles.levels import open_level
from slidemill.tiles.tiled_level import TilesError
from tests.conftest import painted
from tests.dicoms import LAYOUTS, Layout, write_series
from tests.openslide_oracle import (
    SPEC,
    asked_of,
    assert_openslides,
    assert_openslides_or_a_fault,
    damage,
    facts,
    read_all,
    strict,
)

pytestmark = pytest.mark.cases

PLAIN = next(one for one in LAYOUTS if one.syntax == ExplicitVRLittleEndian)
OPEN_FILES = Path("/proc/self/fd")
FROM_OPENSLIDE = "are as OpenSlide reads them"


@pytest.fixture(scope="module")
def picture():
    return painted(1030, 777)


@pytest.fixture(scope="module")
def small():
    return painted(400, 300)


def rejected(path):
    """Why the frames of a slide are not read here."""
    found = strict(path)
    assert isinstance(found, TilesError)
    _, reader, why = chosen(path)
    assert (reader, why) == ("openslide", str(found))
    return why


def chosen(path):
    asked = asked_of(path, SPEC)
    with open_reader(asked, "auto", seed=5) as (reader, why):
        return asked, reader.name, why


@pytest.mark.parametrize("spec", [GridSpec(100, level=0), GridSpec(64, 9, level=0, edges="pad")], ids=["", "padded"])
@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda one: one.name)
def test_patches_of_every_layout_are_openslides(tmp_path, picture, layout, spec):
    path = write_series(tmp_path, picture, layout)
    assert FROM_OPENSLIDE in assert_openslides(path, spec)


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda one: one.name)
def test_frames_are_those_that_pydicom_finds(tmp_path, small, layout):
    path = write_series(tmp_path, small, layout)
    dataset = pydicom.dcmread(path)
    count = int(dataset.NumberOfFrames)
    if layout.syntax == ExplicitVRLittleEndian:
        size = 3 * layout.tile[0] * layout.tile[1]
        wanted = [dataset.PixelData[size * number : size * (number + 1)] for number in range(count)]
    else:
        offsets = dataset.get("ExtendedOffsetTable")
        table = (offsets, dataset.ExtendedOffsetTableLengths) if offsets and layout.fragments == 1 else None
        wanted = list(generate_frames(dataset.PixelData, number_of_frames=count, extended_offsets=table))
    with open_level(path, facts(path), 0) as level:
        # pydicom leaves out what fills a frame up to an even length.
        for number, data in enumerate(level.data(range(count))):
            assert data[: len(wanted[number])] == wanted[number]
            assert data[len(wanted[number]) :] in (b"", b"\0")
        assert len(level.offsets) == count


@pytest.mark.parametrize("level", [0, 1, 2])
@pytest.mark.parametrize("name", ["JPEG", "JPEG 2000, RCT", "not compressed"])
def test_each_level_is_read_from_its_own_file(tmp_path, level, name):
    layout = replace(next(one for one in LAYOUTS if one.name == name), downsamples=(1, 4, 16))
    path = write_series(tmp_path, painted(1024, 768), layout)
    assert_openslides(path, GridSpec(32, 3, level=level, edges="pad"))


def test_any_file_of_a_series_opens_the_slide(tmp_path, picture):
    """A label and another series lie next to the levels, and the first file is the label."""
    path = write_series(tmp_path, picture, Layout(downsamples=(1, 2)))
    label = pydicom.dcmread(write_series(tmp_path / "label", picture[:128, :128], Layout()))
    label.ImageType = ["ORIGINAL", "PRIMARY", "LABEL", "NONE"]
    label.SOPInstanceUID = label.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    label.save_as(tmp_path / "a-label.dcm")
    (tmp_path / "notes.txt").write_text("no DICOM")
    (tmp_path / "folder.dcm").mkdir()
    for file in (path, tmp_path / "level-1.dcm", tmp_path / "a-label.dcm"):
        assert_openslides(file, SPEC)


def without_positions(dataset):
    """Frames that say other things than where they lie."""
    items = []
    for _ in range(int(dataset.NumberOfFrames)):
        item = pydicom.Dataset()
        item.FrameContentSequence = [pydicom.Dataset()]
        items.append(item)
    dataset.PerFrameFunctionalGroupsSequence = pydicom.Sequence(items)


@pytest.mark.parametrize("undefined", [False, True], ids=["of known length", "of unknown length"])
def test_frames_may_say_other_things_than_their_places(tmp_path, small, undefined):
    def edit(dataset):
        without_positions(dataset)
        dataset["PerFrameFunctionalGroupsSequence"].is_undefined_length = undefined
        dataset["OpticalPathSequence"].is_undefined_length = undefined

    assert_openslides(write_series(tmp_path, small, Layout(edit=edit)), SPEC)


@pytest.mark.parametrize("chunk", [30, 1 << 20])
def test_places_are_found_wherever_the_file_is_cut(tmp_path, small, monkeypatch, chunk):
    monkeypatch.setattr(_dicom, "CHUNK", chunk)
    assert not isinstance(strict(write_series(tmp_path / "a", small, Layout(positions="rows"))), TilesError)
    path = write_series(tmp_path / "b", small, Layout(positions="columns"))
    assert rejected(path) == "its frames are not in the order of TILED_FULL, row by row"
    assert_openslides(path, SPEC, "openslide")


UNKNOWN = {
    "sparse": (Layout(organization="TILED_SPARSE", positions="columns"), "laid out as TILED_SPARSE, not as TILED_FULL"),
    "3D": (Layout(organization="3D", positions="rows"), "laid out as 3D, not as TILED_FULL"),
    "not said": (Layout(organization=""), "laid out as nothing says, not as TILED_FULL"),
}


@pytest.mark.parametrize("kind", UNKNOWN)
def test_other_layouts_are_openslides_with_a_reason(tmp_path, small, kind):
    layout, words = UNKNOWN[kind]
    path = write_series(tmp_path, small, layout)
    assert words in rejected(path)
    assert_openslides(path, SPEC, "openslide")
    with pytest.raises(SlideError, match=r"level-0\.dcm: its tiles cannot be used .*: choose reader auto"):
        read_all(path, SPEC, "tiles")


def test_concatenations_are_openslides_with_a_reason(tmp_path, small):
    """The first file has the upper frames, and the second the others."""
    path = write_series(tmp_path, small, Layout(tile=(128, 128)))
    whole = pydicom.dcmread(path)
    frames = list(generate_frames(whole.PixelData, number_of_frames=int(whole.NumberOfFrames)))
    path.unlink()
    for number, own in enumerate((frames[:8], frames[8:])):
        part = pydicom.dcmread(write_series(tmp_path / "part", small, Layout()))
        part.SOPInstanceUID = part.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{number}"
        part.ConcatenationUID, part.InConcatenationNumber, part.InConcatenationTotalNumber = "1.2.9", number + 1, 2
        part.ConcatenationFrameOffsetNumber = 8 * number
        part.NumberOfFrames = len(own)
        part.PixelData = pydicom.encaps.encapsulate(own)
        part["PixelData"].VR, part["PixelData"].is_undefined_length = "OB", True
        part.save_as(tmp_path / f"{number}.dcm")
    path = tmp_path / "0.dcm"
    assert rejected(path) == "2 of its files have the level's size, 400 x 300, a concatenation"
    assert_openslides(path, SPEC, "openslide")


def test_a_copy_of_a_level_is_openslides(tmp_path, small):
    path = write_series(tmp_path, small, Layout())
    (tmp_path / "copy.dcm").write_bytes(path.read_bytes())
    assert rejected(path) == "2 of its files have the level's size, 400 x 300"
    assert_openslides(path, SPEC, "openslide")


def test_fragments_without_a_table_are_no_frames(tmp_path, small):
    found = strict(write_series(tmp_path, small, Layout(fragments=2, table="none")))
    assert str(found) == "it has more fragments than frames, and no table of offsets"


@pytest.mark.parametrize("frames", [11, 13])
def test_wrong_number_of_frames_is_named(tmp_path, small, frames):
    def edit(dataset):
        dataset.NumberOfFrames = frames

    path = write_series(tmp_path, small, Layout(edit=edit))
    assert str(strict(path)) == f"it has {frames} frames where 4 x 3 are needed"


EDITS = {
    "more than three bytes": ({"BitsStored": 7}, "its pixels are not three interleaved bytes"),
    "planar": ({"PlanarConfiguration": 1}, "its pixels are not three interleaved bytes"),
    "signed": ({"PixelRepresentation": 1}, "its pixels are not three interleaved bytes"),
    "grey": ({"SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2"}, "its colours are MONOCHROME2"),
    "full colour": ({"PhotometricInterpretation": "YBR_FULL"}, "its colours are YBR_FULL"),
    "focal planes": ({"TotalPixelMatrixFocalPlanes": 3}, "it has 3 focal planes"),
    "other syntax": ({"TransferSyntaxUID": "1.2.840.10008.1.2.4.80"}, "its transfer syntax is 1.2.840.10008.1.2.4.80"),
}


@pytest.mark.parametrize("kind", EDITS)
def test_what_openslide_does_not_open_is_no_tiles(tmp_path, small, kind):
    values, words = EDITS[kind]

    def edit(dataset):
        for name, value in values.items():
            setattr(dataset.file_meta if name == "TransferSyntaxUID" else dataset, name, value)

    path = write_series(tmp_path / "good", small, Layout())
    info = facts(path)
    path = write_series(tmp_path / "bad", small, Layout(edit=edit))
    with pytest.raises(TilesError, match=words), open_level(path, info, 0):
        pass
    with pytest.raises(SlideError, match=r"OpenSlide does not support this kind of slide .*: convert"):
        facts(path)


def pixel_place(path):
    """Where the first fragment of a file with a basic table begins, and the number of frames."""
    data = path.read_bytes()
    place = data.index(b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff") + 12
    return place + 8 + struct.unpack_from("<I", data, place + 4)[0], struct.unpack_from("<I", data, place + 4)[0] // 4


def patched(path, place, data):
    with path.open("r+b") as file:
        file.seek(place)
        file.write(data)


TABLES = {
    "an offset beyond the file": lambda offsets: [*offsets[:5], 2**32 - 1, *offsets[6:]],
    "the last offset beyond the file": lambda offsets: [*offsets[:-1], 2**31],
    "within a frame": lambda offsets: [*offsets[:5], offsets[5] + 40, *offsets[6:]],
    "the last within a frame": lambda offsets: [*offsets[:-1], offsets[-1] + 40],
    "two that are swapped": lambda offsets: [*offsets[:5], offsets[6], offsets[5], *offsets[7:]],
    "one twice": lambda offsets: [*offsets[:5], offsets[4], *offsets[6:]],
    "a frame left out": lambda offsets: [*offsets[:5], *offsets[6:], offsets[-1] + 8],
    "not from the first": lambda offsets: [offsets[1], *offsets[1:]],
    "zeros": lambda offsets: [0] * len(offsets),
}


@pytest.mark.parametrize("table", ["basic", "extended"])
@pytest.mark.parametrize("kind", TABLES)
def test_wrong_table_of_offsets_is_a_fault(tmp_path, small, kind, table):
    path = write_series(tmp_path, small, Layout(table=table))
    data = path.read_bytes()
    if table == "basic":
        first, count = pixel_place(path)
        place, form = first - 4 * count, f"<{count}I"
    else:
        place = data.index(b"\xe0\x7f\x01\x00OV\0\0") + 12
        form = f"<{struct.unpack_from('<I', data, place - 4)[0] // 8}Q"
    changed = TABLES[kind](list(struct.unpack_from(form, data, place)))
    patched(path, place, struct.pack(form, *changed))
    assert isinstance(strict(path), TilesError)
    asked = asked_of(path, SPEC)
    with open_reader(asked, "auto", seed=5) as (reader, why):
        assert reader.name == "openslide", why


def test_table_of_another_length_is_named(tmp_path, small):
    def edit(dataset):
        dataset.ExtendedOffsetTable = dataset.ExtendedOffsetTable[:-8]

    path = write_series(tmp_path, small, Layout(table="extended", edit=edit))
    assert str(strict(path)) == "its table of offsets has 88 bytes, and 12 frames need 96"


PIXELS = b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff"
END = b"\xfe\xff\xdd\xe0\0\0\0\0"


def second_table(data):
    return data.replace(PIXELS + b"\xfe\xff\0\xe0\0\0\0\0", PIXELS + b"\xfe\xff\0\xe0\x30\0\0\0" + bytes(48))


BROKEN = {
    "two tables": (Layout(table="extended"), second_table, "or with a second one"),
    "no table": (Layout(), lambda data: data[: data.index(PIXELS) + 12] + END, "its pixels begin with no table"),
    "fewer fragments": (
        Layout(table="none"),
        lambda data: data[: data.rindex(b"\xfe\xff\0\xe0")] + END,
        "it has fewer fragments than frames",
    ),
    "no pixels": (Layout(), lambda data: data[: data.index(PIXELS)], "it has no pixels"),
    "a length, though compressed": (
        Layout(),
        lambda data: data.replace(PIXELS, PIXELS[:8] + b"\0\0\1\0"),
        "its pixels are not stored as its transfer syntax says",
    ),
    "no end": (Layout(table="none"), lambda data: data[: -len(END)], "the file ends before its last frame"),
    "a fragment of unknown length": (
        Layout(table="none"),
        lambda data: data[: (place := data.rindex(b"\xfe\xff\0\xe0")) + 4] + b"\xff" * 4 + data[place + 8 :],
        "its frames are not where its table of offsets says, or are broken",
    ),
    "fewer pixels": (
        PLAIN,
        lambda data: data.replace(PIXELS[:8] + struct.pack("<I", 589_824), PIXELS[:8] + struct.pack("<I", 589_822)),
        "its pixels have 589822 bytes, and 12 frames need 589824",
    ),
    "elements out of order": (
        Layout(),
        lambda data: data.replace(b"\x28\0\2\0US", b"\7\0\2\0US", 1),
        r"its files cannot be read as DICOM \(element 00070002 comes after 00209311\)",
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_broken_structure_is_named(tmp_path, small, kind):
    layout, change, words = BROKEN[kind]
    path = write_series(tmp_path, small, layout)
    info, data = facts(path), path.read_bytes()
    path.write_bytes(change(data))
    assert path.read_bytes() != data
    with pytest.raises(TilesError, match=words), open_level(path, info, 0):
        pass


@pytest.mark.parametrize(
    ("name", "limit", "words"),
    [
        ("slidemill.tiles._dicom.MOST_FRAMES", 11, "it has 12 frames, more than are read here"),
        ("slidemill.tiles.tiled_level.LARGEST_TILE", 128 * 128 * 3 - 1, "128 x 128 pixels are larger than are read"),
        ("slidemill.tiles._dicom.LONGEST_HEAD", -6 * 128 * 128 + 100, "not one of frames that follow each other"),
    ],
)
def test_sizes_are_limited(tmp_path, small, monkeypatch, name, limit, words):
    path = write_series(tmp_path, small, Layout())
    monkeypatch.setattr(name, limit)
    assert words in str(strict(path))


def test_offsets_beyond_any_file_are_a_fault(tmp_path, small):
    def edit(dataset):
        dataset.ExtendedOffsetTable = dataset.ExtendedOffsetTable[:-8] + b"\xff" * 8

    path = write_series(tmp_path, small, Layout(table="extended", edit=edit))
    assert str(strict(path)) == "the file ends before its last frame"


@pytest.mark.parametrize("table", ["basic", "none"])
def test_truncated_file_is_a_fault(tmp_path, small, table):
    path = write_series(tmp_path, small, Layout(table=table))
    info, data = facts(path), path.read_bytes()
    for end in [*range(len(data) - 20, len(data)), *range(140, len(data) - 20, len(data) // 97)]:
        path.write_bytes(data[:end])
        with pytest.raises(TilesError), open_level(path, info, 0):
            pass


def test_truncated_file_of_plain_frames_is_a_fault(tmp_path, small):
    path = write_series(tmp_path, small, PLAIN)
    info = facts(path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(TilesError, match="the file ends before its last frame"), open_level(path, info, 0):
        pass


@pytest.mark.parametrize("layout", [Layout(), Layout(subsampling="4:2:0"), Layout(syntax=JPEG2000)], ids=str)
@pytest.mark.parametrize("seed", range(25))
def test_damaged_frame_equals_openslide_or_is_a_fault(tmp_path, small, layout, seed):
    generator = random.Random(seed)

    def flip(number, data):
        return damage(data, generator) if number == 5 else data

    said = assert_openslides_or_a_fault(write_series(tmp_path, small, replace(layout, frame=flip)))
    assert not said or "tile 5" in said


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda one: one.name)
@pytest.mark.parametrize("seed", range(15))
def test_damaged_file_equals_openslide_or_is_a_fault(tmp_path, small, layout, seed):
    """Its elements, tables and headers of fragments included."""
    path = write_series(tmp_path, small, layout)
    data, generator = bytearray(path.read_bytes()), random.Random(seed)
    heads = [place for place in range(len(data) - 8) if data[place : place + 4] == b"\xfe\xff\x00\xe0"]
    places = [*range(132, data.index(b"\xe0\x7f\x10\x00")), *(place + byte for place in heads for byte in range(8))]
    for _ in range(generator.choice([1, 1, 4])):
        data[generator.choice(places)] ^= 1 << generator.randrange(8)
    path.write_bytes(data)
    try:
        _, name, _ = chosen(path)
    except SlideError:
        return  # OpenSlide does not open it
    if name == "tiles":
        assert_openslides_or_a_fault(path)


def test_a_damaged_frame_fails_only_its_patches(tmp_path, picture):
    path = write_series(
        tmp_path, picture, Layout(frame=lambda number, data: data[: len(data) // 2] if number == 30 else data)
    )
    asked, name, _ = chosen(path)
    assert name == "tiles"
    assert isinstance(strict(path), TilesError)
    (bad,) = unreadable_patches(asked)
    assert bad == "r00003_c00003"


def test_frame_that_claims_gigabytes_is_not_decoded(tmp_path, small):
    def claim(number, data):
        return data[:8] + (60_000).to_bytes(4, "big") * 2 + data[16:] if number == 1 else data

    path = write_series(tmp_path, small, Layout(syntax=JPEG2000, frame=claim))
    assert "60000 x 60000 pixels" in str(strict(path))


ODD_JPEG2000 = {
    "grey": lambda: imagecodecs.jpeg2k_encode(np.full((128, 128), 90, np.uint8), codecformat="J2K"),
    "four components": lambda: imagecodecs.jpeg2k_encode(np.full((128, 128, 4), 90, np.uint8), codecformat="J2K"),
    "16 bits": lambda: imagecodecs.jpeg2k_encode(np.full((128, 128, 3), 900, np.uint16), codecformat="J2K"),
    "in a file's boxes": lambda: imagecodecs.jpeg2k_encode(np.full((128, 128, 3), 90, np.uint8), codecformat="JP2"),
    "smaller": lambda: imagecodecs.jpeg2k_encode(np.full((64, 128, 3), 90, np.uint8), codecformat="J2K"),
    "JPEG": lambda: simplejpeg.encode_jpeg(np.full((128, 128, 3), 90, np.uint8)),
}


@pytest.mark.parametrize("kind", ODD_JPEG2000)
def test_odd_jpeg_2000_frame_is_a_fault(tmp_path, small, kind):
    def change(number, data):
        return ODD_JPEG2000[kind]() if number == 5 else data

    path = write_series(tmp_path, small, Layout(syntax=JPEG2000, frame=change))
    assert "tile 5 cannot be decoded" in str(strict(path))


def test_subsampled_jpeg_2000_frame_is_a_fault(tmp_path, small):
    """OpenSlide repeats its pixels, and decoders take such components for YCbCr."""

    def change(number, data):
        return data[:46] + b"\x02\x01" + data[48:] if number == 5 else data

    path = write_series(tmp_path, small, Layout(syntax=JPEG2000, frame=change))
    assert "not three 8-bit components of full size" in str(strict(path))


@pytest.mark.parametrize("table", ["extended", "none"])
def test_a_million_frames_take_little_memory(tmp_path, small, table):
    """Frames of a few bytes, which nobody decodes, after the beginning of a real file."""
    count, size = 1_000_000, 16
    path = write_series(tmp_path, small, Layout(table=table))
    whole = pydicom.dcmread(path)
    whole.NumberOfFrames = count
    whole.TotalPixelMatrixColumns, whole.TotalPixelMatrixRows = 1000 * 128, 1000 * 128
    if table == "extended":
        whole.ExtendedOffsetTable = (np.arange(count, dtype="<u8") * size).tobytes()
        del whole.ExtendedOffsetTableLengths
    del whole.PixelData
    whole.save_as(path)
    fragment = b"\xfe\xff\x00\xe0" + struct.pack("<I", size - 8) + b"\xff\xd8 abc\xff\xd9"
    with path.open("ab") as file:
        file.write(b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\0\0\0\0")
        for _ in range(100):
            file.write(fragment * (count // 100))
        file.write(b"\xfe\xff\xdd\xe0\0\0\0\0")
    info = replace(facts(path), dimensions=((1000 * 128, 1000 * 128),))
    tracemalloc.start()
    with open_level(path, info, 0) as level:
        assert len(level.offsets) == count
        assert level.offsets[count - 1] - level.offsets[0] == size * (count - 1)
        assert list(level.data([0, 1, 999_998, 999_999])) == [b"\xff\xd8 abc\xff\xd9"] * 4
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100e6


@pytest.mark.skipif(not OPEN_FILES.is_dir(), reason="open files are counted in /proc")
def test_files_are_closed_whatever_happens(tmp_path, small):
    good = write_series(tmp_path / "good", small, Layout(downsamples=(1, 2)))
    bad = write_series(tmp_path / "bad", small, Layout(organization="TILED_SPARSE"))
    cut = write_series(tmp_path / "cut", small, Layout())
    info = facts(good)
    cut.write_bytes(cut.read_bytes()[:3000])
    before = len(list(OPEN_FILES.iterdir()))
    for path in (good, bad, cut):
        for _ in range(3):
            try:
                with open_level(path, info, 0):
                    assert len(list(OPEN_FILES.iterdir())) == before + 1
                    raise TilesError("while it is open")
            except TilesError:
                pass
    assert len(list(OPEN_FILES.iterdir())) == before


def test_missing_file_is_named(tmp_path, small):
    path = write_series(tmp_path, small, Layout())
    info = facts(path)
    path.unlink()
    with pytest.raises(TilesError, match="cannot be read as DICOM"), open_level(path, info, 0):
        pass


def test_openslide_says_which_frames_it_reads(tmp_path, small):
    """The oracle is not the painter: a swapped pair of frames is swapped in OpenSlide's pixels, too."""
    frames = []
    write_series(tmp_path / "a", small, Layout(frame=lambda _, data: frames.append(data) or data))
    order = [1, 0, *range(2, 12)]
    path = write_series(tmp_path / "b", small, Layout(frame=lambda number, _: frames[order[number]]))
    assert_openslides(path, SPEC)
    with openslide.OpenSlide(tmp_path / "a" / "level-0.dcm") as one, openslide.OpenSlide(path) as other:
        assert one.read_region((0, 0), 0, (128, 128)) == other.read_region((128, 0), 0, (128, 128))
