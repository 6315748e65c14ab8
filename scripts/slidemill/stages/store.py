"""Write the patches of a slide to a store."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import openslide

from slidemill._version import __version__
from slidemill.copying.tile_store import as_tiles, copied_strips
from slidemill.core.columns import UNREADABLE_COLUMNS
from slidemill.core.csv_tables import read_table
from slidemill.core.encodings import DIGEST, SOURCE, EncodedPatch, encode_patch
from slidemill.core.files import scratch_folder
from slidemill.core.job_log import log_progress, peak_bytes
from slidemill.core.outcomes import Outcome, attempt, find_seal, read_outcome, write_outcome
from slidemill.core.patch import PatchRef
from slidemill.core.results_layout import store_of_file
from slidemill.core.specs import GridSpec, StoreSpec, WorkSpec
from slidemill.core.stage_facts import ReaderFacts, StoreFacts, UnreadablePatch
from slidemill.errors import SlideError
from slidemill.slides.discovery import decode_path
from slidemill.slides.fingerprint import check_unchanged
from slidemill.slides.icc import CONVERTED, IGNORED, LITTLECMS, NO_PROFILE, Convert, build_conversion, colour_state
from slidemill.slides.patch_table import SlidePatches, patches_of, sampled_grid
from slidemill.slides.reader_choice import read_whole
from slidemill.slides.readers import Reader, TileReader, copied_patches
from slidemill.slides.slide_info import open_slide
from slidemill.stages.job import Job
from slidemill.stores.backend import Backend
from slidemill.stores.manifest import Manifest
from slidemill.stores.registry import STORES
from slidemill.stores.writer import write_store

STAGE = "store_patches"
UNCONVERTED = "it has no ICC profile: its colours are stored as they are"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreJob:
    """Inputs and outputs of a job that writes a store.

    Parameters
    ----------
    root
        The folder of the slides.
    patches, sampled
        The slide's table of patches, and the outcome of sample_patches.
    backend, settings
        The kind of store, and how it encodes patches.
    grid, icc
        The grid of the patches, and how colours are converted, as the configuration names it.
    work
        How patches are read and encoded.
    store, outcome
        The store and the outcome.
    """

    root: Path
    patches: Path
    sampled: Path
    backend: str
    settings: StoreSpec
    grid: GridSpec
    work: WorkSpec
    store: Path
    outcome: Path
    icc: str = "ignore"

    @classmethod
    def from_job(cls, job: Job) -> StoreJob:
        """Return the inputs and outputs of a job of a rule store_patches.

        Raises
        ------
        SlidemillError
            When the scratch folder of the configuration does not exist.
        """
        params = job.params
        scratch = scratch_folder(job.scratch)
        return cls(
            root=job.roots.slides,
            patches=job.inputs["table"],
            sampled=job.inputs["sampled"],
            backend=params["backend"],
            settings=StoreSpec(**params["settings"]),
            grid=GridSpec(**params["grid"]),
            work=WorkSpec(params["reader"], job.threads, params["seed"], params["checked_copies"], scratch),
            store=store_of_file(job.outputs["store"]),
            outcome=job.outputs["outcome"],
            icc=params["icc"],
        )


def store_patches(job: StoreJob) -> None:
    """Publish the store of a slide; the store of a failed slide has no patches.

    Raises
    ------
    SlidemillError
        When the slide has changed since the run was planned, or the table of patches is damaged.
    """
    found = read_outcome(job.sampled)
    kind, grid = STORES[job.backend], sampled_grid(found, job.grid)
    colours = colour_state(job.icc, found.facts.info.icc if found.facts else "")
    printed = found.fingerprint
    manifest = new_manifest(kind, job.settings, found.slide, fingerprint=printed, grid=grid, icc=colours)
    source = job.root / decode_path(found.path)

    def write() -> Outcome:
        wanted = patches_of(read_table(job.patches, seal=find_seal([found], "patches")), found.info, grid)
        asked = SlidePatches(source, found.info, grid, wanted)
        known = found.sample.reading if found.sample and found.sample.sampling == grid else None
        return store_slide(asked, job.store, manifest, backend=kind, work=job.work, known=known)

    result = attempt(found.slide, STAGE, write, after=found, unchanged=partial(check_unchanged, source, printed))
    if result.failed:
        write_store(kind, job.store, manifest, patches=[], stored=[])
    write_outcome(job.outcome, result)


def new_manifest(
    backend: Backend, store: StoreSpec, slide: str, *, fingerprint: str, grid: GridSpec, icc: str = IGNORED
) -> Manifest:
    """Build the manifest of a store without patches.

    Parameters
    ----------
    backend, store
        The kind of store, and how it encodes patches.
    slide, fingerprint
        The slide's id, and the fingerprint of its content.
    grid, icc
        The grid of the patches, and how colours are converted.
    """
    return Manifest(
        backend=backend.name,
        encoding=backend.encoding(store.encoding),
        quality=store.quality,
        slide=slide,
        fingerprint=fingerprint,
        patch_size=grid.patch_size,
        sampling=grid.to_json(),
        digest=DIGEST,
        versions={
            "slidemill": __version__,
            "openslide": openslide.__library_version__,
            **({"littlecms": LITTLECMS} if icc == CONVERTED else {}),
        },
        icc=icc,
    )


def store_slide(
    asked: SlidePatches,
    target: Path,
    manifest: Manifest,
    *,
    backend: Backend,
    work: WorkSpec,
    known: ReaderFacts | None = None,
) -> Outcome:
    """Publish patches as a store; the outcome lists those that cannot be read.

    Parameters
    ----------
    asked
        The slide, and the patches to store.
    target, manifest
        The store, and its manifest as `new_manifest` returns it.
    backend
        The kind of store.
    work
        Reader, threads, and the seed of the comparison with OpenSlide.
    known
        The slide's reader as sample_patches found it for this grid and the manifest's fingerprint; None to compare.

    Raises
    ------
    SlideError
        When the slide cannot be opened or read by the requested reader, or its tiles cannot be copied.
    SlidemillError
        When the slide changed while it was read.
    """
    begun = time.perf_counter()
    source, patches = asked.source, asked.patches
    # Only tiles can be copied.
    copied = manifest.codec is SOURCE and bool(patches)
    remedy = "another encoding" if manifest.codec is SOURCE else "reader auto"

    written = manifest

    def store(reader: Reader, wanted: Sequence[PatchRef]) -> None:
        nonlocal written
        own, stored = manifest, wanted
        if backend.holds_tiles and copied and isinstance(reader, TileReader):
            own, stored = as_tiles(reader, replace(asked, patches=wanted), manifest)
        # Its threads read from the slide, so it is closed first.
        with closing(_encode_patches(reader, own, stored, work=work, convert=convert)) as encoded:
            counted = _check_at_end(source, manifest, log_progress(encoded, len(stored), "patches"))
            written = write_store(backend, target, own, patches=stored, stored=counted, scratch=work.scratch)

    check_unchanged(source, manifest.fingerprint)
    if manifest.codec is SOURCE and manifest.icc == CONVERTED:
        raise SlideError(
            f"encoding source copies the slide's tiles as they are, icc is srgb, and the slide has a profile, "
            f"{asked.info.icc}: choose another encoding, or set icc to ignore"
        )
    with open_slide(source) as slide:
        convert = build_conversion(slide, manifest.icc)
    choice = "tiles" if copied else work.reader
    whole = read_whole(asked, choice, work.seed, use=store, remedy=remedy, known=known)
    files = list(target.iterdir()) if target.is_dir() else [target]
    facts = StoreFacts(
        backend=manifest.backend,
        encoding=manifest.encoding,
        content=written.content,
        patches=len(patches) - len(whole.unreadable),
        bytes=sum(file.stat().st_size for file in files),
        files=len(files),
        seconds=round(time.perf_counter() - begun, 3),
        peak_mb=round(peak_bytes() / 1e6, 1),
        reader=whole.reader,
        reader_reason=whole.reader_reason,
        colour_note=UNCONVERTED if manifest.icc == NO_PROFILE else None,
        unreadable=tuple(
            UnreadablePatch(reason=reason, **{name: getattr(patch, name) for name in UNREADABLE_COLUMNS[1:-1]})
            for patch in patches
            if (reason := whole.unreadable.get(patch.patch_id)) is not None
        ),
    )
    return Outcome(manifest.slide, STAGE, "ok" if patches else "empty", store=facts)


def _check_at_end(
    source: Path, manifest: Manifest, stored: Iterable[tuple[PatchRef, EncodedPatch]]
) -> Generator[tuple[PatchRef, EncodedPatch]]:
    """Yield patches, then check that the slide has not changed."""
    yield from stored
    check_unchanged(source, manifest.fingerprint)


def _encode_patches(
    reader: Reader, manifest: Manifest, patches: Sequence[PatchRef], *, work: WorkSpec, convert: Convert
) -> Generator[tuple[PatchRef, EncodedPatch]]:
    """Yield encoded patches, or copies of the slide's tiles."""
    if manifest.tiles and isinstance(reader, TileReader):
        return copied_strips(reader, manifest, patches, checked=work.checked_copies)
    if manifest.codec is SOURCE and patches and isinstance(reader, TileReader):
        return copied_patches(reader, manifest.patch_size, patches, checked=work.checked_copies)
    encode = partial(encode_patch, manifest.codec, manifest.quality)
    return reader.read(patches, lambda pixels: encode(convert(pixels)), work.threads)
