"""Write the table of one slide's patches."""

from pathlib import Path
from typing import TYPE_CHECKING

from slidemill.columns import PATCH_COLUMNS
from slidemill.geometry import GridSpec
from slidemill.joblog import LOG, job_log
from slidemill.outcomes import Outcome, attempt, read_outcome, write_outcome
from slidemill.sampling import patch_rows
from slidemill.slides import SlideInfo
from slidemill.tables import write_table

if TYPE_CHECKING:
    from snakemake.iocontainers import Snakemake

    snakemake: Snakemake

STAGE = "sample_patches"


def main(facts: Path, grid: GridSpec, table: Path, outcome: Path) -> None:
    """Publish the slide's patches in raster order; a slide without any is empty, which is no fault."""
    found = read_outcome(facts)

    def sample() -> Outcome:
        rows = patch_rows(found.slide, SlideInfo.from_json(found.details["info"]), grid)
        count = write_table(table, PATCH_COLUMNS, rows)
        LOG.info("%s: %d patches", found.slide, count)
        return Outcome(found.slide, STAGE, "ok" if count else "empty", details={"patches": count})

    result = attempt(found.slide, STAGE, sample, after=found)
    if result.failed:
        write_table(table, PATCH_COLUMNS, [])
    write_outcome(outcome, result)


if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        main(
            Path(snakemake.input.facts),
            GridSpec(**snakemake.params.grid),
            Path(snakemake.output.table),
            Path(snakemake.output.outcome),
        )
