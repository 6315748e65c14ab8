"""Draw a slide with its patches by label, and a sample of its patches."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from slidemill.core.child_process import ChildCrashedError, ChildProcess
from slidemill.core.csv_tables import read_table
from slidemill.core.job_log import LOG
from slidemill.core.outcomes import check_tables, read_outcome
from slidemill.core.results_layout import store_of_file
from slidemill.core.specs import LabelSpec
from slidemill.errors import SlideError, StoreError
from slidemill.report.legend import Classes
from slidemill.report.overlay import LONGEST, Outlines, draw_overlay
from slidemill.report.patch_pictures import draw_message, draw_sample, save_picture
from slidemill.sampling.label_filter import slide_regions
from slidemill.sampling.tissue_mask import load_mask
from slidemill.slides.discovery import decode_path, slide_path
from slidemill.slides.fingerprint import check_unchanged
from slidemill.slides.icc import colour_state
from slidemill.slides.low_resolution import low_resolution
from slidemill.stages.job import Job


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawJob:
    """Inputs and outputs of a job that draws a slide's pictures.

    Parameters
    ----------
    slides, annotations
        The folders of the slides and of the annotations.
    annotation
        The slide's annotation as `SlideFile` names it, or None.
    seed
        Seed of the sample of patches.
    labelled, metadata, dropped, store
        The outcome of write_metadata, the slide's tables, and the store of the sample's patches.
    overlay, montage
        The pictures.
    labels
        How annotations become labels.
    mask
        The slide's mask of tissue, or None.
    icc
        How colours are converted, as the configuration names it.
    """

    slides: Path
    annotations: Path
    annotation: str | None
    seed: int
    labelled: Path
    metadata: Path
    dropped: Path
    store: Path
    overlay: Path
    montage: Path
    labels: LabelSpec
    mask: Path | None = None
    icc: str = "ignore"

    @classmethod
    def from_job(cls, job: Job) -> DrawJob:
        """Return the inputs and outputs of a job of the rule draw_slide."""
        return cls(
            slides=job.roots.slides,
            annotations=job.roots.annotations,
            annotation=job.params["annotation"],
            seed=job.params["seed"],
            labels=LabelSpec(**job.params["labels"]),
            icc=job.params["icc"],
            **job.inputs,
            **job.outputs,
        )


def draw_slide(job: DrawJob) -> None:
    """Publish both pictures; one that cannot be drawn shows the reason.

    Raises
    ------
    SlidemillError
        When the slide or a table has changed since an earlier stage.
    """
    found = read_outcome(job.labelled)
    check_tables([found], metadata=job.metadata, dropped=job.dropped)  # they are read several times
    try:
        if found.failed:
            raise SlideError(f"failed in {found.stage}")
        info = found.info
        printed = found.labels.annotation_fingerprint if found.labels else None
        regions = slide_regions(job.annotations, job.annotation, printed, info=info, spec=job.labels)
        source = slide_path(job.slides, found.path)
        view = low_resolution(source, info, LONGEST, icc=colour_state(job.icc, info.icc))
        LOG.info("notes on the picture: %s", "; ".join(view.notes) or "none")
        tissue = load_mask(job.mask, info.size) if job.mask else None
        rows, dropped = read_table(job.metadata), read_table(job.dropped)
        classes, outlines = Classes(job.labels.map, job.labels.outside), Outlines(regions, tissue)
        picture = draw_overlay(view.image, info.size[0], rows, classes=classes, dropped=dropped, outlines=outlines)
    except SlideError as error:
        LOG.warning("%s", error)
        picture = draw_message(f"no picture: {error}")
    if not found.failed:
        check_unchanged(job.slides / decode_path(found.path), found.fingerprint)
    save_picture(picture, job.overlay)
    # A damaged store may end the process that reads it; the validation reports the damage.
    with ChildProcess() as process:
        try:
            sample = process.call(
                draw_sample, store_of_file(job.store), job.metadata, job.seed, names=list(job.labels.map)
            )
        except (StoreError, ChildCrashedError) as error:
            LOG.warning("%s", error)
            sample = draw_message("no picture: the store cannot be read")
    save_picture(sample, job.montage)
