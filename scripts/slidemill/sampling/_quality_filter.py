"""Measure the quality of a slide's patches, and drop those beyond the limits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from slidemill.core.job_log import LOG, log_progress
from slidemill.core.patch import PatchRef
from slidemill.core.pyramid import SlideInfo
from slidemill.core.quality_measures import MEASURES, measure
from slidemill.core.specs import GridSpec, QualitySpec, WorkSpec
from slidemill.core.stage_facts import QualitySummary
from slidemill.errors import SlideError
from slidemill.sampling._filter_chain import Row
from slidemill.sampling._ink import pen_colours
from slidemill.sampling._tissue_detection import mask_size
from slidemill.sampling.tissue_mask import Mask
from slidemill.slides.fingerprint import check_unchanged
from slidemill.slides.openslide_reader import thumbnail
from slidemill.slides.patch_table import SlidePatches, patches_of
from slidemill.slides.reader_choice import read_whole
from slidemill.slides.readers import Reader
from slidemill.slides.slide_info import open_slide

MOST_GLASS, LEAST_COLOUR = 0.5, 0.05
"""A patch shows tissue if at most this share is white, and its mean saturation is at least this."""

MOST_INK = 0.1
"""Patches with a larger share of ink count as marked by a pen."""

MOST_READ = 64_000_000
"""Levels of more pixels are not read to look for ink: this is about 1,000 patches of 256 pixels."""


class QualityStep:
    """The step that measures patches and drops those beyond the limits.

    Limits apply to the rounded values of the table. Patches that cannot be read keep empty measures: stores leave them
    out and record the reason.
    """

    def __init__(self, slide: SlidePatches, spec: QualitySpec, work: WorkSpec, *, inked: Mask | None) -> None:
        self._slide = slide
        self._limits = [(one, spec.limits[one.limit]) for one in MEASURES if one.limit in spec.limits]
        self._measures = [one for one in MEASURES if not one.is_costly or one.limit in spec.limits]
        self._work = work
        self._inked = inked
        self._counts = {one: np.zeros(len(one.edges) - 1, np.int64) for one in self._measures}
        self._focus: list[float] = []
        self._seen = self._marked = 0

    def __call__(self, rows: Sequence[Row]) -> list[str]:
        """Measure a block of rows, as `slidemill.sampling._filter_chain.Step` specifies."""
        patches = patches_of(rows, self._slide.info, self._slide.grid)
        asked = replace(self._slide, patches=patches)
        found = read_whole(asked, self._work.reader, self._work.seed, use=self._measure).result
        for row, patch in zip(rows, patches, strict=True):
            own = found.get(patch.patch_id, {})
            row |= {one.column: f"{own[one.column]:.4g}" if one.column in own else "" for one in MEASURES}
        self._count([row for row in rows if row["blur"]])
        return [self._reason(row) for row in rows]

    def summary(self) -> QualitySummary:
        """Return the quality of the slide's patches, dropped ones included."""
        return QualitySummary(
            measured=self._seen,
            counts={one.column: tuple(counts.tolist()) for one, counts in self._counts.items()},
            focus=float(np.median(self._focus)) if self._focus else None,
            focus_patches=len(self._focus),
            marked=None if self._inked is None else self._marked,
        )

    def _measure(self, reader: Reader, patches: Sequence[PatchRef]) -> dict[str, dict[str, float]]:
        measuring = partial(measure, measures=self._measures)
        with closing(reader.read(patches, measuring, self._work.threads)) as results:
            values_of = log_progress(results, len(patches), "patches measured")
            return {patch.patch_id: values for patch, values in values_of}

    def _reason(self, row: Row) -> str:
        """Return the first measure beyond its limit by its column, or nothing."""
        for one, limit in self._limits:
            value = row[one.column]
            if value and (float(value) < limit if one.is_minimum else float(value) > limit):
                return one.column
        return ""

    def _count(self, rows: Sequence[Row]) -> None:
        values = {one.column: np.array([float(row[one.column]) for row in rows]) for one in self._measures}
        for one, counts in self._counts.items():
            bins = np.searchsorted(one.edges[1:-1], values[one.column], side="right")
            counts += np.bincount(bins, minlength=len(counts))
        tissue = (values["white_fraction"] <= MOST_GLASS) & (values["mean_saturation"] >= LEAST_COLOUR)
        self._focus.extend(values["blur"][tissue].tolist())
        self._seen += len(rows)
        if self._inked is not None and rows:
            self._marked += int((self._inked.fractions(rows) > MOST_INK).sum())


@contextmanager
def quality_step(
    source: Path, fingerprint: str, info: SlideInfo, *, grid: GridSpec, spec: QualitySpec, work: WorkSpec
) -> Iterator[QualityStep]:
    """Yield the step that measures patches, and check that the slide is unchanged.

    Parameters
    ----------
    source, fingerprint, info, grid
        The slide's file, the fingerprint that it was planned with, its facts, and the grid.
    spec
        The limits.
    work
        The reader, the number of threads, and the seed of the comparison with OpenSlide.

    Raises
    ------
    SlideError
        When the slide cannot be opened.
    SlidemillError
        When it changed.
    """
    # The reader's threads measure one patch each: OpenCV's own threads would compete with them.
    cv2.setNumThreads(1)
    check_unchanged(source, fingerprint)
    yield QualityStep(SlidePatches(source, info, grid, ()), spec, work, inked=_inked(source, info))
    check_unchanged(source, fingerprint)


def _inked(source: Path, info: SlideInfo) -> Mask | None:
    """Return where a slide has ink; None if no low resolution can be read."""
    longest = max(mask_size(info))
    width, height = info.dimensions[info.pyramid.best_level(max(info.dimensions[0]) / longest)]
    if width * height > MOST_READ:
        LOG.warning("%s: has no low resolution to look for ink in", source.name)
        return None
    try:
        with open_slide(source) as slide:
            marks = pen_colours(np.asarray(thumbnail(slide, info, longest)))
    except SlideError as error:
        LOG.warning("%s: ink cannot be looked for: %s", source.name, error)
        return None
    # Single pixels of such colours are scanner noise; a stroke is wider.
    return Mask(np.asarray(cv2.morphologyEx(marks, cv2.MORPH_OPEN, np.ones((2, 2), np.uint8))), info.dimensions[0])
