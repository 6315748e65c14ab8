"""Settings of each stage, as typed values."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

MOST_PATCHES = 50_000_000
"""The default limit of patches per slide: their table has about 5 GB."""

CLASSIFICATION = "classification"
"""The property of QuPath's GeoJSON with a feature's class."""

OUTSIDE = "(outside)"
"""The name of patches that no region labels if the configuration has ``outside: null``."""


def normalize_name(name: str) -> str:
    """Return a label's name in Unicode's NFC, without outer blanks, for comparison."""
    return unicodedata.normalize("NFC", name).strip()


AREA, LANCZOS = "area", "lanczos"
"""Filters by which patches are shrunk: `slidemill.shrinking.area` and `slidemill.shrinking.lanczos`."""

SLIDES = "slides"
"""The name, in place of a backend's, for reading patches from the slides themselves."""

TILE_BACKENDS = ("lmdb", "hdf5")
"""Backends whose stores can hold a slide's tiles, out of which patches of any grid are cut."""


@dataclass(frozen=True, slots=True)
class GridSpec:
    """Grid settings: patch size, overlap, resolution and edges.

    Parameters
    ----------
    patch_size
        Width and height of a patch in grid pixels.
    overlap
        Grid pixels that a patch shares with each neighbour; patches are ``patch_size - 2 * overlap`` apart.
    deepzoom_level
        DeepZoom level to sample, where 0 is one pixel; or None.
    level
        Native level to sample, where 0 is full resolution; or None.
    limit_bounds
        Whether the grid covers the slide's bounds, if it has any, and not the whole canvas.
    edges
        ``"drop"`` omits patches that reach beyond the slide, ``"pad"`` fills them with background.
    mpp
        Micrometres per grid pixel; or None.
    magnification
        Magnification to sample; or None. Exactly one of this, `mpp`, `downsample` and the two levels is given.
    filter
        How level pixels are shrunk to grid pixels: `LANCZOS`, as OpenSlide's DeepZoomGenerator does, or `AREA`, which
        only `mpp`, `magnification` and `downsample` can have.
    downsample
        Level-0 pixels per grid pixel, as a file of coordinates has it; or None.
    is_free
        Whether patches begin at any level-0 pixel, so that columns and rows count these, and not on a grid.
    """

    patch_size: int = 256
    overlap: int = 0
    deepzoom_level: int | None = None
    level: int | None = None
    limit_bounds: bool = True
    edges: str = "drop"
    mpp: float | None = None
    magnification: float | None = None
    filter: str = LANCZOS
    downsample: float | None = None
    is_free: bool = False

    @property
    def step(self) -> int:
        """Distance between neighbouring patches in grid pixels."""
        return self.patch_size - 2 * self.overlap

    @property
    def by_resolution(self) -> bool:
        """Whether the grid is set by a resolution, and not by a level."""
        return not (self.mpp is self.magnification is self.downsample is None)

    def to_json(self) -> dict[str, Any]:
        """Return the settings as JSON values, without those that earlier versions do not have.

        Results of earlier versions name no filter and were shrunk by `LANCZOS`: what is recorded of such grids, and so
        the stores' content and the jobs' parameters, stays the same.
        """
        later = {"filter": LANCZOS, "downsample": None, "is_free": False}
        return {name: value for name, value in asdict(self).items() if name not in later or value != later[name]}


@dataclass(frozen=True, slots=True)
class Naming:
    """Settings for the names of regions.

    Parameters
    ----------
    unnamed
        The name of regions without one; None rejects them.
    property
        The property of GeoJSON features that has their class.
    is_needed
        Whether names are used; those of a mask's regions are not.
    """

    unnamed: str | None = None
    property: str = CLASSIFICATION
    is_needed: bool = True


