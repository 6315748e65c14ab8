"""Warnings on a slide's labels: unmapped names, overlaps, unused regions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from slidemill.annotations.regions import Annotation
from slidemill.core.run_warnings import add_count
from slidemill.core.specs import LabelSpec
from slidemill.core.text import did_you_mean, format_digits
from slidemill.sampling.label_faults import LACKING

MOST_NAMED = 10
"""Names of a slide with a warning each: a label image may have thousands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelFindings:
    """Counts of a slide's labels, and warnings on them."""

    unmapped_regions: int
    region_patches: int
    unmapped_patches: int
    warnings: list[str]


def label_findings(
    annotation: Annotation,
    spec: LabelSpec,
    within: Mapping[str, int],
    *,
    patches: int,
    contested: Mapping[str, int] = MappingProxyType({}),
) -> LabelFindings:
    """Return the counts of a slide's labels and warnings on them.

    Parameters
    ----------
    annotation
        The slide's regions or label image.
    spec
        How patches are labelled; names that its map lacks give label -1.
    within, contested
        As of `slidemill.sampling._label_counts.LabelCounts`.
    patches
        Number of patches to label.
    """
    lacking = Counter(name for name in annotation.names if name not in spec.map)
    unmapped = {name: within.get(name, 0) for name in lacking}
    return LabelFindings(
        unmapped_regions=lacking.total(),
        region_patches=sum(within.values()),
        unmapped_patches=sum(unmapped.values()),
        warnings=[
            *_unmapped_warnings(unmapped, spec),
            *_region_warnings(annotation, spec, within, patches=patches),
            *_overlap_warnings(contested, spec),
        ],
    )


def coarseness(annotation: Annotation, side: float) -> list[str]:
    """Return a warning if a label image's pixels are too large for the patches.

    Pixels of a patch's side, or of at most half of it, are fine enough. With others, patches may get their neighbours'
    labels: they may come from an image of one pixel per
    patch that was stretched over a slide that its patches do not fill.

    Parameters
    ----------
    annotation
        A label image; regions give no warning.
    side
        A patch's side in level-0 pixels.
    """
    if annotation.image is None:
        return []
    wide, high = (whole / own for whole, own in zip(annotation.image.canvas, annotation.image.size, strict=True))
    if all(one == side or 2 * one <= side for one in (wide, high)):
        return []
    return [
        f"one pixel of the image covers {format_digits(wide, 4)} x {format_digits(high, 4)} level-0 pixels, and a "
        f"patch {format_digits(side, 4)} x {format_digits(side, 4)}, so that patches may have their neighbours' "
        "labels: give a finer image"
    ]


def _unmapped_warnings(unmapped: Mapping[str, int], spec: LabelSpec) -> list[str]:
    """Return a warning per unmapped name, those with most patches first."""
    ranked = sorted(unmapped, key=lambda name: (-unmapped[name], name))
    texts = [
        add_count(f"{LACKING} {name!r:.80}{did_you_mean(name, spec.map)}, label -1", unmapped[name], "patch")
        for name in ranked[:MOST_NAMED]
    ]
    if rest := ranked[MOST_NAMED:]:
        texts.append(add_count(f"{LACKING} further names, label -1", sum(unmapped[name] for name in rest), "patch"))
    return texts


def _overlap_warnings(contested: Mapping[str, int], spec: LabelSpec) -> list[str]:
    """Return a warning per name whose regions are under larger ones.

    Names with most patches are first.
    """
    remedy = "are they drawn twice?" if spec.overlap == "smallest" else "set labels.overlap: smallest if they count"
    ranked = sorted(contested, key=lambda name: (-contested[name], name))
    texts = [
        add_count(
            f"regions named {name!r:.80} are covered by larger ones of another label: {remedy}",
            contested[name],
            "patch",
        )
        for name in ranked[:MOST_NAMED]
    ]
    if rest := ranked[MOST_NAMED:]:
        total = sum(contested[name] for name in rest)
        texts.append(add_count(f"regions of further names are covered by larger ones: {remedy}", total, "patch"))
    return texts


def _region_warnings(annotation: Annotation, spec: LabelSpec, within: Mapping[str, int], *, patches: int) -> list[str]:
    """Return warnings on an annotation that labels no patch."""
    if annotation.image and "0" in spec.map and spec.outside != "0":
        return [f"labels.map has '0', which is outside in an image and so {spec.outside}: set labels.outside to '0'"]
    if not annotation.names:
        return [f"the annotation has no regions: all patches are {spec.outside}"]
    if patches and not sum(within.values()):
        return [f"no region of the annotation labels a patch: all patches are {spec.outside}"]
    return []
