"""Write the tables of one slide's sampled and dropped patches."""

from slidemill.stages.job import Snakemake, script_job
from slidemill.stages.sample import SampleJob, sample_patches

snakemake: Snakemake

if __name__ == "__main__":
    with script_job(snakemake) as job:
        sample_patches(SampleJob.from_job(job))
