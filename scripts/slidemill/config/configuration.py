"""Check the configuration against its model, and return its completed values.

All faults are reported in one `ConfigError`, a line each.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError

from slidemill.config._faults import faults
from slidemill.config._feature_model import feature_specs, wrong_features
from slidemill.config._key import spec_of
from slidemill.config._label_model import label_spec, wrong_labels
from slidemill.config._model import Benchmark, Configuration
from slidemill.config._sampling_model import Sampling
from slidemill.config._store_model import Store
from slidemill.core.results_layout import TOP_LEVEL
from slidemill.core.specs import (
    LANCZOS,
    TILE_BACKENDS,
    BenchmarkSpec,
    FeatureSpec,
    GridSpec,
    LabelSpec,
    QualitySpec,
    SplitSpec,
    StoreSpec,
    TissueSpec,
    ValidationSpec,
)
from slidemill.errors import ConfigError

RESOLUTIONS = ("deepzoom_level", "level", "mpp", "magnification")
"""Keys of `sampling` that say how fine the patches are, of which a configuration gives one."""

DEFAULT_BENCHMARK = spec_of(BenchmarkSpec, Benchmark())
"""What estimates measure if `benchmark` is false."""

LARGEST_SHRUNK = 1024
"""Largest patch_size but with a native level, in pixels: 4096 x 4096 of a native level are held at once then."""


@dataclass(frozen=True, slots=True)
class Config:
    """A checked configuration, with absolute paths.

    With `coordinates`, `stated` has the keys of `sampling` that decide a patch's square and are not left out.
    """

    slides: Path
    annotations: Path | None
    results: Path
    sampling: GridSpec
    assume_mpp: float | None
    max_patches: int
    tissue: TissueSpec
    tissue_masks: Path | None
    labels: LabelSpec
    reader: str
    icc: str
    unreadable_patches: str
    max_failed: int
    scratch: str | None
    stores: Mapping[str, StoreSpec]
    validation: ValidationSpec
    benchmark: BenchmarkSpec | None
    seed: int
    quality: QualitySpec | None = None
    splits: SplitSpec | None = None
    unannotated: str | None = None
    unmapped: str = "fail_if_most"
    force: bool = False
    coordinates: Path | None = None
    stated: tuple[str, ...] = ()
    features: Mapping[str, FeatureSpec] = field(default_factory=dict)
    device: str = "auto"

    @property
    def root(self) -> Path:
        """The folder to which slides' paths are relative."""
        return self.slides.parent if is_sheet(self.slides) else self.slides

    @property
    def annotations_root(self) -> Path:
        """The folder to which annotations' paths are relative."""
        return self.annotations or self.root

    @property
    def masks_root(self) -> Path:
        """The folder to which masks' paths are relative."""
        return self.tissue_masks or self.root

    @property
    def coordinates_root(self) -> Path:
        """The folder to which files of coordinates are relative."""
        return self.coordinates or self.root


def is_sheet(slides: Path) -> bool:
    """Return whether `slides` names a sheet rather than a folder."""
    return slides.suffix.lower() in (".csv", ".tsv")


def read_config(values: Mapping[str, Any], base: Path) -> Config:
    """Return the checked configuration, completed by its defaults.

    Parameters
    ----------
    values
        The configuration as YAML or the command line gave it.
    base
        The folder that relative paths start from.

    Raises
    ------
    ConfigError
        With a line for each fault: the key, the value, the remedy.
    """
    try:
        given = Configuration.model_validate(values)
    except ValidationError as error:
        raise ConfigError("\n".join(faults(values)) or str(error)) from None
    _refuse(_impossible_paths(given, base))
    slides, results = (base / given.slides).resolve(), (base / given.results).resolve()
    _refuse(chain(_contradictions(given, slides, results), wrong_features(given.features, base)))
    annotations, masks, coordinates = given.annotations, given.tissue.masks, given.sampling.coordinates
    return Config(
        slides=slides,
        annotations=(base / annotations).resolve() if annotations else None,
        results=results,
        sampling=_grid_spec(given.sampling),
        assume_mpp=given.sampling.assume_mpp,
        max_patches=given.sampling.max_patches,
        tissue=spec_of(TissueSpec, given.tissue),
        tissue_masks=(base / masks).resolve() if masks else None,
        unannotated=given.labels.unannotated,
        unmapped=given.labels.unmapped,
        labels=label_spec(given.labels),
        reader=given.reader,
        icc=given.icc,
        unreadable_patches=given.unreadable_patches,
        max_failed=given.max_failed,
        scratch=given.scratch,
        stores={name: _store_spec(store) for name, store in given.stores.written().items()},
        validation=spec_of(ValidationSpec, given.validation),
        benchmark=spec_of(BenchmarkSpec, given.benchmark) if given.benchmark else None,
        force=given.force,
        seed=given.seed,
        quality=QualitySpec(given.quality.model_dump(exclude_none=True)) if given.quality else None,
        splits=spec_of(SplitSpec, given.splits) if given.splits else None,
        coordinates=(base / coordinates).resolve() if coordinates else None,
        stated=tuple(
            key for key in ("patch_size", *RESOLUTIONS) if coordinates and key in given.sampling.model_fields_set
        ),
        features=feature_specs(given.features, base),
        device=given.device,
    )


