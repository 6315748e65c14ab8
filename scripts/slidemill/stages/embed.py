"""Embed the patches of a slide by a model, and check the published features."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from slidemill._version import __version__
from slidemill.core.csv_tables import read_table
from slidemill.core.encodings import Pixels
from slidemill.core.files import file_digest, scratch_folder
from slidemill.core.job_log import LOG, log_progress, peak_bytes
from slidemill.core.outcomes import Outcome, attempt, find_seal, read_outcome, write_outcome
from slidemill.core.patch import PatchRef
from slidemill.core.results_layout import store_path
from slidemill.core.specs import SLIDES, FeatureSpec, GridSpec
from slidemill.core.stage_facts import FeatureFacts
from slidemill.core.text import AGAIN
from slidemill.errors import SlideError, StoreError
from slidemill.features.batching import embed_batches, embed_by_id
from slidemill.features.checks import TOLERANCE, distant_rows, file_faults, finite_rows
from slidemill.features.feature_file import Array, FeatureManifest, PatchPlaces, open_features, write_features
from slidemill.features.models import Encoder, Place, open_encoder
from slidemill.features.rows import BACKEND
from slidemill.slides.discovery import decode_path
from slidemill.slides.fingerprint import check_unchanged
from slidemill.slides.icc import build_conversion, colour_state
from slidemill.slides.patch_table import SlidePatches, patches_of, sampled_grid
from slidemill.slides.reader_choice import open_reader, read_whole
from slidemill.slides.readers import Reader
from slidemill.slides.slide_info import open_slide
from slidemill.stages.job import Job
from slidemill.stores.base import Store
from slidemill.stores.checks import Finding, format_messages
from slidemill.stores.registry import open_store

STAGE = "embed_patches"


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedJob:
    """Inputs and outputs of a job that embeds a slide's patches.

    Parameters
    ----------
    root
        The folder of the slides.
    patches, found
        The slide's table of patches, and the outcome of store_patches, or of sample_patches in a run without stores.
    name, spec
        The name of the features, and the model.
    grid, icc
        The grid of the patches, and how colours are converted, as the configuration names it.
    features, outcome
        The file of features, and the outcome.
    backend
        The backend of the store to read, or ``"slides"``.
    reader, seed
        The reader of slides, and the seed of all random choices.
    sample
        Number of patches that are embedded again to check the features.
    threads, device
        Threads that read and compute, and the device, as the configuration names it.
    scratch
        A folder on a local disk to write in first, or None.
    """

    root: Path
    patches: Path
    found: Path
    name: str
    spec: FeatureSpec
    grid: GridSpec
    features: Path
    outcome: Path
    backend: str = SLIDES
    icc: str = "ignore"
    reader: str = "auto"
    seed: int = 0
    sample: int = 0
    threads: int = 1
    device: str = "auto"
    scratch: Path | None = None

    @classmethod
    def from_job(cls, job: Job) -> EmbedJob:
        """Return the inputs and outputs of a job of a rule embed_patches."""
        params = job.params
        name = params["name"]
        return cls(
            root=job.roots.slides,
            patches=job.inputs["table"],
            found=job.inputs["found"],
            name=name,
            spec=FeatureSpec(**params["model"], batch=job.embedding["batches"][name]),
            grid=GridSpec(**params["grid"]),
            threads=job.threads,
            device=job.embedding["device"],
            scratch=scratch_folder(job.scratch),
            features=job.outputs["features"],
            outcome=job.outputs["outcome"],
            backend=params["backend"],
            icc=params["icc"],
            reader=params["reader"],
            seed=params["seed"],
            sample=params["sample"],
        )


@dataclass(frozen=True, slots=True)
class Embedded:
    """A slide's patches, and what is needed to embed them; `store` is None where the slide itself is read."""

    job: EmbedJob
    found: Outcome
    asked: SlidePatches
    encoder: Encoder
    icc: str
    store: Store | None = None


