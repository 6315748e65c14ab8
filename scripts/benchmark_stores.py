"""Measure how fast patches are read from the stores and from the slides."""

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from slidemill.benchmark import benchmark, fact_rows
from slidemill.columns import BENCHMARK_COLUMNS
from slidemill.geometry import GridSpec
from slidemill.joblog import LOG, job_log
from slidemill.outcomes import read_outcome
from slidemill.plots import plot_benchmark
from slidemill.sources import open_sources
from slidemill.specs import BenchmarkSpec, StoreSpec
from slidemill.tables import read_table, write_table

if TYPE_CHECKING:
    from snakemake.iocontainers import Snakemake

    snakemake: Snakemake

MOST_SLIDES = 16
"""At most this many slides are in the sample, so that a cohort of thousands costs no more than these."""


def main(
    root: Path,
    slides: Path,
    facts: Sequence[Path],
    stores: Mapping[str, StoreSpec],
    stored: Sequence[Path],
    grid: GridSpec,
    spec: BenchmarkSpec,
    workers: int,
    seed: int,
    table: Path,
    plot: Path,
) -> None:
    """Publish the figures and their plot; without a patch there is nothing to measure but sizes."""
    rows: list[dict[str, object]] = []
    for backend, settings in stores.items():
        # An outcome lies in its backend's folder.
        outcomes = [read_outcome(path) for path in stored if path.parent.name == backend]
        rows += fact_rows(backend, settings.encoding, outcomes)
    good = [row["slide"] for row in read_table(slides) if row["status"] == "ok"]
    sample = set(random.Random(seed).sample(good, min(MOST_SLIDES, len(good))))  # noqa: S311
    if sample:
        by_slide = {path.stem: path for path in facts if path.stem in sample}
        sources, chosen = open_sources(root, by_slide, stores, grid, spec.patches, seed)
        LOG.info("%d patches of %d slides, %d workers at most", len(chosen["random"]), len(sample), workers)
        rows += benchmark(sources, chosen, spec, workers, seed)
    write_table(table, BENCHMARK_COLUMNS, rows)
    plot_benchmark(list(read_table(table)), plot)


if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        main(
            Path(snakemake.config["roots"]["slides"]),
            Path(snakemake.input.slides),
            [Path(path) for path in snakemake.input.facts],
            {name: StoreSpec(**settings) for name, settings in snakemake.params.stores.items()},
            [Path(path) for path in snakemake.input.stored],
            GridSpec(**snakemake.params.grid),
            BenchmarkSpec(**snakemake.params.benchmark),
            snakemake.threads,
            snakemake.params.seed,
            Path(snakemake.output.table),
            Path(snakemake.output.plot),
        )
