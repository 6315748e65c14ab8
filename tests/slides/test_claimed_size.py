"""Slides that claim impossible sizes, and grids of too many patches."""

import os
import resource
import struct

import numpy as np
import pytest
import tifffile

from slidemill.core.csv_tables import read_table
from slidemill.core.outcomes import Outcome
from slidemill.core.specs import GridSpec, TissueSpec
from slidemill.core.stage_facts import SlideFacts
from slidemill.errors import SlideError
from slidemill.sampling.patch_selection import Choice, write_selection
from slidemill.slides._opening import MOST_PIXELS, check_claim, claimed_sizes
from slidemill.slides.fingerprint import fingerprint
from slidemill.slides.slide_info import open_slide, slide_info
from tests.conftest import painted

SIDE = 2_000_000


def claiming(path, width, height, tile=256, order="<"):
    """Write a BigTIFF without pixels: the places of its tiles are a hole in the file, and take no room on the disk."""
    tiles = -(-width // tile) * -(-height // tile)
    places = 16 + 8 + 20 * 9 + 8
    tags = [(256, 4, 1, width), (257, 4, 1, height), (259, 3, 1, 1), (262, 3, 1, 2), (277, 3, 1, 3)]
    tags += [(322, 4, 1, tile), (323, 4, 1, tile), (324, 16, tiles, places), (325, 16, tiles, places + 8 * tiles)]
    with path.open("wb") as file:
        file.write((b"II" if order == "<" else b"MM") + struct.pack(f"{order}HHHQQ", 43, 8, 0, 16, len(tags)))
        for tag, kind, count, value in tags:
            inline = struct.pack(order + {3: "H6x", 4: "I4x", 16: "Q"}[kind], value)
            file.write(struct.pack(f"{order}HHQ", tag, kind, count) + inline)
        file.write(bytes(8))
        file.truncate(places + 16 * tiles)
    return path


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("tile", [256, 16_384])
def test_a_huge_claim_is_refused_with_its_figures(tmp_path, tile, order):
    path = claiming(tmp_path / "a.tif", SIDE, SIDE, tile, order)
    with (
        pytest.raises(SlideError, match=r"^a\.tif: claims 2,000,000 x 2,000,000 pixels, and no slide has more than"),
        open_slide(path),
    ):
        pass


def test_a_huge_claim_takes_little_memory(tmp_path):
    """OpenSlide would take 2.4 GB, and minutes."""
    path = claiming(tmp_path / "a.tif", SIDE, SIDE)
    assert path.stat().st_size > 900_000_000
    child = os.fork()
    if not child:
        used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        try:
            with open_slide(path):
                pass
        except SlideError:
            os._exit(int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss > used + 50_000))
        os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.parametrize("bigtiff", [False, True])
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_claimed_sizes_are_those_of_every_image(tmp_path, bigtiff, byteorder):
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path, bigtiff=bigtiff, byteorder=byteorder) as file:
        for width, height in ((300, 200), (70_000, 2), (75, 50)):
            file.write(np.zeros((height, width, 3), np.uint8), photometric="rgb", metadata=None)
    assert list(claimed_sizes(path)) == [(300, 200), (70_000, 2), (75, 50)]


def test_claims_of_other_and_broken_files_are_none(tmp_path):
    path = tmp_path / "a.svs"
    for content in (
        b"",
        b"no slide",
        bytes(100),
        b"II*\0",
        b"II*\0\x08\0\0\0",
        b"II*\0\x08\0\0\0\xff\xff",
        b"MM\0\x2b" * 9,
    ):
        path.write_bytes(content)
        assert list(claimed_sizes(path)) == []


def test_images_that_follow_each_other_in_a_ring_end(tmp_path):
    path = tmp_path / "a.tif"
    tags = b"".join(struct.pack("<HHII", tag, 4, 1, 9) for tag in (256, 257))
    path.write_bytes(b"II*\0" + struct.pack("<IH", 8, 2) + tags + struct.pack("<I", 8))
    assert list(claimed_sizes(path)) == [(9, 9)]


def test_the_largest_claim_that_may_be(tmp_path):
    check_claim("a", (1_000_000, 1_000_000))
    with pytest.raises(SlideError, match=f"{MOST_PIXELS:,}"):
        check_claim("a", (1_000_000, 1_000_001))


@pytest.mark.parametrize("tissue", ["none", "otsu"])
def test_a_grid_of_too_many_patches_is_refused(slide_file, tmp_path, tissue):
    """Before the mask of tissue is made, and before any table stands."""
    with open_slide(slide_file) as slide:
        found = Outcome(
            "a", "discover_slides", fingerprint=fingerprint(slide_file), facts=SlideFacts(info=slide_info(slide))
        )
    table, dropped, mask = (tmp_path / name for name in ("a.csv", "dropped.csv", "a.png"))
    asked = GridSpec(128, level=0), TissueSpec(tissue)
    with pytest.raises(
        SlideError, match=r"9 x 7 places and 48 patches, and sampling\.max_patches is 47: choose larger"
    ):
        write_selection(slide_file, found, Choice(*asked, max_patches=47), table=table, dropped=dropped, mask=mask)
    assert list(tmp_path.iterdir()) == []
    write_selection(slide_file, found, Choice(*asked, max_patches=48), table=table, dropped=dropped, mask=mask)
    assert len([*read_table(table), *read_table(dropped)]) == 48


def test_a_slide_of_an_allowed_size_is_opened(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, painted(300, 200), tile=(128, 128), photometric="rgb")
    with open_slide(path) as slide:
        assert slide.dimensions == (300, 200)
