"""Measure how fast patches are read from the stores and from the slides."""

import random
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from slidemill.core.columns import BENCHMARK_COLUMNS
from slidemill.core.csv_tables import read_cohort_table, read_table, write_table
from slidemill.core.job_log import LOG, job_log
from slidemill.core.specs import BenchmarkSpec, StoreSpec
from slidemill.report.plots import plot_benchmark
from slidemill.slides.grid import GridSpec
from slidemill.stages.benchmark import benchmark, fact_rows
from slidemill.stages.benchmark_sources import open_sources

if TYPE_CHECKING:
    from snakemake.iocontainers import Snakemake

    snakemake: Snakemake

MOST_SLIDES = 16
"""At most this many slides are in the sample, so that a cohort of thousands costs no more than these."""


def main(
    root: Path,
    slides: Path,
    stored: Path,
    stores: Mapping[str, StoreSpec],
    grid: GridSpec,
    spec: BenchmarkSpec,
    workers: int,
    seed: int,
    table: Path,
    plot: Path,
    icc: str,
) -> None:
    """Publish the figures and their plot; without a patch there is nothing to measure but sizes."""
    rows: list[dict[str, object]] = []
    written = list(read_cohort_table(stored))
    for backend, settings in stores.items():
        own = [row for row in written if row["backend"] == backend]
        rows += fact_rows(backend, settings.encoding, own)
    good = [row["slide"] for row in read_cohort_table(slides) if row["status"] == "ok"]
    sample = set(random.Random(seed).sample(good, min(MOST_SLIDES, len(good))))  # noqa: S311
    if sample:
        # They belong to the table of slides, which is another when they are.
        by_slide = {slide: Path("slides", f"{slide}.json") for slide in good if slide in sample}
        sources, chosen = open_sources(root, by_slide, stores, grid, spec.patches, seed, icc)
        LOG.info("%d patches of %d slides, %d workers at most", len(chosen["random"]), len(sample), workers)
        rows += benchmark(sources, chosen, spec, workers, seed)
    write_table(table, BENCHMARK_COLUMNS, rows)
    plot_benchmark(list(read_table(table)), plot)


if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        main(
            Path(snakemake.config["roots"]["slides"]),
            Path(snakemake.input.slides),
            Path(snakemake.input.stores),
            {name: StoreSpec(**settings) for name, settings in snakemake.params.stores.items()},
            GridSpec(**snakemake.params.grid),
            BenchmarkSpec(**snakemake.params.benchmark),
            snakemake.threads,
            snakemake.params.seed,
            Path(snakemake.output.table),
            Path(snakemake.output.plot),
            snakemake.params.icc,
        )
