"""Estimate what each kind of store takes for the whole cohort."""

from slidemill.stages.benchmark import EstimateJob, estimate_stores
from slidemill.stages.job import Snakemake, script_job

snakemake: Snakemake

if __name__ == "__main__":
    with script_job(snakemake) as job:
        estimate_stores(EstimateJob.from_job(job))
