"""Check all stores of one slide, against each other and against the slide."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from slidemill.core.child_process import Apart
from slidemill.core.csv_tables import read_table
from slidemill.core.job_log import job_log
from slidemill.core.outcomes import read_outcome, seal_of
from slidemill.core.specs import ValidationSpec
from slidemill.slides.discovery import slide_path
from slidemill.slides.fingerprint import check_unchanged
from slidemill.slides.grid import GridSpec
from slidemill.slides.icc import stated
from slidemill.slides.patch_table import patches_of
from slidemill.slides.slide_info import SlideInfo
from slidemill.stages.store import STAGE as STORED
from slidemill.stages.validate import validate_slide, write_findings
from slidemill.stores.checks import check_apart
from slidemill.stores.paths import store_path

if TYPE_CHECKING:
    from snakemake.iocontainers import Snakemake

    snakemake: Snakemake


def main(
    root: Path,
    patches: Path,
    stored: Sequence[Path],
    stores: Mapping[str, Path],
    grid: GridSpec,
    spec: ValidationSpec,
    seed: int,
    threads: int,
    table: Path,
    icc: str = "ignore",
    outcome: Path | None = None,
) -> None:
    """Publish a row for each check, whether it passed or not, and an outcome with the table's seal."""
    outcomes = [read_outcome(path) for path in stored]
    found = outcomes[0]
    # One that lacks the level that is asked for was opened, but no grid can be laid over it.
    sampled = not any(outcome.failed and outcome.stage != STORED for outcome in outcomes)
    info = SlideInfo.from_json(found.details["info"]) if sampled else None
    source = slide_path(root, found.details["path"]) if sampled else None
    unreadable = {patch["patch_id"] for outcome in outcomes for patch in outcome.details.get("unreadable", ())}
    wanted = patches_of(read_table(patches, seal=seal_of(outcomes, "patches")), info, grid) if info else []
    wanted = [patch for patch in wanted if patch.patch_id not in unreadable]
    # A damaged store may end the process that reads it.
    with Apart() as process:
        check = partial(check_apart, process)
        # As its stores were written, whatever the slide has failed for since.
        colours = stated(icc, found.details.get("info", {}).get("icc", ""))
        findings = validate_slide(found.slide, stores, source, info, grid, wanted, spec, seed, threads, check, colours)
    if source:
        check_unchanged(source, found.details["fingerprint"])
    write_findings(found.slide, findings, table, outcome)


if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        main(
            Path(snakemake.config["roots"]["slides"]),
            Path(snakemake.input.table),
            [Path(path) for path in snakemake.input.stored],
            {backend: store_path(backend, snakemake.wildcards.slide) for backend in snakemake.params.backends},
            GridSpec(**snakemake.params.grid),
            ValidationSpec(**snakemake.params.validation),
            snakemake.params.seed,
            snakemake.threads,
            Path(snakemake.output.table),
            snakemake.params.icc,
            Path(snakemake.output.outcome),
        )
