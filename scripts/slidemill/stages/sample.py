"""Write the tables of a slide's kept and dropped patches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from slidemill.core.columns import DROPPED_COLUMNS, PATCH_COLUMNS
from slidemill.core.csv_tables import read_table, write_table
from slidemill.core.outcomes import Outcome, add_seals, attempt, read_outcome, write_outcome
from slidemill.core.seals import Seal
from slidemill.core.specs import GridSpec, LabelSpec, QualitySpec, TissueSpec, WorkSpec
from slidemill.runs.job_settings import settings_digest, with_settings
from slidemill.sampling.patch_selection import Choice, GivenPlaces, write_selection
from slidemill.sampling.tissue_mask import NOTHING, save_mask
from slidemill.slides.discovery import decode_path
from slidemill.slides.fingerprint import check_unchanged
from slidemill.slides.patch_table import SlidePatches, spread_patches
from slidemill.slides.reader_choice import find_reader
from slidemill.slides.readers import TileReader
from slidemill.stages.job import Job

STAGE = "sample_patches"
SEED = 0
"""Of the choice of compared patches: another seed of the configuration samples nothing again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleJob:
    """Inputs and outputs of a job that samples a slide.

    Parameters
    ----------
    root, facts
        The folder of the slides, and the outcome of discover_slides.
    choice
        Which patches are kept.
    table, dropped, outcome
        Both tables and the outcome.
    mask
        The tissue mask, if it is requested.
    """

    root: Path
    facts: Path
    choice: Choice
    table: Path
    dropped: Path
    outcome: Path
    mask: Path | None = None

    @classmethod
    def from_job(cls, job: Job) -> SampleJob:
        """Return the inputs and outputs of a job of the rule sample_patches."""
        params, roots = job.params, job.roots
        quality, labels, own = params.get("quality"), params.get("labels"), params["custom_mask"]
        chosen = None
        if labels:
            from slidemill.sampling.label_filter import LabelChoice

            chosen = LabelChoice(roots.annotations, **{**labels, "spec": LabelSpec(**labels["spec"])})
        places = params.get("coordinates")
        choice = Choice(
            GridSpec(**params["grid"]),
            TissueSpec(**params["tissue"]),
            roots.masks / decode_path(own["path"]) if own else None,
            own["fingerprint"] if own else None,
            QualitySpec(**quality) if quality else None,
            WorkSpec(params["reader"], job.threads, params["seed"]) if quality else None,
            chosen,
            params["max_patches"],
            params["unannotated"],
            settings_digest(params),
            _find_places(places, roots.coordinates) if places else None,
        )
        return cls(root=roots.slides, facts=job.inputs["facts"], choice=choice, **job.outputs)


def _find_places(places: Mapping[str, Any], folder: Path) -> GivenPlaces:
    path = folder / decode_path(places["path"]) if places["path"] else None
    return GivenPlaces(path, places["fingerprint"], places["stated"], folder)


def sample_patches(job: SampleJob) -> None:
    """Write a slide's patches in raster order, and its tissue mask if requested.

    Raises
    ------
    SlidemillError
        When the slide, its mask or its annotation has changed since the run was planned.
    """
    found = read_outcome(job.facts)
    choice, source = job.choice, job.root / decode_path(found.path)

    def check_inputs() -> None:
        check_unchanged(source, found.fingerprint)
        check_unchanged(choice.custom_mask or source, choice.mask_fingerprint, "mask of tissue")
        if choice.given and choice.given.path:
            check_unchanged(choice.given.path, choice.given.fingerprint, "file of coordinates")

    def sample() -> Outcome:
        sampled = write_selection(source, found, choice, table=job.table, dropped=job.dropped, mask=job.mask)
        facts = sampled.sample
        if facts and facts.patches:
            grid = facts.sampling or choice.grid
            compared = spread_patches(read_table(job.table), facts.patches, found.info, grid)
            reading = find_reader(SlidePatches(source, found.info, grid, compared), SEED)
            sampled = replace(sampled, sample=replace(facts, reading=reading))
            if reading.reader == TileReader.name:
                check_unchanged(source, found.fingerprint)
        return replace(sampled, stage=STAGE)

    outcome = attempt(found.slide, STAGE, sample, after=found, unchanged=check_inputs)
    result = with_settings(outcome, STAGE, choice.settings)
    if result.failed:
        write_table(job.table, PATCH_COLUMNS, [])
        write_table(job.dropped, DROPPED_COLUMNS, [])
        if job.mask:
            save_mask(NOTHING, job.mask)
    grid, kept = (result.sample.grid, result.sample.patches) if result.sample else (0, 0)
    sealed = add_seals(result, patches=Seal.of(job.table, kept), dropped=Seal.of(job.dropped, grid - kept))
    write_outcome(job.outcome, sealed)
