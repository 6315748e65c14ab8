"""Measure how fast patches are read from the stores and from the slides."""

from slidemill.stages.benchmark import BenchmarkJob, benchmark_stores
from slidemill.stages.job import Snakemake, script_job

snakemake: Snakemake

if __name__ == "__main__":
    with script_job(snakemake) as job:
        benchmark_stores(BenchmarkJob.from_job(job))
