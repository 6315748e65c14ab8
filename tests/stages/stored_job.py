"""A job that embeds patches of a store, without slide and run."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from slidemill.core.columns import PATCH_COLUMNS
from slidemill.core.csv_tables import write_table
from slidemill.core.encodings import encode_patch
from slidemill.core.outcomes import Outcome, add_seals, write_outcome
from slidemill.core.patch import PatchRef
from slidemill.core.pyramid import SlideInfo
from slidemill.core.results_layout import store_path
from slidemill.core.seals import Seal
from slidemill.core.specs import FeatureSpec, GridSpec, StoreSpec
from slidemill.core.stage_facts import SampleFacts, SlideFacts, StoreFacts
from slidemill.slides.fingerprint import fingerprint
from slidemill.slides.grid import Grid
from slidemill.slides.patch_table import patch_rows
from slidemill.stages.embed import EmbedJob, embed_patches
from slidemill.stages.store import new_manifest
from slidemill.stores.registry import STORES
from slidemill.stores.writer import write_store

SIZE, COLUMNS = 64, 50


def write_job(folder: Path, count: int = 12, model: str = "tests.features.tiny:mean", **settings) -> EmbedJob:
    """Write a store of `count` patches of noise in raw LMDB, with its table and outcome; return the job.

    The store is written in `folder`, which is the working directory of the job.
    """
    grid = GridSpec(SIZE, level=0)
    info = SlideInfo("aperio", ((SIZE * COLUMNS, SIZE * -(-count // COLUMNS)),), (1.0,), None, 0.5, 0.5, 20.0, "ffffff")
    patches: list[PatchRef] = list(Grid(info.pyramid, grid).patches())[:count]
    manifest = new_manifest(STORES["lmdb"], StoreSpec("raw"), "slide", fingerprint="f" * 32, grid=grid)
    random = np.random.default_rng(0)
    pixels = (random.integers(0, 256, (SIZE, SIZE, 3), np.uint8) for _ in patches)
    stored = ((patch, encode_patch(manifest.codec, None, one)) for patch, one in zip(patches, pixels, strict=True))
    write_store(STORES["lmdb"], folder / store_path("lmdb", "slide"), manifest, patches=patches, stored=stored)
    (folder / "slide.svs").write_bytes(b"any slide")
    table = folder / "patches.csv"
    seal = Seal.of(table, write_table(table, PATCH_COLUMNS, patch_rows("slide", info, grid, patches)))
    found = Outcome(
        "slide",
        "store_patches",
        path="slide.svs",
        fingerprint=fingerprint(folder / "slide.svs"),
        facts=SlideFacts(info=info),
        sample=SampleFacts(grid=count, patches=count, sampling=grid),
        store=StoreFacts(backend="lmdb", content="", patches=count),
    )
    write_outcome(folder / "found.json", add_seals(found, patches=seal))
    job = EmbedJob(
        root=folder,
        patches=table,
        found=folder / "found.json",
        name="own",
        spec=FeatureSpec(model, batch=4),
        grid=grid,
        features=folder / "features/own/slide.h5",
        outcome=folder / "outcomes/slide.json",
        backend="lmdb",
        sample=3,
        device="cpu",
    )
    return replace(job, **settings)


def most_memory(folder: Path, count: int, batch: int) -> float:
    """Embed patches; return the most MB of memory at any batch, mapped files and the model's libraries left out."""
    from tests.features import tiny

    embed_patches(write_job(folder, 8, "tests.features.tiny:measured"))
    before = tiny.own_bytes()
    tiny.FOUND.clear()
    job = write_job(folder, count, "tests.features.tiny:measured", threads=2)
    embed_patches(replace(job, spec=replace(job.spec, batch=batch)))
    return (max(tiny.FOUND) - before) / 1e6
