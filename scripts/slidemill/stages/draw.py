"""Draw a slide with its patches by label, and a sample of its patches."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from slidemill.core.child_process import ChildCrashedError, ChildProcess
from slidemill.core.csv_tables import read_table
from slidemill.core.job_log import LOG
from slidemill.core.outcomes import Outcome, check_tables, read_outcome
from slidemill.core.results_layout import store_of_file
from slidemill.core.specs import GridSpec, LabelSpec
from slidemill.errors import SlideError, StoreError
from slidemill.report.legend import Classes
from slidemill.report.overlay import LONGEST, Outlines, draw_overlay
from slidemill.report.patch_pictures import draw_message, draw_patches, draw_sample, sample_rows, save_picture
from slidemill.sampling.label_filter import slide_regions
from slidemill.sampling.tissue_mask import load_mask
from slidemill.slides.discovery import decode_path, slide_path
from slidemill.slides.fingerprint import check_unchanged
from slidemill.slides.icc import build_conversion, colour_state
from slidemill.slides.low_resolution import low_resolution
from slidemill.slides.openslide_reader import PatchReader, unreadable_patches
from slidemill.slides.patch_table import SlidePatches, patches_of, sampled_grid
from slidemill.slides.slide_info import open_slide
from slidemill.stages.job import Job

if TYPE_CHECKING:
    from PIL import Image


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
    labelled, metadata, dropped
        The outcome of write_metadata, and the slide's tables.
    overlay, montage
        The pictures.
    labels, grid
        How annotations become labels, and how patches are placed.
    store
        The store of the sample's patches; None in a run without stores, where they are read from the slide.
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
    overlay: Path
    montage: Path
    labels: LabelSpec
    grid: GridSpec
    store: Path | None = None
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
            grid=GridSpec(**job.params["grid"]),
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
    # A damaged store or slide may end the process that reads it; the validation reports the damage of a store.
    with ChildProcess() as process:
        try:
            if job.store:
                store, names = store_of_file(job.store), list(job.labels.map)
                sample = process.call(draw_sample, store, job.metadata, job.seed, names=names)
            elif found.failed:
                sample = draw_patches([], [])
            else:
                sample = process.call(draw_slide_sample, job, found)
        except (SlideError, StoreError, ChildCrashedError) as error:
            LOG.warning("%s", error)
            sample = draw_message(f"no picture: the {'store' if job.store else 'slide'} cannot be read")
    save_picture(sample, job.montage)


def draw_slide_sample(job: DrawJob, found: Outcome) -> Image.Image:
    """Draw a sample of a slide's patches, read by OpenSlide, without those that cannot be read.

    Parameters
    ----------
    job, found
        The job, and the slide's outcome of write_metadata.

    Raises
    ------
    SlideError
        When the slide cannot be read.
    """
    rows, grid = sample_rows(job.metadata, None, job.seed, names=job.labels.map), sampled_grid(found, job.grid)
    source, patches = slide_path(job.slides, found.path), patches_of(rows, found.info, grid)
    unreadable = unreadable_patches(SlidePatches(source, found.info, grid, patches))
    for patch_id, reason in unreadable.items():
        LOG.warning("%s: %s", patch_id, reason)
    with open_slide(source) as slide:
        reader = PatchReader(slide, found.info, grid)
        convert = build_conversion(slide, colour_state(job.icc, found.info.icc))
        pixels = [convert(reader.read(patch)) for patch in patches if patch.patch_id not in unreadable]
    shown = [row for row in rows if row["patch_id"] not in unreadable]
    return draw_patches(pixels, [(int(row["label"]), row["label_name"]) for row in shown])