def embed_patches(job: EmbedJob) -> None:
    """Publish the features of a slide; those of a failed slide have no rows.

    Raises
    ------
    ModelError
        When the model cannot be opened, or does not return one row of numbers per patch.
    SlidemillError
        When the slide has changed since the run was planned, or the table of patches or the store is damaged.
    """
    found = read_outcome(job.found)
    job = replace(job, grid=sampled_grid(found, job.grid))
    source = job.root / decode_path(found.path)
    # The store's facts stay in its own outcome.
    after = replace(found, store=None)
    unchanged = partial(check_unchanged, source, found.fingerprint)
    result = attempt(found.slide, STAGE, lambda: _embed(job, found, source), after=after, unchanged=unchanged)
    if result.failed:
        places = PatchPlaces.of(found.slide, [], None, grid=job.grid)
        write_features(job.features, _manifest(job, found), places, batches=())
    write_outcome(job.outcome, result)


def _manifest(job: EmbedJob, found: Outcome, encoder: Encoder | None = None) -> FeatureManifest:
    """Return the manifest of a file without rows; that of a slide without patches names no weights and no device."""
    return FeatureManifest(
        name=job.name,
        slide=found.slide,
        fingerprint=found.fingerprint,
        model=job.spec.model,
        weights=encoder.weights if encoder else "",
        transform=encoder.transform if encoder else "",
        dtype=job.spec.dtype,
        device=encoder.device if encoder else "",
        patch_size=job.grid.patch_size,
        sampling=job.grid.to_json(),
        icc=colour_state(job.icc, found.facts.info.icc if found.facts else ""),
        source=job.backend,
        versions={"slidemill": __version__, **(encoder.versions if encoder else {})},
    )


