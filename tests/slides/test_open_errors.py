"""What is said of files that OpenSlide opens not."""

import numpy as np
import pytest
import tifffile

from slidemill.errors import SlideError
from slidemill.slides.slide_info import open_slide
from tests.conftest import painted
from tests.dicoms import write_dicom
from tests.formats import FORMATS

JPEG, JPEG_LS = b"1.2.840.10008.1.2.4.50", b"1.2.840.10008.1.2.4.80"


def refused(path):
    with pytest.raises(SlideError) as raised, open_slide(path):
        pass
    assert str(raised.value).startswith(f"{path.name}: ")
    return str(raised.value)


def relabelled(path, number):
    """Let the images of a TIFF say that they have another compression."""
    with tifffile.TiffFile(path, mode="r+") as file:
        for page in file.pages:
            page.tags["Compression"].overwrite(number)


@pytest.mark.parametrize("compression", ["jpeg2000", "webp", "lzma", "jpegxl"])
def test_an_unsupported_compression_is_named(tmp_path, compression):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, painted(300, 200), tile=(128, 128), compression=compression, photometric="rgb")
    with tifffile.TiffFile(path) as file:
        known = file.pages[0].compression
    said = refused(path)
    assert f"compression {int(known)} ({known.name}) is not supported by OpenSlide: convert the slide" in said
    assert "whole" not in said


def test_an_unknown_compression_is_told_by_its_number(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, painted(300, 200), tile=(128, 128), photometric="rgb")
    relabelled(path, 65432)
    assert "compression 65432 is not supported by OpenSlide: convert" in refused(path)


@pytest.mark.cases
@pytest.mark.parametrize(
    "kind", [kind for kind in FORMATS if kind.vendor not in ("dicom", "hamamatsu")], ids=lambda kind: kind.name
)
def test_compressions_are_named_for_every_vendors_tiff(tmp_path, kind):
    path = kind.write(tmp_path, painted(1024, 768))
    relabelled(path, 50002)
    assert "compression 50002 (JPEGXL) is not supported by OpenSlide: convert" in refused(path)


def test_an_unsupported_dicom_syntax_is_no_damage(tmp_path):
    path = write_dicom(tmp_path, painted(256, 256), downsamples=(1,))
    path.write_bytes(path.read_bytes().replace(JPEG, JPEG_LS))
    said = refused(path)
    assert JPEG_LS.decode() in said
    assert "OpenSlide does not support" in said
    assert "whole" not in said


def test_a_tiff_without_tiles_is_named_as_such(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((200, 300, 3), np.uint8), photometric="rgb")
    assert "a TIFF that is not in tiles: convert" in refused(path)


def test_damage_is_still_called_damage(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, painted(300, 200), tile=(128, 128), photometric="rgb")
    path.write_bytes(path.read_bytes()[:100])
    assert "check whether it is whole" in refused(path)
