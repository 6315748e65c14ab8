"""Checking the stores of a slide: each by itself, against each other, and against the slide."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np

from slidemill.encodings import Pixels, decoded, digest
from slidemill.errors import SlideError, StoreError
from slidemill.geometry import GridSpec
from slidemill.joblog import progress
from slidemill.patches import PatchRef
from slidemill.pipeline import Step, in_order
from slidemill.reading import PatchReader
from slidemill.slides import SlideInfo, opened
from slidemill.specs import ValidationSpec
from slidemill.stores.protocol import Store
from slidemill.stores.registry import open_store

NAMED = 5
"""How many patches a finding names; it counts the others."""

AHEAD = 8
"""Patches for each thread that may be looked at before the one that is waited for."""

EVERY_STORE = "all"
"""Stands for the backend in findings that concern all of them."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One check's result: how many patches it looked at, and what is wrong (empty where nothing is)."""

    slide: str
    backend: str
    check: str
    checked: int
    message: str = ""

    @property
    def status(self) -> str:
        """``"ok"`` or ``"failed"``."""
        return "failed" if self.message else "ok"

    def row(self) -> dict[str, object]:
        """Return the finding as a row of the validation table."""
        return {**asdict(self), "status": self.status}


def psnr(one: Pixels, other: Pixels) -> float:
    """Return the peak signal-to-noise ratio of two 8-bit images in dB: ``10 log10(255² / MSE)``."""
    error = float(np.mean((one.astype(np.float64) - other) ** 2))
    return float("inf") if error == 0 else 10 * float(np.log10(255**2 / error))


def validate_slide(
    slide: str,
    stores: Mapping[str, Path],
    source: Path | None,
    info: SlideInfo | None,
    grid: GridSpec,
    patches: Sequence[PatchRef],
    spec: ValidationSpec,
    seed: int,
    threads: int = 1,
) -> list[Finding]:
    """Check all stores of a slide.

    Parameters
    ----------
    slide
        The slide's id.
    stores
        The path of each backend's store.
    source, info
        The slide's file and facts, to read patches again from; None where the slide could not be opened.
    grid, patches
        The grid, and the patches that every store must have, no others.
    spec, seed
        How many patches are read again from the slide, what JPEG must reach, and the seed of the choice.
    threads
        How many threads decode the stores' patches.
    """
    findings: list[Finding] = []
    opened_stores: dict[str, Store] = {}
    pixel_digests: dict[str, dict[str, str]] = {}
    ids = [patch.patch_id for patch in patches]
    with ExitStack() as stack:
        for backend, path in stores.items():
            try:
                store = stack.enter_context(open_store(path))
            except StoreError as error:
                findings.append(Finding(slide, backend, "opens", 0, str(error)))
                continue
            opened_stores[backend] = store
            findings.append(Finding(slide, backend, "opens", len(store)))
            try:
                findings.extend(_check_names(slide, backend, store, ids, grid))
            except StoreError as error:
                findings.append(Finding(slide, backend, "ids", 0, str(error)))
                continue
            seen = list(_look(store, backend, threads))
            findings.extend(_check_contents(slide, backend, store, seen))
            if store.manifest.codec.lossless:
                # Where patches were copied, their pixels are seen here for the first time.
                written = store.manifest.pixel_digests or [one.pixel_digest for one in seen]
                pixel_digests[backend] = dict(zip(store.ids, written, strict=True))
        findings.extend(_check_agreement(slide, pixel_digests))
        if source is not None and info is not None and spec.sample:
            count = min(spec.sample, len(patches))
            sample = sorted(
                random.Random(f"{seed} {slide}").sample(list(patches), count),  # noqa: S311
                key=lambda patch: patch.patch_id,
            )
            findings.extend(_check_against_slide(slide, opened_stores, source, info, grid, sample, spec))
    return findings


@dataclass(frozen=True, slots=True)
class _Seen:
    """What is found at one patch of a store: the digests of its bytes and pixels, and why it cannot be read."""

    byte_digest: str = ""
    pixel_digest: str = ""
    fault: str = ""


def _look(store: Store, backend: str, threads: int) -> Iterator[_Seen]:
    """Yield what is found at each patch, in the store's order."""

    def look(place: int) -> list[tuple[int, _Seen]]:
        data = b""
        try:
            data = store.read_bytes(store.ids[place])
            pixels = decoded(store.manifest.codec, data, store.manifest.shape)
        except StoreError as error:
            return [(place, _Seen(digest(data) if data else "", fault=f"{store.ids[place]}: {error}"))]
        return [(place, _Seen(digest(data), digest(pixels)))]

    steps = (Step(place, partial(look, place)) for place in range(len(store)))
    return progress(in_order(steps, len(store), threads, AHEAD * threads), len(store), f"patches of {backend} checked")


