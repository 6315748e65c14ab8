"""Check that all stores fit on the disk before the first is written."""

from slidemill.stages.job import Snakemake, script_job
from slidemill.stages.space import SpaceJob, check_space

snakemake: Snakemake

if __name__ == "__main__":
    with script_job(snakemake) as job:
        check_space(SpaceJob.from_job(job))
