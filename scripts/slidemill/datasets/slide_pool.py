"""Slides that a dataset reads patches from, opened on first read, with a limit on open ones."""

from __future__ import annotations

import os
import warnings
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import openslide

from slidemill.core.outcomes import read_outcome
from slidemill.core.results_layout import SUFFIXES, outcome_file, store_path
from slidemill.core.specs import SLIDES, GridSpec
from slidemill.core.stage_facts import ReaderFacts
from slidemill.datasets._slide_patches import SlideSource, check_slide
from slidemill.datasets.slide_records import ReadingChoice, SlideRecord, SlideRecords, read_records
from slidemill.errors import SlideError, SlidemillError
from slidemill.slides.discovery import decode_path
from slidemill.slides.grid import Grid
from slidemill.slides.icc import IGNORED
from slidemill.slides.patch_table import SlidePatches, spread_patches
from slidemill.slides.reader_choice import find_reader, is_trusted
from slidemill.slides.readers import OPENSLIDE_CACHE, TileReader
from slidemill.stores.registry import open_store
from slidemill.stores.store_pool import Pool

if TYPE_CHECKING:
    import pandas

SEED = 0
"""Of the choice of the patches that are compared where a slide earns its trust again."""

Compared = Mapping[str, Sequence[tuple[int, int]]]
"""By slide, the places of patches, ``(column, row)``, with which it earns its trust again."""


@dataclass(slots=True)
class SlidePool(Pool[SlideSource]):
    """The slides of a run, in place of stores.

    Parameters
    ----------
    results, backend, most
        As of `slidemill.stores.store_pool.Pool`.
    records
        The folder of the slides, and how the patches of each are read.
    compared
        Of the slides that `needs_trust` names, the patches to compare.
    """

    records: SlideRecords = field(default_factory=lambda: SlideRecords(Path(), {}), repr=False)
    compared: Compared = field(default_factory=dict, repr=False)
    _found: dict[str, ReaderFacts] = field(default_factory=dict, repr=False, init=False)
    _cache: openslide.OpenSlideCache | None = field(default=None, repr=False, init=False)
    _process: int = field(default_factory=os.getpid, repr=False, init=False)
    _inherited: list[object] = field(default_factory=list, repr=False, init=False)

    def __getitem__(self, slide: str) -> SlideSource:
        """Return an open slide; raises as `open` does."""
        if self._process != os.getpid():
            # A fork shares the places of OpenSlide's files with its parent. Its handles are kept and not closed, since
            # a thread that the child does not have may have held their locks.
            self._inherited += [self._open, self._cache]
            self._open, self._cache, self._process = OrderedDict(), None, os.getpid()
        return Pool.__getitem__(self, slide)

    def open(self, slide: str) -> SlideSource:
        """Open a slide, which the caller closes.

        Raises
        ------
        SlideError
            When nothing is known of it, it is missing, has changed, or cannot be opened.
        """
        record, path = self.record(slide), self.path(slide)
        check_slide(path, record.fingerprint)
        reading = self._found.get(slide)
        if reading is None:
            reading = self._found[slide] = self._choose_reading(slide, record, path)
        if self._cache is None:
            self._cache = openslide.OpenSlideCache(OPENSLIDE_CACHE)
        return SlideSource(path, record, reading=reading, cache=self._cache)

    def close(self) -> None:
        """Drop all slides, and what OpenSlide has decoded of them."""
        Pool.close(self)
        self._cache = None

    def record(self, slide: str) -> SlideRecord:
        """Return how a slide's patches are read; `SlideError` where the results do not say it."""
        record = self.records.slides.get(slide)
        if record is None:
            raise SlideError(
                f"{slide}: {self.results} do not say how its patches are read from the slide: run the workflow again"
            )
        return record

    def path(self, slide: str) -> Path:
        """Return the file of a slide; `SlideError` where the results do not say it."""
        return self.records.root / decode_path(self.record(slide).path)

    def shares_tiles(self, slide: str) -> bool:
        """Return True: all slides that OpenSlide opens are read in tiles."""
        return True

    def grid(self, slide: str) -> GridSpec:
        """Return the grid in a slide's record."""
        return self.record(slide).grid

    def colours(self, slide: str) -> str:
        """Return the conversion in a slide's record."""
        return self.record(slide).colours

    def reading(self, slide: str) -> ReaderFacts:
        """Return which reader reads a slide, and why; opens the slide."""
        found = self[slide]
        facts = self._found[slide]
        return facts if found.reader == facts.reader else ReaderFacts(reader=found.reader, reason="its tiles failed")

    def _choose_reading(self, slide: str, record: SlideRecord, path: Path) -> ReaderFacts:
        if not needs_trust(record) and record.reading:
            return record.reading
        grid = Grid(record.info.pyramid, record.grid)
        patches = [grid.patch(column, row) for column, row in self.compared.get(slide, ())]
        return find_reader(SlidePatches(path, record.info, record.grid, patches), SEED)

    def __reduce__(self) -> tuple[type[SlidePool], tuple[Path, str, int, SlideRecords, Compared]]:
        return type(self), (self.results, self.backend, self.most, self.records, self.compared)


