"""Opening bags of a large cohort: ``python -m benchmarks.open_bags FOLDER``.

5,000 slides with 1,000 patches each and 64 values per patch, 16-bit floating point. Measured in a process of its own:
opening the dataset, the bags of slides and of patients, and reading all bags once; CPU time, time, and memory at most.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import numpy as np

from benchmarks.machine import code, machine
from benchmarks.training import GRID, SIZE, write_tables_alone
from slidemill.core.csv_tables import read_table
from slidemill.core.pyramid import Pyramid
from slidemill.core.results_layout import feature_file
from slidemill.features.feature_file import FeatureManifest, PatchPlaces, write_features
from slidemill.slides.grid import Grid

SLIDES, PATCHES, DIM = 5_000, 1_000, 64
NAME = "synthetic"

MEASURING = """
import resource, sys, time

class Clock:
    def __enter__(self):
        self.wall, self.cpu = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_):
        wall, cpu = time.perf_counter() - self.wall, time.process_time() - self.cpu
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        self.said = f"{cpu:.2f} s of CPU, {wall:.2f} s, {peak} MB at most"

with Clock() as opening:
    from slidemill import open_dataset
    dataset = open_dataset(sys.argv[1])
print("open_dataset:", opening.said)
with Clock() as making:
    bags = dataset.bags("synthetic", target="patient")
    known = bags.targets.labels
print(f"{len(bags)} bags of slides:", making.said)
with Clock() as patients:
    count = len(dataset.bags("synthetic", target="patient", level="patient"))
print(f"{count} bags of patients:", patients.said)
with Clock() as reading:
    rows = sum(len(bag.features) for bag in bags)
print(f"reading all bags, {rows} rows:", reading.said)
with Clock() as selecting:
    rows = sum(len(bag.features) for bag in dataset.select(query="tissue_fraction > 0.5").bags("synthetic"))
print(f"selecting half and reading its bags, {rows} rows:", selecting.said)
"""


def write_cohort(folder: Path) -> None:
    """Write the tables and the features that are not there yet."""
    write_tables_alone(folder, SLIDES, SLIDES * PATCHES)
    side = round(PATCHES**0.5)
    patches = list(Grid(Pyramid(((side * SIZE, -(-PATCHES // side) * SIZE),), (1.0,)), GRID).patches())[:PATCHES]
    random = np.random.default_rng(1)
    for row in read_table(folder / "slides.csv"):
        slide = row["slide"]
        path = folder / feature_file(NAME, slide)
        if path.exists():
            continue
        manifest = FeatureManifest(name=NAME, slide=slide, fingerprint=row["fingerprint"], model="random numbers")
        places = PatchPlaces.of(slide, patches, None, grid=GRID)
        write_features(path, manifest, places, batches=[random.normal(size=(PATCHES, DIM)).astype(np.float16)])


def main() -> None:
    """Write the cohort, and measure."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="where the cohort is written, 1.3 GB; what is there is kept")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    write_cohort(options.folder)
    print(machine(), code())
    for _ in range(options.repeats):
        command = [sys.executable, "-c", MEASURING, str(options.folder)]
        print(subprocess.run(command, capture_output=True, text=True, check=True).stdout)  # noqa: S603


if __name__ == "__main__":
    main()
