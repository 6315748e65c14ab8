"""From a slide's facts to the tables of its patches: the steps that choose among them, as the configuration asks."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slidemill.cautions import ink_notes
from slidemill.fingerprints import check_unchanged
from slidemill.geometry import GridSpec
from slidemill.joblog import LOG
from slidemill.labelchoice import LabelChoice, label_step
from slidemill.masks import NOTHING, Fractions, Mask, save_mask
from slidemill.measuring import QualityStep, quality_step
from slidemill.outcomes import Outcome
from slidemill.ownmasks import own_mask
from slidemill.sampling import patch_rows
from slidemill.selecting import Step, write_judged
from slidemill.slides import SlideInfo, opened
from slidemill.specs import QualitySpec, TissueSpec, WorkSpec
from slidemill.tissue import mask_size, tissue_mask, tissue_step


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
    """

    grid: GridSpec
    tissue: TissueSpec
    own_mask: Path | None = None
    mask_fingerprint: str | None = None
    quality: QualitySpec | None = None
    work: WorkSpec | None = None
    labels: LabelChoice | None = None


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
        When the slide lacks a level that is asked for, or it or its annotation cannot be read.
    SlidemillError
        When it changed while it was read.
    """
    info = SlideInfo.from_json(found.details["info"])
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
        if isinstance(step, QualityStep):
            details["quality"] = step.summary()
            notes += ink_notes(details["quality"])
    count = reasons.pop("", 0)
    LOG.info("%s: %d patches, dropped: %s", found.slide, count, dict(reasons))
    details["slide_notes"] = notes
    return details | {"grid": count + reasons.total(), "dropped": dict(reasons), "patches": count}


def _tissue(source: Path, info: SlideInfo, choice: Choice) -> tuple[Fractions | None, Mask, Sequence[str]]:
    """Return how much tissue patches have, the mask, and notes: of one's own mask, or by the method, or of none."""
    if choice.own_mask:
        found = own_mask(choice.own_mask, info, mask_size(info), choice.tissue.mask_origin)
        check_unchanged(choice.own_mask, choice.mask_fingerprint, "mask of tissue")
        LOG.info("%s", "; ".join(found[2]))
        return found
    if choice.tissue.method == "none":
        return None, NOTHING, ()
    with opened(source) as slide:
        mask = tissue_mask(slide, info, choice.tissue)
    return mask.fractions, mask, ()