def _refuse(wrong: Iterator[str]) -> None:
    if lines := list(wrong):
        raise ConfigError("\n".join(lines))


def _grid_spec(sampling: Sampling) -> GridSpec:
    """Return the grid's settings.

    Another resolution takes precedence over the native level, and levels have no filter of choice.
    """
    spec = spec_of(GridSpec, sampling)
    if _resolutions(sampling) not in ([], ["level"]):
        spec = replace(spec, level=None)
    return spec if spec.by_resolution else replace(spec, filter=LANCZOS)


def _resolutions(sampling: Sampling) -> list[str]:
    """Return the resolution keys that the configuration sets."""
    return [key for key in RESOLUTIONS if key in sampling.model_fields_set]


def _store_spec(store: Store) -> StoreSpec:
    return StoreSpec(store.encoding, store.quality if store.encoding == "jpeg" else None)


def _impossible_paths(given: Configuration, base: Path) -> Iterator[str]:
    """Yield a line for each path that no file can have."""
    paths = {key: getattr(given, key) for key in ("slides", "annotations", "results")}
    folders = {"tissue.masks": given.tissue.masks, "sampling.coordinates": given.sampling.coordinates}
    for key, path in (paths | folders).items():
        try:
            (base / (path or "")).lstat()
        except ValueError:
            yield f"{key} is {path!r}: a path may not contain null characters: remove them"
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                yield f"{key} is {path[:80]}...: a path of {len(path)} characters is too long: choose another"


def _contradictions(given: Configuration, slides: Path, results: Path) -> Iterator[str]:
    """Yield a line for each fault that concerns several keys, or the disk."""
    sampling, tissue = given.sampling, given.tissue
    resolutions = _resolutions(sampling)
    if len(resolutions) > 1:
        values = " and ".join(f"sampling.{key} is {getattr(sampling, key)}" for key in resolutions)
        yield f"{values}: give one of the {'two' if len(resolutions) == 2 else len(resolutions)}"
    if resolutions not in ([], ["level"]) and sampling.patch_size > LARGEST_SHRUNK:
        yield (
            f"sampling.patch_size is {sampling.patch_size}: patches by {resolutions[0]} are read several times as wide "
            f"and shrunk, so that memory allows for {LARGEST_SHRUNK}: choose no more, or give a native level"
        )
    if "filter" in sampling.model_fields_set and not {"mpp", "magnification"} & {*resolutions}:
        yield (
            f"sampling.filter is {sampling.filter}: only patches by mpp or magnification can have another filter: "
            "leave it out, or give one of these"
        )
    yield from wrong_labels(given.labels)
    if 2 * sampling.overlap >= sampling.patch_size:
        yield (
            f"sampling.overlap is {sampling.overlap}: 2 x overlap must be less than patch_size ({sampling.patch_size})"
        )
    for backend, store in given.stores.written().items():
        if "quality" in store.model_fields_set and store.encoding != "jpeg":
            is_offered = "jpeg" in get_args(type(store).model_fields["encoding"].annotation)
            yield (
                f"stores.{backend}.quality is {store.quality}: only encoding jpeg has a quality, "
                f"this is {store.encoding}: leave it out{', or choose jpeg' if is_offered else ''}"
            )
        if store.encoding == "source":
            yield from _unfit_for_source(backend, given)
    if tissue.mask_values and not tissue.masks and not is_sheet(slides):
        yield (
            f"tissue.mask_values is {tissue.mask_values}, and no masks are configured: name their folder in "
            "tissue.masks, or leave it out"
        )
    for key, folder, column in (
        ("annotations", given.annotations, "annotation"),
        ("tissue.masks", tissue.masks, "tissue_mask"),
    ):
        if folder and is_sheet(slides):
            yield f"{key} is {folder}: a sheet lists them itself: use its column '{column}', and null here"
    standing = next((folder for folder in (results, *results.parents) if folder.exists()), results)
    if not standing.is_dir() or not os.access(standing, os.W_OK | os.X_OK):
        yield f"results is {results}: {standing} is not a writable folder: choose another"
    if any(character in str(results) for character in "{}\n"):
        yield (
            f"results is {str(results)!r}: its path may not hold braces or line breaks, which Snakemake takes for "
            "wildcards: choose a path without"
        )
    if results == slides or (results in slides.parents and slides.relative_to(results).parts[0] in TOP_LEVEL):
        yield (
            f"results is {results}, which is or holds the slides ({slides}) and would write among them: "
            "choose another, or one below the slides"
        )


def _unfit_for_source(backend: str, given: Configuration) -> Iterator[str]:
    """Yield a line for each setting that prevents copying a slide's tiles."""
    needs: list[tuple[str, object, tuple[object, ...]]] = [("reader", given.reader, ("auto", "tiles"))]
    remedy = "choose another encoding"
    if backend not in TILE_BACKENDS:
        needs += [
            ("sampling.overlap", given.sampling.overlap, (0,)),
            ("sampling.edges", given.sampling.edges, ("drop",)),
        ]
        remedy = f"choose another encoding, or {' or '.join(TILE_BACKENDS)}, which hold tiles for any grid"
    for key, value, needed in needs:
        if value not in needed:
            yield (
                f"stores.{backend}.encoding is source, which copies the slide's tiles, and {key} is {value}: give "
                f"{' or '.join(map(str, needed))}, or {remedy}"
            )
