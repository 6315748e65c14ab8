"""Write the table of one slide's patches, and that of those which were dropped."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from slidemill.core.columns import DROPPED_COLUMNS, PATCH_COLUMNS
from slidemill.core.csv_tables import write_table
from slidemill.core.job_log import job_log
from slidemill.core.outcomes import Outcome, attempt, read_outcome, with_seals, write_outcome
from slidemill.core.seals import Seal
from slidemill.core.specs import LabelSpec, QualitySpec, TissueSpec, WorkSpec
from slidemill.runs.settings import settings_digest, with_settings
from slidemill.sampling.patch_selection import Choice, write_chosen
from slidemill.sampling.tissue_mask import NOTHING, save_mask
from slidemill.slides.discovery import decoded
from slidemill.slides.fingerprint import check_unchanged
from slidemill.slides.grid import GridSpec

if TYPE_CHECKING:
    from snakemake.iocontainers import Snakemake

    snakemake: Snakemake

STAGE = "sample_patches"


def main(
    root: Path, facts: Path, choice: Choice, table: Path, dropped: Path, outcome: Path, mask: Path | None = None
) -> None:
    """Write the slide's patches in raster order, and its mask of tissue if asked for; no patches are no fault."""
    found = read_outcome(facts)
    source = root / decoded(found.details["path"])

    def unchanged() -> None:
        check_unchanged(source, found.details["fingerprint"])
        check_unchanged(choice.own_mask or source, choice.mask_fingerprint, "mask of tissue")

    def sample() -> Outcome:
        details = write_chosen(source, found, choice, table, dropped, mask) | {"sampling": asdict(choice.grid)}
        return Outcome(found.slide, STAGE, "ok" if details["patches"] else "empty", details=details)

    result = with_settings(attempt(found.slide, STAGE, sample, found, unchanged), STAGE, choice.settings)
    if result.failed:
        write_table(table, PATCH_COLUMNS, [])
        write_table(dropped, DROPPED_COLUMNS, [])
        if mask:
            save_mask(NOTHING, mask)
    grid, kept = (0, 0) if result.failed else (result.details["grid"], result.details["patches"])
    write_outcome(outcome, with_seals(result, patches=Seal.of(table, kept), dropped=Seal.of(dropped, grid - kept)))


if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        params = snakemake.params
        quality, labels, own = params.get("quality"), params.get("labels"), params.own_mask
        roots = {name: Path(root) for name, root in snakemake.config["roots"].items()}
        chosen = None
        if labels:
            from slidemill.sampling.label_filter import LabelChoice

            chosen = LabelChoice(roots["annotations"], **{**labels, "spec": LabelSpec(**labels["spec"])})
        main(
            roots["slides"],
            Path(snakemake.input.facts),
            Choice(
                GridSpec(**params.grid),
                TissueSpec(**params.tissue),
                roots["masks"] / decoded(own["path"]) if own else None,
                own["fingerprint"] if own else None,
                QualitySpec(**quality) if quality else None,
                WorkSpec(params.reader, snakemake.threads, params.seed) if quality else None,
                chosen,
                params.max_patches,
                params.unannotated,
                settings_digest(dict(params.items())),
            ),
            **{name: Path(file) for name, file in snakemake.output.items()},
        )
