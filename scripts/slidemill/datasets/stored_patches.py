"""Read patches of many slides by their indices in a dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from slidemill.core.encodings import Pixels
from slidemill.core.patch import format_patch_id
from slidemill.datasets.shuffle import Shuffle, order
from slidemill.errors import SlidemillError, StoreError, machine_errors
from slidemill.stores.arrays import output_array
from slidemill.stores.store_pool import Pool

if TYPE_CHECKING:
    import pandas

Places = npt.NDArray[np.integer]


def places_of(wanted: object, count: int) -> npt.NDArray[np.intp]:
    """Return indices, ``intp (n,)``, from whole numbers or a mask.

    Negative numbers count from the end.

    Raises
    ------
    SlidemillError
        When `wanted` is neither, or a patch does not exist.
    """
    given = np.asarray(wanted)
    if given.dtype == bool and given.shape == (count,):
        return np.flatnonzero(given)
    if given.shape == (0,):
        return np.empty(0, np.intp)
    if given.dtype.kind not in "iu" or given.ndim != 1:
        raise SlidemillError(
            f"places are {given.dtype} {given.shape}: give whole numbers, one after another, or a mask of {count}"
        )
    if wrong := given[(given < -count) | (given >= count)].tolist():
        raise SlidemillError(f"patch {wrong[0]} does not exist: there are {count}, counted from 0")
    return np.where(given < 0, given + count, given).astype(np.intp)


@dataclass(frozen=True, slots=True, eq=False)
class Patch:
    """A patch with its label and its place in the slide.

    Parameters
    ----------
    pixels
        ``uint8 (height, width, 3)``, RGB; the caller may change it.
    label, label_name
        Its label, -1 if `labels.map` lacks the name, and the name.
    slide, patch_id
        The slide's id, and the patch's, unique within the slide.
    x0, y0, width0, height0
        Its square in level-0 pixels.
    """

    pixels: Pixels = field(repr=False)
    label: int
    label_name: str
    slide: str
    patch_id: str
    x0: int
    y0: int
    width0: int
    height0: int


def _steps(table: pandas.DataFrame, codes: Places, count: int) -> Places | None:
    """Return the columns between neighbours per slide, ``(count,)``: 1, and the patch's side where patches are free.

    None if no slide has free patches. Columns and rows of free patches are level-0 pixels.

    Parameters
    ----------
    table, codes
        The patches, and the number of each one's slide.
    count
        Number of slides.
    """
    on_grid = ((table["column"] != table["x0"]) | (table["row"] != table["y0"])).to_numpy()
    steps = np.ones(count, np.int64)
    steps[codes] = table["width0"].to_numpy()
    steps[codes[on_grid]] = 1
    return None if (steps == 1).all() else steps


@dataclass(frozen=True, slots=True)
class StoredPatches:
    """The stores and patch places of a dataset, small enough to pickle cheaply.

    Parameters
    ----------
    pool
        The stores, or the slides.
    slides
        Ids of slides.
    codes, columns, rows
        Per patch, the place of its slide in `slides`, and its column and row in the slide's grid; integers ``(n,)``.
    steps
        Per slide, the columns or rows between neighbours, integers ``(slides,)``; None for 1.
    """

    pool: Pool[Any]
    slides: Sequence[str]
    codes: Places
    columns: Places
    rows: Places
    steps: Places | None = None

    @classmethod
    def of(cls, pool: Pool[Any], table: pandas.DataFrame) -> StoredPatches:
        """Return the places of a table's patches; its slides are categories."""
        names, codes = table["slide"].cat.categories, table["slide"].cat.codes.to_numpy()
        # As pandas' remove_unused_categories, which takes 25 bytes a row.
        used = np.bincount(codes, minlength=len(names)) > 0
        if not used.all():
            codes = (np.cumsum(used) - 1).astype(codes.dtype)[codes]
        slides = tuple(map(str, names[used]))
        steps = _steps(table, codes, len(slides))
        return cls(pool, slides, codes, table["column"].to_numpy(), table["row"].to_numpy(), steps)

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def are_cut(self) -> bool:
        """Whether patches of the first patch's slide are cut out of tiles that neighbours share."""
        return len(self) > 0 and self.pool.shares_tiles(self.slides[self.codes[0]])

    def order(self, shuffle: Shuffle | bool, seed: int, epoch: int) -> npt.NDArray[np.intp]:
        """Return the places of all patches in reading order, as `slidemill.datasets.shuffle.order` does."""
        if shuffle not in (True, "blocks") or not self.are_cut:
            return order(self.codes, shuffle, seed, epoch)
        steps = 1 if self.steps is None else self.steps[self.codes]
        return order(self.codes, shuffle, seed, epoch, cells=(self.columns // steps, self.rows // steps))

    def ids(self, places: Places) -> list[str]:
        """Return the patches' names in the cohort, ``SLIDE/PATCH_ID``."""
        return [f"{self.slides[code]}/{own}" for code, own in self._name_patches(places)]

    def read(
        self, places: Places, out: Pixels | None = None, symmetries: npt.NDArray[np.integer] | None = None
    ) -> Pixels:
        """Read patches in the given order, ``uint8 (patches, height, width, 3)``, RGB.

        Parameters
        ----------
        places
            Their places in the dataset, ``(patches,)``; they may repeat.
        out
            An array of that shape to write to and return, in place of a new one.
        symmetries
            Per patch, the symmetry of the square to apply, 0 to 7, ``(patches,)``, see `slidemill.stores.arrays`.

        Raises
        ------
        StoreError
            When a store cannot be opened, a patch is missing or broken, patches differ in size, or `out` has another
            shape.
        SlideError
            When a slide that is read itself is missing, has changed, or cannot be read.
        """
        wanted = self._name_patches(places)
        pool, slides = self.pool, self.slides
        first = pool[slides[wanted[0][0]]].shape if wanted else (0, 0, 3)
        shape = (len(wanted), *first)
        with machine_errors(pool.results):
            pixels = output_array(out, shape)
        turns = [0] * len(wanted) if symmetries is None else symmetries.tolist()
        for place, (code, own) in enumerate(wanted):
            store = pool[slides[code]]
            if store.shape != shape[1:]:
                raise StoreError(
                    f"{store.path}: its patches are {store.shape}, and others here {shape[1:]}: ask for one size"
                )
            store.read_into(own, pixels[place], turns[place])
        return pixels

    def _name_patches(self, places: Places) -> list[tuple[int, str]]:
        """Return the index of each patch's slide in `slides`, and the patch's id."""
        codes, columns, rows = (own[places].tolist() for own in (self.codes, self.columns, self.rows))
        return [(code, format_patch_id(column, row)) for code, column, row in zip(codes, columns, rows, strict=True)]
