"""Select a slide's patches by the steps that the configuration sets."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from slidemill.core.job_log import LOG
from slidemill.core.outcomes import Outcome
from slidemill.core.patch import PatchRef
from slidemill.core.pyramid import SlideInfo
from slidemill.core.specs import MOST_PATCHES, GridSpec, QualitySpec, TissueSpec, WorkSpec
from slidemill.core.stage_facts import SampleFacts
from slidemill.errors import SlideError
from slidemill.sampling._filter_chain import Step, write_filtered
from slidemill.sampling._tissue_detection import mask_size, tissue_mask, tissue_step
from slidemill.sampling.quality_notes import ink_notes
from slidemill.sampling.tissue_mask import NOTHING, SelectedArea, save_mask
from slidemill.slides.fingerprint import check_unchanged
from slidemill.slides.grid import Grid
from slidemill.slides.patch_table import patch_rows

if TYPE_CHECKING:
    from slidemill.sampling._quality_filter import QualityStep
    from slidemill.sampling.label_filter import LabelChoice, LabelStep

UNANNOTATED = "unannotated"
"""The reason of dropped patches of slides without an annotation, with ``labels.unannotated: skip``."""

SKIPPED = "it has no annotation, and labels.unannotated is skip"


@dataclass(frozen=True, slots=True)
class GivenPlaces:
    """The file with the coordinates of a slide's patches.

    Parameters
    ----------
    path, fingerprint
        The file and its fingerprint; None where the slide has none.
    stated
        The keys of `sampling` that the configuration states.
    folder
        The folder of these files.
    """

    path: Path | None
    fingerprint: str | None
    stated: Sequence[str]
    folder: Path = Path()


@dataclass(frozen=True, slots=True)
class Choice:
    """Settings for selecting a slide's patches.

    Parameters
    ----------
    grid, tissue
        The grid, and the tissue that patches must have.
    given
        The file with the places of the patches; None for those of the grid.
    custom_mask, mask_fingerprint
        A custom mask of tissue and its fingerprint, or None.
    quality, work
        Limits of quality, and how pixels are read; None reads no pixel.
    labels
        The labels to keep; None keeps all and reads no annotation.
    max_patches
        The largest number of patches in a slide's grid.
    unannotated
        For a slide without an annotation: ``"skip"`` drops all its patches, ``"fail"`` fails it; None keeps it.
    settings
        The digest of all of these, see `slidemill.runs.job_settings`.
    """

    grid: GridSpec
    tissue: TissueSpec
    custom_mask: Path | None = None
    mask_fingerprint: str | None = None
    quality: QualitySpec | None = None
    work: WorkSpec | None = None
    labels: LabelChoice | None = None
    max_patches: int = MOST_PATCHES
    unannotated: str | None = None
    settings: str | None = None
    given: GivenPlaces | None = None


def write_selection(
    source: Path, found: Outcome, choice: Choice, *, table: Path, dropped: Path, mask: Path | None = None
) -> Outcome:
    """Write the tables of kept and dropped patches, and return the outcome.

    Parameters
    ----------
    source, found
        The slide's file, and the outcome of discover_slides.
    choice
        How to select.
    table, dropped, mask
        The files of the tables and of the tissue mask; None without a mask.

    Raises
    ------
    SlideError
        When the slide lacks the requested level, its grid is too large, or it or its annotation or coordinates cannot
        be read or are missing.
    SlidemillError
        When the slide changed meanwhile.
    """
    info = found.info
    choice, patches = _wanted_patches(source, found, choice)
    if choice.unannotated:
        # No pixel is read: an empty mask suffices.
        if mask:
            save_mask(NOTHING, mask)
        if choice.unannotated == "fail":
            raise SlideError(
                "it has no annotation, and labels.unannotated is fail: give it one, or choose outside or skip"
            )
        rows = patch_rows(found.slide, info, choice.grid, patches)
        reasons = write_filtered(rows, [lambda block: [UNANNOTATED] * len(block)], kept=table, dropped=dropped)
        sample = SampleFacts(
            grid=reasons.total(),
            patches=0,
            sampling=choice.grid,
            dropped=dict(reasons),
            coordinates_fingerprint=choice.given.fingerprint if choice.given else None,
        )
        return replace(found, status="empty", sample=sample, slide_notes=(*found.slide_notes, SKIPPED))
    planned = source, found.fingerprint
    steps: list[Step] = []
    ink_fraction = None
    notes = list(found.slide_notes)
    labels: LabelStep | None = None
    quality: QualityStep | None = None
    warnings: list[str] = []
    with ExitStack() as stack:
        if mask:
            wanted = _tissue(source, info, choice)
            check_unchanged(*planned)
            save_mask(wanted.mask, mask)
            if wanted.fractions:
                steps.append(tissue_step(wanted.fractions, choice.tissue.min_fraction))
            notes += wanted.notes
            warnings += wanted.warnings
            if wanted.mask.ink_fraction is not None:
                ink_fraction = f"{wanted.mask.ink_fraction:.4f}"
        # Steps are imported only if requested: a job's start is most of its time on small slides.
        if choice.labels:
            from slidemill.sampling.label_filter import label_step

            labels = label_step(choice.labels, info)
            steps.append(labels)
        if choice.quality and choice.work:
            from slidemill.sampling._quality_filter import quality_step

            asked = quality_step(*planned, info, grid=choice.grid, spec=choice.quality, work=choice.work)
            quality = stack.enter_context(asked)
            steps.append(quality)
        rows = patch_rows(found.slide, info, choice.grid, patches)
        reasons = write_filtered(rows, steps, kept=table, dropped=dropped)
    measures = quality.summary() if quality else None
    if measures:
        notes += ink_notes(measures)
    count = reasons.pop("", 0)
    LOG.info("%s: %d patches, dropped: %s", found.slide, count, dict(reasons))
    if not count and reasons["tissue"]:
        warnings.append(
            f"no patch is kept: {reasons['tissue']} of {reasons.total()} have less tissue than tissue.min_fraction "
            f"({choice.tissue.min_fraction:g}): see its notes and its overlay"
        )
    sample = SampleFacts(
        grid=count + reasons.total(),
        patches=count,
        sampling=choice.grid,
        dropped=dict(reasons),
        mask_fingerprint=choice.mask_fingerprint if mask else None,
        coordinates_fingerprint=choice.given.fingerprint if choice.given else None,
        ink_fraction=ink_fraction,
        quality=measures,
    )
    return replace(
        found,
        status="ok" if count else "empty",
        sample=sample,
        regions=labels.summary() if labels else None,
        slide_notes=tuple(notes),
        warnings=tuple(warnings),
    )


def _wanted_patches(source: Path, found: Outcome, choice: Choice) -> tuple[Choice, Sequence[PatchRef] | None]:
    """Return the choice with the grid of the slide's patches, and patches from a file; None for those of the grid."""
    given, info = choice.given, found.info
    if given is None:
        _check_count(Grid(info.pyramid, choice.grid), choice.max_patches)
        return choice, None
    if given.path is None:
        raise SlideError(
            f"no file in {given.folder} (sampling.coordinates) has its coordinates: add {source.stem}_patches.h5, "
            f"{source.stem}.h5 or {source.stem}.csv, or leave the slide out"
        )
    from slidemill.coordinates.placing import read_patches

    names = (source.name, source.stem, found.slide)
    placed = read_patches(given.path, info, choice.grid, stated=given.stated, names=names, most=choice.max_patches)
    check_unchanged(given.path, given.fingerprint, "file of coordinates")
    LOG.info(
        "%s: %d places, %s", given.path.name, len(placed.patches), "free" if placed.spec.is_free else "on the grid"
    )
    return replace(choice, grid=placed.spec), placed.patches


def _check_count(grid: Grid, most: int) -> None:
    """Check, before any table is written, that a grid has at most `most` patches."""
    if grid.count > most:
        columns, rows = grid.shape
        raise SlideError(
            f"the grid has {columns:,} x {rows:,} places and {grid.count:,} patches, and sampling.max_patches is "
            f"{most:,}: choose larger patches, less overlap or a coarser level, or allow more"
        )


def _tissue(source: Path, info: SlideInfo, choice: Choice) -> SelectedArea:
    """Return the wanted area of a slide, by its custom mask or the tissue method.

    Without both, the whole slide is wanted.
    """
    if choice.custom_mask:
        from slidemill.sampling._custom_mask import read_mask

        spec = choice.tissue
        side = Grid(info.pyramid, choice.grid).extent0
        found = read_mask(
            choice.custom_mask, info, mask_size(info), values=spec.mask_values, origin=spec.mask_origin, side=side
        )
        check_unchanged(choice.custom_mask, choice.mask_fingerprint, "mask of tissue")
        LOG.info("%s", "; ".join(found.notes))
        return found
    if choice.tissue.method == "none":
        return SelectedArea(None, NOTHING)
    return tissue_mask(source, info, choice.tissue)
