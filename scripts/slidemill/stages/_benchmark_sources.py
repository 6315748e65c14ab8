"""What the benchmark reads patches from, and what is known of it: the stores of a backend, or the slides."""

from __future__ import annotations

import os
import random
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from slidemill.core.columns import SLIDE_SOURCE
from slidemill.core.encodings import Pixels
from slidemill.core.outcomes import read_outcome
from slidemill.core.patch import PatchRef
from slidemill.core.pyramid import SlideInfo
from slidemill.core.results_layout import store_path
from slidemill.core.specs import GridSpec, StoreSpec
from slidemill.slides.discovery import slide_path
from slidemill.slides.fingerprint import companions
from slidemill.slides.grid import Grid
from slidemill.slides.icc import conversion, stated
from slidemill.slides.openslide_reader import PatchReader
from slidemill.slides.slide_info import opened
from slidemill.stores.registry import open_store

Key = tuple[str, str]
"""A slide's id and a patch's id."""

Read = Callable[[str], Pixels]
"""Patch id to pixels."""


class Source(ABC):
    """Something that patches are read from; each slide is opened when first used, in each process anew."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._readers: dict[str, Read] = {}

    def read(self, key: Key) -> Pixels:
        """Return a patch's pixels, ``uint8 (height, width, 3)``.

        Raises
        ------
        SlidemillError
            When the store or the slide cannot be opened or read.
        """
        slide, patch_id = key
        return self._opened(slide)(patch_id)

    def open(self, keys: Iterable[Key]) -> None:
        """Open all that the patches lie in, so that reading them does not have to."""
        for slide in {slide for slide, _ in keys}:
            self._opened(slide)

    def close(self) -> None:
        """Close all that was opened."""
        self._stack.close()
        self._readers.clear()

    def _opened(self, slide: str) -> Read:
        if slide not in self._readers:
            self._readers[slide] = self._reader(slide, self._stack)
        return self._readers[slide]

    @property
    @abstractmethod
    def encoding(self) -> str:
        """How the patches are stored."""

    @abstractmethod
    def files(self) -> Iterator[Path]:
        """Yield the files that the patches lie in."""

    @abstractmethod
    def _reader(self, slide: str, stack: ExitStack) -> Read:
        """Open a slide's store or file, to be closed by `stack`."""


class StoreSource(Source):
    """The stores of one backend, by slide."""

    def __init__(self, paths: Mapping[str, Path], encoding: str) -> None:
        super().__init__()
        self._paths = paths
        self._encoding = encoding

    @property
    def encoding(self) -> str:
        """The stores' encoding."""
        return self._encoding

    def files(self) -> Iterator[Path]:
        """Yield the stores' files."""
        for path in self._paths.values():
            yield from (file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]

    def _reader(self, slide: str, stack: ExitStack) -> Read:
        return stack.enter_context(open_store(self._paths[slide])).read


@dataclass(frozen=True, slots=True)
class SampledSlide:
    """A slide of the sample: its file, its facts, and its patches by id."""

    path: Path
    info: SlideInfo
    patches: Mapping[str, PatchRef]


class SlideSource(Source):
    """The slides themselves, read and shrunk by OpenSlide."""

    def __init__(self, slides: Mapping[str, SampledSlide], spec: GridSpec, icc: str = "ignore") -> None:
        super().__init__()
        self._slides = slides
        self._spec = spec
        self._icc = icc

    @property
    def encoding(self) -> str:
        """The slides' own, whatever it is."""
        return ""

    def files(self) -> Iterator[Path]:
        """Yield the slides' files, all of them where a slide has several."""
        for slide in self._slides.values():
            yield from (slide.path, *companions(slide.path))

    def _reader(self, slide: str, stack: ExitStack) -> Read:
        known = self._slides[slide]
        handle = stack.enter_context(opened(known.path))
        reader = PatchReader(handle, known.info, self._spec)
        convert = conversion(handle, stated(self._icc, known.info.icc))
        return lambda patch_id: convert(reader.read(known.patches[patch_id]))


