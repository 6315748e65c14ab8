"""Check all stores of one slide, against each other and against the slide."""

from slidemill.stages.job import Snakemake, script_job
from slidemill.stages.validate import ValidateJob, validate_stores

snakemake: Snakemake

if __name__ == "__main__":
    with script_job(snakemake) as job:
        validate_stores(ValidateJob.from_job(job))