def _check_names(slide: str, backend: str, store: Store, ids: Sequence[str], grid: GridSpec) -> Iterator[Finding]:
    """Check what a store says of itself: its patches' ids, their size, and whose they are."""
    manifest = store.manifest
    stored_ids = store.stored_ids()
    told, stored = set(manifest.ids), set(stored_ids)
    there = told & stored
    missing = [f"{patch_id} is missing" for patch_id in ids if patch_id not in there]
    extra = [f"{patch_id} is too many" for patch_id in sorted((told | stored) - set(ids))]
    agree = list(manifest.ids) == stored_ids == list(ids)
    order = ["the ids are not in raster order"] if not (missing or extra or agree) else []
    yield Finding(slide, backend, "ids", len(ids), _named(missing + extra + order))
    size = []
    if manifest.patch_size != grid.patch_size:
        size.append(f"patch_size is {manifest.patch_size}, not {grid.patch_size}")
    if dict(manifest.sampling) != asdict(grid):
        size.append(f"sampling is {dict(manifest.sampling)}, not {asdict(grid)}")
    if manifest.slide != slide or manifest.backend != backend:
        size.append(f"the manifest is of {manifest.slide} in {manifest.backend}")
    yield Finding(slide, backend, "manifest", len(store), _named(size))


def _check_contents(slide: str, backend: str, store: Store, seen: Sequence[_Seen]) -> Iterator[Finding]:
    """Check that every patch can be read, and that its bytes and pixels are those that were written."""
    manifest = store.manifest
    changed = []
    for place, (patch_id, one) in enumerate(zip(store.ids, seen, strict=True)):
        if one.byte_digest and one.byte_digest != manifest.byte_digests[place]:
            changed.append(f"{patch_id}'s bytes are not those that were written")
        if one.pixel_digest and manifest.pixel_digests and one.pixel_digest != manifest.pixel_digests[place]:
            changed.append(f"{patch_id}'s pixels are not those that were written")
    yield Finding(slide, backend, "decodes", len(store), _named([one.fault for one in seen if one.fault]))
    yield Finding(slide, backend, "digests", len(store), _named(changed))


def _check_agreement(slide: str, pixels: Mapping[str, Mapping[str, str]]) -> Iterator[Finding]:
    """Check that all lossless stores hold the same pixels under the same ids; one alone is not checked.

    `pixels` are the digests of pixels by backend and patch.
    """
    if len(pixels) < 2:
        return
    reference, *others = pixels
    differing = [
        f"{patch_id} differs between {reference} and {other}"
        for other in others
        for patch_id in sorted({*pixels[reference], *pixels[other]})
        if pixels[reference].get(patch_id) != pixels[other].get(patch_id)
    ]
    yield Finding(slide, EVERY_STORE, "stores agree", len(pixels[reference]), _named(differing))


def _check_against_slide(
    slide: str,
    stores: Mapping[str, Store],
    source: Path,
    info: SlideInfo,
    grid: GridSpec,
    sample: Sequence[PatchRef],
    spec: ValidationSpec,
) -> Iterator[Finding]:
    """Check a sample of every store's patches against the slide's own pixels, read anew through OpenSlide."""
    wrong: dict[str, list[str]] = {backend: [] for backend in stores}
    try:
        with opened(source) as handle:
            reader = PatchReader(handle, info, grid)
            for patch in sample:
                expected = reader.read(patch)
                for backend, store in stores.items():
                    wrong[backend].extend(_differences(store, patch.patch_id, expected, spec.min_psnr))
    except SlideError as error:
        yield Finding(slide, EVERY_STORE, "equals slide", 0, str(error))
        return
    for backend, messages in wrong.items():
        yield Finding(slide, backend, "equals slide", len(sample), _named(messages))


def _differences(store: Store, patch_id: str, expected: Pixels, min_psnr: float) -> Iterator[str]:
    try:
        pixels = store.read(patch_id)
    except StoreError as error:
        yield str(error)
        return
    if store.manifest.codec.lossless:
        if not np.array_equal(pixels, expected):
            yield f"{patch_id} is not what the slide holds"
    elif (likeness := psnr(pixels, expected)) < min_psnr:
        yield (
            f"{patch_id} is {likeness:.1f} dB like the slide, less than validation.min_psnr ({min_psnr:g}): "
            "raise the quality, or lower that"
        )


def _named(messages: Sequence[str]) -> str:
    """Return the first messages, and how many more there are."""
    more = f"; and {len(messages) - NAMED} more" if len(messages) > NAMED else ""
    return "; ".join(messages[:NAMED]) + more
