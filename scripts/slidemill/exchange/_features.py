"""Features of the exported patches, in the order of the patches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from slidemill.core.results_layout import feature_file
from slidemill.core.text import format_list
from slidemill.errors import SlidemillError
from slidemill.exchange.exported_slide import ExportedSlide
from slidemill.features.checks import read_contents, require_content, require_encoder
from slidemill.features.feature_file import FeatureFile, open_features
from slidemill.features.names import feature_names, require_features

BLOCK_BYTES = 32_000_000
"""Bytes of features that are read at once."""


@dataclass(frozen=True, slots=True)
class FeatureSet:
    """The features of one model.

    Parameters
    ----------
    name
        Their name in the configuration.
    results
        The results folder.
    fingerprints
        By slide, the fingerprint of its content.
    contents
        By slide, the digest of its rows that the cohort's table lists.
    encoder
        The model, as `slidemill.features.feature_file.FeatureManifest` describes it.
    dim
        Values per patch.
    """

    name: str
    results: Path
    fingerprints: Mapping[str, str]
    contents: Mapping[str, str]
    encoder: Mapping[str, str]
    dim: int

    def of(self, own: ExportedSlide) -> SlideFeatures:
        """Return the features of a slide's patches.

        Raises
        ------
        SlidemillError
            When there are none, they are of another slide or another model, or lack a patch.
        """
        if not len(own.table):
            return SlideFeatures(None, np.empty(0, np.intp), self.dim)
        file = open_features(self.results / feature_file(self.name, own.slide))
        if file.manifest.fingerprint != self.fingerprints[own.slide] or file.shape[1] != self.dim:
            raise SlidemillError(
                f"{file.path}: features of another slide or model ({file.shape[1]} values per patch, expected "
                f"{self.dim}); remove the file and run again"
            )
        require_encoder(file, self.encoder)
        require_content(file, self.contents.get(own.slide, ""))
        places = {patch_id: place for place, patch_id in enumerate(file.patch_ids)}
        wanted = own.table["patch_id"].tolist()
        if missing := [patch_id for patch_id in wanted if patch_id not in places]:
            raise SlidemillError(
                f"{file.path}: lacks patches of the table ({format_list(missing)}); remove the file and run again"
            )
        return SlideFeatures(file, np.array([places[patch_id] for patch_id in wanted], np.intp), self.dim)


@dataclass(frozen=True, slots=True, eq=False)
class SlideFeatures:
    """Features of a slide's exported patches.

    Parameters
    ----------
    file
        The file that has them; None for a slide without patches.
    places
        The row of each patch in the file, ``intp (n,)``.
    dim
        Values per patch.
    """

    file: FeatureFile | None
    places: npt.NDArray[np.intp]
    dim: int

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the values; float32 without patches."""
        return self.file.dtype if self.file else np.dtype(np.float32)

    def blocks(self) -> Iterator[tuple[slice, npt.NDArray[Any]]]:
        """Yield the features block by block: the rows of a block, and their values, ``(rows, dim)``.

        Raises
        ------
        StoreError
            When the file is damaged.
        """
        if self.file is None:
            return
        self.file.check()
        rows = self.file.features()
        step = max(BLOCK_BYTES // (self.dim * self.dtype.itemsize), 1)
        for start in range(0, len(self.places), step):
            block = slice(start, min(start + step, len(self.places)))
            yield block, rows[self.places[block]]

    def save_tensor(self, path: Path) -> None:
        """Write the features as a float32 tensor of PyTorch.

        Raises
        ------
        StoreError
            When the file is damaged.
        """
        import torch

        rows = np.empty((len(self.places), self.dim), np.float32)
        for block, values in self.blocks():
            rows[block] = values
        torch.save(torch.from_numpy(rows), path)


def find_feature_sets(results: Path, names: Sequence[str] | None) -> list[str]:
    """Return the names of the features to export, those that exist if `names` is None.

    Raises
    ------
    SlidemillError
        When the results lack one of them.
    """
    for name in names or ():
        require_features(results, name)
    return feature_names(results) if names is None else list(dict.fromkeys(names))


def open_feature_set(name: str, results: Path, fingerprints: Mapping[str, str], slides: Sequence[str]) -> FeatureSet:
    """Return the features of that name.

    Parameters
    ----------
    name, results, fingerprints
        As of `FeatureSet`.
    slides
        Slides with patches; the first gives the number of values per patch.
    """
    first = open_features(results / feature_file(name, slides[0]))
    contents = read_contents(results, name)
    return FeatureSet(name, results, fingerprints, contents, first.manifest.encoder, first.shape[1])
