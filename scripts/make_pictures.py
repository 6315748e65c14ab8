"""Make the pictures of the README and the docs from the demo's results."""

import os
import sys
from contextlib import chdir
from pathlib import Path

from PIL import Image

from slidemill import open_dataset, show
from slidemill.core.columns import BENCHMARK_COLUMNS
from slidemill.core.csv_tables import read_table, write_table
from slidemill.core.results_layout import BENCHMARK_TABLE, SLIDES_TABLE, outcome_file
from slidemill.core.specs import BenchmarkSpec, StoreSpec
from slidemill.datasets.slide_records import ReadingChoice
from slidemill.measuring.reading import benchmark
from slidemill.measuring.sources import choose_patches, open_sources
from slidemill.measuring.timing import Deadline
from slidemill.report.plots import plot_benchmark

SLIDE = "case-01"
WIDTH = 800
QUALITY = 80
SPEC = BenchmarkSpec(patches=256, repeats=3, time_limit=60)


def main(demo: Path, folder: Path) -> None:
    """Write the pictures to a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    results = demo / "results"
    draw_benchmark(demo, folder / "benchmark.svg")
    with open_dataset(results) as ds:
        (slide,) = ds.select(slides=SLIDE).slides
        with Image.open(results / "figures" / "overlay" / f"{slide}.jpg") as overlay:
            overlay.thumbnail((WIDTH, WIDTH), Image.Resampling.LANCZOS)
            overlay.save(folder / "overlay.jpg", quality=QUALITY)
        show.montage(ds, size=120).save(folder / "montage.jpg", quality=QUALITY)
        chosen = show.overlay(ds.select(labels=["Carcinoma invasive"]), SLIDE, longest=600)
        chosen.save(folder / "chosen.jpg", quality=QUALITY)
        figure = show.stitched_beside_thumbnail(ds, SLIDE, demo / "slides")
    figure.savefig(folder / "stitched.jpg", dpi=80, pil_kwargs={"quality": QUALITY})


def draw_benchmark(demo: Path, path: Path) -> None:
    """Plot the demo's stores, measured for longer than a run of the demo may take for it."""
    path = path.absolute()
    root = (demo / "slides").absolute()
    with chdir(demo / "results"):
        rows = [row for row in read_table(Path(BENCHMARK_TABLE)) if row["unit"] != "patches/s"]
        stores = {row["source"]: StoreSpec(row["encoding"]) for row in rows}
        slides = [row["slide"] for row in read_table(Path(SLIDES_TABLE))]
        outcomes = {slide: Path(outcome_file("sample_patches", slide)) for slide in slides}
        chosen = choose_patches(next(iter(stores)), slides, SPEC.patches, seed=0)
        sources = open_sources(outcomes, stores, ReadingChoice(root, "auto", "ignore"))
        deadline, cores = Deadline.after(SPEC.time_limit), os.cpu_count() or 1
        rates = benchmark(sources, chosen, SPEC, workers=cores, seed=0, deadline=deadline)
        table = path.with_suffix(".csv")
        write_table(table, BENCHMARK_COLUMNS, [*rows, *rates])
        plot_benchmark(list(read_table(table)), path)
        table.unlink()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
