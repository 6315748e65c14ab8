"""The step that keeps patches of some labels alone, by the same labels that the metadata table will tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from slidemill.annotations.frames import Frame
from slidemill.annotations.read import read_annotation
from slidemill.annotations.regions import Annotation
from slidemill.core.pyramid import SlideInfo
from slidemill.core.specs import LabelSpec
from slidemill.core.stage_facts import RegionCounts
from slidemill.errors import AnnotationError
from slidemill.sampling._filter_chain import Row
from slidemill.sampling._label_counts import LabelCounts, counting_labeller
from slidemill.sampling._label_rules import Labeller
from slidemill.slides.discovery import decode_path, slide_path
from slidemill.slides.fingerprint import check_unchanged

REASON = "label"


@dataclass(frozen=True, slots=True)
class LabelChoice:
    """A slide's annotation, and which of its labels are wanted.

    Parameters
    ----------
    root, annotation
        The folder of annotations, and the annotation in it as `SlideFile` names it, or None.
    fingerprint
        Of the annotation's content when the run was planned.
    spec
        How patches are labelled; `only` names the labels that are wanted.
    """

    root: Path
    annotation: str | None
    fingerprint: str | None
    spec: LabelSpec


def slide_regions(
    root: Path, annotation: str | None, fingerprint: str | None, *, info: SlideInfo, spec: LabelSpec
) -> Annotation:
    """Return a slide's regions, none where it has no annotation.

    Parameters
    ----------
    root, annotation, fingerprint
        As of `LabelChoice`.
    info
        The slide.
    spec
        Where coordinates start, and where regions have their names from.

    Raises
    ------
    AnnotationError
        When the annotation cannot be used.
    SlidemillError
        When it is not what it was when the run was planned; no slide is at fault then.
    """
    if not annotation:
        return Annotation(())
    try:
        frame = Frame(info.size, info.bounds, spec.origin, info.mpp)
        return read_annotation(slide_path(root, annotation), frame, spec.naming())
    finally:
        check_unchanged(root / decode_path(annotation), fingerprint, "annotation")


@dataclass(slots=True)
class LabelStep:
    """The step that drops patches of other labels than those that are wanted, and counts what regions label.

    Parameters
    ----------
    choice, decide
        Which labels are wanted, and what labels patches.
    counts
        What `decide` has counted, dropped patches too.
    patches
        How many patches were labelled.
    """

    choice: LabelChoice
    decide: Labeller
    counts: LabelCounts
    patches: int = 0

    def __call__(self, rows: Sequence[Row]) -> Sequence[str]:
        """Return why each patch is dropped, or nothing for those that are kept."""
        choice, wanted = self.choice, frozenset(self.choice.spec.only or ())
        try:
            names = self.decide(rows)[0]
        except AnnotationError:  # a label image is read as it is needed
            check_unchanged(choice.root / decode_path(choice.annotation or ""), choice.fingerprint, "annotation")
            raise
        self.patches += len(rows)
        return ["" if name in wanted else REASON for name in names]

    def summary(self) -> RegionCounts:
        """Return what was counted."""
        return replace(self.counts.by_name(), label_patches=self.patches)


def label_step(choice: LabelChoice, info: SlideInfo) -> LabelStep:
    """Return the step that drops patches of other labels than those that are wanted.

    Raises
    ------
    SlidemillError
        As `slide_regions` does.
    """
    regions = slide_regions(choice.root, choice.annotation, choice.fingerprint, info=info, spec=choice.spec)
    counts = LabelCounts()
    return LabelStep(choice, counting_labeller(regions, choice.spec, counts), counts)
