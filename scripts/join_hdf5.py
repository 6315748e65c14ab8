"""Write the one HDF5 file over the stores of all slides."""

from pathlib import Path
from typing import TYPE_CHECKING

from slidemill.joblog import job_log
from slidemill.joining import BACKEND, join_stores
from slidemill.opening import open_dataset

if TYPE_CHECKING:
    from snakemake.iocontainers import Snakemake

    snakemake: Snakemake


def main(results: Path, file: Path) -> None:
    """Publish the file of the results, whose tables have been gathered."""
    with open_dataset(results, BACKEND) as dataset:
        join_stores(dataset, file)


if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        main(Path(), Path(snakemake.output.file))
