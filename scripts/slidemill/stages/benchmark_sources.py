"""What the benchmark reads patches from: the stores of a backend, or the slides themselves."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from slidemill.core.columns import SLIDE_SOURCE
from slidemill.core.encodings import Pixels
from slidemill.core.outcomes import read_outcome
from slidemill.core.patch import PatchRef
from slidemill.core.specs import StoreSpec
from slidemill.slides.discovery import slide_path
from slidemill.slides.fingerprint import companions
from slidemill.slides.grid import Grid, GridSpec
from slidemill.slides.icc import conversion, stated
from slidemill.slides.openslide_reader import PatchReader
from slidemill.slides.slide_info import SlideInfo, opened
from slidemill.stores.paths import store_path
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


def open_sources(
    root: Path,
    facts: Mapping[str, Path],
    stores: Mapping[str, StoreSpec],
    spec: GridSpec,
    count: int,
    seed: int,
    icc: str = "ignore",
) -> tuple[dict[str, Source], dict[str, list[Key]]]:
    """Return what is read from by name, stores and slides, and which patches are read: neighbours and scattered ones.

    Parameters
    ----------
    root
        The folder that slides' paths are relative to.
    facts
        The outcome of discover_slides, for each slide of the sample.
    stores
        The backends, and how they encode.
    spec
        The grid.
    count, seed
        How many patches are chosen of each kind, and the seed of the choice.
    """
    sources: dict[str, Source] = {
        backend: StoreSource({slide: store_path(backend, slide) for slide in facts}, own.encoding)
        for backend, own in stores.items()
    }
    ids: dict[str, Sequence[str]] = {}
    for slide in facts:
        with open_store(store_path(next(iter(stores)), slide)) as store:
            ids[slide] = store.ids
    chosen = {"sequential": choose_blocks(ids, count, seed), "random": choose_scattered(ids, count, seed)}
    wanted = {key for keys in chosen.values() for key in keys}
    slides: dict[str, SampledSlide] = {}
    for slide, path in facts.items():
        found = read_outcome(path)
        info = SlideInfo.from_json(found.details["info"])
        patches = Grid(info.pyramid, spec).patches()
        own = {patch.patch_id: patch for patch in patches if (slide, patch.patch_id) in wanted}
        slides[slide] = SampledSlide(slide_path(root, found.details["path"]), info, own)
    return {**sources, SLIDE_SOURCE: SlideSource(slides, spec, icc)}, chosen


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
