"""Fail with a table of what is wrong, when anything is."""

from pathlib import Path
from typing import TYPE_CHECKING

from slidemill.cohort import complaints
from slidemill.errors import SlidemillError
from slidemill.joblog import LOG, job_log
from slidemill.tables import read_table

if TYPE_CHECKING:
    from snakemake.iocontainers import Snakemake

    snakemake: Snakemake


def main(slides: Path, validation: Path) -> None:
    """Raise SlidemillError with a line for each slide that failed and each check that did."""
    lines = complaints(read_table(slides), read_table(validation))
    if lines:
        table = "\n".join(f"  {line}" for line in lines)
        raise SlidemillError(
            f"{len(lines)} faults; everything else is done and kept in {slides.parent.resolve()}:\n"
            f"  slide  stage  what is wrong\n{table}"
        )
    LOG.info("no slide and no check has failed")


if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        main(Path(snakemake.input[0]), Path(snakemake.input[1]))
