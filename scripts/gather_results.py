"""Gather every slide's outcomes, patches and findings into the cohort's tables."""

from slidemill.stages.gather import GatherJob, gather_results
from slidemill.stages.job import Snakemake, script_job

snakemake: Snakemake

if __name__ == "__main__":
    with script_job(snakemake) as job:
        gather_results(GatherJob.from_job(job))
