"""Write one slide's patches with their labels."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slidemill.core.columns import METADATA_COLUMNS
from slidemill.core.csv_tables import read_table, write_table
from slidemill.core.job_log import LOG, job_log
from slidemill.core.outcomes import Outcome, attempt, read_outcome, seal_of, with_seals, write_outcome
from slidemill.core.seals import Seal
from slidemill.core.specs import LabelSpec
from slidemill.runs.settings import settings_digest, with_settings
from slidemill.sampling.label_filter import slide_regions
from slidemill.sampling.label_warnings import coarseness, label_findings
from slidemill.sampling.labelled_table import write_labelled
from slidemill.slides.discovery import decoded
from slidemill.slides.fingerprint import check_unchanged
from slidemill.slides.patch_table import patch_side
from slidemill.slides.slide_info import SlideInfo

if TYPE_CHECKING:
    from snakemake.iocontainers import Snakemake

    snakemake: Snakemake

STAGE, FILES = "write_metadata", ("patches", "sampled", "table", "outcome")


def main(
    root: Path,
    annotation: str | None,
    fingerprint: str | None,
    labels: LabelSpec,
    columns: Mapping[str, str],
    patches: Path,
    sampled: Path,
    table: Path,
    outcome: Path,
    seed: int,
    settings: str | None = None,
) -> None:
    """Publish the labelled patches; a broken annotation fails the slide, and its table stays empty."""
    before = read_outcome(sampled)
    unchanged = partial(check_unchanged, root / decoded(annotation or ""), fingerprint, "annotation")

    def label() -> Outcome:
        info, count = SlideInfo.from_json(before.details["info"]), before.details["patches"]
        regions = slide_regions(root, annotation, fingerprint, info, labels)
        rows = read_table(patches, seal=seal_of([before], "patches"))
        found = write_labelled(table, rows, count, regions, labels, columns, seed)
        if annotation:
            seen = {"label_patches": count, **found, **before.details}  # what `only` drops counts too
            findings = label_findings(regions, labels, seen["within"], seen["label_patches"], seen["contested"])
            findings["warnings"] += found.pop("warnings", []) + coarseness(regions, patch_side(info, before.details))
            found |= findings
        LOG.info("%s: %s", before.slide, found)
        found |= {"annotation": str(decoded(annotation)) if annotation else "", "annotation_fingerprint": fingerprint}
        return Outcome(before.slide, STAGE, before.status, details=found)

    result = with_settings(attempt(before.slide, STAGE, label, before, unchanged), STAGE, settings)
    if result.failed:
        write_table(table, (*METADATA_COLUMNS, *columns), [])
    labelled = {} if result.failed else result.details["counts"]
    write_outcome(outcome, with_seals(result, metadata=Seal.of(table, sum(labelled.values()))))


if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        files: dict[str, Any] = dict(zip(FILES, map(Path, (*snakemake.input, *snakemake.output)), strict=True))
        main(
            Path(snakemake.config["roots"]["annotations"]),
            labels=LabelSpec(**snakemake.params.labels),
            **files,
            seed=snakemake.params.seed,
            settings=settings_digest(dict(snakemake.params.items())),
            **snakemake.params.known,
        )
