"""Sources of a benchmark: the stores of a backend, or the slides."""

from __future__ import annotations

import os
import random
import re
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

import numpy as np

from slidemill.core.columns import SLIDE_SOURCE, TILE_SOURCE
from slidemill.core.encodings import Pixels
from slidemill.core.outcomes import read_outcome
from slidemill.core.results_layout import store_path
from slidemill.core.specs import SLIDES, StoreSpec
from slidemill.core.text import format_count
from slidemill.datasets.slide_pool import SlidePool
from slidemill.datasets.slide_records import AS_CONFIGURED, ReadingChoice, SlideRecord, SlideRecords
from slidemill.slides.fingerprint import companions
from slidemill.stores.registry import open_store

Key = tuple[str, str]
"""A slide's id and a patch's id."""

PATCH_ID = re.compile(r"r\d+_c\d+")
"""The name of a file with one patch."""

Read = Callable[[str], Pixels]
"""Patch id to pixels."""


class Source(ABC):
    """Stores or slides to read from, each opened on first use in a process."""

    encoding = ""
    """How the patches are stored; empty for slides."""
    note = ""
    """A remark on what is read."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._readers: dict[str, Read] = {}

    def read(self, key: Key) -> Pixels:
        """Return the pixels of a patch, ``uint8 (height, width, 3)``.

        Raises
        ------
        SlidemillError
            When the store or the slide cannot be opened or read.
        """
        slide, patch_id = key
        if slide not in self._readers:
            self.open([key])
        return self._readers[slide](patch_id)

    def open(self, keys: Iterable[Key]) -> None:
        """Open the stores or slides of patches."""
        for slide, _ in keys:
            if slide not in self._readers:
                self._readers[slide] = self._reader(slide, self._stack)

    def close(self) -> None:
        """Close what is open."""
        self._stack.close()
        self._readers.clear()

    @abstractmethod
    def files(self, keys: Iterable[Key]) -> Iterator[Path]:
        """Yield the files that hold patches."""

    @abstractmethod
    def _reader(self, slide: str, stack: ExitStack) -> Read:
        """Open a slide or its store, which `stack` closes."""


class StoreSource(Source):
    """The stores of a backend, by slide."""

    def __init__(self, paths: Mapping[str, Path], encoding: str) -> None:
        super().__init__()
        self._paths, self.encoding = paths, encoding

    def files(self, keys: Iterable[Key]) -> Iterator[Path]:
        """Yield the files of the stores; of files with one patch each, those of `keys`."""
        wanted = set(keys)
        for slide, path in self._paths.items():
            if not path.is_dir():
                yield path
            for folder, _, names in os.walk(path):
                for name in names:
                    stem = name.partition(".")[0]
                    if (slide, stem) in wanted or not PATCH_ID.fullmatch(stem):
                        yield Path(folder, name)

    def _reader(self, slide: str, stack: ExitStack) -> Read:
        return stack.enter_context(open_store(self._paths[slide])).read


class SlidesSource(Source):
    """The slides, read as a dataset reads them."""

    def __init__(self, pool: SlidePool, note: str = "") -> None:
        super().__init__()
        self._pool, self.note = pool, note

    def files(self, keys: Iterable[Key]) -> Iterator[Path]:
        """Yield all files of the slides."""
        for slide in self._pool.records.slides:
            path = self._pool.path(slide)
            yield from (path, *companions(path))

    def close(self) -> None:
        """Close what is open, and drop what OpenSlide has decoded."""
        super().close()
        self._pool.close()

    def _reader(self, slide: str, stack: ExitStack) -> Read:
        opened = stack.enter_context(closing(self._pool.open(slide)))

        def read(patch_id: str) -> Pixels:
            pixels = np.empty(opened.shape, np.uint8)
            opened.read_into(patch_id, pixels)
            return pixels

        return read


def choose_patches(backend: str, slides: Iterable[str], count: int, *, seed: int) -> dict[str, list[Key]]:
    """Choose neighbouring patches, ``"sequential"``, and scattered, ``"random"``.

    Parameters
    ----------
    backend
        The backend whose stores name the patches.
    slides
        The slides of the sample.
    count, seed
        Number of patches of each kind, and the seed of the choice.

    Raises
    ------
    SlidemillError
        When a store cannot be opened.
    """
    ids: dict[str, Sequence[str]] = {}
    for slide in slides:
        with open_store(store_path(backend, slide)) as store:
            ids[slide] = store.ids
    return {"sequential": choose_blocks(ids, count, seed), "random": choose_scattered(ids, count, seed)}


def open_sources(
    outcomes: Mapping[str, Path], stores: Mapping[str, StoreSpec], reading: ReadingChoice
) -> dict[str, Source]:
    """Return the sources to read from, by name.

    Parameters
    ----------
    outcomes
        The outcome of sample_patches of each slide of the sample.
    stores
        The backends, and how they encode.
    reading
        How slides are read.

    Raises
    ------
    SlidemillError
        When an outcome is damaged.
    """
    known = {slide: reading.record(read_outcome(path)) for slide, path in outcomes.items()}
    records = {slide: record for slide, record in known.items() if record}
    stored: dict[str, Source] = {
        backend: StoreSource({slide: store_path(backend, slide) for slide in outcomes}, own.encoding)
        for backend, own in stores.items()
    }
    return {**stored, **slide_sources(reading.root, records)}


def slide_sources(root: Path, records: Mapping[str, SlideRecord]) -> dict[str, Source]:
    """Return the sources that read the slides in a folder: by tiles, if that is possible for any, and by OpenSlide."""
    sources: dict[str, Source] = {}
    others = [slide for slide, record in records.items() if not record.reading or record.reading.reader != "tiles"]
    slow = {slide: replace(record, reading=AS_CONFIGURED) for slide, record in records.items()}
    if len(others) < len(records):
        note = f"OpenSlide reads {len(others)} of {format_count(len(records), 'slide')}" if others else ""
        sources[TILE_SOURCE] = SlidesSource(_pool(root, records), note)
    sources[SLIDE_SOURCE] = SlidesSource(_pool(root, slow))
    return sources


def _pool(root: Path, records: Mapping[str, SlideRecord]) -> SlidePool:
    return SlidePool(Path.cwd(), SLIDES, records=SlideRecords(root.absolute(), records))


def choose_scattered(ids: Mapping[str, Sequence[str]], count: int, seed: int) -> list[Key]:
    """Choose patches of all slides, in random order.

    Parameters
    ----------
    ids
        The patches of each slide.
    count, seed
        Number of patches, if there are so many, and the seed of the choice.
    """
    every = [(slide, patch_id) for slide, own in ids.items() for patch_id in own]
    return random.Random(seed).sample(every, min(count, len(every)))  # noqa: S311


def choose_blocks(ids: Mapping[str, Sequence[str]], count: int, seed: int) -> list[Key]:
    """Choose from each slide a run of neighbouring patches with a random start.

    The others make up for slides with few patches. The parameters are those of `choose_scattered`.
    """
    chosen: dict[str, list[Key]] = {}
    left = count
    generator = random.Random(seed)  # noqa: S311
    for place, (slide, own) in enumerate(sorted(ids.items(), key=lambda item: len(item[1]))):
        share = min(len(own), -(-left // (len(ids) - place)))
        start = generator.randint(0, len(own) - share)
        chosen[slide] = [(slide, patch_id) for patch_id in own[start : start + share]]
        left -= share
    return [key for slide in ids for key in chosen[slide]]


def drop_from_cache(files: Iterator[Path]) -> None:
    """Sync files, and ask the kernel to drop them from its page cache."""
    if sys.platform != "linux":
        return
    for file in files:
        descriptor = os.open(file, os.O_RDONLY)
        try:
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)


def bytes_from_disk() -> int | None:
    """Return the bytes that this process has read from disks, if known."""
    try:
        lines = Path("/proc/self/io").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return int(next(line for line in lines if line.startswith("read_bytes")).split()[1])
