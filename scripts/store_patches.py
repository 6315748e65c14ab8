"""Write one slide's patches into one store."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from slidemill.core.csv_tables import read_table
from slidemill.core.files import scratch_folder
from slidemill.core.job_log import job_log
from slidemill.core.outcomes import Outcome, attempt, read_outcome, seal_of, write_outcome
from slidemill.core.specs import StoreSpec, WorkSpec
from slidemill.slides.discovery import decoded
from slidemill.slides.fingerprint import check_unchanged
from slidemill.slides.grid import GridSpec
from slidemill.slides.icc import stated
from slidemill.slides.patch_table import patches_of
from slidemill.slides.slide_info import SlideInfo
from slidemill.stages.store import STAGE, new_manifest, store_nothing, store_slide
from slidemill.stores.paths import store_of
from slidemill.stores.registry import STORES

if TYPE_CHECKING:
    from snakemake.iocontainers import Snakemake

    snakemake: Snakemake


def main(
    root: Path,
    patches: Path,
    sampled: Path,
    backend: str,
    settings: StoreSpec,
    grid: GridSpec,
    work: WorkSpec,
    store: Path,
    outcome: Path,
    icc: str = "ignore",
) -> None:
    """Publish the slide's store; a slide that failed before gets a store without patches."""
    found = read_outcome(sampled)
    kind = STORES[backend]
    colours = stated(icc, found.details.get("info", {}).get("icc", ""))
    manifest = new_manifest(kind, settings, found.slide, found.details["fingerprint"], grid, colours)

    def write() -> Outcome:
        info = SlideInfo.from_json(found.details["info"])
        wanted = patches_of(read_table(patches, seal=seal_of([found], "patches")), info, grid)
        return store_slide(source, info, grid, wanted, kind, store, manifest, work)

    source = root / decoded(found.details["path"])
    unchanged = partial(check_unchanged, source, found.details["fingerprint"])
    result = attempt(found.slide, STAGE, write, found, unchanged)
    if result.failed:
        store_nothing(kind, store, manifest)
    write_outcome(outcome, result)


if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        main(
            Path(snakemake.config["roots"]["slides"]),
            Path(snakemake.input.table),
            Path(snakemake.input.sampled),
            snakemake.params.backend,
            StoreSpec(**snakemake.params.settings),
            GridSpec(**snakemake.params.grid),
            WorkSpec(
                snakemake.params.reader,
                snakemake.threads,
                snakemake.params.seed,
                snakemake.params.checked_copies,
                scratch_folder(snakemake.config["scratch"]),
            ),
            store_of(Path(snakemake.output.store)),
            Path(snakemake.output.outcome),
            snakemake.params.icc,
        )
