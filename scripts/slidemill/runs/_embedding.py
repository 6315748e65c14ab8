"""Inputs, outputs and parameters of the rules that embed patches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from slidemill.config.configuration import Config
from slidemill.core.results_layout import FEATURES_TABLE, STORE_STAGES, embed_stage, feature_file, outcome_file
from slidemill.core.specs import HUB, SLIDES
from slidemill.runs._resources import OfSlide, Resources
from slidemill.slides.fingerprint import BLOCK, BLOCKS, fingerprint

LOSSY = ("jpeg", "source")
"""Encodings whose pixels are not exactly those of the slide, or cannot be known to be."""

MODEL_MEMORY = 4
"""Times the size of a file of weights that a job needs for the model, and for what it computes."""

BATCH_MEMORY = 16
"""Times the bytes of a batch's pixels that a job needs: four batches of pixels, and three of 32-bit numbers."""


def model_fingerprint(path: Path) -> str:
    """Return a fingerprint of a model's file that any change of its weights changes.

    That of a slide covers a few blocks of a large file. New weights of one layer leave the size, and may leave all
    these blocks, so that the time of the last change counts, too.
    """
    found = fingerprint(path)
    with suppress(OSError):
        status = path.stat()
        if status.st_size > BLOCK * BLOCKS:
            found += f" {status.st_mtime_ns}"
    return found


@dataclass(frozen=True)
class Embedding:
    """What a run embeds, and of what.

    Parameters
    ----------
    config
        The checked configuration.
    backends
        The settings of each store in their order.
    slides
        The ids of the slides.
    resources
        Resources of other jobs.
    """

    config: Config
    backends: Mapping[str, Mapping[str, Any]]
    slides: Sequence[str]
    resources: Resources

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names of the features."""
        return tuple(self.config.features)

    @cached_property
    def backend(self) -> str:
        """The backend of the stores that are embedded, the first lossless one if there is one; or ``slides``."""
        lossless = [name for name, own in self.backends.items() if own["encoding"] not in LOSSY]
        return next(iter([*lossless, *self.backends]), SLIDES)

    @cached_property
    def found(self) -> str:
        """The outcome that lists a slide's patches, as a pattern."""
        return outcome_file("sample_patches" if self.backend == SLIDES else STORE_STAGES[self.backend])

    @cached_property
    def outcomes(self) -> list[str]:
        """The outcomes of all slides and models."""
        return [outcome_file(embed_stage(name), slide) for name in self.names for slide in self.slides]

    @cached_property
    def files(self) -> list[str]:
        """The features of all slides and models, their outcomes and their table; empty in a run without models."""
        features = [feature_file(name, slide) for name in self.names for slide in self.slides]
        return [*features, *self.outcomes, FEATURES_TABLE] if self.names else []

    @property
    def table(self) -> dict[str, str]:
        """The table of features, empty in a run without models."""
        return {"features": FEATURES_TABLE} if self.names else {}

    @property
    def gpus(self) -> int:
        """The number of GPUs that a job requests of a cluster."""
        return 0 if self.config.device == "cpu" else 1

    @property
    def job_config(self) -> dict[str, Any]:
        """What jobs take and no rule has as a parameter, so that another value embeds no slide again."""
        batches = {name: own.batch for name, own in self.config.features.items()}
        return {"embedding": {"device": self.config.device, "batches": batches}}

    def memory(self, name: str) -> Any:
        """Return the function of the MB of a job that embeds patches."""
        files = [Path(file) for file in self._files(name)]
        model = sum(file.stat().st_size for file in files if file.is_file()) * MODEL_MEMORY // 1_000_000
        patch_bytes = 3 * self.resources.grid.patch_size**2
        batches = self.config.features[name].batch * patch_bytes * BATCH_MEMORY // 1_000_000

        def megabytes(wildcards: OfSlide, attempt: int) -> int:
            return (2000 + model + batches + self.resources.patch_count(wildcards.slide) // 500) * attempt

        return megabytes

    def runtime(self, wildcards: OfSlide, attempt: int) -> int:
        """Return the minutes of a job that embeds patches, at 20 per second."""
        return (10 + self.resources.patch_count(wildcards.slide) // 1200) * attempt

    def parameters(self, name: str) -> dict[str, Any]:
        """Return the settings of the rule of a model, without those of pixels."""
        model = {key: value for key, value in asdict(self.config.features[name]).items() if key != "batch"}
        return {
            "name": name,
            "model": model,
            "prints": [model_fingerprint(Path(file)) for file in self._files(name)],
            "backend": self.backend,
            "reader": self.config.reader,
            "sample": self.config.validation.sample,
        }

    def _files(self, name: str) -> list[str]:
        """Return the files of a model."""
        spec = self.config.features[name]
        return [file for file in (spec.model, spec.weights) if file and file != HUB and Path(file).is_absolute()]
