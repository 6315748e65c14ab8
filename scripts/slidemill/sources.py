"""What the benchmark reads patches from: the stores of a backend, or the slides themselves."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from slidemill.discovery import slide_path
from slidemill.encodings import Pixels
from slidemill.geometry import Grid, GridSpec, PatchRef
from slidemill.outcomes import read_outcome
from slidemill.reading import PatchReader
from slidemill.slides import SlideInfo, opened
from slidemill.stores.registry import open_store

SLIDES = "slide"
"""Name of the source that reads straight from the slides."""

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
        """Return a patch's pixels, ``uint8 (height, width, 3)``."""
        slide, patch_id = key
        if slide not in self._readers:
            self._readers[slide] = self._reader(slide, self._stack)
        return self._readers[slide](patch_id)

    def close(self) -> None:
        """Close all that was opened."""
        self._stack.close()
        self._readers.clear()

    @abstractmethod
    def files(self) -> Iterator[Path]:
        """Yield the files that the patches lie in."""

    @abstractmethod
    def _reader(self, slide: str, stack: ExitStack) -> Read:
        """Open a slide's store or file, to be closed by `stack`."""


class StoreSource(Source):
    """The stores of one backend, by slide."""

    def __init__(self, paths: Mapping[str, Path]) -> None:
        super().__init__()
        self._paths = paths

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

    def __init__(self, slides: Mapping[str, SampledSlide], spec: GridSpec) -> None:
        super().__init__()
        self._slides = slides
        self._spec = spec

    def files(self) -> Iterator[Path]:
        """Yield the slides' files."""
        for slide in self._slides.values():
            yield slide.path

    def _reader(self, slide: str, stack: ExitStack) -> Read:
        known = self._slides[slide]
        reader = PatchReader(stack.enter_context(opened(known.path)), known.info, self._spec)
        return lambda patch_id: reader.read(known.patches[patch_id])


def sampled_slide(root: Path, facts: Path, keys: Sequence[Key], spec: GridSpec) -> SampledSlide:
    """Return a slide of the sample, given its facts and the patches of the whole sample."""
    found = read_outcome(facts)
    info = SlideInfo.from_json(found.details["info"])
    wanted = {patch_id for slide, patch_id in keys if slide == found.slide}
    patches = {p.patch_id: p for p in Grid(info.pyramid, spec).patches() if p.patch_id in wanted}
    return SampledSlide(slide_path(root, found.details["path"]), info, patches)


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
