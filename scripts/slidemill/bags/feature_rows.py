"""Find the features of a dataset's patches in the files of its slides."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from slidemill.core.results_layout import feature_file
from slidemill.core.text import format_count, format_list
from slidemill.errors import SlidemillError, StoreError
from slidemill.features.checks import read_contents, require_content, require_encoder
from slidemill.features.feature_file import FeatureFile, open_features
from slidemill.features.names import require_features

if TYPE_CHECKING:
    import pandas

Places = npt.NDArray[np.integer]
Array = npt.NDArray[Any]

EARLIER = "the features are of other patches than the dataset: run the workflow to its end, and open the dataset again"


ROUNDING = 2
"""Pixels by which a patch's width may differ, since the table has it in whole level-0 pixels."""


@dataclass(frozen=True, slots=True, eq=False)
class FeatureRows:
    """The patches of a dataset, and the files with their features; small enough to pickle cheaply.

    Parameters
    ----------
    results, name
        The results folder, and the name of the features in the configuration.
    slides, fingerprints
        Ids of slides, and the fingerprint of each one's content; empty where it is not known.
    codes
        Per patch, the place of its slide in `slides`, integers ``(n,)``.
    corners
        x and y of each patch's top left in level-0 pixels, integers ``(n,)``.
    sides
        Per slide, the width of a patch in its own pixels, rounded as in the table, ``float64 (slides,)``.
    contents
        The digest of the rows of each slide's file that the cohort's table lists; empty where it is not known.
    encoder
        The model of all files, as `slidemill.features.feature_file.FeatureManifest.encoder` describes it; None where no
        file is known.
    """

    results: Path
    name: str
    slides: Sequence[str]
    fingerprints: Sequence[str]
    codes: Places
    corners: tuple[Places, Places]
    sides: npt.NDArray[np.float64]
    contents: Sequence[str]
    encoder: Mapping[str, str] | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.codes)

    def open(self, code: int) -> FeatureFile:
        """Open the features of a slide, by its place in `slides`.

        Raises
        ------
        StoreError
            When the file is missing or incomplete, of another slide, patches of another size or another model, or not
            the one that the cohort's table lists.
        """
        file = open_features(self.results / feature_file(self.name, self.slides[code]))
        known, found = self.fingerprints[code], file.manifest.fingerprint
        if known and found != known:
            raise StoreError(
                f"{file.path}: slide {self.slides[code]} has changed since (its fingerprint was {found}, and is "
                f"{known}): run the workflow to its end"
            )
        side = file.manifest.patch_size
        if len(file) and abs(side - self.sides[code]) > ROUNDING:
            raise StoreError(f"{file.path}: patches are {side} pixels wide, not {self.sides[code]:.0f}: {EARLIER}")
        if self.encoder is not None:
            require_encoder(file, self.encoder)
        require_content(file, self.contents[code])
        return file

    def rows(self, file: FeatureFile, places: Places) -> npt.NDArray[np.intp]:
        """Return the rows of patches of one slide in its file, ``intp (patches,)``.

        Parameters
        ----------
        file
            The file of their slide.
        places
            Their places in the dataset, ``(patches,)``.

        Raises
        ------
        StoreError
            When the file lacks a patch.
        """
        wanted, there = _keys(*(own[places] for own in self.corners)), _keys(file.coords[:, 0], file.coords[:, 1])
        ascends = bool(np.all(there[1:] > there[:-1]))
        # A whole slide in the table's order, as most are read.
        if ascends and np.array_equal(wanted, there):
            return np.arange(len(there), dtype=np.intp)
        order = np.arange(len(there)) if ascends else np.argsort(there, kind="stable")
        there = there[order]
        if np.any(there[1:] == there[:-1]):
            raise StoreError(f"{file.path}: two patches begin at one level-0 pixel: sample with a larger step")
        found = np.searchsorted(there, wanted)
        lacks = np.ones(len(wanted), bool)
        inside = found < len(there)
        lacks[inside] = there[found[inside]] != wanted[inside]
        if lacks.any():
            first = ", ".join(str(own[places[lacks][0]]) for own in self.corners)
            count = format_count(int(lacks.sum()), "patch of the dataset", "patches of the dataset")
            raise StoreError(f"{file.path}: lacks {count}, such as the one at ({first}): {EARLIER}")
        return order[found]


def find_features(
    results: Path,
    name: str,
    table: pandas.DataFrame,
    *,
    slides: Sequence[str],
    codes: Places,
    fingerprints: Mapping[str, str],
) -> FeatureRows:
    """Return the rows of a dataset, after checking that each of its slides has a file of features.

    Parameters
    ----------
    results, name
        The results folder, and the name of the features in the configuration.
    table
        A row per patch, with ``x0``, ``y0``, ``width0`` and ``downsample``.
    slides, codes
        The ids of the slides, and per row the place of its slide among them.
    fingerprints
        By slide, the fingerprint of its content.

    Raises
    ------
    StoreError
        When there are no such features, or slides lack them.
    """
    require_features(results, name)
    folder = (results / feature_file(name)).parent
    there = {path.name for path in folder.iterdir()}
    if missing := [slide for slide in slides if f"{slide}.h5" not in there]:
        count = format_count(len(missing), "slide has", "slides have")
        raise StoreError(
            f"{folder}: {count} no features: {format_list(missing)}: run the workflow to its end, or select others"
        )
    first = [places[0] for _, places in group_places(codes)]
    corners = table["x0"].to_numpy(), table["y0"].to_numpy()
    prints = [fingerprints.get(slide, "") for slide in slides]
    sides = table["width0"].to_numpy()[first] / table["downsample"].to_numpy()[first]
    listed = read_contents(results, name)
    contents = [listed.get(slide, "") for slide in slides]
    rows = FeatureRows(results, name, slides, prints, codes, corners, sides, contents)
    # A file that cannot be opened is reported when its rows are read.
    for code in range(len(slides)):
        with suppress(SlidemillError):
            return replace(rows, encoder=rows.open(code).manifest.encoder)
    return rows


def group_places(codes: Places) -> Iterator[tuple[int, npt.NDArray[np.intp]]]:
    """Yield each code with the places that have it, in ascending order."""
    ascends = bool(np.all(codes[1:] >= codes[:-1]))
    order = np.arange(len(codes)) if ascends else np.argsort(codes, kind="stable")
    if len(order):
        ordered = codes if ascends else codes[order]
        ends = np.flatnonzero(ordered[1:] != ordered[:-1]) + 1
        for places in np.split(order, ends):
            yield int(codes[places[0]]), places


def _keys(x: Places, y: Places) -> npt.NDArray[np.int64]:
    """Return one number per corner; they ascend in raster order."""
    keys: npt.NDArray[np.int64] = (y.astype(np.int64) << 32) + x
    return keys