def choose_patches(backend: str, slides: Iterable[str], count: int, *, seed: int) -> dict[str, list[Key]]:
    """Return which patches are read: neighbours as ``"sequential"``, and scattered ones as ``"random"``.

    Parameters
    ----------
    backend
        The backend whose stores name the patches.
    slides
        The slides of the sample.
    count, seed
        How many patches are chosen of each kind, and the seed of the choice.

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
    root: Path,
    facts: Mapping[str, Path],
    stores: Mapping[str, StoreSpec],
    *,
    chosen: Mapping[str, Sequence[Key]],
    grid: GridSpec,
    icc: str = "ignore",
) -> dict[str, Source]:
    """Return what is read from by name: stores and slides.

    Parameters
    ----------
    root
        The folder that slides' paths are relative to.
    facts
        The outcome of discover_slides, for each slide of the sample.
    stores
        The backends, and how they encode.
    chosen
        The patches that are read, as `choose_patches` gives them.
    grid
        Where patches lie.
    icc
        What is done to colours, as the configuration has it.

    Raises
    ------
    SlidemillError
        When an outcome is damaged, or a slide is not there.
    """
    sources: dict[str, Source] = {
        backend: StoreSource({slide: store_path(backend, slide) for slide in facts}, own.encoding)
        for backend, own in stores.items()
    }
    wanted = {key for keys in chosen.values() for key in keys}
    slides: dict[str, SampledSlide] = {}
    for slide, path in facts.items():
        found = read_outcome(path)
        patches = Grid(found.info.pyramid, grid).patches()
        own = {patch.patch_id: patch for patch in patches if (slide, patch.patch_id) in wanted}
        slides[slide] = SampledSlide(slide_path(root, found.path), found.info, own)
    return {**sources, SLIDE_SOURCE: SlideSource(slides, grid, icc)}


def choose_scattered(ids: Mapping[str, Sequence[str]], count: int, seed: int) -> list[Key]:
    """Return `count` patches of all slides, or all where there are fewer, in random order."""
    every = [(slide, patch_id) for slide, own in ids.items() for patch_id in own]
    return random.Random(seed).sample(every, min(count, len(every)))  # noqa: S311


def choose_blocks(ids: Mapping[str, Sequence[str]], count: int, seed: int) -> list[Key]:
    """Return `count` patches, or all where there are fewer: of every slide a run of neighbours, which begins anywhere.

    Slides with few patches give all, and the others more in their place.
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


def fact_rows(backend: str, encoding: str, stores: Sequence[Mapping[str, str]]) -> list[dict[str, object]]:
    """Return the rows of what was counted while a backend's `stores`, rows of the table of stores, were written.

    Bytes, files and seconds are summed over the slides; memory is the largest job's peak, pages of mapped files
    included.
    """
    facts = {
        ("bytes", "bytes"): sum(int(store["bytes"]) for store in stores),
        ("files", "files"): sum(int(store["files"]) for store in stores),
        ("write", "s"): sum(float(store["seconds"]) for store in stores),
        ("write memory", "MB"): max((float(store["peak_mb"]) for store in stores), default=0),
    }
    notes = {
        "write": "sum of the jobs, reading the slides included",
        "write memory": "largest job, pages of mapped files included",
    }
    return [
        {
            "source": backend,
            "encoding": encoding,
            "measure": measure,
            "unit": unit,
            "median": f"{value:.10g}",
            "note": notes.get(measure, ""),
        }
        for (measure, unit), value in facts.items()
    ]


def drop_from_cache(files: Iterator[Path]) -> None:
    """Ask the kernel to drop the files' pages from its cache; only written pages can be dropped."""
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
    """Return the bytes that this process has read from a disk so far, where Linux tells."""
    try:
        lines = Path("/proc/self/io").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return int(next(line for line in lines if line.startswith("read_bytes")).split()[1])
