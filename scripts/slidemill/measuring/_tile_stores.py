"""Measure stores of the slides' tiles, out of which patches of any grid are cut."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from operator import mul
from pathlib import Path

from slidemill.core.encodings import SOURCE
from slidemill.core.results_layout import SUFFIXES
from slidemill.measuring._tile_sample import TileSample
from slidemill.measuring.bench import Bench, file_sizes, standard_error
from slidemill.measuring.candidates import Candidate, Measured
from slidemill.measuring.sources import Key, StoreSource
from slidemill.stores.backend import Backend
from slidemill.stores.manifest import Manifest
from slidemill.stores.writer import write_store


@dataclass(frozen=True, slots=True)
class TileStores:
    """Stores of tiles that sampled patches touch, one per slide.

    Parameters
    ----------
    kind
        The kind of store.
    samples
        The tiles of each slide.
    bench
        Where and how they are measured.
    is_whole
        Whether the tiles of all slides of the cohort are counted.
    """

    kind: Backend
    samples: Sequence[TileSample]
    bench: Bench
    is_whole: bool

    def weigh(self, candidate: Candidate) -> Measured:
        """Write an empty store and those of all samples; return sizes and seconds per patch of whole slides.

        The bytes of a slide's tiles are known; what a store adds for each strip is that of the samples' stores.
        """
        paths, samples = self._paths(), self.samples
        unused = self.bench.folder / f"empty{SUFFIXES[self.kind.name]}"
        write_store(
            self.kind, unused, self._manifest(replace(samples[0].manifest, ids=(), tiles=None)), patches=[], stored=[]
        )
        begun = time.perf_counter()
        for one in samples:
            refs = [strip for strip, _ in one.strips]
            write_store(
                self.kind,
                paths[one.slide],
                self._manifest(one.manifest),
                patches=refs,
                stored=one.strips,
                scratch=self.bench.scratch,
            )
        seconds = time.perf_counter() - begun
        strips, data = sum(len(one.strips) for one in samples), sum(one.bytes for one in samples)
        empty, sizes = file_sizes(unused), [file_sizes(path) for path in paths.values()]
        weights = [len(one.scattered) for one in samples]
        each, spread = [], 0.0
        for place in (0, 1):
            added = (sum(size[place] - empty[place] for size in sizes) - data) / max(strips, 1)
            own = [(one.all_bytes + one.all_strips * added) / one.patches for one in samples]
            each.append(sum(map(mul, weights, own)) / sum(weights))
            spread = spread or standard_error([round(size) for size in own], list(paths))
        share = each[0] / max(data, 1)
        return Measured(
            candidate,
            patches=sum(weights),
            patch_bytes=each[0],
            empty_bytes=empty[0],
            patch_space=each[1],
            empty_space=empty[1],
            margin=0.0 if self.is_whole else 2 * spread / each[0],
            encoding=sum(one.seconds for one in samples) * share,
            writing=seconds * share,
        )

    def time(self, found: Measured, seconds: float) -> Measured:
        """Read the stores for some seconds; return `found` with the rates.

        Scattered patches share few tiles, as in random order; in shuffled batches, neighbours share them.
        """
        source, generator = StoreSource(self._paths(), SOURCE.name), random.Random(self.bench.seed)  # noqa: S311
        scattered = [(one.slide, patch_id) for one in self.samples for patch_id in one.scattered]
        generator.shuffle(scattered)
        near: list[Key] = []
        for one in self.samples:
            near += [(one.slide, patch_id) for patch_id in generator.sample(list(one.near), len(one.near))]
        ways = {0: scattered, self.bench.workers: near or scattered}
        rates = self.bench.read_rates(source, ways, seconds=seconds)
        return replace(found, random=rates[0], batches=rates[1])

    def _paths(self) -> Mapping[str, Path]:
        """Return the store of each slide."""
        suffix = SUFFIXES[self.kind.name]
        return {one.slide: self.bench.folder / f"{place}{suffix}" for place, one in enumerate(self.samples)}

    def _manifest(self, manifest: Manifest) -> Manifest:
        return replace(manifest, backend=self.kind.name)
