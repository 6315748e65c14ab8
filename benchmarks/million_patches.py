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

import numpy as np
from PIL import Image

from slidemill.core.results_layout import CohortTables, outcome_file, store_of_file, store_path
from slidemill.core.specs import GridSpec, LabelSpec, StoreSpec, TissueSpec, ValidationSpec, WorkSpec
from slidemill.report.versions import this_run
from slidemill.sampling.patch_selection import Choice
from slidemill.slides.fingerprint import fingerprint
from slidemill.stages.discover import DiscoverJob, discover_slide
from slidemill.stages.draw import DrawJob, draw_slide
from slidemill.stages.gather import GatherJob, gather_results
from slidemill.stages.label import LabelJob, label_patches
from slidemill.stages.report import ReportJob, render_report
from slidemill.stages.sample import SampleJob, sample_patches
from slidemill.stages.store import StoreJob, store_patches
from slidemill.stages.validate import ValidateJob, validate_stores
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
        discover_slide(
            DiscoverJob(
                root=self.folder,
                slide=NAME,
                path=SLIDE,
                fingerprint=printed,
                limit_bounds=True,
                facts=self.outcome("discover"),
            )
        )

    def sample_patches(self) -> None:
        """Write the table of patches."""
        sample_patches(
            SampleJob(
                root=self.folder,
                facts=self.outcome("discover"),
                choice=Choice(GRID, TissueSpec("none")),
                table=self.table,
                dropped=self.folder / "dropped.csv",
                outcome=self.outcome("sample"),
            )
        )

    def write_metadata(self, rule: str = "centre") -> None:
        """Label them, by their centres unless told."""
        label_patches(
            LabelJob(
                root=self.folder,
                annotation=ANNOTATION,
                fingerprint=fingerprint(self.folder / ANNOTATION),
                labels=LabelSpec(LABELS, rule, "Normal"),
                columns={},
                patches=self.table,
                sampled=self.outcome("sample"),
                table=self.labelled,
                outcome=self.outcome("metadata"),
                seed=0,
            )
        )

    def write_metadata_by_area(self) -> None:
        """Label them by area."""
        self.write_metadata("area")

    def _store(self, backend: str) -> None:
        store_patches(
            StoreJob(
                root=self.folder,
                patches=self.table,
                sampled=self.outcome("sample"),
                backend=backend,
                settings=STORES[backend],
                grid=GRID,
                work=WorkSpec("auto", 2, 0),
                store=store_of_file(self.folder / store_path(backend, NAME)),
                outcome=self.outcome(f"store_{backend}"),
            )
        )

    def store_patches_lmdb(self) -> None:
        """Store them in LMDB."""
        self._store("lmdb")

    def store_patches_hdf5(self) -> None:
        """Store them in HDF5."""
        self._store("hdf5")

    def validate_stores(self) -> None:
        """Check both stores."""
        validate_stores(
            ValidateJob(
                root=self.folder,
                patches=self.table,
                stored=[self.outcome(f"store_{backend}") for backend in STORES],
                stores={backend: self.folder / store_path(backend, NAME) for backend in STORES},
                grid=GRID,
                spec=ValidationSpec(64, 30),
                seed=0,
                threads=2,
                table=self.folder / "validation" / "blank.csv",
                outcome=self.folder / outcome_file("validate_stores", "blank"),
            )
        )

    def draw_slide(self) -> None:
        """Draw the slide and a sample of its patches."""
        draw_slide(
            DrawJob(
                slides=self.folder,
                annotations=self.folder,
                annotation=ANNOTATION,
                seed=0,
                labelled=self.outcome("metadata"),
                metadata=self.labelled,
                dropped=self.folder / "dropped.csv",
                store=self.folder / store_path("lmdb", NAME),
                overlay=self.folder / "overlay.jpg",
                montage=self.folder / "montage.jpg",
                labels=LabelSpec({}, "centre", ""),
                grid=GRID,
            )
        )

    def gather_results(self) -> None:
        """Gather the tables."""
        gather_results(
            GatherJob(
                labelled=[self.outcome("metadata")],
                stored=[self.outcome(f"store_{backend}") for backend in STORES],
                metadata=[self.labelled],
                validation=[self.folder / "validation" / "blank.csv"],
                skip_unreadable=False,
                tables=CohortTables.below(self.folder),
            )
        )

    def render_report(self) -> None:
        """Render the report; nothing was measured."""
        (self.folder / "benchmark.csv").write_text("source,encoding,measure,unit\n", encoding="utf-8")
        render_report(
            ReportJob(
                page=self.folder / "report.html",
                slides=self.folder / "slides.csv",
                stores=self.folder / "stores.csv",
                validation=self.folder / "validation.csv",
                benchmark=self.folder / "benchmark.csv",
                unreadable=self.folder / "unreadable.csv",
                labelled=[self.outcome("metadata")],
                overlays=[self.folder / "overlay.jpg"],
                montages=[self.folder / "montage.jpg"],
                label_map=LABELS,
                run=this_run({}, ""),
            )
        )


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
