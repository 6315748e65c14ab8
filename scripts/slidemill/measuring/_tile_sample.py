"""Sample the tiles of slides that stores with encoding source would hold."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from slidemill.copying.tile_store import copied_strips, strips_of, tiles_of
from slidemill.core.encodings import DIGEST, SOURCE, EncodedPatch
from slidemill.core.patch import PatchRef
from slidemill.core.specs import GridSpec
from slidemill.measuring.cohort import CohortSlide
from slidemill.slides.patch_table import SlidePatches
from slidemill.slides.readers import TileReader
from slidemill.stores.manifest import Manifest

FINGERPRINT = "0" * 32
"""The fingerprint of a slide in the store of a sample."""


@dataclass(frozen=True, slots=True)
class TileSample:
    """The tiles that sampled patches of a slide touch, and the size of all that its patches touch.

    Parameters
    ----------
    manifest
        The manifest of a store of the sampled patches, without a backend.
    strips
        The contents of this store.
    seconds
        Seconds that copying them took.
    scattered, near
        Ids of the patches that were drawn, and of neighbours, which share tiles.
    patches, all_strips, all_bytes
        Of a store of all patches of the slide: their number, the number of its strips, and their bytes.
    """

    manifest: Manifest
    strips: Sequence[tuple[PatchRef, EncodedPatch]]
    seconds: float
    scattered: Sequence[str]
    near: Sequence[str]
    patches: int
    all_strips: int
    all_bytes: int

    @property
    def slide(self) -> str:
        """The slide's id."""
        return self.manifest.slide

    @property
    def bytes(self) -> int:
        """Bytes of the sampled strips."""
        return sum(len(own.data) for _, own in self.strips)


def sample_tiles(
    reader: TileReader,
    slide: CohortSlide,
    grid: GridSpec,
    *,
    patches: Sequence[PatchRef],
    wanted: Sequence[PatchRef],
    near: Sequence[PatchRef],
) -> TileSample:
    """Copy the tiles that sampled patches of a slide touch, and count the bytes of all that its patches touch.

    Parameters
    ----------
    reader, slide, grid
        The slide, and the grid of its patches.
    patches
        All patches of the slide.
    wanted, near
        The patches that were drawn, and neighbours of one of them.

    Raises
    ------
    SlideError
        When the patches are shrunk, or the tiles are no images by themselves.
    """
    begun = time.perf_counter()
    own = sorted({*wanted, *near}, key=lambda patch: (patch.row, patch.column))
    tiles = tiles_of(reader, SlidePatches(slide.source, slide.info, grid, own))
    manifest = Manifest(
        backend="",
        encoding=SOURCE.name,
        quality=None,
        slide=slide.slide,
        fingerprint=FINGERPRINT,
        patch_size=grid.patch_size,
        sampling={},
        digest=DIGEST,
        versions={},
        ids=tuple(patch.patch_id for patch in own),
        tiles=tiles.to_json(),
    )
    strips = list(copied_strips(reader, manifest, strips_of(reader, tiles, manifest.ids)))
    seconds = time.perf_counter() - begun
    counts, across = reader.level.counts, reader.level.across
    every, sampled = tiles.strips([patch.patch_id for patch in patches]), tiles.strips(manifest.ids)
    in_slide, in_sample = (
        [counts[row * across + column] for (_, row), columns in which.items() for column in columns]
        for which in (every, sampled)
    )
    # What a copy leaves out or adds: segments that are in the head, and the lengths in front of a strip.
    left_out = (sum(in_sample) - sum(len(one.data) for _, one in strips) + len(strips) * tiles.head_bytes) / max(
        len(in_sample), 1
    )
    return TileSample(
        manifest,
        strips,
        seconds,
        [patch.patch_id for patch in wanted],
        [patch.patch_id for patch in near],
        len(patches),
        len(every),
        round(sum(in_slide) - len(in_slide) * left_out) + len(every) * tiles.head_bytes,
    )
