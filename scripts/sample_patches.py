"""Write the table of one slide's patches, and that of those which were dropped."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from slidemill.columns import DROPPED_COLUMNS, PATCH_COLUMNS
from slidemill.discovery import decoded, slide_path
from slidemill.fingerprints import check_unchanged
from slidemill.geometry import GridSpec
from slidemill.joblog import LOG, job_log
from slidemill.masks import NOTHING, save_mask
from slidemill.outcomes import Outcome, attempt, read_outcome, write_outcome
from slidemill.sampling import patch_rows
from slidemill.selecting import Step, write_judged
from slidemill.slides import SlideInfo, opened
from slidemill.specs import TissueSpec
from slidemill.tables import write_table
from slidemill.tissue import tissue_mask, tissue_step

if TYPE_CHECKING:
    from snakemake.iocontainers import Snakemake

    snakemake: Snakemake

STAGE = "sample_patches"


def main(
    root: Path,
    facts: Path,
    grid: GridSpec,
    tissue: TissueSpec,
    table: Path,
    dropped: Path,
    outcome: Path,
    mask: Path | None = None,
) -> None:
    """Publish the slide's patches in raster order; a slide without any is empty, which is no fault.

    `mask` is where the tissue's goes, and None where no tissue is asked for.
    """
    found = read_outcome(facts)
    unchanged = partial(check_unchanged, root / decoded(found.details["path"]), found.details["fingerprint"])

    def sample() -> Outcome:
        info = SlideInfo.from_json(found.details["info"])
        steps: list[Step] = []
        if mask:
            with opened(slide_path(root, found.details["path"])) as slide:
                wanted = tissue_mask(slide, info, tissue)
            unchanged()
            save_mask(wanted, mask)
            steps.append(tissue_step(wanted, tissue.min_fraction))
        reasons = write_judged(patch_rows(found.slide, info, grid), steps, table, dropped)
        count = reasons.pop("", 0)
        LOG.info("%s: %d patches, dropped: %s", found.slide, count, dict(reasons))
        details = {"grid": count + reasons.total(), "dropped": dict(reasons), "patches": count}
        return Outcome(found.slide, STAGE, "ok" if count else "empty", details=details)

    result = attempt(found.slide, STAGE, sample, found, unchanged)
    if result.failed:
        write_table(table, PATCH_COLUMNS, [])
        write_table(dropped, DROPPED_COLUMNS, [])
        if mask:
            save_mask(NOTHING, mask)
    write_outcome(outcome, result)


if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        main(
            Path(snakemake.config["roots"]["slides"]),
            Path(snakemake.input.facts),
            GridSpec(**snakemake.params.grid),
            TissueSpec(**snakemake.params.tissue),
            **{name: Path(file) for name, file in snakemake.output.items()},
        )
