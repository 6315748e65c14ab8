"""Split the slides of a run into folds."""

from slidemill.stages.job import Snakemake, script_job
from slidemill.stages.split import SplitJob, write_splits

snakemake: Snakemake

if __name__ == "__main__":
    with script_job(snakemake) as job:
        write_splits(SplitJob.from_job(job))