def _embed(job: EmbedJob, found: Outcome, source: Path) -> Outcome:
    """Publish and check a slide's features; return the outcome."""
    unreadable = {one.patch_id for one in found.store.unreadable} if found.store else set()
    rows = read_table(job.patches, seal=find_seal([found], "patches"))
    patches = [one for one in patches_of(rows, found.info, job.grid) if one.patch_id not in unreadable]
    asked = SlidePatches(source, found.info, job.grid, patches)
    places = PatchPlaces.of(found.slide, patches, found.info, grid=job.grid)
    begun = time.perf_counter()
    if not patches:
        whole = write_features(job.features, _manifest(job, found), places, batches=())
        return Outcome(found.slide, STAGE, "empty", features=_facts(job, whole, time.perf_counter() - begun, []))
    encoder = open_encoder(job.name, job.spec, Place(job.device, job.threads, job.grid.patch_size))
    LOG.info("features.%s: %s on %s, input: %s", job.name, job.spec.model, encoder.device, encoder.transform)
    manifest = _manifest(job, found, encoder)
    begun = time.perf_counter()

    def publish(batches: Generator[Array]) -> FeatureManifest:
        total = -(-len(patches) // job.spec.batch)
        finite = finite_rows(job.name, job.spec, log_progress(batches, total, "batches"), ids=places.ids)
        with closing(batches):
            return write_features(job.features, manifest, places, batches=finite, scratch=job.scratch)

    if job.backend == SLIDES:
        check_unchanged(source, found.fingerprint)
        own = Embedded(job, found, asked, encoder, manifest.icc)

        def use(reader: Reader, wanted: Sequence[PatchRef]) -> FeatureManifest | None:
            # Without them no row would be where it belongs: the slide fails below.
            return publish(_from_slide(own, reader, wanted)) if len(wanted) == len(patches) else None

        read = read_whole(asked, job.reader, job.seed, use=use)
        if read.result is None:
            reason = next(iter(read.unreadable.values()))
            raise SlideError(
                f"{len(read.unreadable)} of {len(patches)} patches cannot be read; the first: {reason}; write a store, "
                "which leaves such patches out"
            )
        whole = read.result
        seconds = time.perf_counter() - begun
        findings = _check(own, places, manifest)
    else:
        path = store_path(job.backend, found.slide)
        with open_store(path) as store:
            if list(store.ids) != places.ids:
                raise StoreError(f"{path}: its patches are not those of {job.patches}: {AGAIN}")
            own = Embedded(job, found, asked, encoder, manifest.icc, store)
            whole = publish(_from_store(own, places.ids))
            seconds = time.perf_counter() - begun
            findings = _check(own, places, manifest)
    for finding in findings:
        LOG.info("%s, %s: %s %s", finding.backend, finding.check, finding.status, finding.message)
    return Outcome(found.slide, STAGE, features=_facts(job, whole, seconds, findings))


def _facts(job: EmbedJob, whole: FeatureManifest, seconds: float, findings: Sequence[Finding]) -> FeatureFacts:
    return FeatureFacts(
        name=job.name,
        model=whole.model,
        rows=whole.count,
        dim=whole.dim,
        dtype=whole.dtype,
        device=whole.device,
        source=whole.source,
        transform=whole.transform,
        digest=file_digest(job.features),
        content=whole.content,
        seconds=round(seconds, 3),
        peak_mb=round(peak_bytes() / 1e6, 1),
        checks=tuple(finding.row() for finding in findings),
    )


def _from_store(own: Embedded, ids: Sequence[str]) -> Generator[Array]:
    """Return the features of patches of a store, which other threads read ahead of the model."""
    job, store = own.job, own.store
    assert store is not None
    return embed_by_id(own.encoder, store.read_many, ids, batch=job.spec.batch, threads=job.threads)


def _from_slide(own: Embedded, reader: Reader, patches: Sequence[PatchRef]) -> Generator[Array]:
    """Yield the features of patches of a slide, which other threads read and prepare ahead of the model."""
    job, count, size, side = own.job, len(patches), own.job.spec.batch, own.job.grid.patch_size
    with open_slide(own.asked.source) as slide:
        convert = build_conversion(slide, own.icc)

    def reads(found: Iterator[tuple[PatchRef, Pixels]]) -> Iterator[Callable[[], Pixels]]:
        for start in range(0, count, size):
            # A new array for each batch: the model may still copy the last one to its device.
            pixels: Pixels = np.empty((min(size, count - start), side, side, 3), np.uint8)
            for place in range(len(pixels)):
                pixels[place] = next(found)[1]
            yield partial(np.asarray, pixels)

    # The thread that takes the patches also prepares them: at least one other reads.
    with closing(reader.read(patches, convert, max(job.threads, 2))) as found:
        yield from embed_batches(own.encoder, reads(found), -(-count // size), batch=size, threads=1)


def _check(own: Embedded, places: PatchPlaces, manifest: FeatureManifest) -> list[Finding]:
    """Check the published features against the patches, and embed some of them again."""
    job, slide = own.job, own.found.slide
    count = len(places.ids)
    faults = file_faults(job.features, places)
    chosen = sorted(random.Random(f"{job.seed} {slide}").sample(range(count), min(job.sample, count)))  # noqa: S311
    checked = dict.fromkeys(faults, count)
    if chosen and not any(faults.values()):
        faults["embedded again"], checked["embedded again"] = _differences(own, chosen), len(chosen)
    return [
        Finding(slide, f"{BACKEND}{job.name}", check, checked[check], format_messages(messages))
        for check, messages in faults.items()
    ]


def _differences(own: Embedded, chosen: Sequence[int]) -> list[str]:
    """Return the patches whose features differ when they are read and embedded again."""
    job, patches = own.job, [own.asked.patches[place] for place in chosen]
    if own.store is not None:
        again = np.concatenate(list(_from_store(own, [patch.patch_id for patch in patches])))
    else:
        with open_reader(replace(own.asked, patches=patches), job.reader, job.seed) as (reader, _):
            again = np.concatenate(list(_from_slide(own, reader, patches)))
    expected = open_features(job.features).features()[list(chosen)]
    return distant_rows([patch.patch_id for patch in patches], expected, again, tolerance=TOLERANCE[job.spec.dtype])
