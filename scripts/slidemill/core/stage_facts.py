"""The findings of each stage on a slide, as values.

`slidemill.core.outcomes` reads and writes them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from slidemill.core.pyramid import SlideInfo
from slidemill.core.specs import GridSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class SlideFacts:
    """The findings of discover_slides.

    Parameters
    ----------
    info
        What OpenSlide reports.
    deepzoom_levels
        Number of DeepZoom levels.
    mpp_source
        Where µm per pixel are from, as `slidemill.slides.slide_info` names it.
    file_size
        Bytes of the slide's file.
    """

    info: SlideInfo
    deepzoom_levels: int | None = None
    mpp_source: str = ""
    file_size: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QualitySummary:
    """The quality of a slide's patches, dropped ones included.

    Parameters
    ----------
    measured
        Number of measured patches.
    counts
        By measure, the number of patches in each bin.
    focus, focus_patches
        The median blur of the patches that show tissue, and their number.
    marked
        Number of patches with ink; None where no ink was looked for.
    """

    measured: int
    counts: Mapping[str, Sequence[int]] = field(default_factory=dict)
    focus: float | None = None
    focus_patches: int = 0
    marked: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReaderFacts:
    """Which reader gives OpenSlide's pixels of a slide, as found by comparing parts of it.

    Parameters
    ----------
    reader, reason
        ``"tiles"`` where the slide's tiles can be trusted, else ``"openslide"``; and why.
    versions
        By name, the versions of the libraries whose pixels were compared; empty where none were.
    """

    reader: str
    reason: str
    versions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleFacts:
    """The findings of sample_patches.

    Parameters
    ----------
    grid, patches
        Number of patches of the grid, or of the file of coordinates, and of those that are kept.
    sampling
        The grid; None in files of earlier versions.
    dropped
        Number of dropped patches by reason.
    mask_fingerprint
        Fingerprint of the slide's custom mask of tissue.
    coordinates_fingerprint
        Fingerprint of the file with the coordinates of the slide's patches; None for a grid.
    ink_fraction
        Share of the slide that was left out as ink, as text.
    quality
        Summary of the quality measures.
    reading
        The reader of the slide; None in files of earlier versions, and for a slide without patches.
    """

    grid: int
    patches: int
    sampling: GridSpec | None = None
    dropped: Mapping[str, int] = field(default_factory=dict)
    mask_fingerprint: str | None = None
    coordinates_fingerprint: str | None = None
    ink_fraction: str | None = None
    quality: QualitySummary | None = None
    reading: ReaderFacts | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionCounts:
    """Number of patches by the name of a region.

    Parameters
    ----------
    within
        Patches that regions label.
    contested
        Patches in a smaller region of another label.
    label_patches
        Number of patches that sample_patches labelled, dropped ones included; None where it labelled none.
    """

    within: Mapping[str, int]
    contested: Mapping[str, int] = field(default_factory=dict)
    label_patches: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelAudit:
    """Where label rules disagree, and which regions label no patch.

    Parameters
    ----------
    patches, differing
        Number of patches that were looked at, and of those on which any two rules disagree.
    pairs
        By pair of rules, the number of patches on which they disagree.
    examples
        Such patches, each with ``patch_id`` and the name by each rule.
    unreached
        Number of regions that label no patch.
    names
        The same by name.
    regions
        The first of them, each with ``name`` and ``box`` (left, top, right, bottom) in level-0 pixels.
    """

    patches: int
    differing: int
    pairs: Mapping[str, int]
    examples: Sequence[Mapping[str, Any]]
    unreached: int
    names: Mapping[str, int]
    regions: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelFacts:
    """The findings of write_metadata.

    Parameters
    ----------
    counts
        Number of patches by label's name.
    unmapped
        Names that the map of labels lacks.
    regions, reach
        Number of regions, and their right and bottom end in level-0 pixels.
    notes
        Notes on how the annotation was read.
    audit
        The audit of the labels.
    annotation, annotation_fingerprint
        Path of the annotation, and its fingerprint; empty and None where the slide has none.
    unmapped_regions, region_patches, unmapped_patches
        Number of regions whose name the map lacks, of patches that regions label, and of those with label -1.
        None where the slide has no annotation.
    """

    counts: Mapping[str, int]
    unmapped: Sequence[str] = ()
    regions: int = 0
    reach: Sequence[float] | None = None
    notes: Sequence[str] = ()
    audit: LabelAudit | None = None
    annotation: str = ""
    annotation_fingerprint: str | None = None
    unmapped_regions: int | None = None
    region_patches: int | None = None
    unmapped_patches: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UnreadablePatch:
    """A patch that cannot be read, with the reason.

    The fields are the columns of the table of unreadable patches, without the slide.
    """

    patch_id: str
    column: int
    row: int
    x0: int
    y0: int
    width0: int
    height0: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreFacts:
    """The findings of store_patches: the store, and how its patches were read.

    The fields are the columns of the table of stores.

    Parameters
    ----------
    backend, encoding
        The kind of store, and how its patches are encoded.
    content
        `Manifest.content` of the store.
    patches
        Number of stored patches.
    bytes, files
        Size and number of the store's files.
    seconds, peak_mb
        Duration of the job, and the most memory it had in MB.
    reader, reader_reason
        The reader of the patches, and why it was chosen.
    colour_note
        A note on colours.
    unreadable
        The patches that cannot be read, in raster order.
    """

    backend: str
    encoding: str = ""
    content: str = ""
    patches: int = 0
    bytes: int | None = None
    files: int | None = None
    seconds: float | None = None
    peak_mb: float | None = None
    reader: str = ""
    reader_reason: str = ""
    colour_note: str | None = None
    unreadable: Sequence[UnreadablePatch] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureFacts:
    """The findings of embed_patches, whose fields but the last are the columns of the table of features.

    Parameters
    ----------
    name, model, dtype, device, source, transform
        As in `slidemill.features.feature_file.FeatureManifest`.
    rows, dim
        The shape of the features.
    digest, content
        The digest (XXH3-128) of the file of features, and that of its rows.
    seconds, peak_mb
        Duration of reading and embedding, and the most memory of the job in MB.
    checks
        The findings of the checks of the features.
    """

    name: str
    model: str
    rows: int = 0
    dim: int = 0
    dtype: str = ""
    device: str = ""
    source: str = ""
    transform: str = ""
    digest: str = ""
    content: str = ""
    seconds: float | None = None
    peak_mb: float | None = None
    checks: Sequence[Mapping[str, Any]] = ()


def describe_unreadable(unreadable: Sequence[UnreadablePatch], patches: int) -> str:
    """Return why a slide fails for patches that cannot be read.

    `patches` is the number of those that can be read.
    """
    return f"{len(unreadable)} of {len(unreadable) + patches} patches cannot be read; the first: {unreadable[0].reason}"