@dataclass(frozen=True, slots=True)
class LabelSpec:
    """Label settings: how annotations become labels.

    Parameters
    ----------
    map
        Names to integers; of labels that cover as much of a patch, the first in this map wins.
    rule
        ``"centre"`` or ``"top_left"``, the deciding point of a patch, or ``"area"``.
    outside
        The name of patches that no region labels; None leaves them without a label.
    min_fraction
        The share of a patch that a label must cover, with rule ``"area"``.
    overlap
        The deciding region where regions overlap: the first in the ``"file"``, or the ``"smallest"``.
    only
        The names of the labels whose patches are sampled; None for all.
    unnamed, property
        As in `Naming`.
    origin
        The origin of an annotation's coordinates, ``"canvas"`` or ``"bounds"`` of the slide; None for its format's.

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
        """Return how regions get their names."""
        return Naming(self.unnamed, self.property)


@dataclass(frozen=True, slots=True)
class TissueSpec:
    """Tissue settings: how tissue is found, and how much of it a patch needs.

    Parameters
    ----------
    method
        ``"otsu"`` or ``"hsv"``; ``"none"`` keeps all patches, and reads no pixels.
    min_fraction
        The share of a patch that must be tissue.
    level
        The native level of which the mask is made, or None for a fixed resolution.
    pens
        ``"auto"``, ``"exclude"`` or ``"keep"``: how the colours of felt pens are treated.
    mask_values
        The integers that mean tissue in custom masks; None for masks of 0 and one other value.
    mask_origin
        The origin of a custom mask, ``"canvas"`` or ``"bounds"`` of the slide; None for its format's.
    """

    method: str = "otsu"
    min_fraction: float = 0.1
    level: int | None = None
    pens: str = "auto"
    mask_values: Sequence[int] | None = None
    mask_origin: str | None = None


@dataclass(frozen=True, slots=True)
class StoreSpec:
    """Store settings: an encoding, and the quality of ``jpeg``."""

    encoding: str
    quality: int | None = None


@dataclass(frozen=True, slots=True)
class WorkSpec:
    """Settings for reading a slide and writing its store.

    Parameters
    ----------
    reader
        The reader's name.
    threads
        The number of threads that read and encode.
    seed
        Seed of the choice of patches that are compared with OpenSlide.
    checked_copies
        Whether copied tiles are decoded too, so that broken ones are omitted.
    scratch
        A folder on a local disk to write in first, or None.
    """

    reader: str
    threads: int
    seed: int
    checked_copies: bool = False
    scratch: Path | None = None


def pixel_threads(megabytes: int) -> int:
    """Return the threads of a job that reads all patches of a slide of this size in MB.

    Small slides get fewer threads, so that several of their jobs run at once.
    """
    return min(1 + megabytes // 16, 4)


@dataclass(frozen=True, slots=True)
class ValidationSpec:
    """Validation settings: patches per slide, and the least PSNR of JPEG in dB.

    The patches are compared with the slide.
    """

    sample: int
    min_psnr: float


@dataclass(frozen=True, slots=True)
class SplitSpec:
    """Split settings: how slides are split into folds.

    Parameters
    ----------
    folds
        The number of folds.
    by
        The sheet's column whose groups stay in one fold, or ``"slide"``.
    stratify
        The column whose values have the same shares in every fold: ``"label"``, or a column of the sheet; or None.
    """

    folds: int
    by: str
    stratify: str | None


@dataclass(frozen=True, slots=True)
class BenchmarkSpec:
    """Benchmark settings: numbers of patches and repeats, and a limit in seconds."""

    patches: int
    repeats: int
    time_limit: float


@dataclass(frozen=True, slots=True)
class QualitySpec:
    """Limits of the quality measures, by their keys in the configuration."""

    limits: Mapping[str, float] = field(default_factory=dict)


MODEL_PACKAGES, ONNX, TORCHSCRIPT, HUB = ("timm", "torchvision"), ".onnx", ".pt", "hub"
"""Packages of models, endings of files that are models, and the value of `weights` by which they are downloaded."""


@dataclass(frozen=True, slots=True)
class FeatureSpec:
    """Settings of a model that embeds patches, by their keys in the configuration."""

    model: str
    weights: str | None = None
    batch: int = 64
    dtype: str = "float32"
    arguments: Mapping[str, Any] = field(default_factory=dict)
    size: int | None = None
    mean: Sequence[float] | None = None
    std: Sequence[float] | None = None
