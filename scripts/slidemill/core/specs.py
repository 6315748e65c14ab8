"""What the configuration asks of each stage, as values."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

MOST_PATCHES = 50_000_000
"""Patches of one slide's grid, unless the configuration says otherwise: their table takes some 5 GB."""

CLASSIFICATION = "classification"
"""The property in which QuPath's GeoJSON has the class of a feature."""

OUTSIDE = "(outside)"
"""The name of patches that no region labels where the configuration wants them without a label: ``outside: null``."""


def normalize_name(name: str) -> str:
    """Return a label's name as names are compared: in Unicode's form NFC, not macOS's, and without outer blanks."""
    return unicodedata.normalize("NFC", name).strip()


@dataclass(frozen=True, slots=True)
class GridSpec:
    """How patches are laid over a slide.

    Parameters
    ----------
    patch_size
        Width and height of a patch in grid pixels.
    overlap
        Grid pixels that a patch shares with its neighbour on each side; patches lie
        ``patch_size - 2 * overlap`` apart.
    deepzoom_level
        DeepZoom level to sample, counted from 0 = one pixel; or None.
    level
        Native level to sample, counted from 0 = full resolution; or None.
    limit_bounds
        Lay the grid over the slide's bounds, where it has them, rather than over the whole canvas.
    edges
        ``"drop"`` leaves out patches that reach beyond the slide, ``"pad"`` fills them up with background.
    mpp
        Micrometres a grid pixel; or None.
    magnification
        Magnification to sample; or None. Exactly one of these two and the two levels is given.
    """

    patch_size: int = 256
    overlap: int = 0
    deepzoom_level: int | None = None
    level: int | None = None
    limit_bounds: bool = True
    edges: str = "drop"
    mpp: float | None = None
    magnification: float | None = None

    @property
    def step(self) -> int:
        """Distance between neighbouring patches in grid pixels."""
        return self.patch_size - 2 * self.overlap

    @property
    def by_resolution(self) -> bool:
        """Whether a resolution is asked for, and not a level by its number."""
        return self.mpp is not None or self.magnification is not None


@dataclass(frozen=True, slots=True)
class Naming:
    """Where regions have their names from.

    Parameters
    ----------
    unnamed
        The name of regions that have none; None refuses them.
    property
        The property of GeoJSON's features that holds their class.
    is_needed
        Whether names decide anything; those of a mask's regions do not.
    """

    unnamed: str | None = None
    property: str = CLASSIFICATION
    is_needed: bool = True


@dataclass(frozen=True, slots=True)
class LabelSpec:
    """How annotations become labels.

    Parameters
    ----------
    map
        Names to integers; of labels that cover as much of a patch, the one that comes first in it wins.
    rule
        ``"centre"`` or ``"top_left"``, the point of a patch that decides, or ``"area"``.
    outside
        The name of patches that no region labels; None gives them none.
    min_fraction
        How much of a patch a label must cover, by area.
    overlap
        Which of overlapping regions comes first: the one that does in the ``"file"``, or the ``"smallest"``.
    only
        The names of the labels whose patches are sampled; None for all.
    unnamed, property
        As of `Naming`.
    origin
        Where an annotation's coordinates start, ``"canvas"`` or ``"bounds"`` of the slide; None where its format says.

    All names are in Unicode's form NFC, and without outer blanks.
    """

    map: Mapping[str, int]
    rule: str
    outside: str | None
    min_fraction: float = 0.5
    overlap: str = "file"
    only: Sequence[str] | None = None
    unnamed: str | None = None
    property: str = CLASSIFICATION
    origin: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "map", {normalize_name(name): label for name, label in self.map.items()})
        if self.outside is not None:
            object.__setattr__(self, "outside", normalize_name(self.outside))
        if self.only is not None:
            object.__setattr__(self, "only", [normalize_name(name) for name in self.only])
        if self.unnamed is not None:
            object.__setattr__(self, "unnamed", normalize_name(self.unnamed))

    def naming(self) -> Naming:
        """Return where regions have their names from."""
        return Naming(self.unnamed, self.property)


@dataclass(frozen=True, slots=True)
class TissueSpec:
    """Which patches have tissue enough.

    Parameters
    ----------
    method
        ``"otsu"`` or ``"hsv"``; ``"none"`` keeps all patches, and looks at no pixel.
    min_fraction
        How much of a patch must be tissue.
    level
        The native level that the mask is made from, or None for a resolution of its own.
    pens
        ``"auto"``, ``"exclude"`` or ``"keep"``: what is done with the colours of felt pens.
    mask_values
        The integers that mean tissue in masks that somebody has made; None for masks of 0 and one other.
    mask_origin
        Where a custom mask starts, ``"canvas"`` or ``"bounds"`` of the slide; None where its format says.
    """

    method: str = "none"
    min_fraction: float = 0.1
    level: int | None = None
    pens: str = "auto"
    mask_values: Sequence[int] | None = None
    mask_origin: str | None = None


@dataclass(frozen=True, slots=True)
class StoreSpec:
    """How one backend encodes patches: an encoding's name, and the quality of ``jpeg`` (None for the others)."""

    encoding: str
    quality: int | None = None


@dataclass(frozen=True, slots=True)
class WorkSpec:
    """How a slide becomes a store.

    Parameters
    ----------
    reader
        The reader's name.
    threads
        How many threads read and encode.
    seed
        Of the choice of what is compared with OpenSlide.
    checked_copies
        Whether tiles that are copied are decoded too, so that broken ones are left out as in other stores.
    scratch
        A folder on a disk of this machine to write in first, or None.
    """

    reader: str
    threads: int
    seed: int
    checked_copies: bool = False
    scratch: Path | None = None


@dataclass(frozen=True, slots=True)
class ValidationSpec:
    """How many patches a slide are compared with the slide, and what JPEG must reach in dB."""

    sample: int
    min_psnr: float


@dataclass(frozen=True, slots=True)
class SplitSpec:
    """How slides are parted into folds.

    Parameters
    ----------
    folds
        How many.
    by
        The sheet's column whose values are never cut, or ``"slide"``.
    stratify
        The column of which every fold has the same shares, or None.
    """

    folds: int
    by: str
    stratify: str | None


@dataclass(frozen=True, slots=True)
class BenchmarkSpec:
    """How many patches are read, how often, and for how many seconds at most."""

    patches: int
    repeats: int
    time_limit: float


@dataclass(frozen=True, slots=True)
class QualitySpec:
    """The limits of patches' measures, by their keys in the configuration; a key without a limit is left out."""

    limits: Mapping[str, float] = field(default_factory=dict)
