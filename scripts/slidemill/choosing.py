"""From a slide's facts to the tables of its patches: the steps that choose among them, as the configuration asks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slidemill.cautions import ink_notes
from slidemill.errors import SlideError
from slidemill.fingerprints import check_unchanged
from slidemill.geometry import GridSpec
from slidemill.joblog import LOG
from slidemill.labelchoice import LabelChoice, LabelStep, label_step
from slidemill.masks import NOTHING, Fractions, Mask, save_mask
from slidemill.measuring import QualityStep, quality_step
from slidemill.outcomes import Outcome
from slidemill.ownmasks import own_mask
from slidemill.sampling import patch_rows
from slidemill.selecting import Row, Step, write_judged
from slidemill.slides import SlideInfo, opened
from slidemill.specs import QualitySpec, TissueSpec, WorkSpec
from slidemill.tissue import mask_size, tissue_mask, tissue_step

UNANNOTATED = "unannotated"
"""Why patches of a slide without an annotation are dropped, with ``labels.unannotated: skip``."""

SKIPPED = "it has no annotation, and labels.unannotated is skip"


@dataclass(frozen=True, slots=True)
class Choice:
    """Which patches are wanted.

    Parameters
    ----------
    grid, tissue
        Where patches lie, and how much tissue they must have.
    own_mask, mask_fingerprint
        The file of a mask of tissue that somebody has made, and its fingerprint; or None.
    quality, work
        What their pixels must be, and how these are read; None where no pixel is.
    labels
        Which labels they must have; None where all are wanted, and no annotation is read.
    unannotated
        What becomes of a slide without an annotation: ``"skip"`` drops all its patches, ``"fail"`` fails it; None
        keeps it.
    """

    grid: GridSpec
    tissue: TissueSpec
    own_mask: Path | None = None
    mask_fingerprint: str | None = None
    quality: QualitySpec | None = None
    work: WorkSpec | None = None
    labels: LabelChoice | None = None
    unannotated: str | None = None


def write_chosen(
    source: Path, found: Outcome, choice: Choice, table: Path, dropped: Path, mask: Path | None
) -> dict[str, Any]:
    """Publish the patches that are wanted, and those that are dropped, and return what there is to tell of them.

    Parameters
    ----------
    source, found
        The slide's file, and what discover_slides has told of it.
    choice
        Which patches are wanted.
    table, dropped, mask
        Where the tables and the tissue's mask go; `mask` is None where no tissue is asked for.

    Raises
    ------
    SlideError
        When the slide lacks a level that is asked for, it or its annotation cannot be read, or it has none and must.
    SlidemillError
        When it changed while it was read.
    """
    info = SlideInfo.from_json(found.details["info"])
    if choice.unannotated:
        # Before any pixel is read: an empty mask will do.
        if mask:
            save_mask(NOTHING, mask)
        rows = patch_rows(found.slide, info, choice.grid)
        return _without_annotation(choice.unannotated, rows, table, dropped) | {
            "slide_notes": [*found.details.get("slide_notes", ()), SKIPPED]
        }
    planned = source, found.details["fingerprint"]
    steps: list[Step] = []
    details: dict[str, Any] = {}
    notes = list(found.details.get("slide_notes", ()))
    with ExitStack() as stack:
        if mask:
            fractions, wanted, told = _tissue(source, info, choice)
            check_unchanged(*planned)
            save_mask(wanted, mask)
            if fractions:
                steps.append(tissue_step(fractions, choice.tissue.min_fraction))
            notes += told
            details["mask_fingerprint"] = choice.mask_fingerprint
        if choice.labels:
            steps.append(label_step(choice.labels, info))
        if choice.quality and choice.work:
            steps.append(stack.enter_context(quality_step(*planned, info, choice.grid, choice.quality, choice.work)))
        reasons = write_judged(patch_rows(found.slide, info, choice.grid), steps, table, dropped)
    for step in steps:
        if isinstance(step, LabelStep):
            details |= step.summary()
        if isinstance(step, QualityStep):
            details["quality"] = step.summary()
            notes += ink_notes(details["quality"])
    count = reasons.pop("", 0)
    LOG.info("%s: %d patches, dropped: %s", found.slide, count, dict(reasons))
    details["slide_notes"] = notes
    return details | {"grid": count + reasons.total(), "dropped": dict(reasons), "patches": count}


def _without_annotation(become: str, rows: Iterable[Row], table: Path, dropped: Path) -> dict[str, Any]:
    """Drop all patches of a slide without an annotation, or fail it."""
    if become == "fail":
        raise SlideError("it has no annotation, and labels.unannotated is fail: give it one, or choose outside or skip")
    reasons = write_judged(rows, [lambda block: [UNANNOTATED] * len(block)], table, dropped)
    return {"grid": reasons.total(), "dropped": dict(reasons), "patches": 0}


def _tissue(source: Path, info: SlideInfo, choice: Choice) -> tuple[Fractions | None, Mask, Sequence[str]]:
    """Return how much tissue patches have, the mask, and notes: of one's own mask, or by the method, or of none."""
    if choice.own_mask:
        found = own_mask(choice.own_mask, info, mask_size(info))
        check_unchanged(choice.own_mask, choice.mask_fingerprint, "mask of tissue")
        return found
    if choice.tissue.method == "none":
        return None, NOTHING, ()
    with opened(source) as slide:
        mask = tissue_mask(slide, info, choice.tissue)
    return mask.fractions, mask, ()
