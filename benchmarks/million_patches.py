"""What a million patches of one slide take of each stage: ``python -m benchmarks.million_patches FOLDER``.

The slide has 16,000 x 16,000 pixels, blank, so that patches of 16 px are a million and their pixels cost little. Each
stage runs as the workflow runs it, by its script, in a process of its own, whose peak memory is told.
"""

from __future__ import annotations

import io
import resource
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from PIL import Image

import discover_slides
import draw_slide
import gather_results
import render_report
import sample_patches
import store_patches
import validate_stores
import write_metadata
from slidemill.core.specs import LabelSpec, StoreSpec, TissueSpec, ValidationSpec, WorkSpec
from slidemill.report.versions import this_run
from slidemill.sampling.patch_selection import Choice
from slidemill.slides.fingerprint import fingerprint
from slidemill.slides.grid import GridSpec
from slidemill.stages.gather import CohortTables
from slidemill.stores.paths import store_of, store_path
from slidemill.testing import Tissue, write_annotation

SIDE, PATCH, TILE = 1_000, 16, 512
GRID = GridSpec(PATCH, 0, level=0)
LABELS = {"Normal": 0, "Benign": 1, "Tumour": 2}
STORES = {"lmdb": StoreSpec("zstd"), "hdf5": StoreSpec("zstd")}
SLIDE, ANNOTATION, NAME = "blank.svs", "blank.xml", "blank"


def make(folder: Path) -> None:
    """Write the slide, in Aperio's format, and an annotation of two areas."""
    from tifffile import TiffWriter

    tile = io.BytesIO()
    Image.new("RGB", (TILE, TILE), (243, 242, 244)).save(tile, "jpeg", subsampling=0)
    with TiffWriter(folder / SLIDE) as file:
        for side in (SIDE * PATCH, SIDE):
            file.write(
                iter([tile.getvalue()] * (-(-side // TILE)) ** 2),
                shape=(side, side, 3),
                dtype=np.uint8,
                tile=(TILE, TILE),
                photometric="ycbcr",
                subsampling=(1, 1),
                compression="jpeg",
                subfiletype=0 if side > SIDE else 1,
                description=f"Aperio Image Library v0\r\n{side}x{side} ({TILE}x{TILE}) JPEG|AppMag = 20|MPP = 0.5",
                metadata=None,
            )
    areas = [Tissue("Benign", (900, 900, 8_000, 9_000), 1, 1), Tissue("Tumour", (7_000, 7_000, 15_000, 15_500), 1, 1)]
    write_annotation(folder / ANNOTATION, areas)


class Stages:
    """The stages, each a method, on what those before have left in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.table, self.labelled = folder / "patches.csv", folder / "metadata" / "blank.csv"

    def outcome(self, stage: str) -> Path:
        """Return where a stage's outcome stands."""
        return self.folder / f"{stage}.json"

    def discover_slides(self) -> None:
        """Open the slide."""
        printed = fingerprint(self.folder / SLIDE)
        discover_slides.main(self.folder, NAME, SLIDE, printed, True, self.outcome("discover"))

    def sample_patches(self) -> None:
        """Write the table of patches."""
        choice = Choice(GRID, TissueSpec("none"))
        written = self.table, self.folder / "dropped.csv", self.outcome("sample")
        sample_patches.main(self.folder, self.outcome("discover"), choice, *written)

    def write_metadata(self, rule: str = "centre") -> None:
        """Label them, by their centres unless told."""
        spec = LabelSpec(LABELS, rule, "Normal")
        printed = fingerprint(self.folder / ANNOTATION)
        read, written = (self.table, self.outcome("sample")), (self.labelled, self.outcome("metadata"))
        write_metadata.main(self.folder, ANNOTATION, printed, spec, {}, *read, *written, 0)

    def write_metadata_by_area(self) -> None:
        """Label them by area."""
        self.write_metadata("area")

    def _store(self, backend: str) -> None:
        work, outcome = WorkSpec("auto", 2, 0), self.outcome(f"store_{backend}")
        read = self.folder, self.table, self.outcome("sample")
        target = store_of(self.folder / store_path(backend, NAME))
        store_patches.main(*read, backend, STORES[backend], GRID, work, target, outcome)

    def store_patches_lmdb(self) -> None:
        """Store them in LMDB."""
        self._store("lmdb")

    def store_patches_hdf5(self) -> None:
        """Store them in HDF5."""
        self._store("hdf5")

    def validate_stores(self) -> None:
        """Check both stores."""
        stored = [self.outcome(f"store_{backend}") for backend in STORES]
        paths = {backend: self.folder / store_path(backend, NAME) for backend in STORES}
        spec = ValidationSpec(64, 30)
        validate_stores.main(
            self.folder, self.table, stored, paths, GRID, spec, 0, 2, self.folder / "validation" / "blank.csv"
        )

    def draw_slide(self) -> None:
        """Draw the slide and a sample of its patches."""
        pictures = self.folder / "overlay.jpg", self.folder / "montage.jpg"
        read = self.outcome("metadata"), self.labelled, self.folder / "dropped.csv"
        store = self.folder / store_path("lmdb", NAME)
        draw_slide.main((self.folder, self.folder), ANNOTATION, 0, *read, store, *pictures)

    def gather_results(self) -> None:
        """Gather the tables."""
        stored = [self.outcome(f"store_{backend}") for backend in STORES]
        tables = CohortTables.below(self.folder)
        checked = self.folder / "validation" / "blank.csv"
        gather_results.main([self.outcome("metadata")], stored, [self.labelled], [checked], False, tables)

    def render_report(self) -> None:
        """Render the report; nothing was measured."""
        (self.folder / "benchmark.csv").write_text("source,encoding,measure,unit\n", encoding="utf-8")
        tables = {name: self.folder / f"{name}.csv" for name in ("slides", "validation", "benchmark", "unreadable")}
        pictures = {"overlays": [self.folder / "overlay.jpg"], "montages": [self.folder / "montage.jpg"]}
        Image.new("RGB", (8, 8)).save(self.folder / "plot.png")
        inputs = SimpleNamespace(
            **tables, **pictures, labelled=[self.outcome("metadata")], plot=self.folder / "plot.png"
        )
        render_report.main(self.folder / "report.html", inputs, LABELS, this_run({}, ""))


def peak_mb() -> float:
    """Return the most memory that this process had resident so far."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) * 1024 / 1e6


def run(stage: str, folder: Path) -> None:
    """Run one stage in this process, and print its row."""
    began = time.perf_counter()
    getattr(Stages(folder), stage)()
    # Of the processes that it started, the largest: what reads stores.
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e6
    print(f"| `{stage}` | {time.perf_counter() - began:.1f} | {peak_mb():.0f} | {children:.0f} |", flush=True)


def main(folder: Path, wanted: list[str]) -> None:
    """Print a row of Markdown for each stage."""
    for below in ("metadata", "validation", "stores/lmdb", "stores/hdf5"):
        (folder / below).mkdir(parents=True, exist_ok=True)
    if not (folder / SLIDE).exists():
        make(folder)
    for stage in wanted or [name for name in vars(Stages) if name[0] != "_" and name != "outcome"]:
        subprocess.run([sys.executable, "-m", "benchmarks.million_patches", "--stage", stage, folder], check=True)  # noqa: S603


if __name__ == "__main__":
    if sys.argv[1] == "--stage":
        run(sys.argv[2], Path(sys.argv[3]))
    else:
        main(Path(sys.argv[1]), sys.argv[2:])
