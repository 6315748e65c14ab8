"""A slide's patches and facts, as the layouts of other programs need them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from slidemill.core.outcomes import read_outcome
from slidemill.core.pyramid import SlideInfo
from slidemill.core.results_layout import outcome_file
from slidemill.core.specs import GridSpec
from slidemill.datasets.dataset import Dataset
from slidemill.errors import SlidemillError
from slidemill.slides.discovery import decode_path
from slidemill.slides.grid import Grid

if TYPE_CHECKING:
    import pandas

FILE, ID = "file", "id"
NAMES = (FILE, ID)
"""How exported files are named: by the slide's file, as other programs find it, or by the slide's id."""


@dataclass(frozen=True, slots=True, eq=False)
class ExportedSlide:
    """Patches of one slide, and the facts of the slide.

    Parameters
    ----------
    slide, name
        The slide's id, and the name of its exported files without their ending.
    info
        What OpenSlide reports of the slide, with the mpp of the sheet or the configuration.
    spec
        The grid of the patches.
    patches
        The dataset of its patches; empty if no patch is selected.
    """

    slide: str
    name: str
    info: SlideInfo
    spec: GridSpec
    patches: Dataset

    @property
    def grid(self) -> Grid:
        """The grid of the patches on the slide's levels."""
        return Grid(self.info.pyramid, self.spec)

    @property
    def table(self) -> pandas.DataFrame:
        """The rows of the patches, with the columns of metadata.csv."""
        return self.patches.table

    @property
    def coords(self) -> npt.NDArray[np.int64]:
        """Top left corner of each patch in level-0 pixels, ``int64 (n, 2)``: x, y."""
        return self.table[["x0", "y0"]].to_numpy(np.int64)

    @property
    def side(self) -> int:
        """The side of each patch in level-0 pixels."""
        return self.grid.extent0


def file_names(paths: Mapping[str, str], slides: Sequence[str], names: str) -> dict[str, str]:
    """Return the name of each slide's exported files, by the slide's id.

    Parameters
    ----------
    paths
        By id of each slide of the results, its path as in ``slides.csv``; it may be empty.
    slides
        The slides to export.
    names
        `FILE` for the stem of the slide's file, `ID` for the slide's id.

    Raises
    ------
    SlidemillError
        When two slides have the same stem.
    """
    if names == ID:
        return {slide: slide for slide in slides}
    found = {slide: PurePath(decode_path(paths.get(slide, ""))).stem or slide for slide in slides}
    name, count = Counter(found.values()).most_common(1)[0]
    if count > 1:
        own = ", ".join(slide for slide in slides if found[slide] == name)
        raise SlidemillError(
            f"{name}: {count} slides have files of this name ({own}); name the files by id: --names id"
        )
    return found


def exported_slides(dataset: Dataset, names: Mapping[str, str]) -> Iterator[ExportedSlide]:
    """Yield the slides to export one by one, with the patches that the dataset has of each.

    Parameters
    ----------
    dataset
        The selected patches.
    names
        The name of each slide's exported files, by id.

    Raises
    ------
    SlidemillError
        When the results lack the facts of a slide.
    """
    codes = {slide: code for code, slide in enumerate(dataset.slides)}
    for slide, name in names.items():
        info, spec = _facts(dataset, slide)
        places = np.flatnonzero(dataset.stored.codes == codes.get(slide, -1))
        yield ExportedSlide(slide, name, info, spec, dataset.take(places))


def _facts(dataset: Dataset, slide: str) -> tuple[SlideInfo, GridSpec]:
    """Return the facts of a slide, and the grid of its patches, from its outcome or else from its store."""
    for stage in ("sample_patches", "discover_slides"):
        path = dataset.results / outcome_file(stage, slide)
        if path.is_file():
            outcome = read_outcome(path)
            spec = outcome.sample.sampling if outcome.sample else None
            return outcome.info, spec or dataset.stored.pool.grid(slide)
    raise SlidemillError(
        f"{path}: the slide's levels are not known, since the file does not exist; copy the folder slides of the "
        "results too (results of import-pywsi have none)"
    )
