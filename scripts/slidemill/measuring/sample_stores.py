"""Write sampled patches as stores, and measure their size and speed."""

from __future__ import annotations

import math
import os
import random
import statistics
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from slidemill.core.encodings import DIGEST, ENCODINGS, EncodedPatch, encode_patch
from slidemill.core.files import remove
from slidemill.core.job_log import LOG
from slidemill.core.ordered_threads import Step, run_in_order
from slidemill.core.patch import PatchRef
from slidemill.core.results_layout import SUFFIXES
from slidemill.core.specs import StoreSpec
from slidemill.measuring.candidates import Candidate, Measured
from slidemill.measuring.reading import BATCH, time_reading
from slidemill.measuring.sample import Sample
from slidemill.measuring.sources import StoreSource
from slidemill.stores.backend import Backend
from slidemill.stores.manifest import Manifest
from slidemill.stores.registry import STORES
from slidemill.stores.writer import write_store

BATCHES = 4
"""Least number of batches that each process reads."""
REPEATS = 3
"""How often a candidate is read in each way."""
READING, LEAST, MOST = 0.5, 0.15, 2.0
"""Share of the time that is left for a candidate for reading it, and the least and most seconds for it."""
LEAST_SLIDES = 8
"""Slides from which on the means of slides show how sizes vary."""
SAMPLE, FINGERPRINT = "sample", "0" * 32
"""The slide of the sampled patches' stores, and its fingerprint."""


@dataclass(frozen=True, slots=True)
class Bench:
    """Where and how candidates are measured.

    Parameters
    ----------
    folder
        A folder on the disk of the results for one store at a time; it is made, and removed afterwards.
    threads, workers
        Threads that encode, as in a job that writes a store, and processes that read batches.
    patch_size
        Width and height of a patch in pixels.
    seed
        Seed of the order in which patches are read.
    scratch
        A folder on a local disk where stores are written first; None for none.
    deadline
        The value of `time.perf_counter` after which no further candidate is begun.
    """

    folder: Path
    threads: int
    workers: int
    patch_size: int
    seed: int = 0
    scratch: Path | None = None
    deadline: float = math.inf


def measure_candidates(
    sample: Sample, candidates: Sequence[Candidate], bench: Bench, *, is_read: bool = True
) -> list[Measured]:
    """Measure candidates in their order until time is up.

    Parameters
    ----------
    sample
        The patches.
    candidates
        What is measured. Each is written as one store, and removed afterwards.
    bench
        Where and how.
    is_read
        Whether reading is measured too; otherwise only the size and writing.

    Raises
    ------
    SlidemillError
        When a store cannot be read.
    OSError
        When the disk is full.
    """
    encoded: dict[StoreSpec, Encoded] = {}
    found: list[Measured] = []
    for place, candidate in enumerate(candidates):
        kind = STORES[candidate.backend]
        spec = replace(candidate.spec, encoding=kind.encoding(candidate.spec.encoding))
        is_late = bool(found) and time.perf_counter() > bench.deadline
        if spec not in encoded and not is_late:
            encoded[spec] = _encode(sample, spec, bench.threads)
        if is_late or not encoded[spec].patches:
            found.append(Measured(candidate))
            continue
        store = _SampleStore(kind, spec, bench.folder / f"{SAMPLE}{SUFFIXES[kind.name]}", bench)
        try:
            own = store.weigh(candidate, encoded[spec])
            share = READING * (bench.deadline - time.perf_counter()) / (len(candidates) - place)
            found.append(store.time(own, min(max(share, LEAST), MOST)) if is_read else own)
        finally:
            remove(bench.folder)
        LOG.info("%s", found[-1])
    return found


def standard_error(sizes: Sequence[int], slides: Sequence[str]) -> float:
    """Return the standard error of the mean size of a patch, in bytes.

    Patches of a slide are alike. From `LEAST_SLIDES` slides on, their means are compared, else the patches.

    Parameters
    ----------
    sizes, slides
        The bytes and the slide of each patch.
    """
    by_slide: dict[str, list[int]] = {}
    for slide, size in zip(slides, sizes, strict=True):
        by_slide.setdefault(slide, []).append(size)
    means = [statistics.fmean(own) for own in by_slide.values()]
    values = means if len(means) >= LEAST_SLIDES else sizes
    return statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else 0.0


