"""Keep only patches with selected labels, decided as in the metadata table."""

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
    """A slide's annotation, and the labels to keep.

    Parameters
    ----------
    root, annotation
        The folder of annotations, and the annotation's encoded path in it, or None.
    fingerprint
        The fingerprint of the annotation when the run was planned.
    spec
        How patches are labelled; `only` names the labels to keep.
    """

    root: Path
    annotation: str | None
    fingerprint: str | None
    spec: LabelSpec


def slide_regions(
    root: Path, annotation: str | None, fingerprint: str | None, *, info: SlideInfo, spec: LabelSpec
) -> Annotation:
    """Read a slide's regions; a slide without an annotation has none.

    Parameters
    ----------
    root, annotation, fingerprint
        As of `LabelChoice`.
    info
        The slide.
    spec
        The origin of coordinates, and the source of names.

    Raises
    ------
    AnnotationError
        When the annotation cannot be used.
    SlidemillError
        When it has changed since the run was planned, which is not the slide's fault.
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
    """The step that drops patches of other labels, and counts labels by region.

    Parameters
    ----------
    choice, decide
        The labels to keep, and what labels patches.
    counts
        The counts of `decide`, dropped patches included.
    patches
        Number of labelled patches.
    """

    choice: LabelChoice
    decide: Labeller
    counts: LabelCounts
    patches: int = 0

    def __call__(self, rows: Sequence[Row]) -> Sequence[str]:
        """Return the reason to drop each patch, or nothing."""
        choice, wanted = self.choice, frozenset(self.choice.spec.only or ())
        try:
            names = self.decide(rows)[0]
        except AnnotationError:  # label images are read on demand
            check_unchanged(choice.root / decode_path(choice.annotation or ""), choice.fingerprint, "annotation")
            raise
        self.patches += len(rows)
        return ["" if name in wanted else REASON for name in names]

    def summary(self) -> RegionCounts:
        """Return the counts."""
        return replace(self.counts.by_name(), label_patches=self.patches)


def label_step(choice: LabelChoice, info: SlideInfo) -> LabelStep:
    """Return the step that drops patches of other labels.

    Raises
    ------
    SlidemillError
        As `slide_regions` does.
    """
    regions = slide_regions(choice.root, choice.annotation, choice.fingerprint, info=info, spec=choice.spec)
    counts = LabelCounts()
    return LabelStep(choice, counting_labeller(regions, choice.spec, counts), counts)
