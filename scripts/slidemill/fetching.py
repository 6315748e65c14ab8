"""Pixels of patches of many slides, by their places in a dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from slidemill.encodings import Pixels
from slidemill.errors import StoreError
from slidemill.patches import patch_id
from slidemill.stores.pool import StorePool

Places = npt.NDArray[np.integer]


@dataclass(frozen=True, slots=True)
class StoredPatches:
    """Where each patch of a dataset lies, and the stores: all that reading needs, and so cheap to carry to a worker.

    Parameters
    ----------
    pool
        The stores.
    slides
        Ids of slides.
    codes, columns, rows
        For each patch the place of its slide in `slides`, and its own place in that slide's grid; ``(n,)``.
    """

    pool: StorePool
    slides: Sequence[str]
    codes: Places
    columns: Places
    rows: Places

    def __len__(self) -> int:
        return len(self.codes)

    def ids(self, places: Places) -> list[str]:
        """Return the patches' names in the cohort: the slide's id, a slash, and the patch's id."""
        return [f"{self.slides[code]}/{own}" for code, own in self._named(places)]

    def read(
        self, places: Places, out: Pixels | None = None, symmetries: npt.NDArray[np.integer] | None = None
    ) -> Pixels:
        """Return the pixels of patches, ``uint8 (patches, height, width, 3)``, RGB, in the order asked for.

        Parameters
        ----------
        places
            Their places in the dataset; one may be there more than once.
        out
            An array to write to, in place of a new one; of that shape, and the result then.
        symmetries
            For each patch the symmetry of the square that it is turned by, 0 to 7, see `slidemill.symmetries`.

        Raises
        ------
        StoreError
            When a store cannot be opened, a patch is missing or broken, patches differ in size, or `out` has another
            shape.
        """
        wanted = self._named(places)
        pool, slides = self.pool, self.slides
        if not wanted:
            return np.empty((0, 0, 0, 3), np.uint8) if out is None else out
        shape = (len(wanted), *pool[slides[wanted[0][0]]].manifest.shape)
        pixels = np.empty(shape, np.uint8) if out is None else out
        if pixels.shape != shape or pixels.dtype != np.uint8 or not pixels.flags.c_contiguous:
            raise StoreError(f"out is {pixels.dtype} {pixels.shape}: these patches need a whole array, uint8 {shape}")
        turns = [0] * len(wanted) if symmetries is None else symmetries.tolist()
        for place, (code, own) in enumerate(wanted):
            store = pool[slides[code]]
            store.read_into(own, pixels[place], turns[place])
        return pixels

    def _named(self, places: Places) -> list[tuple[int, str]]:
        """Return each patch's slide, as its place in `slides`, and its id in that slide."""
        codes, columns, rows = (own[places].tolist() for own in (self.codes, self.columns, self.rows))
        return [(code, patch_id(column, row)) for code, column, row in zip(codes, columns, rows, strict=True)]
