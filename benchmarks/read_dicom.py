"""Read a DICOM slide by its tiles and through OpenSlide, by turns.

    python -m benchmarks.read_dicom [SLIDE] [--size 12000x10000] [--threads 2] [--repeats 5] [--out FOLDER]

Three DICOM slides are made of it; one is painted where none is given. The first has its JPEG tiles as frames, and the
others a part of its pixels, as JPEG 2000 and not compressed. All patches of a grid are read, and none is kept; before,
the pixels of both readers are compared. All files are in the page cache.
"""

from __future__ import annotations

import argparse
import json
import statistics
import struct
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass
from pathlib import Path

import imagecodecs
import numpy as np
import xxhash
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import JPEG2000, UID, ExplicitVRLittleEndian, JPEGBaseline8Bit, VLWholeSlideMicroscopyImageStorage

from benchmarks.bench_slide import painted_slide
from benchmarks.machine import code, machine
from slidemill.core.encodings import Pixels
from slidemill.core.pyramid import Size
from slidemill.core.specs import GridSpec
from slidemill.slides.grid import Grid
from slidemill.slides.patch_table import SlidePatches
from slidemill.slides.reader_choice import open_reader
from slidemill.slides.slide_info import open_slide, slide_info
from slidemill.tiles.levels import open_level
from slidemill.tiles.tiled_level import TiledLevel

ROOT = Path(__file__).parents[1]
ROOT_UID = "1.2.826.0.1.3680043.8.498.9"
PART = 16
"""Tiles along a side of what is not JPEG."""
READERS = ("tiles", "openslide")
LOOP = "loop of read_region"
"""OpenSlide's own, in one thread."""
FRAGMENT = b"\xfe\xff\x00\xe0"
SEQUENCE_END = b"\xfe\xff\xdd\xe0" + bytes(4)
PIXELS = b"\xe0\x7f\x10\x00OB\0\0"
WANTED = 5.0
"""How many times as fast as through OpenSlide a slide is to be read by its tiles."""


