"""Part the slides of a run into folds."""

from pathlib import Path
from typing import TYPE_CHECKING

from slidemill.core.job_log import LOG, job_log
from slidemill.core.specs import SplitSpec
from slidemill.report.split_summary import split_faults
from slidemill.stages.split import write_splits

if TYPE_CHECKING:
    from snakemake.iocontainers import Snakemake

    snakemake: Snakemake


def main(metadata: Path, slides: Path, spec: SplitSpec, seed: int, table: Path) -> None:
    """Publish the folds; what is wrong with them is logged here, and fails the run at its end."""
    write_splits(metadata, slides, spec, seed, table)
    for fault in split_faults(table, spec):
        LOG.warning("%s", fault)


if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        inputs, params = snakemake.input, snakemake.params
        main(
            Path(inputs.metadata),
            Path(inputs.slides),
            SplitSpec(**params.splits),
            params.seed,
            Path(snakemake.output.table),
        )
