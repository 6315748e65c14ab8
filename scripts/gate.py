"""Fail with a table of what is wrong, when more slides failed than may."""

from pathlib import Path
from typing import TYPE_CHECKING

from slidemill.cohort import complaints
from slidemill.errors import SlidemillError
from slidemill.joblog import LOG, job_log
from slidemill.tables import read_table

if TYPE_CHECKING:
    from snakemake.iocontainers import Snakemake

    snakemake: Snakemake


def main(slides: Path, validation: Path, max_failed: int) -> None:
    """Raise SlidemillError with a line for each slide that failed and each check that did."""
    faults = complaints(read_table(slides), read_table(validation))
    lines = [f"  {line}" for own in faults.values() for line in own]
    if len(faults) > max_failed:
        allowed = f", and max_failed allows {max_failed}" if max_failed else ""
        raise SlidemillError(
            f"{len(faults)} slides failed{allowed}; everything else is done and kept in {slides.parent.resolve()}:\n"
            "  slide  stage  what is wrong\n" + "\n".join(lines)
        )
    for line in lines:
        LOG.warning("allowed by max_failed: %s", line)
    LOG.info("%d slides failed, %d may", len(faults), max_failed)


if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        main(Path(snakemake.input[0]), Path(snakemake.input[1]), snakemake.params.max_failed)
