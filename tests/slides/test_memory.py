"""Memory of reading and of storing patches that are shrunk from many pixels, in a process of its own."""

import subprocess
import sys

import imagecodecs
import numpy as np
import pytest
import tifffile

from tests.conftest import ROOT
from tests.tiffs import APERIO

pytestmark = pytest.mark.long
SIZE, TILE = (6200, 9300), 256
LARGEST_MB = 150
"""A storing job takes some 100 MB besides."""
LARGEST_JOB_MB = 250
READ = """
import sys
from pathlib import Path
from slidemill.core.specs import GridSpec
from slidemill.slides.grid import Grid
from slidemill.slides.patch_table import SlidePatches
from slidemill.slides.reader_choice import read_whole
from slidemill.slides.slide_info import open_slide, slide_info

def peak_mb():
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024

path, factor, reader, kind = Path(sys.argv[1]), float(sys.argv[2]), *sys.argv[3:]
with open_slide(path) as slide:
    info = slide_info(slide)
grid = GridSpec(256, mpp=info.mpp * factor, filter=kind)
patches = list(Grid(info.pyramid, grid).patches())
before = peak_mb()
read = read_whole(
    SlidePatches(path, info, grid, patches),
    reader,
    0,
    use=lambda own, wanted: sum(1 for _ in own.read(wanted, lambda pixels: pixels.sum(), 2)),
)
print(peak_mb() - before, read.result == len(patches) > 1, read.reader)
"""


@pytest.fixture(scope="module")
def single_level(tmp_path_factory):
    """A slide of one level, whose tiles are all the same."""
    path = tmp_path_factory.mktemp("level") / "a.svs"
    width, height = SIZE
    block = np.broadcast_to(np.arange(TILE, dtype=np.uint8)[:, None, None], (TILE, TILE, 3))
    tile = imagecodecs.jpeg8_encode(np.ascontiguousarray(block), level=30, colorspace="RGB", outcolorspace="RGB")
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(
            (tile for _ in range(-(-width // TILE) * -(-height // TILE))),
            shape=(height, width, 3),
            dtype=np.uint8,
            tile=(TILE, TILE),
            photometric="rgb",
            compression="jpeg",
            description=APERIO.format(width=width, height=height, tile=TILE),
            metadata=None,
        )
    return path


@pytest.mark.parametrize("kind", ["area", "lanczos"])
@pytest.mark.parametrize("reader", ["tiles", "openslide"])
@pytest.mark.parametrize("factor", [12, 16])
def test_large_shrink_factors_take_little_memory(single_level, factor, reader, kind):
    command = [sys.executable, "-c", READ, str(single_level), str(factor), reader, kind]
    done = subprocess.run(command, cwd=ROOT, env={"PYTHONPATH": "scripts"}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    taken, is_whole, found = done.stdout.split()
    assert (is_whole, found) == ("True", reader)
    assert float(taken) <= LARGEST_MB


@pytest.mark.parametrize(
    ("reader", "kind", "factor"),
    [("openslide", "area", 4), ("openslide", "area", 6), ("openslide", "lanczos", 12), ("tiles", "area", 6)],
)
def test_storing_takes_at_most_250_mb(single_level, factor, reader, kind):
    """The whole job, with as many threads as the workflow gives it."""
    command = [sys.executable, "-m", "benchmarks.store_memory", str(single_level), "--one", "--threads", "4"]
    command += ["--factors", str(factor), "--readers", reader, "--filters", kind]
    done = subprocess.run(command, cwd=ROOT, env={"PYTHONPATH": "scripts"}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    _, count, found, taken, _ = (word.strip() for word in done.stdout.split("|"))
    assert (int(count) > 1, found) == (True, reader)
    assert float(taken) <= LARGEST_JOB_MB
