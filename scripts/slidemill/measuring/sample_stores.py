"""Write sampled patches as stores, and measure their size and speed."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from slidemill.core.encodings import DIGEST, ENCODINGS, SOURCE, EncodedPatch, encode_patch
from slidemill.core.files import remove
from slidemill.core.job_log import LOG
from slidemill.core.ordered_threads import Step, run_in_order
from slidemill.core.patch import PatchRef
from slidemill.core.results_layout import SUFFIXES
from slidemill.core.specs import StoreSpec
from slidemill.measuring._tile_sample import FINGERPRINT
from slidemill.measuring._tile_stores import TileStores
from slidemill.measuring.bench import BATCHES, Bench, file_sizes, standard_error
from slidemill.measuring.candidates import Candidate, Measured
from slidemill.measuring.readers import BATCH
from slidemill.measuring.sample import Sample
from slidemill.measuring.sources import StoreSource
from slidemill.stores.backend import Backend
from slidemill.stores.manifest import Manifest
from slidemill.stores.registry import STORES
from slidemill.stores.writer import write_store

READING, LEAST, MOST = 0.5, 0.15, 2.0
"""Share of the time that is left for a candidate for reading it, and the least and most seconds for it."""
SAMPLE = "sample"
"""The slide of the sampled patches' stores."""


def measure_candidates(
    sample: Sample,
    candidates: Sequence[Candidate],
    bench: Bench,
    *,
    is_read: bool = True,
    is_partial: bool = False,
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
    is_partial
        Whether copies of tiles are measured on the slides that allow them where others do not.

    Raises
    ------
    SlidemillError
        When a store cannot be read.
    OSError
        When the disk is full.
    """
    encoded: dict[StoreSpec, Encoded] = {}
    found: list[Measured] = []
    longest = 0.0
    for place, candidate in enumerate(candidates):
        kind = STORES[candidate.backend]
        spec = replace(candidate.spec, encoding=kind.encoding(candidate.spec.encoding))
        # No candidate is begun that would end late if it takes as long as the longest before it.
        is_late = bool(found) and bench.deadline.left < longest
        is_barred = spec.encoding == SOURCE.name and not is_partial and bool(sample.obstacle(kind.name))
        if is_late or is_barred:
            found.append(Measured(candidate))
            continue
        begun = bench.deadline.clock()
        if spec not in encoded:
            encoded[spec] = _encode(sample, spec, bench.threads)
        stores: list[_SampleStore | TileStores] = []
        if encoded[spec].patches:
            stores.append(_SampleStore(kind, spec, encoded[spec], bench))
        if spec.encoding == SOURCE.name and kind.holds_tiles and sample.tiles:
            stores.append(TileStores(kind, sample.tiles, bench, sample.is_whole))
        share = READING * bench.deadline.left / (len(candidates) - place) if is_read else None
        found.append(_measure(candidate, stores, bench, seconds=share))
        longest = max(longest, bench.deadline.clock() - begun)
        LOG.info("%s", found[-1])
    return found


def _measure(
    candidate: Candidate, stores: Sequence[_SampleStore | TileStores], bench: Bench, *, seconds: float | None
) -> Measured:
    """Write the stores of a candidate, and read them for about so many seconds, or for None not at all."""
    own = Measured(candidate)
    for store in stores:
        try:
            one = store.weigh(candidate)
            if seconds is not None:
                one = store.time(one, min(max(seconds / len(stores), LEAST), MOST))
            own = own.joined(one)
        finally:
            remove(bench.folder)
    return own


@dataclass(frozen=True, slots=True)
class Encoded:
    """Encoded patches, the slide of each, and seconds per patch that encoding or copying took."""

    patches: Sequence[EncodedPatch]
    slides: Sequence[str]
    seconds: float = 0.0


def _encode(sample: Sample, spec: StoreSpec, threads: int) -> Encoded:
    """Encode the sampled patches on several threads, as a job that writes a store does."""
    encoding, count = ENCODINGS[spec.encoding], len(sample.pixels)
    if encoding.encode is None or not count:
        return Encoded(sample.copies, sample.copied_slides, sample.copying.each)
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
    encoded: Encoded
    bench: Bench

    @property
    def path(self) -> Path:
        """The store."""
        return self.bench.folder / f"{SAMPLE}{SUFFIXES[self.kind.name]}"

    def weigh(self, candidate: Candidate) -> Measured:
        """Write an empty store and the whole store; return their sizes and the seconds."""
        encoded = self.encoded
        self._write([])
        empty, count = file_sizes(self.path), len(encoded.patches)
        begun = time.perf_counter()
        self._write(encoded.patches)
        seconds = time.perf_counter() - begun
        each, space = ((whole - least) / count for whole, least in zip(file_sizes(self.path), empty, strict=True))
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
        rates = self.bench.read_rates(source, ways, seconds=seconds)
        return replace(found, random=rates[0], batches=rates[1])

    def _write(self, patches: Sequence[EncodedPatch]) -> None:
        size = self.bench.patch_size
        manifest = Manifest(
            self.kind.name, self.spec.encoding, self.spec.quality, SAMPLE, FINGERPRINT, size, {}, DIGEST, {}
        )
        refs = _places(len(patches), size)
        stored = zip(refs, patches, strict=True)
        write_store(self.kind, self.path, manifest, patches=refs, stored=stored, scratch=self.bench.scratch)


def _places(count: int, patch_size: int) -> list[PatchRef]:
    """Return patches of a square grid, for patches of several slides in one store."""
    side, size = max(math.isqrt(count - 1) + 1 if count else 1, 1), (patch_size, patch_size)
    places = ((place % side, place // side) for place in range(count))
    return [
        PatchRef(column, row, column * size[0], row * size[0], *size, 0, 0, 0, size, size, (0, 0))
        for column, row in places
    ]
