"""Write one slide's patches into one store."""

from slidemill.stages.job import Snakemake, script_job
from slidemill.stages.store import StoreJob, store_patches

snakemake: Snakemake

if __name__ == "__main__":
    with script_job(snakemake) as job:
        store_patches(StoreJob.from_job(job))
