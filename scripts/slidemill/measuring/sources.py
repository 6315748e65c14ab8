"""Sources of a benchmark: the stores of a backend, or the slides."""

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
from slidemill.slides.icc import build_conversion, colour_state
from slidemill.slides.openslide_reader import PatchReader
from slidemill.slides.slide_info import open_slide
from slidemill.stores.registry import open_store

Key = tuple[str, str]
"""A slide's id and a patch's id."""

Read = Callable[[str], Pixels]
"""Patch id to pixels."""


class Source(ABC):
    """Stores or slides to read from, each opened on first use in a process."""

    encoding = ""
    """How the patches are stored; empty for slides."""

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
    def files(self) -> Iterator[Path]:
        """Yield the files of the patches."""

    @abstractmethod
    def _reader(self, slide: str, stack: ExitStack) -> Read:
        """Open a slide or its store, which `stack` closes."""


class StoreSource(Source):
    """The stores of a backend, by slide."""

    def __init__(self, paths: Mapping[str, Path], encoding: str) -> None:
        super().__init__()
        self._paths, self.encoding = paths, encoding

    def files(self) -> Iterator[Path]:
        """Yield the files of the stores."""
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
    """The slides, read by OpenSlide."""

    def __init__(self, slides: Mapping[str, SampledSlide], spec: GridSpec, icc: str = "ignore") -> None:
        super().__init__()
        self._slides, self._spec, self._icc = slides, spec, icc

    def files(self) -> Iterator[Path]:
        """Yield all files of the slides."""
        for slide in self._slides.values():
            yield from (slide.path, *companions(slide.path))

    def _reader(self, slide: str, stack: ExitStack) -> Read:
        known = self._slides[slide]
        handle = stack.enter_context(open_slide(known.path))
        reader = PatchReader(handle, known.info, self._spec)
        convert = build_conversion(handle, colour_state(self._icc, known.info.icc))
        return lambda patch_id: convert(reader.read(known.patches[patch_id]))


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
    root: Path,
    facts: Mapping[str, Path],
    stores: Mapping[str, StoreSpec],
    *,
    chosen: Mapping[str, Sequence[Key]],
    grid: GridSpec,
    icc: str = "ignore",
) -> dict[str, Source]:
    """Return the sources to read from, by name.

    Parameters
    ----------
    root
        The folder of the slides.
    facts
        The outcome of discover_slides of each slide of the sample.
    stores
        The backends, and how they encode.
    chosen
        The patches to read, as `choose_patches` returns them.
    grid, icc
        The grid of the patches, and how colours are converted.

    Raises
    ------
    SlidemillError
        When an outcome is damaged, or a slide is missing.
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
