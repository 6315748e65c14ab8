"""Write one HDF5 file that joins the stores of all slides."""

from pathlib import Path

from slidemill.datasets.joined_hdf5 import join_stores
from slidemill.stages.job import Snakemake, script_job

snakemake: Snakemake

if __name__ == "__main__":
    with script_job(snakemake) as job:
        join_stores(Path(), job.outputs["file"])