def needs_trust(record: SlideRecord) -> bool:
    """Return whether a slide earns its trust again, when it is opened.

    The results do not say its reader, or its tiles were compared with other versions of the libraries.
    """
    reading = record.reading
    return reading is None or (reading.reader == TileReader.name and not is_trusted(reading))


def open_pool(
    results: Path, table: pandas.DataFrame, prints: Mapping[str, str], *, most_open: int, root: Path | None
) -> SlidePool:
    """Return the slides of finished results, to read the patches of a table.

    Parameters
    ----------
    results, table
        The results folder, and its table of patches.
    prints
        The fingerprint of each slide.
    most_open
        Number of slides that are open at once.
    root
        The folder of the slides; None for the one of the run.

    Raises
    ------
    SlidemillError
        When a file is damaged, or the folder of the slides is not known.
    """
    records = read_records(results)
    if records is None:
        records = _earlier_records(results, table["slide"].cat.categories, prints, root)
    elif root is not None:
        records = replace(records, root=root.absolute())
    return SlidePool(results, SLIDES, most_open, records, _list_compared(table, records))


def _earlier_records(
    results: Path, slides: Iterable[str], prints: Mapping[str, str], root: Path | None
) -> SlideRecords:
    """Return the records of results of an earlier version, which has none, from the outcomes of its stages."""
    if root is None:
        raise SlidemillError(
            f"{results}: do not say where their slides are: name the folder, open_dataset(..., slides=FOLDER), or run "
            "the workflow again"
        )
    warnings.warn(
        f"{results}: do not say how their slides are read: the tiles of each are compared with OpenSlide's pixels when "
        "it is opened",
        stacklevel=5,
    )
    records = {}
    for slide in slides:
        path = results / outcome_file("sample_patches", slide)
        outcome = read_outcome(path) if path.is_file() else None
        if outcome is None or outcome.fingerprint != prints.get(slide) or not outcome.facts:
            continue
        colours = _stored_colours(results, slide) if outcome.facts.info.icc else IGNORED
        record = ReadingChoice(root, "auto", "ignore").record(outcome)
        if record and colours is not None:
            records[slide] = replace(record, colours=colours)
    return SlideRecords(root.absolute(), records)


def _stored_colours(results: Path, slide: str) -> str | None:
    """Return how the colours of a slide's stores are converted; None without a store."""
    for backend in SUFFIXES:
        if (path := results / store_path(backend, slide)).exists():
            with open_store(path) as store:
                return store.manifest.icc
    return None


def _list_compared(table: pandas.DataFrame, records: SlideRecords) -> Compared:
    """Return the patches with which slides that `needs_trust` names earn it again."""
    wanted = [slide for slide, record in records.slides.items() if needs_trust(record)]
    compared = {}
    for slide, own in table[table["slide"].isin(wanted)].groupby("slide", observed=True):
        record, rows = records.slides[str(slide)], own[["column", "row"]].to_dict("records")
        places: Any = rows
        patches = spread_patches(places, len(rows), record.info, record.grid)
        compared[str(slide)] = [(patch.column, patch.row) for patch in patches]
    return compared
