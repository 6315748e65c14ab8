"""Write one slide's patches with their labels."""

from slidemill.stages.job import Snakemake, script_job
from slidemill.stages.label import LabelJob, label_patches

snakemake: Snakemake

if __name__ == "__main__":
    with script_job(snakemake) as job:
        label_patches(LabelJob.from_job(job))
