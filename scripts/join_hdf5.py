"""Write the one HDF5 file over the stores of all slides."""

from pathlib import Path
from typing import TYPE_CHECKING

from slidemill.core.job_log import job_log
from slidemill.datasets.joined_hdf5 import join_stores

if TYPE_CHECKING:
    from snakemake.iocontainers import Snakemake

    snakemake: Snakemake

if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        join_stores(Path(), Path(snakemake.output.file))