def write_dicom(path: Path, frames: Iterable[bytes], size: Size, tile: Size, *, syntax: str, colours: str) -> None:
    """Write a level as one DICOM file, TILED_FULL, with an extended table of offsets for compressed frames.

    Parameters
    ----------
    path
        The file; its folder holds no other one.
    frames
        The tiles, row by row.
    size, tile
        ``(width, height)`` of the level and of a tile, in pixels.
    syntax, colours
        The transfer syntax, and the photometric interpretation.
    """
    across, down = -(-size[0] // tile[0]), -(-size[1] // tile[1])
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = VLWholeSlideMicroscopyImageStorage
    meta.MediaStorageSOPInstanceUID = UID(f"{ROOT_UID}.1")
    meta.TransferSyntaxUID = UID(syntax)
    known = Dataset()
    known.file_meta = meta
    known.SOPClassUID, known.SOPInstanceUID = VLWholeSlideMicroscopyImageStorage, f"{ROOT_UID}.1"
    known.StudyInstanceUID, known.SeriesInstanceUID, known.FrameOfReferenceUID = (
        f"{ROOT_UID}.2",
        f"{ROOT_UID}.3",
        f"{ROOT_UID}.4",
    )
    known.Modality, known.InstanceNumber = "SM", 1
    known.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    known.DimensionOrganizationType = "TILED_FULL"
    known.Columns, known.Rows = tile
    known.TotalPixelMatrixColumns, known.TotalPixelMatrixRows = size
    known.NumberOfFrames = across * down
    known.SamplesPerPixel, known.PlanarConfiguration, known.PixelRepresentation = 3, 0, 0
    known.BitsAllocated = known.BitsStored = 8
    known.HighBit, known.PhotometricInterpretation = 7, colours
    optics = Dataset()
    optics.OpticalPathIdentifier, optics.ObjectiveLensPower = "0", 20
    known.OpticalPathSequence = Items([optics])
    even = [own + bytes(len(own) % 2) for own in frames]
    if syntax == ExplicitVRLittleEndian:
        head = PIXELS + struct.pack("<I", sum(map(len, even)))
        body, end = even, b""
    else:
        lengths = np.array([len(own) + 8 for own in even], "<u8")
        known.ExtendedOffsetTable = (np.cumsum(lengths) - lengths).tobytes()
        known.ExtendedOffsetTableLengths = (lengths - 8).tobytes()
        head = PIXELS + b"\xff\xff\xff\xff" + FRAGMENT + bytes(4)
        body, end = [FRAGMENT + struct.pack("<I", len(own)) + own for own in even], SEQUENCE_END
    known.save_as(path, enforce_file_format=True)
    with path.open("ab") as file:
        file.write(head)
        file.writelines(body)
        file.write(end)


def made_slides(source: Path, folder: Path) -> dict[str, Path]:
    """Write the slide as DICOM in three forms; return the files by name."""
    with open_slide(source) as slide:
        info = slide_info(slide)
    found = {name: folder / name / "level.dcm" for name in ("jpeg", "jpeg2000", "native")}
    for path in found.values():
        path.parent.mkdir(exist_ok=True)
    with open_level(source, info, 0) as level:
        if level.form != "jpeg":
            raise SystemExit(f"{source}: its tiles are no JPEG: name a slide that has such")
        # The last byte of the Adobe segment, which comes first: 0 for RGB, 1 for YCbCr.
        colours = "RGB" if level.jpeg_head[17] == 0 else "YBR_FULL_422"
        count = len(level.offsets)
        frames = (level.standalone(number, data) for number, data in _tiles(level, range(count)))
        write_dicom(found["jpeg"], frames, level.size, level.tile, syntax=JPEGBaseline8Bit, colours=colours)
        across = min(PART, level.size[0] // level.tile[0])
        down = min(PART, level.size[1] // level.tile[1])
        places = [row * level.across + column for row in range(down) for column in range(across)]
        size = (across * level.tile[0], down * level.tile[1])
        forms: dict[str, tuple[str, str, Callable[[Pixels], bytes]]] = {
            "jpeg2000": (JPEG2000, "YBR_ICT", _jpeg2000),
            "native": (ExplicitVRLittleEndian, "RGB", lambda pixels: pixels.tobytes()),
        }
        for name, (syntax, own, encode) in forms.items():
            pixels = (level.pixels(number, data, level.buffer()) for number, data in _tiles(level, places))
            write_dicom(found[name], map(encode, pixels), size, level.tile, syntax=syntax, colours=own)
    return found


def _tiles(level: TiledLevel, numbers: Sequence[int]) -> Iterator[tuple[int, bytes]]:
    for number in numbers:
        (data,) = level.data([number])
        yield number, data


def _jpeg2000(pixels: Pixels) -> bytes:
    encoded: bytes = imagecodecs.jpeg2k_encode(pixels, level=40, codecformat="J2K", mct=True)
    return encoded


@dataclass(frozen=True, slots=True)
class Time:
    """Seconds on the clock and of the processor."""

    wall: float
    cpu: float


def loop(path: Path, patch_size: int) -> Time:
    """Read all patches by OpenSlide's read_region, one after another."""
    begun, cpu = time.perf_counter(), time.process_time()
    with open_slide(path) as slide:
        for patch in Grid(slide_info(slide).pyramid, GridSpec(patch_size, level=0)).patches():
            slide.read_region((patch.x0, patch.y0), 0, (patch_size, patch_size))
    return Time(time.perf_counter() - begun, time.process_time() - cpu)


def read(path: Path, choice: str, patch_size: int, threads: int, *, is_compared: bool = False) -> tuple[Time, str]:
    """Read all patches; return the time, and a digest of all pixels where they are compared."""
    with open_slide(path) as slide:
        info = slide_info(slide)
    grid = GridSpec(patch_size, level=0)
    patches = list(Grid(info.pyramid, grid).patches())
    total = xxhash.xxh3_128()
    begun, cpu = time.perf_counter(), time.process_time()
    with open_reader(SlidePatches(path, info, grid, patches), choice, 0) as (reader, _):
        for _, pixels in reader.read(patches, lambda own: own if is_compared else None, threads):
            if pixels is not None:
                total.update(pixels.data)
    return Time(time.perf_counter() - begun, time.process_time() - cpu), total.hexdigest()


def main() -> None:
    """Make the slides, read them by turns, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("slide", type=Path, nargs="?", help="a slide with JPEG tiles; one is painted if none is given")
    parser.add_argument("--size", default="12000x10000", help="of the painted slide (12000x10000)")
    parser.add_argument("--patch-size", type=int, default=256, help="in pixels (256)")
    parser.add_argument("--threads", type=int, default=2, help="of each reader (2)")
    parser.add_argument("--repeats", type=int, default=5, help="rounds (5)")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "out", help="where the results go")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    width, height = map(int, options.size.split("x"))
    slides = made_slides(options.slide or painted_slide(options.out, width, height), options.out)
    rounds: dict[str, list[dict[str, Time]]] = {}
    for name, path in slides.items():
        digests = {read(path, own, options.patch_size, options.threads, is_compared=True)[1] for own in READERS}
        if len(digests) != 1:
            raise SystemExit(f"{name}: the pixels of both readers differ")
        rounds[name] = []
        for turn in range(options.repeats):
            ways = [*READERS, LOOP]
            found = {}
            for own in ways if turn % 2 else ways[::-1]:
                size, threads = options.patch_size, options.threads
                found[own] = loop(path, size) if own == LOOP else read(path, own, size, threads)[0]
            rounds[name].append(found)
    print(page(slides, rounds, options.threads))
    seconds = {name: [{own: asdict(one[own]) for own in one} for one in found] for name, found in rounds.items()}
    (options.out / "read_dicom.json").write_text(json.dumps(seconds), encoding="utf-8")


def page(slides: Mapping[str, Path], rounds: Mapping[str, Sequence[Mapping[str, Time]]], threads: int) -> str:
    """Return the table in Markdown; ratios are of the seconds that tiles take."""
    lines = ["# DICOM by tiles", "", f"- machine: {machine()}", f"- slidemill: {code()}", f"- threads: {threads}", ""]
    lines += ["| frames | MB | way | s, median | CPU s | ratio, median (min-max) | CPU ratio | wanted | met |"]
    lines += ["|---|---:|---|---:|---:|---:|---:|---|---|"]
    for name, found in rounds.items():
        for own in (*READERS, LOOP):
            wall, cpu = (statistics.median(values) for values in zip(*map(astuple, _of(found, own)), strict=True))
            ratios = [one[own].wall / one["tiles"].wall for one in found]
            spread = f"{statistics.median(ratios):.1f} ({min(ratios):.1f}-{max(ratios):.1f})"
            burden = statistics.median(one[own].cpu / one["tiles"].cpu for one in found)
            is_bar = (name, own) == ("jpeg", "openslide")
            met = "yes" if statistics.median(ratios) >= WANTED else "no"
            bar = f">= {WANTED:g} | {met}" if is_bar else "- | -"
            size = slides[name].stat().st_size / 1e6
            lines.append(f"| {name} | {size:.0f} | {own} | {wall:.2f} | {cpu:.2f} | {spread} | {burden:.1f} | {bar} |")
    return "\n".join(lines)


def _of(found: Sequence[Mapping[str, Time]], way: str) -> list[Time]:
    return [one[way] for one in found]


if __name__ == "__main__":
    main()
