"""Write the metadata table of a slide: its patches with their labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from slidemill.core.columns import METADATA_COLUMNS
from slidemill.core.csv_tables import read_table, write_table
from slidemill.core.job_log import LOG
from slidemill.core.outcomes import Outcome, add_seals, attempt, find_seal, read_outcome, write_outcome
from slidemill.core.seals import Seal
from slidemill.core.specs import LabelSpec
from slidemill.runs.job_settings import settings_digest, with_settings
from slidemill.sampling.label_filter import slide_regions
from slidemill.sampling.label_warnings import coarseness, label_findings
from slidemill.sampling.labelled_table import Labelling, write_labelled
from slidemill.slides.discovery import decode_path
from slidemill.slides.fingerprint import check_unchanged
from slidemill.slides.patch_table import patch_side
from slidemill.stages.job import Job

STAGE = "write_metadata"


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelJob:
    """Inputs and outputs of a job that labels a slide's patches.

    Parameters
    ----------
    root, annotation, fingerprint
        The folder of annotations, the annotation as `SlideFile` names it, and the fingerprint that the run was planned
        with. The last two are None for a slide without annotation.
    labels
        How annotations become labels.
    columns
        The slide's values of the sample sheet's further columns.
    patches, sampled
        The slide's table of patches, and the outcome of sample_patches.
    table, outcome
        The table and the outcome.
    seed
        Seed of the sample of patches that is audited.
    settings
        Digest of the job's settings, if it is known.
    """

    root: Path
    annotation: str | None
    fingerprint: str | None
    labels: LabelSpec
    columns: Mapping[str, str]
    patches: Path
    sampled: Path
    table: Path
    outcome: Path
    seed: int
    settings: str | None = None

    @classmethod
    def from_job(cls, job: Job) -> LabelJob:
        """Return the inputs and outputs of a job of the rule write_metadata."""
        return cls(
            root=job.roots.annotations,
            labels=LabelSpec(**job.params["labels"]),
            patches=job.inputs["table"],
            sampled=job.inputs["sampled"],
            seed=job.params["seed"],
            table=job.outputs["table"],
            outcome=job.outputs["outcome"],
            settings=settings_digest(job.params),
            **job.params["known"],
        )


def label_patches(job: LabelJob) -> None:
    """Publish a slide's labelled patches; the table of a failed slide is empty.

    Raises
    ------
    SlidemillError
        When the annotation has changed since the run was planned, or the table of patches is damaged.
    """
    before = read_outcome(job.sampled)
    annotation, fingerprint, labels = job.annotation, job.fingerprint, job.labels
    unchanged = partial(check_unchanged, job.root / decode_path(annotation or ""), fingerprint, "annotation")

    def label() -> Outcome:
        regions = slide_regions(job.root, annotation, fingerprint, info=before.info, spec=labels)
        count = before.kept.patches
        rows = read_table(job.patches, seal=find_seal([before], "patches"))
        by = Labelling(regions, labels, job.columns)
        facts, counts = write_labelled(job.table, rows, by, count=count, seed=job.seed)
        warnings = list(regions.warnings)
        if annotation:
            seen = before.regions or counts  # patches that `only` drops count too
            found = label_findings(
                regions,
                labels,
                seen.within,
                patches=count if seen.label_patches is None else seen.label_patches,
                contested=seen.contested,
            )
            facts = replace(
                facts,
                annotation=str(decode_path(annotation)),
                annotation_fingerprint=fingerprint,
                unmapped_regions=found.unmapped_regions,
                region_patches=found.region_patches,
                unmapped_patches=found.unmapped_patches,
            )
            warnings = [*found.warnings, *warnings, *coarseness(regions, patch_side(before.info, before.kept.sampling))]
        if before.regions:
            counts = replace(counts, label_patches=before.regions.label_patches)
        LOG.info("%s: %s", before.name, facts)
        return Outcome(before.slide, STAGE, before.status, labels=facts, regions=counts, warnings=warnings)

    result = with_settings(attempt(before.slide, STAGE, label, after=before, unchanged=unchanged), STAGE, job.settings)
    if result.failed:
        write_table(job.table, (*METADATA_COLUMNS, *job.columns), [])
    labelled = sum(result.labels.counts.values()) if result.labels else 0
    write_outcome(job.outcome, add_seals(result, metadata=Seal.of(job.table, labelled)))
