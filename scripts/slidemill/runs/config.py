"""The configuration: checked against a schema, completed by its defaults, and turned into values.

Whatever is wrong ends as one `ConfigError` with a line for each fault.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slidemill.core.specs import (
    BenchmarkSpec,
    LabelSpec,
    QualitySpec,
    SplitSpec,
    StoreSpec,
    TissueSpec,
    ValidationSpec,
)
from slidemill.errors import ConfigError
from slidemill.runs._label_config import label_spec, wrong_labels
from slidemill.runs._schemas import completed, faults
from slidemill.slides.grid import GridSpec

JPEG_QUALITY = 90
RESOLUTIONS = ("deepzoom_level", "level", "mpp", "magnification")
"""Keys of `sampling` that say how fine the patches are, of which a configuration gives one."""

LARGEST_SHRUNK = 1024
"""Largest patch_size but with a native level, in pixels: 4096 x 4096 of a native level are held at once then."""

WRITTEN = (
    *("slides", "patches", "dropped", "tissue", "metadata", "stores", "outcomes", "validation", "figures"),
    *("logs", "passed", "unfinished", ".snakemake"),
    *("slides.csv", "metadata.csv", "metadata.parquet", "stores.csv", "unreadable.csv", "validation.csv"),
    *("benchmark.csv", "splits.csv", "tables.seal.json", "splits.seal.json"),
)
"""What a run writes into the results; slides may not lie there."""


@dataclass(frozen=True, slots=True)
class Config:
    """A checked configuration; its paths are absolute."""

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
    benchmark: BenchmarkSpec
    seed: int
    quality: QualitySpec | None = None
    splits: SplitSpec | None = None
    unannotated: str | None = None
    unmapped: str = "fail_if_most"

    @property
    def root(self) -> Path:
        """The folder that slides' paths are relative to."""
        return self.slides.parent if is_sheet(self.slides) else self.slides

    @property
    def annotations_root(self) -> Path:
        """The folder that annotations' paths are relative to."""
        return self.annotations or self.root

    @property
    def masks_root(self) -> Path:
        """The folder that masks' paths are relative to."""
        return self.tissue_masks or self.root


def is_sheet(slides: Path) -> bool:
    """Return whether `slides` names a sheet rather than a folder."""
    return slides.suffix.lower() in (".csv", ".tsv")


def read_config(values: Mapping[str, Any], schema: Mapping[str, Any], base: Path) -> Config:
    """Return the checked configuration, completed by the schema's defaults.

    Parameters
    ----------
    values
        The configuration as YAML or the command line gave it.
    schema
        The JSON schema, ``workflow/schemas/config.schema.yaml``.
    base
        The folder that relative paths start from.

    Raises
    ------
    ConfigError
        With a line for each fault: the key, the value, the remedy.
    """
    wrong = list(dict.fromkeys(faults(values, schema)))
    if wrong:
        raise ConfigError("\n".join(wrong))
    full = completed(values, schema, schema)
    wrong = list(_impossible_paths(full, base))
    if wrong:
        raise ConfigError("\n".join(wrong))
    slides, results = (base / full["slides"]).resolve(), (base / full["results"]).resolve()
    wrong = list(_contradictions(full, slides, results))
    if wrong:
        raise ConfigError("\n".join(wrong))
    sampling: dict[str, Any] = dict(full["sampling"])
    assume_mpp, max_patches = sampling.pop("assume_mpp"), sampling.pop("max_patches")
    annotations, tissue = full["annotations"], dict(full["tissue"])
    masks = tissue.pop("masks")
    labels: dict[str, Any] = dict(full["labels"])
    return Config(
        slides=slides,
        annotations=(base / annotations).resolve() if annotations else None,
        results=results,
        sampling=GridSpec(**sampling if sampling.keys() & set(RESOLUTIONS) else {"level": 0, **sampling}),
        assume_mpp=assume_mpp,
        max_patches=max_patches,
        tissue=TissueSpec(**tissue),
        tissue_masks=(base / masks).resolve() if masks else None,
        unannotated=labels.pop("unannotated", None),
        unmapped=labels.pop("unmapped"),
        labels=label_spec(labels),
        reader=full["reader"],
        icc=full["icc"],
        unreadable_patches=full["unreadable_patches"],
        max_failed=full["max_failed"],
        scratch=full["scratch"],
        stores={name: _store_spec(**settings) for name, settings in full["stores"].items()},
        validation=ValidationSpec(**full["validation"]),
        benchmark=BenchmarkSpec(**full["benchmark"]),
        seed=full["seed"],
        quality=_quality_spec(full["quality"]),
        splits=SplitSpec(**full["splits"]) if full["splits"] else None,
    )


