"""Measure how fast patches are read from the stores and from the slides."""

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from slidemill.benchmark import benchmark, fact_rows
from slidemill.columns import BENCHMARK_COLUMNS
from slidemill.config import BenchmarkSpec
from slidemill.geometry import GridSpec
from slidemill.joblog import LOG, job_log
from slidemill.outcomes import Outcome, read_outcome
from slidemill.plots import plot_benchmark
from slidemill.sources import SLIDES, SlideSource, Source, StoreSource, choose_blocks, sampled_slide
from slidemill.stores.paths import store_path
from slidemill.stores.registry import open_store
from slidemill.tables import read_table, write_table

if TYPE_CHECKING:
    from snakemake.iocontainers import Snakemake

    snakemake: Snakemake

MOST_SLIDES = 16
"""At most this many slides are in the sample, so that a cohort of thousands costs no more than these."""


def main(
    root: Path,
    slides: Path,
    facts: Path,
    stored: Mapping[str, Sequence[Outcome]],
    grid: GridSpec,
    spec: BenchmarkSpec,
    workers: int,
    seed: int,
    table: Path,
    plot: Path,
) -> None:
    """Publish the figures and their plot; without a patch there is nothing to measure but sizes."""
    good = [row["slide"] for row in read_table(slides) if row["status"] == "ok"]
    sample = sorted(random.Random(seed).sample(good, min(MOST_SLIDES, len(good))))  # noqa: S311
    rows = [row for backend, outcomes in stored.items() for row in fact_rows(backend, outcomes)]
    sources: dict[str, Source] = {
        backend: StoreSource({slide: store_path(backend, slide) for slide in sample}) for backend in stored
    }
    ids: dict[str, Sequence[str]] = {}
    for slide in sample:
        with open_store(store_path(next(iter(stored)), slide)) as store:
            ids[slide] = store.ids
    keys = choose_blocks(ids, spec.patches, seed)
    sources[SLIDES] = SlideSource(
        {slide: sampled_slide(root, facts / f"{slide}.json", keys, grid) for slide in sample}, grid
    )
    if keys:
        LOG.info("%d patches of %d slides, %d workers at most", len(keys), len(sample), workers)
        rows += benchmark(sources, keys, spec, workers, seed)
    write_table(table, BENCHMARK_COLUMNS, rows)
    plot_benchmark(list(read_table(table)), plot)


if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        outcomes = [read_outcome(Path(path)) for path in snakemake.input.stored]
        share = len(outcomes) // len(snakemake.params.backends)
        main(
            Path(snakemake.config["roots"]["slides"]),
            Path(snakemake.input.slides),
            Path("slides"),
            {name: outcomes[n * share : (n + 1) * share] for n, name in enumerate(snakemake.params.backends)},
            GridSpec(**snakemake.params.grid),
            BenchmarkSpec(**snakemake.params.benchmark),
            snakemake.threads,
            snakemake.params.seed,
            Path(snakemake.output.table),
            Path(snakemake.output.plot),
        )
