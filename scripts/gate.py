"""Fail, with a table of faults, if too many slides failed or folds leak."""

from slidemill.stages.gate import GateJob, require_success
from slidemill.stages.job import Snakemake, script_job

snakemake: Snakemake

if __name__ == "__main__":
    with script_job(snakemake) as job:
        require_success(GateJob.from_job(job))