def _quality_spec(given: bool | Mapping[str, float | None]) -> QualitySpec | None:
    """Return what patches must have, or None where nobody asks."""
    if isinstance(given, bool):
        return QualitySpec() if given else None
    return QualitySpec(**given)


def _store_spec(encoding: str, quality: int = JPEG_QUALITY) -> StoreSpec:
    return StoreSpec(encoding, quality if encoding == "jpeg" else None)


def _impossible_paths(full: Mapping[str, Any], base: Path) -> Iterator[str]:
    """Yield a line for each path that no file can have."""
    given = {key: full[key] for key in ("slides", "annotations", "results")} | {"tissue.masks": full["tissue"]["masks"]}
    for key, path in given.items():
        try:
            (base / (path or "")).lstat()
        except ValueError:
            yield f"{key} is {path!r}: a path holds no null characters: mend it"
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                yield f"{key} is {path[:80]}...: a path of {len(path)} characters is too long: choose another"


def _contradictions(full: Mapping[str, Any], slides: Path, results: Path) -> Iterator[str]:
    """Yield a line for each fault that a schema cannot tell."""
    sampling = full["sampling"]
    given = [key for key in RESOLUTIONS if key in sampling]
    if len(given) > 1:
        values = " and ".join(f"sampling.{key} is {sampling[key]}" for key in given)
        yield f"{values}: give one of the {'two' if len(given) == 2 else len(given)}"
    if given not in ([], ["level"]) and sampling["patch_size"] > LARGEST_SHRUNK:
        yield (
            f"sampling.patch_size is {sampling['patch_size']}: patches by {given[0]} are read several times as wide "
            f"and shrunk, so that memory allows for {LARGEST_SHRUNK}: choose no more, or give a native level"
        )
    yield from wrong_labels(full["labels"])
    if 2 * sampling["overlap"] >= sampling["patch_size"]:
        yield (
            f"sampling.overlap is {sampling['overlap']}: 2 x overlap must be less than patch_size "
            f"({sampling['patch_size']})"
        )
    for backend, settings in full["stores"].items():
        if "quality" in settings and settings["encoding"] != "jpeg":
            yield (
                f"stores.{backend}.quality is {settings['quality']}: only encoding jpeg has a quality, "
                f"this is {settings['encoding']}: leave it out, or choose jpeg"
            )
        if settings["encoding"] == "source":
            yield from _unfit_for_source(backend, full)
    tissue = full["tissue"]
    if tissue["mask_values"] and not tissue["masks"] and not is_sheet(slides):
        yield (
            f"tissue.mask_values is {tissue['mask_values']}, and there are no masks: name their folder in "
            "tissue.masks, or leave it out"
        )
    for key, folder, column in (
        ("annotations", full["annotations"], "annotation"),
        ("tissue.masks", full["tissue"]["masks"], "tissue_mask"),
    ):
        if folder and is_sheet(slides):
            yield f"{key} is {folder}: a sheet lists them itself: use its column '{column}', and null here"
    standing = next((folder for folder in (results, *results.parents) if folder.exists()), results)
    if not standing.is_dir() or not os.access(standing, os.W_OK | os.X_OK):
        yield f"results is {results}: {standing} is no folder that one may write to: choose another"
    if any(character in str(results) for character in "{}\n"):
        yield (
            f"results is {str(results)!r}: its path may not hold braces or line breaks, which Snakemake takes for "
            "wildcards: choose a path without"
        )
    if results == slides or (results in slides.parents and slides.relative_to(results).parts[0] in WRITTEN):
        yield (
            f"results is {results}, which is or holds the slides ({slides}) and would write among them: "
            "choose another, or one below the slides"
        )


def _unfit_for_source(backend: str, full: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each setting with which no slide's tiles could be copied."""
    sampling = full["sampling"]
    for key, value, needed in (
        ("sampling.overlap", sampling["overlap"], (0,)),
        ("sampling.edges", sampling["edges"], ("drop",)),
        ("reader", full["reader"], ("auto", "tiles")),
    ):
        if value not in needed:
            yield (
                f"stores.{backend}.encoding is source, which copies the slide's tiles, and {key} is {value}: give "
                f"{' or '.join(map(str, needed))}, or choose another encoding"
            )