@dataclass(frozen=True, slots=True)
class Encoded:
    """Encoded patches, the slide of each, and seconds per patch that encoding took."""

    patches: Sequence[EncodedPatch]
    slides: Sequence[str]
    seconds: float = 0.0


def _encode(sample: Sample, spec: StoreSpec, threads: int) -> Encoded:
    """Encode the sampled patches on several threads, as a job that writes a store does."""
    encoding, count = ENCODINGS[spec.encoding], len(sample.pixels)
    if encoding.encode is None or not count:
        return Encoded(sample.copies, sample.copied_slides)
    begun = time.perf_counter()

    def encode(place: int) -> list[tuple[int, EncodedPatch]]:
        return [(place, encode_patch(encoding, spec.quality, sample.pixels[place]))]

    steps = (Step(place, partial(encode, place)) for place in range(count))
    with closing(run_in_order(steps, count, threads, ahead=count)) as results:
        patches = list(results)
    return Encoded(patches, sample.slides, (time.perf_counter() - begun) / count)


@dataclass(frozen=True, slots=True)
class _SampleStore:
    """The sampled patches as a store of one kind."""

    kind: Backend
    spec: StoreSpec
    path: Path
    bench: Bench

    def weigh(self, candidate: Candidate, encoded: Encoded) -> Measured:
        """Write an empty store and the whole store; return their sizes and the seconds."""
        self._write([])
        empty, count = self._sizes(), len(encoded.patches)
        begun = time.perf_counter()
        self._write(encoded.patches)
        seconds = time.perf_counter() - begun
        each, space = ((whole - least) / count for whole, least in zip(self._sizes(), empty, strict=True))
        return Measured(
            candidate,
            patches=count,
            patch_bytes=each,
            empty_bytes=empty[0],
            patch_space=space,
            empty_space=empty[1],
            margin=2 * standard_error([len(one.data) for one in encoded.patches], encoded.slides) / each,
            encoding=encoded.seconds,
            writing=seconds / count,
        )

    def time(self, found: Measured, seconds: float) -> Measured:
        """Read the store for some seconds, in random order and in shuffled batches; return `found` with the rates."""
        source, workers = StoreSource({"": self.path}, self.spec.encoding), self.bench.workers
        keys = [("", patch.patch_id) for patch in _places(found.patches, self.bench.patch_size)]
        random.Random(self.bench.seed).shuffle(keys)  # noqa: S311
        # As many batches as keep all processes at work.
        ways = {0: keys, workers: keys * math.ceil(BATCHES * BATCH * workers / len(keys))}
        rates = [
            statistics.median(
                time_reading(source, way, wanted, seconds=seconds / (2 * REPEATS))[0] for _ in range(REPEATS)
            )
            for way, wanted in ways.items()
        ]
        return replace(found, random=rates[0], batches=rates[1])

    def _write(self, patches: Sequence[EncodedPatch]) -> None:
        size = self.bench.patch_size
        manifest = Manifest(
            self.kind.name, self.spec.encoding, self.spec.quality, SAMPLE, FINGERPRINT, size, {}, DIGEST, {}
        )
        refs = _places(len(patches), size)
        stored = zip(refs, patches, strict=True)
        write_store(self.kind, self.path, manifest, patches=refs, stored=stored, scratch=self.bench.scratch)

    def _sizes(self) -> tuple[int, int]:
        """Return the bytes of the store's files, and those of their blocks on the disk."""
        files = list(self.path.iterdir()) if self.path.is_dir() else [self.path]
        sizes, block = [file.stat().st_size for file in files], os.statvfs(self.path.parent).f_frsize
        return sum(sizes), sum(-(-size // block) * block for size in sizes)


def _places(count: int, patch_size: int) -> list[PatchRef]:
    """Return patches of a square grid, for patches of several slides in one store."""
    side, size = max(math.isqrt(count - 1) + 1 if count else 1, 1), (patch_size, patch_size)
    places = ((place % side, place // side) for place in range(count))
    return [
        PatchRef(column, row, column * size[0], row * size[0], *size, 0, 0, 0, size, size, (0, 0))
        for column, row in places
    ]
